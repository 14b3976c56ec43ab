//! A client that outlives HTTP/2 connections, against a server that ends each after so many requests.
//!
//! `tests/real-peers/h2c` starts that server and runs this; the arguments are its origin, and the address on which
//! it finds the upstream of `/count`, which runs in here. It runs on one thread unless `--threads` follows: on more,
//! hyper's client now and then loses a request on a connection that is ending, which then waits for ever. That is no
//! outcome that could be retried, only a timeout of the attempt helps, and after it a POST may have been executed.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    env,
    error::Error,
    fmt::Write as _,
    iter,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::HeaderName};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use retry_layer::{
    AttemptOutcome, Exponential, ResponseExt, RetryLayer, RetryPolicy, RetryReport, WaitReason,
    attempt_timeout::{AttemptError, AttemptTimeoutLayer},
    transport,
};
use tokio::{
    net::TcpListener,
    runtime::Builder,
    task::JoinSet,
    time::{Instant, timeout},
};
use tower::{Service, ServiceBuilder, ServiceExt};

type Failure = Box<dyn Error + Send + Sync>;

const REQUESTS: u32 = 10_000;
const IN_FLIGHT: u32 = 32;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Far longer than any answer takes on loopback.
const ATTEMPT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (origin, upstream, mut runtime) = match *arguments.as_slice() {
        [origin, upstream] => (origin, upstream, Builder::new_current_thread()),
        [origin, upstream, "--threads"] => (origin, upstream, Builder::new_multi_thread()),
        _ => return Err("usage: h2c ORIGIN UPSTREAM [--threads]".into()),
    };
    runtime
        .enable_all()
        .build()?
        .block_on(run(origin, upstream))
}

async fn run(origin: &str, upstream: &str) -> Result<ExitCode, Failure> {
    let upstream = Upstream::start(upstream).await?;
    let get = format!("{origin}/");
    let post = format!("{origin}/count");

    println!("{REQUESTS} requests, {IN_FLIGHT} in flight");
    let plain = load(client(), Method::GET, &get, "plain").await;
    plain.print("GET, without the layer");
    let retried = load(retrying()?, Method::GET, &get, "retried").await;
    retried.print("GET, with the layer");

    let plain_post = load(client(), Method::POST, &post, "plain").await;
    plain_post.print("POST, without the layer");
    upstream.print("plain");
    let retried_post = load(retrying()?, Method::POST, &post, "retried").await;
    retried_post.print("POST, with the layer");
    let counted = upstream.print("retried");

    // Without a failure in the plain client, the server did not do what this is about.
    let proven = plain.failures > 0
        && retried.failures == 0
        && retried_post.failures == 0
        && counted.twice == 0
        && counted.once == REQUESTS;
    println!("\n{}", if proven { "as expected" } else { "FAILED" });
    Ok(if proven {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// hyper-util's client by HTTP/2 with prior knowledge; its own retries are off.
fn client<B>() -> Client<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .retry_canceled_requests(false)
        .timer(TokioTimer::new())
        .build_http()
}

/// The same client with the retry layer as it comes, but for the backoff, which loopback need not bear.
fn retrying() -> Result<
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<Incoming>,
        Error = AttemptError<legacy::Error>,
        Future: Send,
    > + Clone
    + Send
    + 'static,
    Failure,
> {
    let backoff = Exponential::from(Duration::from_millis(5));
    let policy = RetryPolicy::builder().backoff(backoff).build()?;
    Ok(ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(AttemptTimeoutLayer::new(ATTEMPT))
        .service(client()))
}

/// Sends all requests, each with an id that starts with `name`.
async fn load<S>(service: S, method: Method, url: &str, name: &str) -> Outcome
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>> + Clone + Send + 'static,
    S::Error: Error + Send + Sync,
    S::Future: Send,
{
    let next = Arc::new(AtomicU32::new(0));
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (service, next) = (service.clone(), Arc::clone(&next));
        let (method, url, name) = (method.clone(), url.to_owned(), name.to_owned());
        workers.spawn(async move {
            let mut outcome = Outcome::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= REQUESTS {
                    return outcome;
                }
                let request = Request::builder()
                    .method(method.clone())
                    .uri(&url)
                    .header(REQUEST_ID, format!("{name}-{number}"))
                    .body(Full::from(if method == Method::POST { "one" } else { "" }))
                    .expect("all parts are valid");
                outcome.add(timeout(PATIENCE, ask(service.clone(), request)).await);
            }
        });
    }
    let mut all = Outcome::default();
    while let Some(outcome) = workers.join_next().await {
        all.merge(outcome.expect("a worker does not panic"));
    }
    all.took = begun.elapsed();
    all
}

