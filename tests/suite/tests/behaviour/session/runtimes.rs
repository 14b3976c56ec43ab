//! Sessions and runtimes: dropped and closed on any thread, before, while and after a runtime ends;
//! and the lifecycle of an app around them.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake},
    thread,
    time::Duration,
};

use http_body_util::BodyExt;
use session_layer::{
    Connector, Http2, Lifecycle, Phase, PoolConfig, Resolver, SessionLayer, Timeouts,
};
use test_suite::{BytesSession, Captured, fetch, get, in_memory, send, session};
use test_support::{Connection, MemoryConnector, Reply, Server, always, http2, sequence};
use tokio::{runtime, sync::oneshot, time::Instant};
use tower::{Layer, Service};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything here takes, and shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(20);

fn workers() -> runtime::Runtime {
    let mut builder = runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.expect("the machine has threads")
}

fn current_thread() -> runtime::Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    runtime.expect("a runtime takes no thread")
}

/// A runtime that nothing here shuts down, and a server on it.
fn peer<H, F>(handler: H) -> (runtime::Runtime, Server)
where
    H: Fn(Connection) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = workers();
    let server = runtime.block_on(Server::start(handler));
    (runtime, server)
}

/// Fails if it takes too long.
#[track_caller]
fn within<T>(runtime: &runtime::Runtime, future: impl Future<Output = T>) -> T {
    let bounded = async { tokio::time::timeout(PATIENCE, future).await };
    runtime.block_on(bounded).expect("it does not hang")
}

async fn ok(session: &BytesSession, server: &Server) {
    let (status, body) = fetch(session, get(&server.url("/")))
        .await
        .expect("it is answered");
    assert_eq!((status.as_u16(), &body[..]), (200, &b"x"[..]));
}

/// Starts a request, and leaves when the server has it.
async fn begin(
    session: &BytesSession,
    server: &Server,
) -> tokio::task::JoinHandle<Result<(http::StatusCode, bytes::Bytes), session_layer::Error>> {
    let before = server.log().requests.len();
    let call = tokio::spawn({
        let (session, url) = (session.clone(), server.url("/"));
        async move { fetch(&session, get(&url)).await }
    });
    server.wait_for(|log| log.requests.len() > before).await;
    call
}

#[test]
fn the_last_session_may_be_dropped_when_its_runtime_is_gone() {
    let (peer, server) = peer(always(200, "x"));
    for runtime in [workers(), current_thread()] {
        let session = session(PoolConfig::default());
        within(&runtime, ok(&session, &server));
        drop(runtime);
        assert_eq!(session.stats().open, 0);
        within(&peer, server.wait_for(|log| log.open == 0));
        thread::spawn(move || drop(session)).join().unwrap();
    }
}

#[test]
fn a_session_may_be_dropped_by_the_end_of_the_runtime_that_it_runs_on() {
    let (peer, server) = peer(always(200, "x"));
    for runtime in [workers(), current_thread()] {
        let session = session(PoolConfig::default());
        within(&runtime, ok(&session, &server));
        runtime.spawn(async move {
            let _last = session;
            std::future::pending::<()>().await;
        });
        drop(runtime);
        within(&peer, server.wait_for(|log| log.open == 0));
    }
}

#[test]
fn a_session_may_be_dropped_on_a_blocking_thread() {
    let (_peer, server) = peer(always(200, "x"));
    let runtime = current_thread();
    within(&runtime, async {
        let session = session(PoolConfig::default());
        ok(&session, &server).await;
        let dropped = tokio::task::spawn_blocking(move || drop(session));
        dropped.await.unwrap();
        server.wait_for(|log| log.open == 0).await;
    });
}

#[test]
fn a_session_goes_on_with_new_connections_on_the_next_runtime() {
    let (_peer, server) = peer(always(200, "x"));
    let session = session(PoolConfig::default().max_connections(1));
    for round in 1..=3 {
        let runtime = current_thread();
        within(&runtime, async {
            ok(&session, &server).await;
            ok(&session, &server).await;
        });
        assert_eq!(server.log().accepted, round);
    }
    assert_eq!(session.stats().open, 0);
    let last = current_thread();
    let report = within(&last, session.close(PATIENCE));
    assert_eq!((report.finished, report.aborted), (0, 0));
}

