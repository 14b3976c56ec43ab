//! What a call that succeeds at once costs above the service below, in instructions and
//! allocations, beside `tower::retry` in the same run.
//!
//! ```text
//! cargo bench -p retry-layer --bench overhead
//! ```
//!
//! It needs [valgrind](https://valgrind.org), and runs itself below it: each case twice, with
//! different numbers of calls, so that the difference is what the calls cost, to the instruction.
//! To see where one case spends them:
//!
//! ```text
//! valgrind --tool=callgrind --dump-instr=yes target/release/deps/overhead-* plain 20000
//! callgrind_annotate callgrind.out.*
//! ```
#![allow(clippy::unwrap_used, reason = "a benchmark fails by its panic")]

use std::{
    alloc::System,
    convert::Infallible,
    env,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::{Pin, pin},
    process::Command,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::{Empty, Full};
use retry_layer::{
    Retry, RetryPolicy,
    breaker::{Breaker, CircuitBreaker},
    health::Ledger,
    hedge::{HedgeBody, HedgeLayer, Hedging, HedgingBuilder},
    pause::{Pause, SharedPause},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{
    Layer, Service,
    retry::{
        Policy, RetryLayer as TowerRetryLayer,
        budget::{Budget, TpsBudget},
    },
    service_fn,
};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Reply = Result<Response<Empty<Bytes>>, Infallible>;

/// A case by its name: what is measured, and the case whose cost is taken off.
const CASES: [(&str, &str, &str); 16] = [
    ("once", "bare", "one attempt only"),
    ("plain", "bare", "no headers, no body"),
    ("unsafe", "bare", "POST, no headers, no body"),
    ("headers", "bare-headers", "four headers, no body"),
    ("body", "bare-body", "no headers, a body of bytes"),
    ("hedge-unused", "bare", "no headers, a `HedgeLayer` below"),
    (
        "hedge-fixed",
        "bare",
        "no headers, hedged after a fixed delay",
    ),
    (
        "hedge-learned",
        "bare",
        "no headers, hedged after a learned one",
    ),
    (
        "resilience-hedge",
        "bare",
        "tower-resilience's hedge, no headers",
    ),
    ("breaker", "bare", "a closed circuit"),
    ("pause", "bare", "a partition that is not paused"),
    ("both", "bare", "both of these, with one ledger"),
    (
        "resilience",
        "bare",
        "tower-resilience's circuit breaker, closed",
    ),
    ("tower-once", "bare", "tower::retry, not cloned"),
    ("tower", "bare", "tower::retry, no headers, no body"),
    (
        "tower-headers",
        "bare-headers",
        "tower::retry, four headers",
    ),
];

fn main() {
    let mut arguments = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    match (arguments.next(), arguments.next()) {
        (Some(case), Some(calls)) => {
            let allocations = run(&case, calls.parse().expect("a number of calls"));
            println!("{allocations}");
        }
        _ => table(),
    }
}

fn table() {
    println!("| above the service below | instructions | allocations |\n|---|---|---|");
    for (case, base, text) in CASES {
        let (Some(case), Some(base)) = (measure(case), measure(base)) else {
            println!("valgrind is needed: nothing was measured");
            return;
        };
        let instructions = case.instructions.saturating_sub(base.instructions);
        let allocations = case.allocations.saturating_sub(base.allocations);
        println!("| {text} | {instructions} | {allocations} |");
    }
}

struct Cost {
    instructions: u64,
    allocations: u64,
}

/// The cost of one call: the difference between two runs.
fn measure(case: &str) -> Option<Cost> {
    const FEW: u64 = 1_000;
    const MANY: u64 = 11_000;
    let (few, many) = (callgrind(case, FEW)?, callgrind(case, MANY)?);
    let each = |few: u64, many: u64| many.saturating_sub(few) / (MANY - FEW);
    Some(Cost {
        instructions: each(few.instructions, many.instructions),
        allocations: each(few.allocations, many.allocations),
    })
}

fn callgrind(case: &str, calls: u64) -> Option<Cost> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .args([case, &calls.to_string()])
        .output()
        .ok()?;
    let log = String::from_utf8_lossy(&output.stderr);
    let (_, collected) = log.split_once("Collected : ")?;
    Some(Cost {
        instructions: collected.split_whitespace().next()?.parse().ok()?,
        allocations: String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .ok()?,
    })
}

fn run(case: &str, calls: usize) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.unwrap();
    let _entered = runtime.enter();
    let policy = RetryPolicy::default();
    let single = || {
        let once = RetryPolicy::builder()
            .max_attempts(1)
            .without_transparent_retries();
        once.build().unwrap()
    };
    let get = Example::new(Method::GET);
    match case {
        "bare" => get.send(calls, service_fn(answer), Empty::<Bytes>::new),
        "bare-headers" => get
            .with_headers()
            .send(calls, service_fn(answer), Empty::<Bytes>::new),
        "bare-body" => get.send(calls, service_fn(answer), full),
        "once" => get.send(
            calls,
            Retry::new(service_fn(answer), single()),
            Empty::<Bytes>::new,
        ),
        "plain" => get.send(
            calls,
            Retry::new(service_fn(answer), policy),
            Empty::<Bytes>::new,
        ),
        "unsafe" => Example::new(Method::POST).send(
            calls,
            Retry::new(service_fn(answer), policy),
            Empty::<Bytes>::new,
        ),
        "headers" => get.with_headers().send(
            calls,
            Retry::new(service_fn(answer), policy),
            Empty::<Bytes>::new,
        ),
        "hedge-unused" => get.send(calls, hedged(policy), Empty::<Bytes>::new),
        "hedge-fixed" => {
            let hedging = Hedging::after(Duration::from_secs(1));
            get.send(calls, hedged(hedging_policy(hedging)), Empty::<Bytes>::new)
        }
        "hedge-learned" => {
            let hedging = Hedging::learned();
            get.send(calls, hedged(hedging_policy(hedging)), Empty::<Bytes>::new)
        }
        "body" => get.send(calls, Retry::new(service_fn(answer), policy), full),
        "resilience-hedge" => get.send(calls, resilience_hedge(), Empty::<Bytes>::new),
        "breaker" => get.send(
            calls,
            CircuitBreaker::new(service_fn(answer), Breaker::default()),
            Empty::<Bytes>::new,
        ),
        "pause" => get.send(
            calls,
            SharedPause::new(service_fn(answer), Pause::default()),
            Empty::<Bytes>::new,
        ),
        "both" => {
            let ledger = Ledger::default();
            let breaker = Breaker::builder().ledger(ledger.clone()).build().unwrap();
            let pause = Pause::builder().ledger(ledger).build().unwrap();
            let service = SharedPause::new(service_fn(answer), pause);
            get.send(
                calls,
                CircuitBreaker::new(service, breaker),
                Empty::<Bytes>::new,
            )
        }
        "resilience" => get.send(calls, resilience(), Empty::<Bytes>::new),
        "tower-once" => Example::new(Method::POST).send(calls, tower(), Empty::<Bytes>::new),
        "tower" => get.send(calls, tower(), Empty::<Bytes>::new),
        "tower-headers" => get.with_headers().send(calls, tower(), Empty::<Bytes>::new),
        unknown => panic!("no case is named {unknown}"),
    }
}

