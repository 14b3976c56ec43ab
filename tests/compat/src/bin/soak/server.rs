//! Servers that fail, hang and restart.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use h2::Reason;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Channel, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::call::{Call, HEADER};

/// Why there is no answer. hyper sends the reason of the cause, if there is one, as the code of the reset.
#[derive(Debug)]
struct Failure(Option<h2::Error>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault that was asked for")
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map(|reason| reason as _)
    }
}

type Answer = Response<BoxBody<Bytes, Failure>>;

/// How many of a hundred answers are a fault.
const FAULTS: u8 = 30;

/// How long a server is up, and away.
const UP: Duration = Duration::from_secs(7);
const AWAY: Duration = Duration::from_millis(150);

/// Longer than any timeout of the client.
const FOR_EVER: Duration = Duration::from_secs(20);

/// The most that a good answer takes.
const LATENCY: u64 = 250;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// 503, and nothing was done.
    Busy,
    /// 429 with `Retry-After: 0`, and nothing was done.
    Throttled,
    /// The connection or stream ends before the request is executed.
    BrokenBefore,
    /// It ends after the request was executed.
    BrokenAfter,
    /// `REFUSED_STREAM`, or over HTTP/1 what `BrokenBefore` is.
    Refused,
    /// The body breaks off.
    CutBody,
    /// No head comes.
    Hang,
    /// No body comes.
    HangBody,
    /// The answer is good, and its connection takes no more requests: `Connection: close`, or GOAWAY.
    Leaves,
    /// Good, and late.
    Slow,
}

const ALL: [Fault; 10] = [
    Fault::Busy,
    Fault::Throttled,
    Fault::BrokenBefore,
    Fault::BrokenAfter,
    Fault::Refused,
    Fault::CutBody,
    Fault::Hang,
    Fault::HangBody,
    Fault::Leaves,
    Fault::Slow,
];

/// How often each POST was executed, by worker and number.
#[derive(Debug)]
pub(crate) struct Executed(Vec<Mutex<Vec<u8>>>);

impl Executed {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    fn note(&self, call: Call) {
        let Some(worker) = self.0.get(call.worker) else {
            return;
        };
        let mut counts = worker.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() <= call.number {
            counts.resize(call.number + 1, 0);
        }
        if let Some(count) = counts.get_mut(call.number) {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn of(&self, call: Call) -> u8 {
        let counts = self.0.get(call.worker).map(Mutex::lock);
        let counts = counts.map(|counts| counts.unwrap_or_else(PoisonError::into_inner));
        let count = counts.and_then(|counts| counts.get(call.number).copied());
        count.unwrap_or(0)
    }

    /// How many were executed more than once.
    pub(crate) fn twice(&self) -> usize {
        let counts = self.0.iter().map(|worker| {
            let counts = worker.lock().unwrap_or_else(PoisonError::into_inner);
            counts.iter().filter(|count| **count > 1).count()
        });
        counts.sum()
    }

    /// How many bytes this takes.
    pub(crate) fn bytes(&self) -> usize {
        let counts = self.0.iter().map(|worker| {
            let counts = worker.lock().unwrap_or_else(PoisonError::into_inner);
            counts.capacity()
        });
        counts.sum()
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    protocol: Protocol,
    rng: Mutex<Rng>,
    executed: Arc<Executed>,
    requests: AtomicU64,
    faults: [AtomicU64; ALL.len()],
    restarts: AtomicU64,
}

impl Server {
    pub(crate) async fn start(
        protocol: Protocol,
        seed: u64,
        executed: Arc<Executed>,
    ) -> io::Result<Self> {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            protocol,
            rng: Mutex::new(Rng::with_seed(
                seed ^ u64::from(protocol == Protocol::Http2),
            )),
            executed,
            requests: AtomicU64::new(0),
            faults: Default::default(),
            restarts: AtomicU64::new(0),
        });
        let task = tokio::spawn(restarting(shared.clone(), listener, address));
        // So that the first connect finds it.
        tokio::task::yield_now().await;
        Ok(Self {
            protocol,
            address,
            shared,
            task: Some(task),
        })
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (requests, restarts) = (read(&self.shared.requests), read(&self.shared.restarts));
        write!(
            f,
            "{:?}: {requests} requests, {restarts} restarts; ",
            self.protocol
        )?;
        for (fault, count) in ALL.iter().zip(&self.shared.faults) {
            write!(f, "{fault:?} {}, ", read(count))?;
        }
        Ok(())
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

/// Serves for a while, drops everything, is away for a while, and begins anew.
async fn restarting(shared: Arc<Shared>, first: TcpListener, address: SocketAddr) {
    let mut listener = Some(first);
    loop {
        let Some(open) = listener.take().or_else(|| bind(address).ok()) else {
            sleep(AWAY).await;
            continue;
        };
        // The connections and the listener end with it.
        let _ = timeout(UP, accepting(&shared, open)).await;
        shared.restarts.fetch_add(1, Ordering::Relaxed);
        sleep(AWAY).await;
    }
}

async fn accepting(shared: &Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if let Ok((io, _)) = listener.accept().await {
            let _ = io.set_nodelay(true);
            connections.spawn(serve(shared.clone(), io));
        }
    }
}

async fn serve(shared: Arc<Shared>, io: TcpStream) {
    let leaves = Arc::new(Notify::new());
    let (protocol, told) = (shared.protocol, leaves.clone());
    let service = service_fn(move |request| {
        let (shared, leaves) = (shared.clone(), leaves.clone());
        async move { shared.answer(request, &leaves).await }
    });
    match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            let builder = builder.timer(TokioTimer::new());
            let _ = builder.serve_connection(TokioIo::new(io), service).await;
        }
        Protocol::Http2 => {
            let builder = http2::Builder::new(TokioExecutor::new());
            let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
            tokio::select! {
                _ = &mut connection => return,
                () = told.notified() => connection.as_mut().graceful_shutdown(),
            }
            // What hangs on it would keep it for ever.
            let _ = timeout(FOR_EVER, connection).await;
        }
    }
}