#[test]
fn a_response_whose_runtime_ended_is_an_error_elsewhere() {
    let (_peer, server) = peer(|mut connection: Connection| async move {
        connection.read_request().await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        connection.write(head).await;
        connection.stall_until_closed().await;
    });
    let session = session(PoolConfig::default());
    let ending = workers();
    let response = within(&ending, send(&session, get(&server.url("/")))).unwrap();
    let unread = within(&ending, send(&session, get(&server.url("/")))).unwrap();
    drop(ending);
    let staying = current_thread();
    within(&staying, response.into_body().collect()).unwrap_err();
    // Outside of any runtime.
    drop(unread);
    assert_eq!(session.stats().open, 0);
}

#[test]
fn a_call_may_be_dropped_when_its_runtime_is_gone() {
    let (_peer, server) = peer(sequence([Reply::stall()]));
    let session = session(PoolConfig::default());
    let runtime = current_thread();
    let mut polled = Box::pin(send(&session, get(&server.url("/"))));
    let unpolled = send(&session, get(&server.url("/")));
    within(&runtime, async {
        poll_fn(|cx| Poll::Ready(polled.as_mut().poll(cx).is_pending())).await;
        let other = begin(&session, &server).await;
        other.abort();
    });
    drop(runtime);
    drop(polled);
    drop(unpolled);
    assert_eq!(session.stats().open, 0);
    assert_eq!(session.stats().waiting, 0);
}

#[test]
fn close_ends_at_once_when_the_runtime_of_what_it_waits_for_ends() {
    let (_peer, server) = peer(sequence([Reply::stall()]));
    let session = session(PoolConfig::default());
    let (ending, staying) = (workers(), current_thread());
    let _call = within(&ending, begin(&session, &server));
    within(&staying, async {
        let closing = session.close(10 * PATIENCE);
        let mut closing = pin!(closing);
        let pending = poll_fn(|cx| Poll::Ready(closing.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        ending.shutdown_background();
        closing.await;
    });
    assert_eq!(session.stats().open, 0);
}

#[test]
fn a_close_that_its_runtime_cut_off_can_be_done_on_another() {
    let (peer, server) = peer(sequence([Reply::stall()]));
    let session = session(PoolConfig::default());
    let ending = workers();
    let call = within(&ending, begin(&session, &server));
    let (closing, closes) = oneshot::channel();
    ending.spawn({
        let session = session.clone();
        async move {
            let mut close = pin!(session.close(10 * PATIENCE));
            let mut closing = Some(closing);
            poll_fn(|cx| {
                let polled = close.as_mut().poll(cx);
                if let Some(closing) = closing.take() {
                    closing.send(()).expect("the test waits for it");
                }
                polled
            })
            .await
        }
    });
    within(&peer, closes).unwrap();
    drop(ending);
    // It ended with the runtime, or met the end of its connection just before.
    assert!(!matches!(within(&peer, call), Ok(Ok(_))));
    let refused = within(&peer, fetch(&session, get(&server.url("/"))));
    assert!(refused.unwrap_err().is_closed());
    within(&peer, session.close(PATIENCE));
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn two_closes_at_once_both_wait_for_what_is_in_flight() {
    let connector = MemoryConnector::new(sequence([Reply::status(200).delay(3 * SECOND)]));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let call = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    connector.wait_for(|log| log.requests.len() == 1).await;
    let clone = session.clone();
    let began = Instant::now();
    let (one, two) = tokio::join!(session.close(30 * SECOND), clone.close(60 * SECOND));
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!((one.finished, one.aborted), (1, 0));
    assert_eq!((two.finished, two.aborted), (1, 0));
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_two_closes_cuts_off_for_both() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let timeouts = Timeouts::default().head(None);
    let session = in_memory(PoolConfig::default(), timeouts, &connector);
    let call = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    connector.wait_for(|log| log.requests.len() == 1).await;
    let began = Instant::now();
    tokio::join!(session.close(30 * SECOND), session.close(5 * SECOND));
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert!(call.await.unwrap().unwrap_err().is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_leaves_the_session_closed_and_cuts_nothing_off() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)
        .body("done")
        .delay(10 * SECOND)]));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let call = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    connector.wait_for(|log| log.requests.len() == 1).await;
    let cut = tokio::time::timeout(SECOND, session.close(5 * SECOND)).await;
    assert!(cut.is_err());
    let refused = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(refused.is_closed() && refused.is_unsent());
    // The deadline of the close that was dropped passes.
    assert_eq!(call.await.unwrap().unwrap().1, "done");
    let report = session.close(SECOND).await;
    assert_eq!((report.finished, report.aborted), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_the_queue_is_served_though_the_last_session_is_dropped() {
    let connector = MemoryConnector::new(sequence([Reply::status(200).delay(SECOND)]));
    let pool = PoolConfig::default().max_connections(1);
    let session = in_memory(pool, Timeouts::default(), &connector);
    let mut calls = Vec::new();
    for _ in 0..3 {
        let session = session.clone();
        calls.push(tokio::spawn(async move {
            fetch(&session, get("http://peer/")).await
        }));
    }
    connector.wait_for(|log| log.requests.len() == 1).await;
    drop(session);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    connector.wait_for(|log| log.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_lifecycle_closes_its_session_and_tells_what_was_cut_off() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let timeouts = Timeouts::default().head(None);
    let session = in_memory(PoolConfig::default(), timeouts, &connector);
    let mut lifecycle = Lifecycle::new();
    lifecycle.add("session", {
        let session = session.clone();
        async move { session.close(5 * SECOND).await }
    });
    let call = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    connector.wait_for(|log| log.requests.len() == 1).await;
    let error = lifecycle.shutdown().await.unwrap_err();
    let message = "cannot tear down session: connections cut off at the deadline: 1";
    assert_eq!(error.to_string(), message);
    assert!(call.await.unwrap().unwrap_err().is_closed());
}

#[tokio::test]
async fn a_lifecycle_that_is_dropped_names_what_it_did_not_tear_down() {
    let (captured, _guard) = Captured::start();
    let mut lifecycle = Lifecycle::new();
    lifecycle.add("done", async {});
    lifecycle.shutdown().await.unwrap();
    drop(lifecycle);
    assert_eq!(captured.text(), "");
    let mut lifecycle = Lifecycle::new();
    lifecycle.add("database", async {});
    lifecycle.add("session", async {});
    drop(lifecycle);
    let text = captured.text();
    assert!(
        text.contains("WARN") && text.contains(r#"["database", "session"]"#),
        "{text}"
    );
}

/// Wakes a plain thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future without any runtime.
fn bare_block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park_timeout(PATIENCE),
        }
    }
}

#[test]
fn close_needs_no_runtime_where_nothing_is_in_flight() {
    let (_peer, server) = peer(always(200, "x"));
    let session = session(PoolConfig::default());
    let runtime = workers();
    within(&runtime, ok(&session, &server));
    let report = bare_block_on(session.close(PATIENCE));
    assert_eq!((report.finished, report.aborted), (0, 0));
    assert_eq!(session.stats().open, 0);
}

#[test]
fn requests_on_a_runtime_that_ends_are_answered_or_fail_and_never_hang() {
    let (_peer, server) = peer(always(200, "x"));
    let session = session(PoolConfig::default().max_connections(2));
    let staying = workers();
    for _ in 0..20 {
        let ending = workers();
        let load = |runtime: &runtime::Runtime| {
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    let (session, url) = (session.clone(), server.url("/"));
                    runtime.spawn(async move { fetch(&session, get(&url)).await })
                })
                .collect();
            calls
        };
        // What the last one was opening may still fail one, unsent.
        within(&ending, async {
            while fetch(&session, get(&server.url("/"))).await.is_err() {}
        });
        let calls = load(&staying);
        drop(load(&ending));
        ending.shutdown_background();
        for call in calls {
            // Whatever came of it, it came.
            let _ = within(&staying, call).expect("it does not panic");
        }
        // What the ending runtime was opening may still fail one, unsent.
        within(&staying, async {
            while let Err(error) = fetch(&session, get(&server.url("/"))).await {
                assert!(error.is_unsent(), "{error:?}");
            }
        });
    }
    let report = within(&staying, session.close(PATIENCE));
    assert_eq!(report.aborted, 0);
    assert_eq!(session.stats().open, 0);
}

