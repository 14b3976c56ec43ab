use std::{
    any::Any,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Extensions, HeaderValue};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpInfo},
    rt::TokioIo,
};
use tokio::io::AsyncWrite as _;

use super::stream::Stream;
use crate::connector::counted::{self, Counted};

/// What [`Connector`](crate::Connector) connects: a TCP stream or a Unix socket, with TLS over it
/// for `https`.
///
/// Among the extras of its [`Connected`] are [`ConnectTimes`], and for TCP hyper-util's `HttpInfo`.
#[derive(Debug)]
pub struct Transport {
    stream: TokioIo<Counted<Stream>>,
    /// Kept outside of the stream, which stays in the task of its connection as long as that is open,
    /// and is moved several times before.
    times: Arc<ConnectTimes>,
    via_proxy: Option<Box<ViaProxy>>,
}

/// How long each step of a connect took, and the addresses of the connection.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectTimes {
    /// The look-up of the name; of the proxy's name, if one is used. `None` for a Unix socket.
    pub dns: Option<Duration>,
    /// The connect to one of its addresses, or to the Unix socket.
    pub tcp: Option<Duration>,
    /// The steps with a proxy: TLS with it, and its answer.
    pub proxy: Option<Duration>,
    /// The TLS handshake with the origin; none for `http`.
    pub tls: Option<Duration>,
    /// The peer of the TCP connection: the proxy, where one is used.
    pub peer: Option<SocketAddr>,
    /// This end of the TCP connection.
    pub local: Option<SocketAddr>,
}

/// How much of a write that fails may have left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FailedWrite {
    /// Nothing, as over TCP alone.
    SentNothing,
    /// A part, as over TLS, which may have sent some of its records.
    MaySendPart,
}

/// Marks a stream as [`FailedWrite::SentNothing`]. A stream without the mark may send a part.
#[derive(Clone, Copy, Debug)]
struct PlainTcp;

/// Marks a connection to an HTTP proxy that is sent each request with its whole URI.
#[derive(Clone, Debug, Default)]
pub(crate) struct ViaProxy {
    /// The value of `Proxy-Authorization`, which is for the proxy alone.
    pub(crate) authorization: Option<HeaderValue>,
}

/// What a connector tells of a connection that it has opened.
#[derive(Debug)]
pub(crate) struct ConnectedInfo {
    pub(crate) times: Arc<ConnectTimes>,
    pub(crate) negotiated_h2: bool,
    pub(crate) failed_write: FailedWrite,
    /// Set if the peer is a proxy that is sent each request with its whole URI.
    pub(crate) via_proxy: Option<Box<ViaProxy>>,
}

impl ConnectedInfo {
    /// Reads it from this crate's own stream directly, and from another connector's stream through its
    /// [`Connected`], which boxes each value.
    pub(crate) fn of<T: Connection + 'static>(stream: &T) -> Self {
        let any: &dyn Any = stream;
        match any.downcast_ref::<Transport>() {
            Some(transport) => transport.connected_info(),
            None => Self::by_extras(&stream.connected()),
        }
    }

    fn by_extras(connected: &Connected) -> Self {
        let mut extras = Extensions::new();
        connected.get_extras(&mut extras);
        let times = extras.remove().unwrap_or_else(|| {
            let info: Option<&HttpInfo> = extras.get();
            ConnectTimes {
                local: info.map(HttpInfo::local_addr),
                peer: info.map(HttpInfo::remote_addr),
                ..ConnectTimes::default()
            }
        });
        Self {
            times: Arc::new(times),
            negotiated_h2: connected.is_negotiated_h2(),
            failed_write: match extras.get::<PlainTcp>() {
                Some(PlainTcp) => FailedWrite::SentNothing,
                None => FailedWrite::MaySendPart,
            },
            via_proxy: connected
                .is_proxied()
                .then(|| Box::new(extras.remove().unwrap_or_default())),
        }
    }
}

impl Transport {
    pub(super) fn new(
        stream: Stream,
        mut times: ConnectTimes,
        via_proxy: Option<ViaProxy>,
    ) -> Self {
        let tcp = stream.tcp();
        times.peer = tcp.and_then(|tcp| tcp.peer_addr().ok());
        times.local = tcp.and_then(|tcp| tcp.local_addr().ok());
        Self {
            stream: TokioIo::new(Counted::new(stream)),
            times: Arc::new(times),
            via_proxy: via_proxy.map(Box::new),
        }
    }

    fn connected_info(&self) -> ConnectedInfo {
        let stream = self.stream.inner().get_ref();
        ConnectedInfo {
            times: self.times.clone(),
            negotiated_h2: stream.has_negotiated_h2(),
            failed_write: if stream.is_tls() {
                FailedWrite::MaySendPart
            } else {
                FailedWrite::SentNothing
            },
            via_proxy: self.via_proxy.clone(),
        }
    }

    /// The stream below the counter, for writes, which are not counted.
    #[inline]
    fn written(&mut self) -> &mut Stream {
        self.stream.inner_mut().get_mut()
    }

    /// Reads, and returns how much.
    #[inline]
    pub(crate) fn poll_counted(
        &mut self,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> (Poll<io::Result<()>>, counted::Read) {
        if self.stream.inner().get_ref().is_quiet(cx) {
            return (Poll::Pending, counted::Read::default());
        }
        counted::poll_read(&mut self.stream, cx, buf)
    }
}

impl Connection for Transport {
    fn connected(&self) -> Connected {
        let stream = self.stream.inner().get_ref();
        let connected = match stream.tcp() {
            Some(tcp) => tcp.connected(),
            None => Connected::new(),
        };
        let mut connected = connected.extra(*self.times);
        if !stream.is_tls() {
            connected = connected.extra(PlainTcp);
        }
        if stream.has_negotiated_h2() {
            connected = connected.negotiated_h2();
        }
        match &self.via_proxy {
            Some(via_proxy) => connected.proxy(true).extra(ViaProxy::clone(via_proxy)),
            None => connected,
        }
    }
}

impl Read for Transport {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Transport {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.written()).poll_write(cx, buf)
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.written()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.written()).poll_shutdown(cx)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.stream.inner().get_ref().is_write_vectored()
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.written()).poll_write_vectored(cx, bufs)
    }
}