impl Shared {
    fn draw(&self) -> (Option<Fault>, Duration) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let number = rng.usize(..ALL.len());
        let fault = (rng.u8(..100) < FAULTS).then(|| ALL.get(number).copied());
        if let (Some(_), Some(counter)) = (fault, self.faults.get(number)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        (fault.flatten(), Duration::from_millis(rng.u64(..LATENCY)))
    }

    async fn answer(&self, request: Request<Incoming>, leaves: &Notify) -> Result<Answer, Failure> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let call = request.headers().get(HEADER).and_then(Call::from_header);
        let call = call.ok_or(Failure(None))?;
        let is_post = request.method() == Method::POST;
        let (fault, latency) = self.draw();
        // The whole request, as a server that executes it has to have it.
        let read = request.into_body().collect().await;
        read.map_err(|_| Failure(None))?;
        sleep(latency).await;
        match fault {
            Some(Fault::Busy) => return Ok(status(503, None)),
            Some(Fault::Throttled) => return Ok(status(429, Some("0"))),
            Some(Fault::BrokenBefore) => return Err(Failure(None)),
            Some(Fault::Refused) => return Err(Failure(Some(Reason::REFUSED_STREAM.into()))),
            _ => {}
        }
        if is_post {
            self.executed.note(call);
        }
        let whole = Bytes::from(call.answer());
        match fault {
            Some(Fault::BrokenAfter) => return Err(Failure(None)),
            Some(Fault::Hang) => {
                sleep(FOR_EVER).await;
                return Err(Failure(None));
            }
            Some(Fault::CutBody) => return Ok(broken(&whole, Duration::ZERO)),
            Some(Fault::HangBody) => return Ok(broken(&whole, FOR_EVER)),
            Some(Fault::Slow) => sleep(latency).await,
            Some(Fault::Leaves) => leaves.notify_one(),
            _ => {}
        }
        let mut answer = Response::new(Full::new(whole).map_err(|never| match never {}).boxed());
        if matches!(fault, Some(Fault::Leaves)) && self.protocol == Protocol::Http1 {
            let close = http::HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(answer)
    }
}

fn status(status: u16, retry_after: Option<&'static str>) -> Answer {
    let mut builder = Response::builder().status(status);
    if let Some(value) = retry_after {
        builder = builder.header(header::RETRY_AFTER, value);
    }
    let body = Full::new(Bytes::from_static(b"not now"));
    let answer = builder.body(body.map_err(|never| match never {}).boxed());
    answer.expect("the parts are valid")
}

/// A head that announces all of this, and a body that ends before.
fn broken(whole: &Bytes, after: Duration) -> Answer {
    let (mut sender, body) = Channel::<Bytes, Failure>::new(2);
    let (half, length) = (whole.slice(..whole.len() / 2), whole.len());
    tokio::spawn(async move {
        let _ = sender.send_data(half).await;
        // Whoever waits for the body gives up first, or the connection ends.
        tokio::select! {
            () = sleep(after) => sender.abort(Failure(None)),
            () = async { while sender.send_data(Bytes::new()).await.is_ok() { sleep(Duration::from_millis(100)).await } } => {}
        }
    });
    let mut answer = Response::new(body.boxed());
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length.into());
    answer
}