/// Fails if it takes too long, in a thread of its own, which is left alone then.
#[track_caller]
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, output) = mpsc::channel();
    thread::spawn(move || done.send(what()));
    output.recv_timeout(PATIENCE).expect("it does not hang")
}

#[test]
fn a_request_on_a_runtime_that_has_ended_fails_unsent() {
    let (_peer, server) = peer(always(200, "x"));
    let session = session(PoolConfig::default().max_connections(1));
    let ending = workers();
    let ended = ending.handle().clone();
    drop(ending);
    let failed = {
        let (session, url) = (session.clone(), server.url("/"));
        in_time(move || {
            let _entered = ended.enter();
            bare_block_on(fetch(&session, get(&url)))
        })
    };
    let error = failed.expect_err("nothing can connect there");
    assert!(error.is_unsent() && error.is_connect(), "{error:?}");
    within(&workers(), ok(&session, &server));
}

#[test]
fn a_task_that_opens_while_its_runtime_ends_ends_with_it() {
    let (_peer, server) = peer(always(200, "x"));
    let session = session(PoolConfig::default().max_connections(1));
    let staying = workers();
    let held = within(&staying, send(&session, get(&server.url("/")))).expect("it is answered");
    let ending = workers();
    let (polled, is_polled) = mpsc::channel();
    let (end, has_ended) = mpsc::channel::<()>();
    let waiting = ending.spawn({
        let (session, url) = (session.clone(), server.url("/"));
        async move {
            let mut waiting = pin!(fetch(&session, get(&url)));
            poll_once_here(&mut waiting).await;
            // This thread stays in the task, as another may that was just about to poll.
            polled.send(()).expect("the test goes on");
            has_ended.recv().expect("the test goes on");
            waiting.await
        }
    });
    is_polled.recv().expect("it is polled");
    ending.shutdown_background();
    drop(held);
    while session.stats().connecting == 0 {
        thread::yield_now();
    }
    end.send(()).expect("it waits");
    let ended = in_time(move || bare_block_on(waiting));
    assert!(ended.is_err_and(|error| error.is_cancelled()));
    within(&staying, ok(&session, &server));
}