async fn ask<S>(service: S, request: Request<Full<Bytes>>) -> Result<RetryReport, String>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>>,
    S::Error: Error + 'static,
{
    let response = service
        .oneshot(request)
        .await
        .map_err(|error| describe(&error))?;
    let report = response.retry_report();
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    response
        .into_body()
        .collect()
        .await
        .map_err(|error| format!("body: {}", describe(&error)))?;
    Ok(report)
}

/// The class that the layer gives to an error, and its chain of sources.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = transport::classify(error).as_str().to_owned();
    for cause in iter::successors(Some(error), |error| (*error).source()) {
        let _ = write!(text, " / {cause}");
    }
    text
}

#[derive(Default)]
struct Outcome {
    successes: u32,
    failures: u32,
    /// How often each kind of failure came, and after which classes a request was sent again.
    kinds: BTreeMap<String, u32>,
    again: BTreeMap<String, u32>,
    took: Duration,
}

impl Outcome {
    fn add(&mut self, result: Result<Result<RetryReport, String>, impl Error>) {
        match result {
            Ok(Ok(report)) => {
                self.successes += 1;
                for attempt in report.attempts() {
                    let Some(wait) = attempt.wait() else { continue };
                    let class = match attempt.outcome() {
                        AttemptOutcome::Error(class) => class.as_str().to_owned(),
                        other => other.to_string(),
                    };
                    let how = match wait.reason() {
                        WaitReason::Resend => "resent for free",
                        _ => "retried after a wait",
                    };
                    *self.again.entry(format!("{class}, {how}")).or_default() += 1;
                }
            }
            Ok(Err(failure)) => self.fail(failure),
            Err(_) => self.fail(format!("no answer within {PATIENCE:?}")),
        }
    }

    fn fail(&mut self, kind: String) {
        self.failures += 1;
        *self.kinds.entry(kind).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.successes += other.successes;
        self.failures += other.failures;
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (how, count) in other.again {
            *self.again.entry(how).or_default() += count;
        }
    }

    fn print(&self, what: &str) {
        let Self {
            successes,
            failures,
            took,
            ..
        } = self;
        println!("\n{what}: {successes} answered, {failures} failed, in {took:.1?}");
        for (kind, count) in self.again.iter().chain(&self.kinds) {
            println!("  {count:>6}  {kind}");
        }
    }
}

/// What the server sends `/count` to: counts how often each request was executed.
#[derive(Clone, Default)]
struct Upstream {
    executed: Arc<Mutex<HashMap<String, u32>>>,
    nameless: Arc<AtomicUsize>,
}

struct Counted {
    once: u32,
    twice: u32,
}

impl Upstream {
    async fn start(addr: &str) -> Result<Self, Failure> {
        let listener = TcpListener::bind(addr).await?;
        let upstream = Self::default();
        let served = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let upstream = served.clone();
                let answer = service_fn(move |request| upstream.clone().answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Ok(upstream)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let headers: HeaderMap = request.headers().clone();
        // Executed only as a whole: half a request is no request.
        let whole = request.into_body().collect().await.is_ok();
        match headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()) {
            Some(id) if whole => {
                let mut executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
                *executed.entry(id.to_owned()).or_default() += 1;
            }
            _ => {
                self.nameless.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(Response::new(Full::from("counted\n")))
    }

    /// Prints and returns how many of the requests with this name were executed once, and more than once.
    fn print(&self, name: &str) -> Counted {
        let executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = Counted { once: 0, twice: 0 };
        for (_, times) in executed
            .iter()
            .filter(|(id, _)| id.split('-').next() == Some(name))
        {
            match times {
                1 => counted.once += 1,
                _ => counted.twice += 1,
            }
        }
        let Counted { once, twice } = counted;
        println!("  executed once: {once}, more than once: {twice}");
        counted
    }
}
