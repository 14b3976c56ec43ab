use std::{
    collections::VecDeque,
    fmt, future, io,
    panic::Location,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection as Transport},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead as _, DuplexStream, ReadBuf},
    time,
};
use tower_service::Service;

use crate::{Connection, Log, peer::Peer, transport};

/// Long under a paused clock too, where every timer of the test passes first.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// As much as one end may write before the other has to read.
const BUFFER: usize = 64 * 1024;

/// A connector whose peer lives in the same process, for tests with a paused clock.
///
/// It is what a pool asks for: a [`Service`] of [`Uri`] that answers with a byte stream. Behind each stream a task
/// runs the same handlers that a [`Server`](crate::Server) runs behind a socket. Clones share one peer, one log and one
/// script.
///
/// ```
/// use test_support::{Connect, MemoryConnector, always};
///
/// let connector = MemoryConnector::new(always(200, "hello"));
/// connector.script([Connect::Refuse, Connect::Accept]);
/// // .. give a clone of it to the client ..
/// assert!(connector.log().dialled.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    peer: Peer,
    buffer: usize,
    script: Mutex<VecDeque<Connect>>,
}

/// What becomes of a connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connect {
    /// It succeeds at once.
    Accept,
    /// It succeeds after a while.
    Delay(Duration),
    /// It fails at once with [`io::ErrorKind::ConnectionRefused`].
    Refuse,
    /// It never ends.
    Hang,
}

impl MemoryConnector {
    /// Returns a connector that runs `handler` once for each connection.
    pub fn new<H, F>(handler: H) -> Self
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_buffer(handler, BUFFER)
    }

    /// Returns a connector whose streams hold at most `buffer` bytes in each direction, instead of 64 KiB.
    pub fn with_buffer<H, F>(handler: H, buffer: usize) -> Self
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            shared: Arc::new(Shared {
                peer: Peer::new(handler),
                buffer,
                script: Mutex::default(),
            }),
        }
    }

    /// Says what becomes of the next connects, one after the other; the last entry again and again.
    ///
    /// Replaces what was said before. At first every connect is accepted.
    pub fn script(&self, connects: impl IntoIterator<Item = Connect>) {
        *self.lock() = connects.into_iter().collect();
    }

    /// Refuses all connects from now on.
    pub fn refuse(&self) {
        self.script([Connect::Refuse]);
    }

    /// Lets all connects hang from now on.
    pub fn hang(&self) {
        self.script([Connect::Hang]);
    }

    /// Lets all connects succeed after a while, from now on.
    pub fn delay(&self, delay: Duration) {
        self.script([Connect::Delay(delay)]);
    }

    /// Accepts all connects at once, from now on.
    pub fn accept(&self) {
        self.script([Connect::Accept]);
    }

    /// Returns what was counted and seen so far.
    #[must_use]
    pub fn log(&self) -> Log {
        self.shared.peer.journal().read()
    }

    /// Waits until the log meets a condition, and returns it.
    ///
    /// # Panics
    ///
    /// Panics if that takes longer than a day. Under a paused clock that comes as soon as nothing else can happen.
    #[track_caller]
    pub fn wait_for(&self, condition: impl Fn(&Log) -> bool) -> impl Future<Output = Log> {
        self.wait_within(PATIENCE, condition)
    }

    /// Waits until the log meets a condition, at most until a deadline of one's own, and returns it.
    ///
    /// # Panics
    ///
    /// Panics at the deadline.
    #[track_caller]
    pub fn wait_within(
        &self,
        deadline: Duration,
        condition: impl Fn(&Log) -> bool,
    ) -> impl Future<Output = Log> {
        let caller = Location::caller();
        self.shared
            .peer
            .journal()
            .wait_for(deadline, caller, condition)
    }

    /// Drops every open connection in the middle of whatever it does.
    pub async fn drop_connections(&self) {
        self.shared.peer.drop_connections().await;
    }

    fn next(&self) -> Connect {
        let mut script = self.lock();
        if script.len() > 1 {
            script.pop_front()
        } else {
            script.front().copied()
        }
        .unwrap_or(Connect::Accept)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Connect>> {
        self.shared
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Uri> for MemoryConnector {
    type Response = MemoryStream;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        self.shared.peer.journal().dialled(uri);
        let connect = self.next();
        let shared = self.shared.clone();
        Connecting(Box::pin(async move {
            match connect {
                Connect::Accept => {}
                Connect::Delay(delay) => time::sleep(delay).await,
                Connect::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
                Connect::Hang => future::pending().await,
            }
            Ok(shared.connect())
        }))
    }
}

impl Shared {
    fn connect(&self) -> MemoryStream {
        let (near, far) = tokio::io::duplex(self.buffer);
        let reset = Arc::new(AtomicBool::new(false));
        let transport = transport::Transport::Memory {
            io: far,
            reset: reset.clone(),
        };
        let connection = Connection::new(transport, self.peer.journal().open());
        self.peer.serve(future::ready(Some(connection)));
        MemoryStream {
            io: TokioIo::new(near),
            reset,
            is_http2: false,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.peer.journal().fail_if_a_handler_panicked();
    }
}

/// The future of [`MemoryConnector`].
#[must_use = "nothing is connected until it is polled"]
pub struct Connecting(Pin<Box<dyn Future<Output = io::Result<MemoryStream>> + Send>>);

impl Future for Connecting {
    type Output = io::Result<MemoryStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

/// The client's end of a connection in memory.
#[derive(Debug)]
pub struct MemoryStream {
    io: TokioIo<DuplexStream>,
    reset: Arc<AtomicBool>,
    is_http2: bool,
}

impl MemoryStream {
    pub(crate) fn of(io: TokioIo<DuplexStream>) -> Self {
        Self {
            io,
            reset: Arc::default(),
            is_http2: false,
        }
    }

    /// Says that HTTP/2 was negotiated, as a stream with TLS does.
    #[must_use]
    pub fn with_http2(mut self) -> Self {
        self.is_http2 = true;
        self
    }
}

impl Transport for MemoryStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.is_http2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl Read for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut scratch = [0; 8 * 1024];
        let room = scratch.len().min(cursor.remaining());
        let mut buffer = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(this.io.inner_mut()).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() && this.reset.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        cursor.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
