//! The client: callers that ask for all kinds of answers, and now and then do not wait for them.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use pin_project_lite::pin_project;
use session_layer::{Error, Http2, PoolConfig, SessionLayer, Timeouts};
use test_suite::{BytesSession, send};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{Layer, service_fn};
use turmoil::net::TcpStream;

use crate::{
    ledger::{Ledger, Open},
    network::HOSTS,
    server::{ACT, DELAY, GOT, Host, ID, PAUSE, SIZE, byte},
};

/// The limits of the session.
pub(crate) const PER_ORIGIN: usize = 3;
pub(crate) const TOTAL: usize = 8;

const CALLERS: u64 = 24;
const SECOND: Duration = Duration::from_secs(1);

/// Longer than the session's own timeouts together, and the longest answer.
const BOUND: Duration = Duration::from_secs(60);

/// Longer than anything may stay open, or idle, that nobody asks for.
const QUIET: Duration = Duration::from_secs(30);

pub(crate) const ANSWERED: &str = "answered";
pub(crate) const FAILED: &str = "failed: ";

/// What the callers need to know.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Whether the weather is over, and with it the calls.
    pub(crate) over: Arc<AtomicBool>,
    pub(crate) outcomes: Arc<Mutex<BTreeMap<String, u64>>>,
    pub(crate) ledger: Ledger,
}

fn session(ledger: Ledger) -> BytesSession {
    let pool = PoolConfig::default()
        .max_connections(TOTAL)
        .max_connections_per_origin(PER_ORIGIN)
        .max_waiting(64)
        .queue_timeout(6 * SECOND)
        .idle_timeout(2 * SECOND)
        .max_lifetime(20 * SECOND)
        .max_requests_per_connection(200);
    let timeouts = Timeouts::default()
        .connect(3 * SECOND)
        .head(4 * SECOND)
        .body_idle(3 * SECOND);
    let http2 = Http2::default()
        .keep_alive_interval(3 * SECOND)
        .keep_alive_timeout(2 * SECOND);
    SessionLayer::new(pool, timeouts)
        .and_then(|layer| layer.http2(http2))
        .expect("the settings are valid")
        .layer(service_fn(move |uri: Uri| connect(uri, ledger.clone())))
}

/// Every host is `https`, so that what it speaks is known only when the connection is there.
async fn connect(uri: Uri, ledger: Ledger) -> io::Result<Socket> {
    let host = HOSTS.into_iter().find(|host| Some(host.name) == uri.host());
    let host = host.expect("only these are asked");
    let open = ledger.open(host.name);
    let io = TcpStream::connect((host.name, 80)).await?;
    Ok(Socket {
        io: TokioIo::new(io),
        is_http2: host.streams.is_some(),
        _open: open,
    })
}

pin_project! {
    struct Socket {
        #[pin]
        io: TokioIo<TcpStream>,
        is_http2: bool,
        _open: Open,
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.is_http2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().io.poll_read(cx, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}

/// Lets all callers call until the weather is over, and looks at what they leave.
pub(crate) async fn call(plan: Plan) -> turmoil::Result {
    let session = session(plan.ledger.clone());
    let ids = Arc::new(AtomicU64::new(1));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (session, ids) = (session.clone(), ids.clone());
        let (over, outcomes) = (plan.over.clone(), plan.outcomes.clone());
        let mut random = Rng::with_seed(plan.seed ^ (number << 32));
        callers.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(random.u64(0..200))).await;
                let id = ids.fetch_add(1, Ordering::Relaxed);
                let ask = Ask::random(id, &mut random);
                let ended = timeout(BOUND, ask.carry_out(&session)).await;
                let outcome = ended.unwrap_or_else(|_| panic!("call {id} did not end: {ask:?}"));
                let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                *outcomes.entry(outcome).or_default() += 1;
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended?;
    }
    sleep(QUIET).await;
    is_quiet(&session);

    for host in HOSTS {
        let id = ids.fetch_add(1, Ordering::Relaxed);
        let outcome = Ask::plain(id, host).carry_out(&session).await;
        assert_eq!(outcome, ANSWERED, "{host:?}, when all is well again");
    }
    sleep(QUIET).await;
    is_quiet(&session);
    let report = session.close(SECOND).await;
    assert_eq!((report.finished, report.aborted), (0, 0));
    Ok(())
}

