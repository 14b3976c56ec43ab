use std::{
    fmt,
    net::SocketAddr,
    panic::Location,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{self, JoinHandle},
};
use tokio_rustls::TlsAcceptor;

use crate::{Connection, Log, Port, log::Open, peer::Peer, transport::Transport};

/// Long enough for a loaded machine, short enough that a hanging test tells why.
const PATIENCE: Duration = Duration::from_secs(10);

/// A peer with real sockets, on a free port of 127.0.0.1.
///
/// Its tasks run on the runtime in which it was started. Dropping it closes its port and all its connections.
#[derive(Debug)]
#[must_use = "a server stops when it is dropped"]
pub struct Server {
    port: Port,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    peer: Peer,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls(TlsAcceptor);

impl Server {
    /// Starts a server that runs `handler` once for each connection.
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    pub async fn start<H, F>(handler: H) -> Self
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::listen(Peer::new(handler), None).await
    }

    /// Starts a server that speaks TLS. `handler` runs once for each finished handshake.
    ///
    /// The certificate has to name `127.0.0.1`, for [`url`](Self::url) to be of use.
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    pub async fn start_tls<H, F>(handler: H, config: ServerConfig) -> Self
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let tls = Tls(TlsAcceptor::from(Arc::new(config)));
        Self::listen(Peer::new(handler), Some(tls)).await
    }

    #[expect(
        clippy::unused_async,
        reason = "a server needs a runtime, and `await` shows it"
    )]
    async fn listen(peer: Peer, tls: Option<Tls>) -> Self {
        let port = Port::free();
        let shared = Arc::new(Shared { peer, tls });
        let accepting = tokio::spawn(accept(port.listen(), shared.clone()));
        Self {
            port,
            shared,
            accepting: Mutex::new(Some(accepting)),
        }
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns scheme, host and port: `http://127.0.0.1:40123`.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = match self.shared.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.addr())
    }

    /// Returns the origin with a path, which starts with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// Returns what was counted and seen so far.
    #[must_use]
    pub fn log(&self) -> Log {
        self.shared.peer.journal().read()
    }

    /// Waits until the log meets a condition, and returns it.
    ///
    /// A paused clock jumps over the wait while the sockets are still at work; take a
    /// [`MemoryConnector`](crate::MemoryConnector) there.
    ///
    /// # Panics
    ///
    /// Panics if that takes longer than ten seconds.
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

    /// Closes the port, so that connects are refused. Open connections stay.
    pub async fn stop_accepting(&self) {
        let accepting = self.accepting().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // The listener is gone only once the task is.
            _ = accepting.await;
        }
    }

    /// Opens the same port again, after [`stop_accepting`](Self::stop_accepting).
    pub async fn accept_again(&self) {
        self.stop_accepting().await;
        let accepting = tokio::spawn(accept(self.port.listen(), self.shared.clone()));
        *self.accepting() = Some(accepting);
    }

    /// Drops every open connection in the middle of whatever it does.
    pub async fn drop_connections(&self) {
        self.shared.peer.drop_connections().await;
    }

    /// Behaves as a process that dies and comes back: the port is closed, every connection dropped, the port opened.
    ///
    /// The handler and the log stay.
    pub async fn restart(&self) {
        self.stop_accepting().await;
        self.drop_connections().await;
        self.accept_again().await;
    }

    fn accepting(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting().take() {
            accepting.abort();
        }
        self.shared.peer.abort_all();
        self.shared.peer.journal().fail_if_a_handler_panicked();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            task::yield_now().await;
            continue;
        };
        let open = shared.peer.journal().open();
        shared
            .peer
            .serve(connection(stream, shared.tls.clone(), open));
    }
}

async fn connection(stream: TcpStream, tls: Option<Tls>, open: Open) -> Option<Connection> {
    // A small write is to leave at once, as the handler wrote it.
    _ = stream.set_nodelay(true);
    let Some(Tls(acceptor)) = tls else {
        return Some(Connection::new(Transport::Tcp(stream), open));
    };
    let Ok(stream) = acceptor.accept(stream).await else {
        open.journal().failed_handshake();
        return None;
    };
    let transport = Transport::Tls(Box::new(stream));
    Some(Connection::new(transport, open))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
