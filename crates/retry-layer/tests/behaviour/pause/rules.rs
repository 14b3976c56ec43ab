use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use retry_layer::{
    AttemptRecord, ResponseExt, Retry, RetryPolicy, StopReason,
    health::{HealthObserver, Ledger, PartitionKey},
    pause::{HeldBack, Pause, PausedReason},
};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::ServiceExt;

use super::{SECOND, Stack, builder, due_within, key, refusal, request, throttled};
use crate::support::{Peer, status};

#[tokio::test(start_paused = true)]
async fn a_429_holds_back_all_requests_until_the_server_said() {
    let stack = Stack::new(builder(), [throttled(2), status(200), status(200)]);
    assert_eq!(stack.ask().await.unwrap().status(), 429);
    let begun = Instant::now();
    let response = stack.ask().await.unwrap();
    assert_eq!(response.status(), 200);
    // And up to a tenth more, so that clients do not come back together.
    let waited = begun.elapsed();
    assert!(
        2 * SECOND <= waited && waited <= 2 * SECOND * 11 / 10,
        "{waited:?}"
    );
    let held = response.extensions().get().map(HeldBack::waited);
    assert_eq!(held, Some(waited));
}

#[tokio::test(start_paused = true)]
async fn a_503_pauses_if_it_says_for_how_long() {
    let stack = Stack::new(
        builder(),
        [
            status(503),
            status(503).header("ratelimit", "\"a\";r=0;t=5"),
        ],
    );
    stack.ask().await.unwrap();
    assert_eq!(stack.paused_for(), None);
    stack.ask().await.unwrap();
    assert!(stack.paused_for().unwrap() >= 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_429_without_a_hint_pauses_for_a_second_unless_told_otherwise() {
    let stack = Stack::new(builder(), [status(429)]);
    stack.ask().await.unwrap();
    assert!(stack.paused_for().unwrap() >= SECOND);
    let stack = Stack::new(builder().without_hint(None), [status(429)]);
    stack.ask().await.unwrap();
    assert_eq!(stack.paused_for(), None);
}

#[tokio::test(start_paused = true)]
async fn other_answers_pause_nothing() {
    let replies = [200, 404, 500, 502].map(|it| status(it).header("retry-after", "9"));
    let stack = Stack::new(builder(), replies);
    for _ in 0..4 {
        stack.ask().await.unwrap();
        assert_eq!(stack.paused_for(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_pause_moves_forward_only() {
    let replies = [throttled(10), throttled(1), throttled(30)];
    let replies = replies.into_iter().zip(1..);
    let stack = Stack::new(
        builder(),
        replies.map(|(reply, at)| reply.taking(SECOND * at)),
    );
    let calls = (0..3).map(|_| stack.call(request("http://peer/")));
    let paused = async {
        let mut paused = Vec::new();
        sleep(SECOND / 2).await;
        for _ in 0..3 {
            sleep(SECOND).await;
            paused.push(stack.paused_for().unwrap().as_secs());
        }
        paused
    };
    let (_, paused) = tokio::join!(all(calls), paused);
    // The first is a second after its answer, and so on; what is added at random is below a second.
    let expected = [9..=10, 8..=9, 29..=30];
    for (paused, expected) in paused.iter().zip(expected) {
        assert!(expected.contains(paused), "{paused}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_sent_in_the_order_in_which_they_came() {
    let stack = Stack::new(
        builder(),
        [throttled(1)]
            .into_iter()
            .chain((0..20).map(|_| status(200))),
    );
    stack.ask().await.unwrap();
    let paths: Vec<_> = (0..20).map(|number| format!("/{number}")).collect();
    let calls = paths
        .iter()
        .map(|path| stack.call(request(&format!("http://peer{path}"))));
    let answers = all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(stack.paths()[1..], paths);
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_a_trickle_is_sent_first() {
    let replies = [throttled(1)]
        .into_iter()
        .chain((0..8).map(|_| status(200).taking(SECOND / 10)));
    let stack = Stack::new(builder(), replies);
    stack.ask().await.unwrap();
    let calls = (0..8).map(|_| stack.call(request("http://peer/")));
    all(calls).await;
    let times: Vec<_> = stack.peer.seen().iter().map(|it| it.at).collect();
    let gaps: Vec<_> = times[1..].windows(2).map(|it| it[1] - it[0]).collect();
    // The second waits for the answer to the first, and the gaps become shorter.
    assert!(gaps[0] >= SECOND / 10, "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap >= SECOND / 40), "{gaps:?}");
    assert!(gaps[6] < gaps[0], "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_request_that_is_dropped_gives_its_turn_to_the_next() {
    let stack = Stack::new(builder(), [throttled(2), status(200)]);
    stack.ask().await.unwrap();
    let mut first = stack.call(request("http://peer/first"));
    let mut second = stack.call(request("http://peer/second"));
    assert!(timeout(SECOND, &mut first).await.is_err());
    let begun = Instant::now();
    assert!(timeout(SECOND / 2, &mut second).await.is_err());
    assert_eq!(stack.waiting(), 2);
    drop(first);
    assert_eq!(stack.waiting(), 1);
    assert_eq!(second.await.unwrap().status(), 200);
    assert!(begun.elapsed() <= SECOND * 13 / 10, "{:?}", begun.elapsed());
    assert_eq!(stack.paths(), ["/", "/second"]);
}

/// Two hundred requests wait, and most of them give up at some moment; the others are all sent.
#[tokio::test(start_paused = true)]
async fn no_turn_is_lost_with_requests_that_give_up() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let replies = [throttled(1)]
            .into_iter()
            .chain((0..200).map(|number| match number % 40 {
                39 => throttled(1),
                _ => status(200).taking(SECOND / 50),
            }));
        let stack = Stack::new(builder(), replies);
        stack.ask().await.unwrap();
        let calls = (0..200).map(|_| {
            let call = stack.call(request("http://peer/"));
            let patience = match random.u32(0..4) {
                0 => 500 * SECOND,
                _ => Duration::from_millis(random.u64(0..4_000)),
            };
            async move { (patience, timeout(patience, call).await) }
        });
        for (patience, answer) in all(calls).await {
            assert!(
                patience < 5 * SECOND || answer.unwrap().is_ok(),
                "seed {seed}"
            );
        }
        assert_eq!(stack.waiting(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_deadline_comes_before_its_turn_fails_at_once() {
    let stack = Stack::new(builder(), [throttled(5)]);
    stack.ask().await.unwrap();
    let begun = Instant::now();
    let refused = refusal(stack.call(due_within("http://peer/", 4 * SECOND)).await);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(refused.reason(), PausedReason::TooLong);
    assert_eq!(refused.key(), &key());
    assert!(refused.retry_after() >= 5 * SECOND);
    assert_eq!(stack.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_becomes_too_long_ends_the_wait_at_once() {
    let late = throttled(50).taking(2 * SECOND);
    let stack = Stack::new(builder(), [throttled(4).taking(SECOND), late]);
    let (first, second, waiting) = tokio::join!(stack.ask(), stack.ask(), async {
        sleep(SECOND * 3 / 2).await;
        let begun = Instant::now();
        let answer = stack.call(due_within("http://peer/", 20 * SECOND)).await;
        (begun.elapsed(), refusal(answer))
    });
    assert!(first.is_ok() && second.is_ok());
    let (waited, refused) = waiting;
    assert_eq!(waited, SECOND / 2);
    assert_eq!(refused.waited(), waited);
    assert!(refused.retry_after() >= 50 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_hint_of_years_pauses_for_two_minutes() {
    for hint in [
        "31536000",
        "99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        let years = status(429).header("retry-after", hint);
        let stack = Stack::new(builder(), [years]);
        stack.ask().await.unwrap();
        let paused = stack.paused_for().unwrap();
        assert!(
            120 * SECOND <= paused && paused <= 125 * SECOND,
            "{paused:?}"
        );
        // Which is longer than a request waits.
        let refused = refusal(stack.ask().await);
        assert!(refused.retry_after() >= 120 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn only_so_many_requests_wait() {
    let stack = Stack::new(builder().max_waiting(2), [throttled(5)]);
    stack.ask().await.unwrap();
    let mut calls: Vec<_> = (0..3)
        .map(|_| stack.call(request("http://peer/")))
        .collect();
    let last = calls.pop().unwrap();
    for call in &mut calls {
        assert!(timeout(Duration::ZERO, call).await.is_err());
    }
    assert_eq!(refusal(last.await).reason(), PausedReason::LineFull);
}

#[tokio::test(start_paused = true)]
async fn what_has_another_key_is_not_held_back() {
    let ledger = Ledger::builder().key_by(|head| {
        let token = head.headers().get("authorization")?.to_str().ok()?;
        Some(PartitionKey::named(token))
    });
    let builder = Pause::builder().ledger(ledger.build().unwrap());
    let stack = Stack::new(builder, [throttled(5), status(200)]);
    let of = |token: &'static str| {
        let mut request = request("http://peer/");
        let value = http::HeaderValue::from_static(token);
        request.headers_mut().insert("authorization", value);
        stack.call(request)
    };
    of("one").await.unwrap();
    let begun = Instant::now();
    assert_eq!(of("two").await.unwrap().status(), 200);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(timeout(SECOND, of("one")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_ended_by_hand() {
    let stack = Stack::new(builder(), [throttled(50), status(200), status(200)]);
    stack.ask().await.unwrap();
    let begun = Instant::now();
    let (one, other, ()) = tokio::join!(stack.ask(), stack.ask(), async {
        sleep(SECOND).await;
        stack.pause.resume(&key());
    });
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(begun.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn two_services_of_one_ledger_share_a_pause() {
    let ledger = Ledger::default();
    let of_ledger = || Pause::builder().ledger(ledger.clone());
    let one = Stack::new(of_ledger(), [throttled(5)]);
    let other = Stack::new(of_ledger(), [status(200)]);
    one.ask().await.unwrap();
    let begun = Instant::now();
    other.ask().await.unwrap();
    assert!(begun.elapsed() >= 5 * SECOND);
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl HealthObserver for Log {
    fn paused(&self, key: &PartitionKey, wait: Duration) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{key} paused for {} s", wait.as_secs()));
    }

    fn resumed(&self, key: &PartitionKey) {
        self.0.lock().unwrap().push(format!("{key} resumed"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_a_pause_and_of_its_end() {
    let log = Arc::new(Log::default());
    let ledger = Ledger::builder().observer(log.clone()).build().unwrap();
    let builder = Pause::builder().ledger(ledger);
    let stack = Stack::new(
        builder,
        [throttled(5), throttled(3), status(200), status(200)],
    );
    stack.ask().await.unwrap();
    // The server refuses again, and another pause begins.
    stack.ask().await.unwrap();
    stack.ask().await.unwrap();
    advance(5 * SECOND).await;
    stack.ask().await.unwrap();
    assert_eq!(
        *log.0.lock().unwrap(),
        [
            "http://peer paused for 5 s",
            "http://peer paused for 3 s",
            "http://peer resumed"
        ]
    );
}

fn retry(policy: RetryPolicy, stack: &Stack) -> Retry<super::SharedPause<Peer>> {
    Retry::new(stack.service.clone(), policy)
}

fn policy() -> RetryPolicy {
    RetryPolicy::builder().seed(1).build().unwrap()
}

fn call() -> Request<Empty<Bytes>> {
    Request::get("http://peer/").body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_report_tells_how_long_an_attempt_was_held_back() {
    let stack = Stack::new(builder(), [throttled(5), throttled(2), status(200)]);
    stack.ask().await.unwrap();
    let response = retry(policy(), &stack).oneshot(call()).await.unwrap();
    let report = response.retry_report();
    let held: Vec<_> = report
        .attempts()
        .iter()
        .map(AttemptRecord::held_back)
        .collect();
    assert!(held[0].unwrap() >= 5 * SECOND, "{held:?}");
    let text = report.to_string();
    assert!(text.starts_with("429, held back for 5."), "{text}");
    // One that was sent once tells it too.
    let stack = Stack::new(builder(), [throttled(5), status(200)]);
    stack.ask().await.unwrap();
    let response = retry(policy(), &stack).oneshot(call()).await.unwrap();
    let held = response.retry_report().attempts()[0].held_back();
    assert!(held.unwrap() >= 5 * SECOND, "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_wait_for_its_next_turn_ends_with_its_response() {
    // The second request is answered while the pause of the first is longer than its own hint.
    let replies = [
        throttled(30).taking(SECOND),
        throttled(1).taking(2 * SECOND),
    ];
    for (builder, policy, stop) in [
        (
            builder().max_wait(20 * SECOND),
            policy(),
            StopReason::RetryAfterTooLong,
        ),
        (
            builder(),
            RetryPolicy::builder()
                .deadline(20 * SECOND)
                .build()
                .unwrap(),
            StopReason::DeadlineTooClose,
        ),
    ] {
        let stack = Stack::new(builder, replies.clone());
        let begun = Instant::now();
        let (first, second) = tokio::join!(stack.ask(), retry(policy, &stack).oneshot(call()));
        assert_eq!(first.unwrap().status(), 429);
        let response = second.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.retry_report().stop(), stop);
        assert_eq!(begun.elapsed(), 2 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_paused_for_too_long_is_not_retried() {
    let stack = Stack::new(builder(), [throttled(100)]);
    stack.ask().await.unwrap();
    let begun = Instant::now();
    let error = retry(policy(), &stack).oneshot(call()).await.unwrap_err();
    assert!(error.paused_error().is_some());
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for builder in [
        builder().max_pause(Duration::ZERO),
        builder().without_hint(Duration::ZERO),
        builder().max_wait(Duration::ZERO),
        builder().max_waiting(0),
    ] {
        let text = format!("{builder:?}");
        assert!(builder.build().is_err(), "{text}");
    }
}

/// Awaits all of these at the same time, on one task.
async fn all<F: Future>(calls: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = calls.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (call, output) in calls.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                if let std::task::Poll::Ready(done) = call.as_mut().poll(cx) {
                    *output = Some(done);
                }
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
