//! A scripted HTTP/2 peer, over the frames of the `h2` crate.
//!
//! ```
//! use test_support::http2::{Peer, Stream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let peer = Peer::new(h2::server::Builder::new(), |stream: Stream| async move {
//!     match stream.number {
//!         0 => stream.refuse(),
//!         _ => stream.answer(200, "hello"),
//!     }
//! });
//! let address = peer.listen().await;
//! // .. point the client at `address`, which speaks HTTP/2 without being asked ..
//! assert_eq!(peer.log().connections.len(), 0);
//! # drop(address);
//! # }
//! ```

use std::{
    fmt,
    future::{self, Future},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{Request, Response, Uri, header::CONTENT_LENGTH};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::memory::MemoryStream;

type Handler = dyn Fn(Stream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A peer that runs a handler once for each stream, and keeps a log. Clones share both.
#[derive(Clone)]
pub struct Peer {
    builder: Builder,
    handler: Arc<Handler>,
    log: Arc<Mutex<Log>>,
}

/// What a [`Peer`] saw.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Log {
    /// The connections, in the order in which they came.
    pub connections: Vec<ConnectionLog>,
}

/// What a [`Peer`] saw of one connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionLog {
    /// Streams opened so far.
    pub streams: usize,
    /// Streams that are neither answered nor reset.
    pub running: usize,
    /// As many as have run at the same time.
    pub most: usize,
    /// Streams that the client has reset.
    pub resets: usize,
    /// Whether it has ended.
    pub ended: bool,
}

/// One request, and the ways to answer it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stream {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its own number on that connection, from 0.
    pub number: usize,
    /// The request.
    pub request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    control: mpsc::UnboundedSender<Control>,
    running: Option<Running>,
}

/// Counts a stream from its request to the beginning of its answer.
#[derive(Debug)]
struct Running {
    connection: usize,
    log: Arc<Mutex<Log>>,
}

impl Running {
    fn begin(connection: usize, log: &Arc<Mutex<Log>>) -> Self {
        let mut locked = lock(log);
        let seen = locked.of(connection);
        seen.streams += 1;
        seen.running += 1;
        seen.most = seen.most.max(seen.running);
        drop(locked);
        Self {
            connection,
            log: log.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.log).of(self.connection).running -= 1;
    }
}

#[derive(Clone, Copy, Debug)]
enum Control {
    GoAway,
    Abort(Reason),
    Freeze,
    Close,
}

impl Peer {
    /// Returns a peer with these settings.
    pub fn new<H, F>(builder: Builder, handler: H) -> Self
    where
        H: Fn(Stream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            builder,
            handler: Arc::new(move |stream| Box::pin(handler(stream))),
            log: Arc::default(),
        }
    }

    /// Returns what was seen so far.
    #[must_use]
    pub fn log(&self) -> Log {
        lock(&self.log).clone()
    }

    /// Listens on a port of the loopback interface, and speaks HTTP/2 at once.
    pub async fn listen(&self) -> SocketAddr {
        self.accept(None).await
    }

    /// Listens on a port of the loopback interface behind TLS; what is negotiated is for `config`
    /// to say.
    pub async fn listen_tls(&self, config: ServerConfig) -> SocketAddr {
        self.accept(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    /// Returns a connector whose streams lead to this peer within the process, for tests with a
    /// paused clock.
    #[must_use]
    pub fn connector(&self) -> Connector {
        Connector(self.clone())
    }

    async fn accept(&self, tls: Option<TlsAcceptor>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let peer = self.clone();
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                let _ = io.set_nodelay(true);
                let (peer, tls) = (peer.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => peer.serve(io).await,
                        Some(tls) => {
                            if let Ok(io) = tls.accept(io).await {
                                peer.serve(io).await;
                            }
                        }
                    }
                });
            }
        });
        address
    }

    async fn serve<T: AsyncRead + AsyncWrite + Unpin>(self, io: T) {
        let connection = {
            let mut log = lock(&self.log);
            log.connections.push(ConnectionLog::default());
            log.connections.len() - 1
        };
        self.run(io, connection).await;
        lock(&self.log).of(connection).ended = true;
    }

    async fn run<T: AsyncRead + AsyncWrite + Unpin>(&self, io: T, connection: usize) {
        let Ok(mut frames) = self.builder.handshake(io).await else {
            return;
        };
        let (control, mut controls) = mpsc::unbounded_channel();
        let mut number = 0;
        loop {
            tokio::select! {
                accepted = frames.accept() => {
                    let Some(Ok((request, respond))) = accepted else {
                        return;
                    };
                    let stream = Stream {
                        connection,
                        number,
                        request,
                        respond,
                        control: control.clone(),
                        running: Some(Running::begin(connection, &self.log)),
                    };
                    number += 1;
                    tokio::spawn((self.handler)(stream));
                }
                command = controls.recv() => match command {
                    Some(Control::GoAway) => frames.graceful_shutdown(),
                    Some(Control::Abort(reason)) => frames.abrupt_shutdown(reason),
                    Some(Control::Freeze) => return future::pending().await,
                    Some(Control::Close) | None => return,
                }
            }
        }
    }
}

impl Log {
    /// How many streams were opened on all connections.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.connections.iter().map(|seen| seen.streams).sum()
    }

    fn of(&mut self, connection: usize) -> &mut ConnectionLog {
        let seen = self.connections.get_mut(connection);
        seen.expect("it is logged when it comes")
    }
}

