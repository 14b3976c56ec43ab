//! The circuit breaker, alone and below and above the retry layer.

use std::{
    error::Error,
    io,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use retry_layer::{
    Class, Jitter, ReplayBody, ResponseExt, Retry, RetryPolicy, StopReason,
    breaker::{
        Breaker, BreakerBuilder, BreakerError, BreakerFuture, BreakerLayer, CircuitBreaker,
        CircuitOpen, CircuitState, OpenReason, SuccessRate,
    },
    health::{HealthObserver, Ledger, PartitionKey},
    transport,
};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Failure, Peer, RefusedBody, Reply, io_error, status};

const SECOND: Duration = Duration::from_secs(1);

type Sent = Request<ReplayBody<Empty<Bytes>>>;
type Answer = Result<Response<RefusedBody>, BreakerError<Failure>>;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// Two failures open it, for exactly a second at first.
fn builder() -> BreakerBuilder {
    Breaker::builder()
        .consecutive_failures(number(2))
        .jitter_percent(0)
        .max_wait(8 * SECOND)
}

fn breaker() -> Breaker {
    builder().build().unwrap()
}

fn request(uri: &str) -> Sent {
    let request = Request::get(uri).body(ReplayBody::passing(Empty::new()));
    request.unwrap()
}

fn peer() -> PartitionKey {
    PartitionKey::of(&Uri::from_static("http://peer/"))
}

/// A breaker over a scripted peer.
struct Stack {
    breaker: Breaker,
    peer: Peer,
    service: CircuitBreaker<Peer>,
}

impl Stack {
    fn new(breaker: Breaker, replies: impl IntoIterator<Item = Reply>) -> Self {
        let peer = Peer::new(replies);
        let service = BreakerLayer::new(breaker.clone()).layer(peer.handle());
        Self {
            breaker,
            peer,
            service,
        }
    }

    async fn ask(&mut self) -> Answer {
        self.ask_at("http://peer/").await
    }

    async fn ask_at(&mut self, uri: &str) -> Answer {
        self.begin(uri).await.await
    }

    /// Sends a request, and leaves it to the caller to poll the answer.
    async fn begin(&mut self, uri: &str) -> BreakerFuture<<Peer as Service<Sent>>::Future> {
        let ready = ServiceExt::<Sent>::ready(&mut self.service).await;
        ready.unwrap().call(request(uri))
    }

    fn state(&self) -> CircuitState {
        self.breaker.state(&peer())
    }

    fn sent(&self) -> usize {
        self.peer.seen().len()
    }
}