fn is_quiet(session: &BytesSession) {
    let stats = session.stats();
    let left = (stats.open, stats.waiting, stats.streams);
    assert_eq!(left, (0, 0, 0), "{stats:?}");
    assert_eq!(stats.opened, stats.closed.total(), "{stats:?}");
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

/// One call, and how far its caller follows it.
#[derive(Clone, Debug)]
struct Ask {
    id: u64,
    host: Host,
    act: &'static str,
    upload: usize,
    size: usize,
    delay: u64,
    pause: u64,
    /// After how many milliseconds it is dropped.
    patience: Option<u64>,
    /// Whether the response's body is dropped after its first piece.
    half: bool,
}

impl Ask {
    fn plain(id: u64, host: Host) -> Self {
        Self {
            id,
            host,
            act: "plain",
            upload: 0,
            size: 10_000,
            delay: 0,
            pause: 0,
            patience: None,
            half: false,
        }
    }

    fn random(id: u64, random: &mut Rng) -> Self {
        let host = random.choice(HOSTS).expect("there are some");
        let act = match random.u8(..100) {
            0..=2 => "close",
            3..=5 => "cut",
            6..=8 => "early",
            9..=40 => "length",
            _ => "plain",
        };
        Self {
            id,
            host,
            act,
            upload: if random.u8(..5) == 0 {
                random.usize(..60_000)
            } else {
                0
            },
            size: if random.u8(..3) == 0 {
                random.usize(..30_000)
            } else {
                random.usize(..200)
            },
            delay: random.u64(..100),
            pause: random.u64(..20),
            patience: (random.u8(..8) == 0).then(|| random.u64(..600)),
            half: random.u8(..20) == 0,
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::builder()
            .method(if self.upload > 0 { "POST" } else { "GET" })
            .uri(format!("https://{}/", self.host.name))
            .header(ID, self.id)
            .header(ACT, self.act)
            .header(SIZE, self.size)
            .header(DELAY, self.delay)
            .header(PAUSE, self.pause)
            .body(Full::from(vec![7; self.upload]))
            .expect("all parts are valid")
    }

    async fn carry_out(&self, session: &BytesSession) -> String {
        let call = self.call(session);
        let ended = match self.patience {
            None => call.await,
            Some(patience) => match timeout(Duration::from_millis(patience), call).await {
                Ok(ended) => ended,
                Err(_) => return "dropped by its caller".into(),
            },
        };
        let expected = matches!(self.act, "close" | "cut");
        match ended {
            Ok(outcome) => outcome.into(),
            Err(error) if expected => format!("asked to fail: {}", kind(&error)),
            // An answer before the end of the request is the server's right to give, and to end with a reset.
            Err(error) if self.act == "early" => format!("cut early: {}", kind(&error)),
            Err(error) => format!("{FAILED}{}", kind(&error)),
        }
    }

    async fn call(&self, session: &BytesSession) -> Result<&'static str, Error> {
        let response = send(session, self.request()).await?;
        let said = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok()?.parse::<u64>().ok()
        };
        assert_eq!(said(ID), Some(self.id), "an answer to another request");
        if let Some(got) = said(GOT) {
            assert_eq!(usize::try_from(got), Ok(self.upload));
        }
        let mut body = response.into_body();
        let mut at = 0;
        while let Some(frame) = body.frame().await {
            for &seen in frame?.data_ref().into_iter().flatten() {
                assert_eq!(seen, byte(self.id, at), "byte {at} of {self:?}");
                at += 1;
            }
            if self.half {
                return Ok("body dropped by its caller");
            }
        }
        assert_eq!(at, self.size, "{self:?} ended early, and well");
        assert_ne!(self.act, "cut", "{self:?} ended well");
        Ok(ANSWERED)
    }
}

fn kind(error: &Error) -> &'static str {
    let kinds = [
        (error.is_timeout(), "timeout"),
        (error.is_connect(), "connect"),
        (error.is_pool_timeout(), "pool timeout"),
        (error.is_queue_full(), "queue full"),
        (error.is_closed(), "closed"),
        (error.is_stale(), "stale"),
        (error.is_unprocessed(), "refused"),
        (error.is_reset(), "reset"),
        (error.is_broken(), "broken"),
        (error.is_unsent(), "unsent"),
        (error.is_response_body(), "body broke off"),
        (error.is_protocol(), "protocol"),
    ];
    let found = kinds.into_iter().find(|(is, _)| *is);
    found.map_or("something else", |(_, kind)| kind)
}