impl Stream {
    /// Answers with a status and a body.
    pub fn answer(mut self, status: u16, body: impl Into<Bytes>) {
        let body = body.into();
        self.running = None;
        let response = Response::builder().status(status).body(());
        let response = response.expect("the test's status is valid");
        let Ok(mut send) = self.respond.send_response(response, body.is_empty()) else {
            return;
        };
        if !body.is_empty() {
            let _ = send.send_data(body, true);
        }
    }

    /// Answers with a head that announces a length, and without a body, as to a HEAD.
    pub fn answer_with_length(mut self, length: u64) {
        let mut head = Response::new(());
        head.headers_mut().insert(CONTENT_LENGTH, length.into());
        let _ = self.respond.send_response(head, true);
    }

    /// Answers with a head and no body: its end comes with the head, or in a frame of its own.
    pub fn answer_head(mut self, head: Response<()>, ends: bool) {
        self.running = None;
        if let Ok(mut send) = self.respond.send_response(head, ends) {
            if !ends {
                let _ = send.send_data(Bytes::new(), true);
            }
        }
    }

    /// Answers after reading the whole request, with what was read.
    pub async fn echo(mut self) {
        let mut whole = Vec::new();
        while let Some(Ok(bytes)) = self.request.body_mut().data().await {
            let _ = self
                .request
                .body_mut()
                .flow_control()
                .release_capacity(bytes.len());
            whole.extend_from_slice(&bytes);
        }
        self.answer(200, whole);
    }

    /// Answers with a head and these pieces of a body, `pause` before each, and no end if `ends`
    /// is false.
    pub async fn drip(mut self, pieces: &[&'static str], pause: Duration, ends: bool) {
        let Ok(mut send) = self.respond.send_response(Response::new(()), false) else {
            return;
        };
        let log = self.running.take().map(|running| running.log.clone());
        for piece in pieces {
            tokio::time::sleep(pause).await;
            let _ = send.send_data(Bytes::from_static(piece.as_bytes()), false);
        }
        if ends {
            let _ = send.send_data(Bytes::new(), true);
        }
        let reset = future::poll_fn(|cx| send.poll_reset(cx)).await;
        note(log, self.connection, &reset);
    }

    /// Refuses it unprocessed.
    pub fn refuse(self) {
        self.reset(Reason::REFUSED_STREAM);
    }

    /// Resets it.
    pub fn reset(mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// Answers with a head, which may announce a length, and the beginning of a body, and resets
    /// it.
    pub async fn break_off(mut self, length: Option<u64>, piece: &'static str, reason: Reason) {
        let mut head = Response::new(());
        if let Some(length) = length {
            head.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        let Ok(mut send) = self.respond.send_response(head, false) else {
            return;
        };
        let _ = send.send_data(Bytes::from_static(piece.as_bytes()), false);
        // A reset takes along what was not written yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
        send.send_reset(reason);
    }

    /// Answers with a head and a body, of which it sends the first `cut` bytes if that is given: then it
    /// resets the stream by the reason, or closes the connection if there is none.
    pub async fn answer_until(
        mut self,
        head: Response<()>,
        body: Bytes,
        cut: Option<(usize, Option<Reason>)>,
    ) {
        self.running = None;
        let end = cut.map_or(body.len(), |(at, _)| at.min(body.len()));
        let Ok(mut send) = self.respond.send_response(head, false) else {
            return;
        };
        let _ = send.send_data(body.slice(..end), cut.is_none());
        let Some((_, reason)) = cut else {
            return;
        };
        // A reset, or the end, takes along what was not written yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match reason {
            Some(reason) => send.send_reset(reason),
            None => self.close(),
        }
    }

    /// Answers with a head; gives what the body is sent by, and what the request's comes from.
    ///
    /// # Panics
    ///
    /// If the client has gone.
    pub fn begin(mut self, head: Response<()>) -> (SendStream<Bytes>, RecvStream) {
        let send = self.respond.send_response(head, false);
        let send = send.expect("the client waits for the response");
        (send, self.request.into_body())
    }

    /// Never answers; ends when the client resets it.
    pub async fn hold(mut self) {
        let reset = future::poll_fn(|cx| self.respond.poll_reset(cx)).await;
        let log = self.running.take().map(|running| running.log.clone());
        note(log, self.connection, &reset);
    }

    /// Lets the connection go away: streams up to this moment are served, others are not.
    pub fn go_away(&self) {
        let _ = self.control.send(Control::GoAway);
    }

    /// Ends the connection with a GOAWAY.
    pub fn abort(&self, reason: Reason) {
        let _ = self.control.send(Control::Abort(reason));
    }

    /// Ends the connection without a word.
    pub fn close(&self) {
        let _ = self.control.send(Control::Close);
    }

    /// Ends the connection by a GOAWAY after this time, when the stream may be long over.
    pub fn go_away_after(&self, time: Duration) {
        let control = self.control.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let _ = control.send(Control::GoAway);
        });
    }

    /// Lets the connection stay open, and read and write nothing any more.
    pub fn freeze(&self) {
        let _ = self.control.send(Control::Freeze);
    }
}

fn note(log: Option<Arc<Mutex<Log>>>, connection: usize, reset: &Result<Reason, h2::Error>) {
    let by_client = matches!(reset, Ok(reason) if *reason != Reason::NO_ERROR);
    if let Some(log) = log {
        lock(&log).of(connection).resets += usize::from(by_client);
    }
}

/// Connects to a [`Peer`] of the same process.
#[derive(Clone, Debug)]
pub struct Connector(Peer);

impl Service<Uri> for Connector {
    type Response = MemoryStream;
    type Error = io::Error;
    type Future = future::Ready<io::Result<MemoryStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(self.0.clone().serve(far));
        future::ready(Ok(MemoryStream::of(TokioIo::new(near))))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