fn hedging_policy(hedging: HedgingBuilder) -> RetryPolicy {
    let hedging = hedging.build().unwrap();
    RetryPolicy::builder().hedging(hedging).build().unwrap()
}

fn hedged(
    policy: RetryPolicy,
) -> impl Service<Request<Empty<Bytes>>, Response = Response<HedgeBody<Empty<Bytes>>>, Error = Infallible>
{
    Retry::new(HedgeLayer::new().layer(service_fn(answer)), policy)
}

fn full() -> Full<Bytes> {
    Full::new(Bytes::from_static(b"body"))
}

/// The service below: it drops what it gets, and its answer is ready. Its future is empty, so
/// that what is measured is the layer, and not how the answer of a mock is carried about.
fn answer<B>(request: Request<B>) -> Answering {
    drop(black_box(request));
    Answering
}

struct Answering;

impl Future for Answering {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Reply> {
        Poll::Ready(Ok(black_box(Response::new(Empty::new()))))
    }
}

struct Example {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Example {
    fn new(method: Method) -> Self {
        Self {
            method,
            uri: "http://example.com/path".parse().unwrap(),
            headers: HeaderMap::new(),
        }
    }

    fn with_headers(mut self) -> Self {
        let value = HeaderValue::from_static("value");
        for name in [ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT] {
            self.headers.insert(name, value.clone());
        }
        self
    }

    /// Sends so many requests, and tells how often memory was allocated meanwhile.
    fn send<S, B, R>(&self, calls: usize, mut service: S, body: fn() -> B) -> usize
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        let mut cx = Context::from_waker(Waker::noop());
        let region = Region::new(ALLOCATOR);
        for _ in 0..calls {
            let mut request = Request::new(body());
            *request.method_mut() = self.method.clone();
            *request.uri_mut() = self.uri.clone();
            if !self.headers.is_empty() {
                *request.headers_mut() = self.headers.clone();
            }
            assert!(service.poll_ready(&mut cx).is_ready());
            let response = pin!(service.call(request));
            let Poll::Ready(Ok(response)) = black_box(response.poll(&mut cx)) else {
                panic!("the service answers at once");
            };
            drop(black_box(response));
        }
        region.change().allocations
    }
}

/// After the same fixed delay. It needs a runtime for its timer, which it makes for each call.
fn resilience_hedge() -> impl Service<Request<Empty<Bytes>>, Response = Response<Empty<Bytes>>> {
    tower_resilience_hedge::HedgeLayer::builder()
        .delay(Duration::from_secs(1))
        .build()
        .layer(service_fn(answer))
}

/// With a tokio runtime's clock, which it reads with each call.
fn resilience()
-> impl Service<Request<Empty<Bytes>>, Response = Response<Empty<Bytes>>, Error: std::fmt::Debug> {
    let layer = CircuitBreakerLayer::builder()
        .consecutive_failures(7)
        .build()
        .unwrap();
    layer.layer(service_fn(answer))
}

fn tower()
-> impl Service<Request<Empty<Bytes>>, Response = Response<Empty<Bytes>>, Error = Infallible> {
    TowerRetryLayer::new(Statuses {
        left: 2,
        budget: Arc::default(),
    })
    .layer(service_fn(answer))
}

/// As much as a policy of `tower::retry` needs: statuses, methods, attempts, a budget.
#[derive(Clone)]
struct Statuses {
    left: u32,
    budget: Arc<TpsBudget>,
}

impl Policy<Request<Empty<Bytes>>, Response<Empty<Bytes>>, Infallible> for Statuses {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<Empty<Bytes>>, result: &mut Reply) -> Option<Self::Future> {
        let response = result.as_ref().ok()?;
        if !matches!(response.status().as_u16(), 408 | 429 | 500 | 502..=504) {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Empty<Bytes>>) -> Option<Request<Empty<Bytes>>> {
        request.method().is_idempotent().then(|| request.clone())
    }
}
