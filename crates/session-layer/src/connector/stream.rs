#[cfg(feature = "tls")]
use std::task::Waker;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
#[cfg(feature = "tls")]
use tokio_rustls::client::TlsStream;

use super::socket::Socket;

/// A byte stream with its layers: TLS with an origin may run within TLS with a proxy.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(Socket<TcpStream>),
    #[cfg(unix)]
    Unix(Socket<UnixStream>),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<Stream>>),
}

impl Stream {
    pub(super) fn of_tcp(io: TcpStream) -> Self {
        Self::Tcp(Socket::new(io))
    }

    #[cfg(unix)]
    pub(super) fn of_unix(io: UnixStream) -> Self {
        Self::Unix(Socket::new(io))
    }

    /// The TCP socket below all layers.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(io) => Some(io.get_ref()),
            #[cfg(unix)]
            Self::Unix(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(io) => io.get_ref().0.tcp(),
        }
    }

    /// Whether a read would find no bytes, as far as that is known without a read.
    #[inline]
    pub(super) fn is_quiet(&self, cx: &Context<'_>) -> bool {
        match self {
            Self::Tcp(io) => io.is_quiet(cx),
            #[cfg(unix)]
            Self::Unix(io) => io.is_quiet(cx),
            // TLS may have read more from the socket than it has passed on.
            #[cfg(feature = "tls")]
            Self::Tls(_) => false,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
            _ => false,
        }
    }

    pub(super) fn has_negotiated_h2(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(io) => io.get_ref().1.alpn_protocol() == Some(b"h2"),
            _ => false,
        }
    }
}

/// Sends the close alert of TLS before the socket is closed, as a client must ([RFC 9112, section
/// 9.8](https://www.rfc-editor.org/rfc/rfc9112#section-9.8)).
///
/// It is tried once, and only as far as the socket takes it at once: the drop of a connection must
/// not wait.
#[cfg(feature = "tls")]
impl Drop for Stream {
    fn drop(&mut self) {
        if let Self::Tls(io) = self {
            let cx = &mut Context::from_waker(Waker::noop());
            let _ = Pin::new(io).poll_shutdown(cx);
        }
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io).poll_write(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(io) => io.is_write_vectored(),
            #[cfg(unix)]
            Self::Unix(io) => io.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            #[cfg(feature = "tls")]
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }
}