fn with_timeouts(pool: PoolConfig, timeouts: Timeouts, http2: bool) -> BytesSession {
    SessionLayer::new(pool, timeouts)
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(http2)))
        .expect("the test's settings are valid")
        .layer(Connector::new())
}

/// Polls a future once, on this runtime.
fn poll_once<F: Future + Unpin>(runtime: &runtime::Runtime, future: &mut F) {
    runtime.block_on(poll_once_here(future));
}

/// Polls a future once, which has to wait.
async fn poll_once_here<F: Future + Unpin>(future: &mut F) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *future).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

fn quick() -> Timeouts {
    Timeouts::default()
        .connect(2 * SECOND)
        .head(SECOND)
        .body_idle(SECOND)
}

#[test]
fn a_runtime_that_stands_still_keeps_no_connection_from_another() {
    let (peer, server) = peer(always(200, "x"));
    let http2 = http2::Peer::new(h2::server::Builder::new(), |stream: http2::Stream| async {
        stream.answer(200, "x");
    });
    let address = peer.block_on(http2.listen());
    for (knows, url) in [
        (false, server.url("/")),
        (true, format!("http://{address}/")),
    ] {
        let session = with_timeouts(PoolConfig::default(), Timeouts::default(), knows);
        let runtimes: Vec<_> = (0..3).map(|_| current_thread()).collect();
        for round in 0..3 {
            for runtime in &runtimes {
                let answered = within(runtime, fetch(&session, get(&url)));
                assert_eq!(answered.expect("it is answered").1, "x");
            }
            assert_eq!(session.stats().opened, 3, "round {round}");
        }
        // Called outside of any, and polled on one of them.
        let call = session.clone().call(get(&url));
        within(&runtimes[1], call).expect("it is answered");
        assert_eq!(session.stats().opened, 3);
    }
}

#[test]
fn a_connect_on_a_runtime_that_stands_still_holds_nobody_up() {
    let (peer, server) = peer(always(200, "x"));
    let http2 = http2::Peer::new(h2::server::Builder::new(), |stream: http2::Stream| async {
        stream.answer(200, "x");
    });
    let address = peer.block_on(http2.listen());
    let by_name = Resolver::over(tower::service_fn(move |_| async move {
        Ok::<_, std::io::Error>([address])
    }));
    for (knows, url) in [
        (false, server.url("/")),
        (true, format!("http://{address}/")),
        (true, format!("http://peer.test:{}/", address.port())),
    ] {
        let session: BytesSession = SessionLayer::new(PoolConfig::default(), quick())
            .and_then(|layer| layer.http2(Http2::default().prior_knowledge(knows)))
            .expect("the test's settings are valid")
            .layer(Connector::new().resolver(by_name.clone().ttl(None)));
        let (still, driven) = (current_thread(), current_thread());
        let mut first = Box::pin(fetch(&session, get(&url)));
        poll_once(&still, &mut first);
        let answered = within(&driven, fetch(&session, get(&url)));
        assert_eq!(answered.expect("it is answered").1, "x");
    }
}

#[test]
fn a_cancelled_connect_on_a_runtime_that_stands_still_keeps_no_idle_connection_open() {
    let (_first, one) = peer(always(200, "x"));
    let (_second, two) = peer(always(200, "x"));
    let pool = PoolConfig::default()
        .max_connections(2)
        .queue_timeout(SECOND);
    let session = session(pool);
    let (still, driven) = (current_thread(), current_thread());
    within(&driven, ok(&session, &one));
    let mut cancelled = Box::pin(fetch(&session, get("http://192.0.2.1/")));
    poll_once(&still, &mut cancelled);
    drop(cancelled);
    // Its permit is not free, so the idle connection has to make room.
    within(&driven, ok(&session, &two));
}