fn refusal(answer: Answer) -> CircuitOpen {
    answer.unwrap_err().into_inner().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_the_circuit_and_nothing_more_is_sent() {
    let mut stack = Stack::new(
        breaker(),
        [status(503), io_error(io::ErrorKind::ConnectionReset)],
    );
    assert_eq!(stack.ask().await.unwrap().status(), 503);
    assert_eq!(stack.state(), CircuitState::Closed);
    assert!(!stack.ask().await.unwrap_err().is_open());
    assert_eq!(stack.state(), CircuitState::Open);

    let refused = refusal(stack.ask().await);
    assert_eq!(refused.key(), &peer());
    assert_eq!(refused.retry_after(), Some(SECOND));
    assert_eq!(
        refused.to_string(),
        "the circuit of http://peer is open for 1.0s"
    );
    assert_eq!(stack.sent(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_ledger_tells_what_failed_lately() {
    let mut stack = Stack::new(builder().build().unwrap(), [503, 200, 503].map(status));
    for expected in [(1, 1), (0, 1), (1, 2)] {
        let _ = stack.ask().await;
        let health = stack.breaker.ledger().health(&peer());
        let failures = (health.failures_in_a_row(), health.recent_failures());
        assert_eq!(failures, expected);
        assert_eq!(health.recent_throttled(), 0);
    }
    let last = Instant::now();
    advance(10 * SECOND).await;
    let health = stack.breaker.ledger().health(&peer());
    assert_eq!(health.recent_failures(), 0);
    assert_eq!(health.last_failure(), Some(last));
}

#[tokio::test(start_paused = true)]
async fn by_default_seven_failures_open_it_for_one_to_one_and_a_half_seconds() {
    let mut stack = Stack::new(Breaker::default(), (0..7).map(|_| status(500)));
    for _ in 0..7 {
        assert_eq!(stack.state(), CircuitState::Closed);
        stack.ask().await.unwrap();
    }
    let wait = refusal(stack.ask().await).retry_after().unwrap();
    assert!(SECOND <= wait && wait <= SECOND * 3 / 2, "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_success_of_a_probe_closes_it_and_a_failure_doubles_the_wait() {
    let replies = [503, 503, 500, 429, 404, 200].map(status);
    let mut stack = Stack::new(breaker(), replies);
    for _ in 0..2 {
        stack.ask().await.unwrap();
    }
    for wait in [1, 2, 4] {
        let wait = wait * SECOND;
        assert_eq!(refusal(stack.ask().await).retry_after(), Some(wait));
        advance(wait).await;
        assert_eq!(stack.state(), CircuitState::HalfOpen);
        stack.ask().await.unwrap();
    }
    // The 404 shows that the server works.
    assert_eq!(stack.state(), CircuitState::Closed);
    assert_eq!(stack.ask().await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn statuses_below_500_and_a_429_open_nothing() {
    let replies = [400, 404, 408, 429, 499, 429, 401, 429].map(status);
    let mut stack = Stack::new(
        builder().consecutive_failures(number(1)).build().unwrap(),
        replies,
    );
    for _ in 0..8 {
        stack.ask().await.unwrap();
    }
    assert_eq!(stack.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn retry_after_lengthens_the_wait_up_to_its_bound() {
    for (hint, shortest, longest) in [("5", 5.0, 5.5), ("0", 1.0, 1.0), ("86400", 20.0, 22.0)] {
        let breaker = builder().consecutive_failures(number(1));
        let breaker = breaker.max_retry_after(20 * SECOND).build().unwrap();
        let mut stack = Stack::new(breaker, [status(503).header("retry-after", hint)]);
        stack.ask().await.unwrap();
        let wait = refusal(stack.ask().await).retry_after().unwrap();
        let wait = wait.as_secs_f64();
        assert!(shortest <= wait && wait <= longest, "{hint}: {wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn origins_have_circuits_of_their_own() {
    let mut stack = Stack::new(breaker(), [503, 503, 200, 200].map(status));
    for _ in 0..2 {
        stack.ask_at("http://user@PEER:80/path").await.unwrap();
    }
    assert!(stack.ask().await.unwrap_err().is_open());
    assert!(stack.ask_at("http://peer:81/").await.is_ok());
    assert!(stack.ask_at("https://peer/").await.is_ok());
    assert_eq!(
        stack.breaker.open_circuits(),
        [(peer(), CircuitState::Open)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_closure_gives_tenants_circuits_of_their_own() {
    let ledger = Ledger::builder().key_by(|head| {
        let tenant = head.uri().query()?;
        Some(PartitionKey::named(tenant))
    });
    let breaker = builder().ledger(ledger.build().unwrap());
    let mut stack = Stack::new(breaker.build().unwrap(), [503, 503, 200, 200].map(status));
    for _ in 0..2 {
        stack.ask_at("http://peer/?one").await.unwrap();
    }
    let refused = refusal(stack.ask_at("http://elsewhere/?one").await);
    assert_eq!(refused.key(), &PartitionKey::named("one"));
    assert!(stack.ask_at("http://peer/?two").await.is_ok());
    assert!(stack.ask().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_probe_at_a_time_is_sent() {
    let replies = [
        status(503),
        status(503),
        status(200).taking(SECOND / 2),
        status(200),
    ];
    let mut stack = Stack::new(breaker(), replies);
    for _ in 0..2 {
        stack.ask().await.unwrap();
    }
    advance(SECOND).await;
    let probe = stack.begin("http://peer/").await;
    let probe = tokio::spawn(probe);
    tokio::task::yield_now().await;
    assert!(stack.ask().await.unwrap_err().is_open());
    assert_eq!(probe.await.unwrap().unwrap().status(), 200);
    assert!(stack.ask().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_counts_neither_way_and_frees_its_place() {
    let replies = [
        status(503),
        status(503),
        status(200).taking(SECOND),
        status(200),
    ];
    let mut stack = Stack::new(breaker(), replies);
    for _ in 0..2 {
        stack.ask().await.unwrap();
    }
    advance(SECOND).await;
    let mut probe = Box::pin(stack.begin("http://peer/").await);
    assert!(futures_poll(&mut probe).is_pending());
    assert!(stack.ask().await.unwrap_err().is_open());
    drop(probe);
    assert_eq!(stack.state(), CircuitState::HalfOpen);
    assert!(stack.ask().await.is_ok());
    assert_eq!(stack.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_never_polled_frees_its_place_too() {
    let mut stack = Stack::new(breaker(), [503, 503, 200, 200].map(status));
    for _ in 0..2 {
        stack.ask().await.unwrap();
    }
    advance(SECOND).await;
    drop(stack.begin("http://peer/").await);
    assert_eq!(stack.state(), CircuitState::HalfOpen);
    assert!(stack.ask().await.is_ok());
    assert_eq!(stack.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_the_circuit_is_closed_counts_neither_way() {
    let replies = [status(503), status(200).taking(SECOND), status(503)];
    let mut stack = Stack::new(breaker(), replies);
    stack.ask().await.unwrap();
    let mut dropped = Box::pin(stack.begin("http://peer/").await);
    assert!(futures_poll(&mut dropped).is_pending());
    drop(dropped);
    assert_eq!(stack.state(), CircuitState::Closed);
    stack.ask().await.unwrap();
    assert_eq!(stack.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_circuit_opened_decides_nothing_afterwards() {
    let replies = [
        status(503).taking(3 * SECOND),
        status(503),
        status(503),
        status(200),
    ];
    let mut stack = Stack::new(breaker(), replies);
    let slow = tokio::spawn(stack.begin("http://peer/").await);
    tokio::task::yield_now().await;
    for _ in 0..2 {
        stack.ask().await.unwrap();
    }
    advance(SECOND).await;
    assert!(stack.ask().await.is_ok());
    assert_eq!(stack.state(), CircuitState::Closed);
    assert_eq!(slow.await.unwrap().unwrap().status(), 503);
    // As if it had not been: one failure alone opens nothing.
    assert_eq!(stack.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_low_success_rate_opens_the_circuit() {
    let rate = SuccessRate::new(60, 10 * SECOND).min_requests(number(10));
    let breaker = builder().no_consecutive_failures().success_rate(rate);
    let statuses = [200, 503, 200, 503, 200, 503, 200, 503, 200, 503];
    let mut stack = Stack::new(breaker.build().unwrap(), statuses.map(status));
    for _ in 0..10 {
        assert_eq!(stack.state(), CircuitState::Closed);
        stack.ask().await.unwrap();
    }
    assert_eq!(stack.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_failures_among_many_successes_opens_nothing_by_the_rate() {
    let rate = SuccessRate::new(80, 10 * SECOND);
    let breaker = builder().no_consecutive_failures().success_rate(rate);
    let statuses = (0..1_000).map(|_| 200).chain((0..100).map(|_| 503));
    let mut stack = Stack::new(breaker.build().unwrap(), statuses.map(status));
    for _ in 0..1_100 {
        stack.ask().await.unwrap();
    }
    assert_eq!(stack.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_opened_and_closed_by_hand() {
    let mut stack = Stack::new(breaker(), [200, 200].map(status));
    stack.ask().await.unwrap();
    assert!(stack.breaker.open(&peer()));
    advance(3_600 * SECOND).await;
    let refused = refusal(stack.ask().await);
    assert_eq!(refused.retry_after(), None);
    stack.breaker.close(&peer());
    assert!(stack.ask().await.is_ok());
    // One that was never asked can be opened too.
    let other = PartitionKey::of(&Uri::from_static("http://other/"));
    assert!(stack.breaker.open(&other));
    assert!(stack.ask_at("http://other/").await.unwrap_err().is_open());
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl HealthObserver for Log {
    fn circuit_opened(&self, key: &PartitionKey, reason: OpenReason, wait: Option<Duration>) {
        let line = format!("{key} opened: {reason}, {wait:?}");
        self.0.lock().unwrap().push(line);
    }

    fn circuit_half_opened(&self, key: &PartitionKey) {
        self.0.lock().unwrap().push(format!("{key} half-opened"));
    }

    fn circuit_closed(&self, key: &PartitionKey) {
        self.0.lock().unwrap().push(format!("{key} closed"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_each_change() {
    let log = Arc::new(Log::default());
    let ledger = Ledger::builder().observer(log.clone()).build().unwrap();
    let breaker = builder().ledger(ledger).build().unwrap();
    let mut stack = Stack::new(breaker, [503, 503, 503, 200].map(status));
    for _ in 0..2 {
        stack.ask().await.unwrap();
    }
    advance(SECOND).await;
    stack.ask().await.unwrap();
    advance(2 * SECOND).await;
    stack.ask().await.unwrap();
    stack.breaker.open(&peer());
    stack.breaker.close(&peer());
    stack.breaker.close(&peer());
    assert_eq!(
        *log.0.lock().unwrap(),
        [
            "http://peer opened: consecutive_failures, Some(1s)",
            "http://peer half-opened",
            "http://peer opened: probe, Some(2s)",
            "http://peer half-opened",
            "http://peer closed",
            "http://peer opened: by_hand, None",
            "http://peer closed",
        ]
    );
}

#[tokio::test]
async fn readiness_is_that_of_the_service_inside_and_never_tells_of_the_circuit() {
    struct Unready(bool);

    impl Service<Request<()>> for Unready {
        type Response = Response<()>;
        type Error = io::Error;
        type Future = std::future::Ready<io::Result<Response<()>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0 {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::ready(Ok(Response::new(())))
        }
    }

    let breaker = breaker();
    breaker.open(&PartitionKey::of(&Uri::from_static("/")));
    let mut service = BreakerLayer::new(breaker).layer(Unready(false));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(service.poll_ready(&mut cx).is_pending());
    service.get_mut().0 = true;
    assert!(service.poll_ready(&mut cx).is_ready());
    assert!(service.call(Request::new(())).await.unwrap_err().is_open());
}

#[tokio::test(start_paused = true)]
async fn a_request_need_not_be_clone() {
    struct NotClone;

    let service = service_fn(async |_: Request<NotClone>| {
        Ok::<_, std::convert::Infallible>(Response::new(()))
    });
    let service = BreakerLayer::default().layer(service);
    assert!(service.oneshot(Request::new(NotClone)).await.is_ok());
}

fn policy() -> RetryPolicy {
    let policy = RetryPolicy::builder().max_attempts(4).jitter(Jitter::None);
    policy.build().unwrap()
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("http://peer/").body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_refusal_below_the_retries_ends_the_call_at_once() {
    let breaker = breaker();
    let peer = Peer::new([503, 503, 200].map(status));
    let layer = BreakerLayer::new(breaker);
    let stack = Retry::new(layer.layer(peer.handle()), policy());
    let start = Instant::now();
    // Two attempts fail and open the circuit; the third one is refused and is the last.
    let error = stack.clone().oneshot(get()).await.unwrap_err();
    assert!(error.is_open());
    assert_eq!(peer.seen().len(), 2);
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    assert_eq!(transport::classify(&error), Class::Final);
    assert!(error.source().unwrap().is::<CircuitOpen>());
    // The next call sends nothing, and waits for nothing.
    let start = Instant::now();
    assert!(stack.clone().oneshot(get()).await.unwrap_err().is_open());
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(peer.seen().len(), 2);
    // The first call after the wait is a probe, and its success closes the circuit.
    advance(SECOND).await;
    let response = stack.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.retry_report().attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn above_the_retries_it_counts_calls() {
    let breaker = breaker();
    let peer = Peer::new((0..8).map(|_| status(503)));
    let retry = Retry::new(peer.handle(), policy());
    let mut stack = BreakerLayer::new(breaker).layer(retry);
    for _ in 0..2 {
        let response = ServiceExt::<Request<Empty<Bytes>>>::ready(&mut stack)
            .await
            .unwrap()
            .call(get())
            .await;
        let response: Response<RefusedBody> = response.unwrap();
        assert_ne!(response.retry_report().stop(), StopReason::Answered);
    }
    let sent = peer.seen().len();
    let ready = ServiceExt::<Request<Empty<Bytes>>>::ready(&mut stack).await;
    assert!(ready.unwrap().call(get()).await.unwrap_err().is_open());
    assert_eq!(peer.seen().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_refused_was_not_sent() {
    let breaker = breaker();
    breaker.open(&peer());
    let peer = Peer::new([]);
    let stack = Retry::new(BreakerLayer::new(breaker).layer(peer.handle()), policy());
    let (method, uri) = (Method::POST, "http://peer/");
    let post = Request::builder()
        .method(method)
        .uri(uri)
        .body(Empty::<Bytes>::new());
    assert!(stack.oneshot(post.unwrap()).await.unwrap_err().is_open());
    assert_eq!(peer.seen().len(), 0);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let rate = SuccessRate::new(80, SECOND);
    for (builder, is_valid) in [
        (builder().no_consecutive_failures(), false),
        (builder().no_consecutive_failures().success_rate(rate), true),
        (builder().min_wait(Duration::ZERO), false),
        (builder().min_wait(9 * SECOND), false),
        (builder().jitter_percent(100), true),
        (builder().jitter_percent(101), false),
        (builder().success_rate(SuccessRate::new(0, SECOND)), false),
        (builder().success_rate(SuccessRate::new(101, SECOND)), false),
        (
            builder().success_rate(SuccessRate::new(1, Duration::ZERO)),
            false,
        ),
    ] {
        let text = format!("{builder:?}");
        assert_eq!(builder.build().is_ok(), is_valid, "{text}");
    }
}

#[test]
fn a_ledger_has_room_for_some_origins_but_not_for_any_number() {
    for (origins, is_valid) in [(0, false), (1, true), (1 << 20, true), (usize::MAX, false)] {
        let ledger = Ledger::builder().max_origins(origins);
        assert_eq!(ledger.build().is_ok(), is_valid, "{origins}");
    }
}

/// Eight threads ask at the same moment, on one paused clock, while the circuit is half open.
#[test]
fn of_requests_on_many_threads_one_is_the_probe() {
    const THREADS: usize = 8;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let breaker = {
        let _entered = runtime.enter();
        builder().consecutive_failures(number(1)).build().unwrap()
    };
    let (sent, answer) = (AtomicUsize::new(0), AtomicUsize::new(503));
    let key = PartitionKey::of(&Uri::from_static("/"));
    let service = BreakerLayer::new(breaker.clone()).layer(service_fn(|_: Request<()>| {
        sent.fetch_add(1, SeqCst);
        std::future::poll_fn(|_| match answer.load(SeqCst) {
            0 => Poll::Pending,
            status => {
                let status = StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap();
                let mut response = Response::new(());
                *response.status_mut() = status;
                Poll::Ready(Ok::<_, std::convert::Infallible>(response))
            }
        })
    }));
    let start = |cx: &mut Context<'_>| {
        let mut service = service.clone();
        assert!(service.poll_ready(cx).is_ready());
        let mut call = Box::pin(service.call(Request::new(())));
        let polled = futures_poll(&mut call);
        (call, polled)
    };
    for round in 0..300 {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if breaker.state(&key) == CircuitState::Closed {
            let _entered = runtime.enter();
            answer.store(503, SeqCst);
            assert!(start(&mut cx).1.is_ready());
        }
        runtime.block_on(advance(8 * SECOND));
        answer.store(0, SeqCst);
        sent.store(0, SeqCst);
        let barrier = std::sync::Barrier::new(THREADS);
        let probes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let _entered = runtime.handle().enter();
                        let mut cx = Context::from_waker(std::task::Waker::noop());
                        barrier.wait();
                        let (call, polled) = start(&mut cx);
                        match polled {
                            Poll::Pending => Some(call),
                            Poll::Ready(answer) => {
                                assert!(answer.unwrap_err().is_open());
                                None
                            }
                        }
                    })
                })
                .collect();
            let calls = threads.into_iter().filter_map(|it| it.join().unwrap());
            calls.collect()
        });
        assert_eq!((sent.load(SeqCst), probes.len()), (1, 1), "round {round}");
        let _entered = runtime.enter();
        let mut probe = probes.into_iter().next().unwrap();
        let expected = match round % 3 {
            0 => {
                drop(probe);
                CircuitState::HalfOpen
            }
            1 => {
                answer.store(200, SeqCst);
                assert!(futures_poll(&mut probe).is_ready());
                CircuitState::Closed
            }
            _ => {
                answer.store(503, SeqCst);
                assert!(futures_poll(&mut probe).is_ready());
                CircuitState::Open
            }
        };
        assert_eq!(breaker.state(&key), expected, "round {round}");
    }
}

/// Failures and successes of several origins on several threads, in a table that has room for fewer.
#[test]
fn no_origin_suffers_from_the_failures_of_another() {
    let breaker = builder()
        .consecutive_failures(number(3))
        .ledger(Ledger::builder().max_origins(8).build().unwrap())
        .build()
        .unwrap();
    let layer = BreakerLayer::new(breaker);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let layer = layer.clone();
            scope.spawn(move || {
                let failing = service_fn(|request: Request<()>| {
                    let fails = request.uri().host() == Some("failing");
                    let mut response = Response::new(());
                    if fails {
                        *response.status_mut() = StatusCode::BAD_GATEWAY;
                    }
                    std::future::ready(Ok::<_, std::convert::Infallible>(response))
                });
                let mut service = layer.layer(failing);
                for number in 0..2_000 {
                    let host = match number % 4 {
                        0 => String::from("failing"),
                        _ => format!("host-{}-{thread}", number % 13),
                    };
                    let uri = format!("http://{host}/");
                    let request = Request::get(uri).body(()).unwrap();
                    let mut call = Box::pin(service.call(request));
                    let Poll::Ready(answer) = futures_poll(&mut call) else {
                        panic!("it answers at once");
                    };
                    assert!(answer.is_ok() || host == "failing", "{host}");
                }
            });
        }
    });
    assert!(!layer.layer(()).breaker().open_circuits().is_empty());
}

fn futures_poll<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Poll<F::Output> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    future.as_mut().poll(&mut cx)
}

#[tokio::test(start_paused = true)]
async fn circuits_that_nobody_has_asked_for_long_make_room_for_others() {
    let ledger = Ledger::builder().max_origins(8).build().unwrap();
    let breaker = builder().ledger(ledger).build().unwrap();
    let peer = Peer::new((0..40).map(|_| status(503)));
    let fail = async |host: usize| {
        for _ in 0..2 {
            let service = BreakerLayer::new(breaker.clone()).layer(peer.handle());
            let request = request(&format!("http://peer{host}/"));
            let _ = service.oneshot(request).await.unwrap();
        }
    };
    for host in 0..8 {
        fail(host).await;
    }
    assert_eq!(breaker.open_circuits().len(), 8);
    // There is no room as long as their requests may come back.
    fail(8).await;
    let key = |host| PartitionKey::of(&format!("http://peer{host}/").parse::<Uri>().unwrap());
    assert_eq!(breaker.state(&key(8)), CircuitState::Closed);
    advance(180 * SECOND).await;
    fail(9).await;
    assert_eq!(breaker.state(&key(9)), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_says_whether_a_request_would_pass() {
    let breaker = breaker();
    let scripted = Peer::new([status(503), status(503), status(200).taking(SECOND / 2)]);
    let service = BreakerLayer::new(breaker.clone()).layer(scripted.handle());
    assert!(breaker.admits(&peer()));
    for _ in 0..2 {
        let request = request("http://peer/");
        service.clone().oneshot(request).await.unwrap();
    }
    assert!(!breaker.admits(&peer()));
    advance(SECOND).await;
    assert!(breaker.admits(&peer()));
    // While a probe is under way, another request is refused.
    let mut probe = Box::pin(service.clone().oneshot(request("http://peer/")));
    assert!(futures_poll(&mut probe).is_pending());
    assert_eq!(breaker.state(&peer()), CircuitState::HalfOpen);
    assert!(!breaker.admits(&peer()));
    probe.await.unwrap();
    assert!(breaker.admits(&peer()));
}
