use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tower_service::Service;

use super::dns::Resolver;
use crate::error::BoxError;

#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
type Stream = hyper_rustls::MaybeHttpsStream<TokioIo<TcpStream>>;
#[cfg(not(feature = "tls"))]
type Stream = TokioIo<TcpStream>;

/// The connector that a session uses unless it is given another: TCP, and TLS for `https`.
///
/// It is hyper-util's, with Nagle's algorithm off, TCP keep-alive after 60 s, happy eyeballs after
/// 300 ms, and each address tried in turn within the connect timeout. With the feature `tls` it
/// speaks TLS 1.2 and 1.3 by rustls with the ring provider, and trusts the platform's root
/// certificates, which are read once per process, at the first `https` connection. Without that
/// feature an `https` URI is an error.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector<Resolver>,
    #[cfg(feature = "tls")]
    tls: tls::Tls,
}

/// How long a connect to one address may keep the next one waiting, when no timeout is set.
const TCP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Connector {
    /// Makes a connector with the settings above.
    #[must_use]
    pub fn new() -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_connect_timeout(Some(TCP_CONNECT_TIMEOUT));
        Self {
            tcp,
            #[cfg(feature = "tls")]
            tls: tls::Tls::default(),
        }
    }

    /// Shares the connect timeout among the addresses of a name, so that one that does not answer
    /// leaves time for the next; `None` leaves it to the system. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.tcp.set_connect_timeout(timeout.into());
        self
    }

    /// Uses this TLS configuration (of rustls 0.23) instead of the platform's roots.
    ///
    /// Its ALPN protocols are replaced: the session speaks HTTP/1.1 only.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_config(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = tls::Tls::new(config);
        self
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Uri> for Connector {
    type Response = Transport;
    type Error = ConnectError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.tcp
            .poll_ready(cx)
            .map_err(|error| ConnectError(error.into()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        // The instance that said ready is the one to be called.
        let spare = self.tcp.clone();
        let tcp = std::mem::replace(&mut self.tcp, spare);
        #[cfg(feature = "tls")]
        let stream = self.tls.clone().connect(tcp, uri);
        #[cfg(not(feature = "tls"))]
        let stream = plain(tcp, uri);
        Connecting(Box::pin(async move {
            Ok(Transport {
                stream: stream.await.map_err(ConnectError)?,
            })
        }))
    }
}

#[cfg(not(feature = "tls"))]
async fn plain(mut tcp: HttpConnector<Resolver>, uri: Uri) -> Result<Stream, BoxError> {
    if uri.scheme() == Some(&http::uri::Scheme::HTTPS) {
        return Err("https needs the feature `tls`".into());
    }
    Ok(tcp.call(uri).await?)
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// Why [`Connector`] could not connect; its [`source`](StdError::source) is the cause.
#[derive(Debug)]
pub struct ConnectError(pub(crate) BoxError);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connector failed")
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.as_ref())
    }
}

/// The future of [`Connector`].
#[must_use = "futures do nothing unless polled"]
pub struct Connecting(Pin<Box<dyn Future<Output = Result<Transport, ConnectError>> + Send>>);

impl Future for Connecting {
    type Output = Result<Transport, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

pin_project! {
    /// What [`Connector`] connects: a TCP stream, or TLS over one.
    #[derive(Debug)]
    pub struct Transport {
        #[pin]
        stream: Stream,
    }
}

impl Connection for Transport {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected();
        if self.is_tls() {
            connected
        } else {
            connected.extra(PlainTcp)
        }
    }
}

/// Marks a stream of which a write that fails has sent nothing. Of any other that is not known:
/// TLS may have sent some of its records before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainTcp;

impl Transport {
    #[cfg(feature = "tls")]
    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Https(_))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_self, reason = "with TLS it is a question")]
    fn is_tls(&self) -> bool {
        false
    }
}

impl Read for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().stream.poll_read(cx, buf)
    }
}

impl Write for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write_vectored(cx, bufs)
    }
}