#[test]
fn a_full_pool_whose_runtime_stands_still_ends_in_a_pool_timeout() {
    let (_peer, server) = peer(always(200, "x"));
    let pool = PoolConfig::default()
        .max_connections(1)
        .queue_timeout(SECOND / 10);
    let session = session(pool);
    let (still, driven) = (current_thread(), current_thread());
    within(&still, ok(&session, &server));
    let failed = within(&driven, fetch(&session, get(&server.url("/"))));
    assert!(failed.expect_err("the place is taken").is_pool_timeout());
    // It closes its connection for the next as soon as it is driven.
    within(&still, async { tokio::task::yield_now().await });
    within(&driven, ok(&session, &server));
}

#[test]
fn a_call_that_goes_on_on_another_runtime_ends_by_its_timeouts_there() {
    let (peer, server) = peer(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.stall().await;
    });
    let http2 = http2::Peer::new(h2::server::Builder::new(), http2::Stream::hold);
    let address = peer.block_on(http2.listen());
    for (knows, url) in [
        (false, server.url("/")),
        (true, format!("http://{address}/")),
    ] {
        let session = with_timeouts(PoolConfig::default(), quick(), knows);
        let (still, driven) = (current_thread(), current_thread());
        let arrived = || server.log().requests.len() + http2.log().streams();
        let before = arrived();
        let mut call = Box::pin(send(&session, get(&url)));
        while arrived() == before {
            poll_once(&still, &mut call);
            within(&still, async { tokio::time::sleep(SECOND / 1000).await });
        }
        let failed = within(&driven, call).expect_err("no head comes");
        assert_eq!(failed.timeout_phase(), Some(Phase::Head), "{failed:?}");
        let began = Instant::now();
        within(&driven, session.close(SECOND / 10));
        assert!(began.elapsed() < 5 * SECOND);
    }
}

#[test]
fn a_body_that_is_read_on_another_runtime_ends_by_its_timeout_there() {
    let (peer, server) = peer(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
        connection.write(head).await;
        connection.stall().await;
    });
    let http2 = http2::Peer::new(h2::server::Builder::new(), |stream: http2::Stream| {
        stream.drip(&["x", "y"], 60 * SECOND, true)
    });
    let address = peer.block_on(http2.listen());
    for (knows, url) in [
        (false, server.url("/")),
        (true, format!("http://{address}/")),
    ] {
        let session = with_timeouts(PoolConfig::default(), quick(), knows);
        let (still, driven) = (current_thread(), current_thread());
        let response = within(&still, send(&session, get(&url))).expect("its head is there");
        let failed = within(&driven, response.into_body().collect());
        let failed = failed.expect_err("nothing comes");
        assert_eq!(failed.timeout_phase(), Some(Phase::Body), "{failed:?}");
    }
}

#[test]
fn a_call_that_goes_on_on_another_runtime_connects_for_that_one() {
    let (_peer, server) = peer(always(200, "x"));
    let session = session(PoolConfig::default().max_connections(1));
    let (first, second) = (current_thread(), current_thread());
    let held = within(&second, send(&session, get(&server.url("/")))).expect("its head is there");
    let url = server.url("/");
    let mut call = Box::pin(fetch(&session, get(&url)));
    poll_once(&first, &mut call);
    // Its place becomes free where the first runtime does not run.
    drop(held);
    within(&second, call).expect("it is answered");
    assert_eq!(session.stats().opened, 2);
    // The connection is one of the runtime that drives it.
    within(&second, ok(&session, &server));
    assert_eq!(session.stats().opened, 2);
}

#[test]
fn a_call_polled_on_another_runtime_ends_by_the_timeout_of_the_queue() {
    let (_peer, server) = peer(always(200, "x"));
    for is_gone in [false, true] {
        let pool = PoolConfig::default()
            .max_connections(1)
            .queue_timeout(SECOND);
        let session = session(pool);
        let (before, driven, holds) = (current_thread(), current_thread(), workers());
        let held = within(&holds, send(&session, get(&server.url("/"))));
        let url = server.url("/");
        let mut call = Box::pin(send(&session, get(&url)));
        poll_once(&before, &mut call);
        let before = (!is_gone).then_some(before);
        let began = Instant::now();
        let failed = within(&driven, call).expect_err("the place is taken");
        assert!(failed.is_pool_timeout(), "{failed:?}");
        assert!(began.elapsed() < 10 * SECOND);
        drop((held, before));
    }
}
