//! What the layer does, seen from outside, over a strict peer and a paused clock.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use retry_layer::{
    AiohttpException, AttemptOutcome, Backoff, Class, Deadline, Exponential, Idempotent, Jitter,
    NoRetry, Processed, ResponseExt, Retry, RetryPolicy, RetryPolicyBuilder, Standard, StopReason,
    WaitReason,
    budget::{FixedBudget, Unlimited},
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Service, ServiceExt};

use crate::support::{
    Failure, Frames, Knowing, Peer, Refused, RefusedBody, Reply, error, io_error, send, status,
};

const WAIT: Duration = Duration::from_millis(100);

/// Exactly 100 ms, 200 ms, 400 ms; a second towards a throttling server.
fn builder() -> RetryPolicyBuilder {
    RetryPolicy::builder()
        .classifier(Knowing::standard())
        .jitter(Jitter::None)
        .budget(Unlimited)
}

fn policy() -> RetryPolicy {
    builder().build().unwrap()
}

fn aiohttp(exceptions: &[AiohttpException]) -> RetryPolicy {
    let profile = RetryPolicy::aiohttp_retry_with(exceptions.iter().copied());
    let classifier = Knowing(Arc::clone(profile.classifier()));
    profile.to_builder().classifier(classifier).build().unwrap()
}

fn request(method: Method) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(method)
        .uri("http://peer/path")
        .body(Empty::new())
        .unwrap()
}

async fn get(peer: &Peer, policy: RetryPolicy) -> Result<Response<RefusedBody>, Failure> {
    send(peer, policy, request(Method::GET)).await
}

fn reports(reply: &Result<Response<RefusedBody>, Failure>) -> StopReason {
    match reply {
        Ok(response) => response.retry_report().stop(),
        Err(failure) => failure.report.as_ref().expect("annotated").stop(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_success_carries_no_report() {
    let peer = Peer::new([status(200)]);
    let response = get(&peer, policy()).await.unwrap();
    assert!(response.extensions().is_empty());
    assert_eq!(response.retry_report().stop(), StopReason::Answered);
    assert_eq!(peer.seen()[0].attempt, None);
}

#[tokio::test(start_paused = true)]
async fn a_plain_final_status_carries_no_report() {
    let peer = Peer::new([status(404)]);
    let response = get(&peer, policy()).await.unwrap();
    assert!(response.extensions().is_empty());
    assert_eq!(
        response.retry_report().stop(),
        StopReason::StatusNotRetryable
    );
}

#[tokio::test(start_paused = true)]
async fn waits_double_between_attempts() {
    let peer = Peer::new([status(503), status(503), status(200)]);
    let response = get(&peer, policy()).await.unwrap();
    assert_eq!(peer.waits(), [WAIT, WAIT * 2]);

    let report = response.retry_report();
    let statuses: Vec<_> = report
        .attempts()
        .iter()
        .map(retry_layer::AttemptRecord::outcome)
        .collect();
    assert_eq!(
        statuses,
        [503, 503, 200].map(|code| { AttemptOutcome::Status(StatusCode::from_u16(code).unwrap()) })
    );
    let first = report.attempts()[0].wait().unwrap();
    assert_eq!((first.delay(), first.reason()), (WAIT, WaitReason::Backoff));
    assert_eq!(
        (report.stop(), report.transparent_retries()),
        (StopReason::Answered, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn the_default_waits_stay_within_full_jitter() {
    for seed in 0..50 {
        let peer = Peer::new([status(503), status(503), status(200)]);
        get(&peer, RetryPolicy::builder().seed(seed).build().unwrap())
            .await
            .unwrap();
        let waits = peer.waits();
        // One more millisecond: the grain of the timer.
        assert!(waits[0] <= WAIT + Duration::from_millis(1));
        assert!(waits[1] <= WAIT * 2 + Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempts_are_three_and_the_last_response_is_returned() {
    let last = status(502).body(Refused::frames([7]));
    let peer = Peer::new([status(503), status(500), last]);
    let response = get(&peer, policy()).await.unwrap();
    assert_eq!(response.status(), 502);
    assert_eq!(
        response.retry_report().stop(),
        StopReason::AttemptsExhausted
    );
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    assert_eq!(
        body.to_bytes().len(),
        7,
        "the caller reads what the peer sent"
    );
}

#[tokio::test(start_paused = true)]
async fn later_attempts_are_numbered_and_the_same() {
    let peer = Peer::new([status(503), error(Class::Unprocessed), status(200)]);
    let mut request = request(Method::GET);
    request
        .headers_mut()
        .insert("x-kept", "yes".parse().unwrap());
    send(&peer, policy(), request).await.unwrap();

    let seen = peer.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.headers["x-kept"] == "yes" && seen.uri == "http://peer/path")
    );
    let numbers: Vec<_> = seen
        .iter()
        .map(|seen| {
            seen.attempt
                .map(|attempt| (attempt.number(), attempt.transparent_retries()))
        })
        .collect();
    assert_eq!(numbers, [None, Some((2, 0)), Some((2, 1))]);
    let previous = seen[2].attempt.unwrap().previous();
    assert_eq!(previous, AttemptOutcome::Error(Class::Unprocessed));
}

#[tokio::test(start_paused = true)]
async fn a_post_answered_with_503_is_sent_once() {
    for method in [Method::POST, Method::PATCH, Method::CONNECT] {
        let peer = Peer::new([status(503)]);
        let reply = send(&peer, policy(), request(method)).await;
        assert_eq!(reports(&reply), StopReason::NotIdempotent);
        assert_eq!(peer.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_its_sender_vouches_for_is_sent_again() {
    let mut keyed = request(Method::POST);
    keyed
        .headers_mut()
        .insert("idempotency-key", "\"k\"".parse().unwrap());
    let mut marked = request(Method::POST);
    marked.extensions_mut().insert(Idempotent);
    for request in [keyed, marked] {
        let peer = Peer::new([status(503), error(Class::Ambiguous), status(200)]);
        assert_eq!(send(&peer, policy(), request).await.unwrap().status(), 200);
        assert_eq!(peer.seen().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn listed_methods_take_the_place_of_the_idempotent_ones() {
    let policy = builder().methods([Method::POST]).build().unwrap();
    let peer = Peer::new([status(503), status(200), status(503)]);
    assert_eq!(
        send(&peer, policy.clone(), request(Method::POST))
            .await
            .unwrap()
            .status(),
        200
    );
    let reply = send(&peer, policy, request(Method::GET)).await;
    assert_eq!(reports(&reply), StopReason::NotIdempotent);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_not_sent_is_retried_with_any_method() {
    let peer = Peer::new([error(Class::NotSent), error(Class::NotSent), status(200)]);
    let response = send(&peer, policy(), request(Method::POST)).await.unwrap();
    assert_eq!(peer.waits(), [WAIT, WAIT * 2]);
    assert_eq!(response.retry_report().transparent_retries(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_retried_transparently_once_and_then_by_policy() {
    let refused = || error(Class::Unprocessed);
    let peer = Peer::new([refused(), refused(), refused(), refused()]);
    let reply = send(&peer, policy(), request(Method::POST)).await;
    assert_eq!(peer.waits(), [Duration::ZERO, WAIT, WAIT * 2]);
    assert_eq!(reports(&reply), StopReason::AttemptsExhausted);
    assert_eq!(reply.unwrap_err().report.unwrap().transparent_retries(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_cause_grants_a_transparent_retry_and_the_first_of_a_call_is_free() {
    let replies = [
        error(Class::Stale(Processed::Never)),
        error(Class::Unprocessed),
        status(421),
        status(200),
    ];
    let peer = Peer::new(replies.clone());
    let budget = Arc::new(FixedBudget::new(2, 10).unwrap());
    let policy = builder().budget(Arc::clone(&budget)).build().unwrap();
    let response = send(&peer, policy.clone(), request(Method::POST))
        .await
        .unwrap();
    assert_eq!(peer.waits(), [Duration::ZERO; 3]);
    let report = response.retry_report();
    assert_eq!(
        (report.transparent_retries(), report.attempts().len()),
        (3, 4)
    );
    assert_eq!(
        budget.millitokens(),
        100,
        "two tokens, and what a success earns"
    );
    assert!(
        report.attempts()[..3]
            .iter()
            .all(|record| record.wait().unwrap().reason() == WaitReason::TransparentRetry)
    );

    let peer = Peer::new(replies);
    let reply = send(&peer, policy, request(Method::POST)).await;
    assert_eq!(reports(&reply), StopReason::BudgetExhausted);
    assert_eq!(peer.seen().len(), 2, "the first was free");
}

#[tokio::test(start_paused = true)]
async fn a_transparent_retry_that_was_paid_for_and_not_sent_is_paid_back() {
    let hanging = status(421).body(Refused::hanging());
    let peer = Peer::new([error(Class::Unprocessed), hanging]);
    let budget = Arc::new(FixedBudget::new(1, 10).unwrap());
    let policy = builder().budget(Arc::clone(&budget)).build().unwrap();
    let mut call = task::spawn(send(&peer, policy, request(Method::POST)));
    assert_pending!(call.poll());
    assert_eq!((peer.seen().len(), budget.millitokens()), (2, 0));
    drop(call);
    assert_eq!(budget.millitokens(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_one_attempt_still_sends_again_what_counts_as_none() {
    let one = builder().max_attempts(1).build().unwrap();
    for first in [
        error(Class::Unprocessed),
        error(Class::Stale(Processed::Never)),
    ] {
        let peer = Peer::new([first, status(200)]);
        let response = send(&peer, one.clone(), request(Method::POST))
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
    let peer = Peer::new([error(Class::Stale(Processed::Possibly)), status(503)]);
    let reply = get(&peer, one.clone()).await;
    assert_eq!(reports(&reply), StopReason::AttemptsExhausted);
    for first in [status(503), error(Class::NotSent), error(Class::Ambiguous)] {
        let peer = Peer::new([first]);
        let reply = get(&peer, one.clone()).await;
        assert_eq!(reports(&reply), StopReason::AttemptsExhausted);
    }
    let peer = Peer::new([error(Class::Stale(Processed::Possibly))]);
    let reply = send(&peer, one, request(Method::POST)).await;
    assert_eq!(reports(&reply), StopReason::NotIdempotent);
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_one_attempt_without_transparent_retries_sends_once() {
    let once = builder()
        .max_attempts(1)
        .without_transparent_retries()
        .build()
        .unwrap();
    for first in [
        error(Class::Unprocessed),
        error(Class::Stale(Processed::Never)),
    ] {
        let peer = Peer::new([first]);
        let reply = get(&peer, once.clone()).await;
        assert_eq!(reports(&reply), StopReason::AttemptsExhausted);
        assert_eq!(peer.clones(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transparent_retry_is_granted_on_the_last_attempt_too() {
    let peer = Peer::new([
        status(503),
        status(503),
        error(Class::Unprocessed),
        status(200),
    ]);
    assert_eq!(get(&peer, policy()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_stale_connection_that_was_written_to_frees_idempotent_requests_only() {
    let stale = || error(Class::Stale(Processed::Possibly));
    let peer = Peer::new([stale(), stale(), status(200)]);
    get(&peer, policy()).await.unwrap();
    assert_eq!(peer.waits(), [Duration::ZERO, WAIT]);

    let peer = Peer::new([stale()]);
    let reply = send(&peer, policy(), request(Method::POST)).await;
    assert_eq!(reports(&reply), StopReason::NotIdempotent);
}

#[tokio::test(start_paused = true)]
async fn without_transparent_retries_everything_counts() {
    let policy = builder().without_transparent_retries().build().unwrap();
    let peer = Peer::new([error(Class::Unprocessed), status(421), status(200)]);
    let response = send(&peer, policy, request(Method::POST)).await.unwrap();
    assert_eq!(peer.waits(), [WAIT, WAIT * 2]);
    assert_eq!(response.retry_report().transparent_retries(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_error_is_returned_with_its_report() {
    let peer = Peer::new([error(Class::Final)]);
    let report = get(&peer, policy()).await.unwrap_err().report.unwrap();
    assert_eq!(report.stop(), StopReason::ErrorNotRetryable);
    assert_eq!(report.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unmarked_request_costs_one_clone_and_a_marked_one_none() {
    let peer = Peer::new([status(200), status(503), status(503)]);
    get(&peer, policy()).await.unwrap();
    assert_eq!(peer.clones(), 1);

    let mut marked = request(Method::GET);
    marked.extensions_mut().insert(NoRetry);
    send(&peer, policy(), marked).await.unwrap();
    send(
        &peer,
        builder()
            .max_attempts(1)
            .without_transparent_retries()
            .build()
            .unwrap(),
        request(Method::GET),
    )
    .await
    .unwrap();
    assert_eq!((peer.clones(), peer.seen().len()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_policy_in_the_request_takes_the_place_of_the_layers() {
    let peer = Peer::new([status(418), status(200)]);
    let mut request = request(Method::GET);
    request
        .extensions_mut()
        .insert(RetryPolicy::builder().statuses([418]).build().unwrap());
    assert_eq!(send(&peer, policy(), request).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_ends_the_call() {
    let peer = Peer::new([status(503)]);
    peer.fail_readiness_after_the_first();
    let failure = get(&peer, policy()).await.unwrap_err();
    let report = failure.report.unwrap();
    assert_eq!(
        (report.attempts().len(), report.stop()),
        (2, StopReason::ErrorNotRetryable)
    );
}

// Waits that servers ask for

#[tokio::test(start_paused = true)]
async fn a_retry_after_in_seconds_is_never_undercut() {
    for seed in 0..20 {
        let peer = Peer::new([status(503).header("retry-after", "3"), status(200)]);
        let policy = builder().seed(seed).build().unwrap();
        let response = get(&peer, policy).await.unwrap();
        let wait = peer.waits()[0];
        assert!(
            Duration::from_secs(3) <= wait && wait <= Duration::from_millis(3_301),
            "{wait:?}"
        );
        let reason = response.retry_report().attempts()[0]
            .wait()
            .unwrap()
            .reason();
        assert_eq!(reason, WaitReason::RetryAfter);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_as_a_date_is_measured_by_the_response() {
    let at = |offset| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(offset));
    let reply = status(503)
        .header("date", at(3_600))
        .header("retry-after", at(3_605));
    let peer = Peer::new([reply, status(200)]);
    get(&peer, policy()).await.unwrap();
    let wait = peer.waits()[0];
    assert!(
        Duration::from_secs(5) <= wait && wait <= Duration::from_millis(5_501),
        "{wait:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_longer_backoff_wins_over_the_hint() {
    let peer = Peer::new([
        status(429).header("retry-after", "0"),
        status(429),
        status(200),
    ]);
    let response = get(&peer, policy()).await.unwrap();
    assert_eq!(
        peer.waits(),
        [1, 2].map(Duration::from_secs),
        "a throttled server gets a second"
    );
    let reason = response.retry_report().attempts()[0]
        .wait()
        .unwrap()
        .reason();
    assert_eq!(reason, WaitReason::Throttled);
}

#[tokio::test(start_paused = true)]
async fn a_hint_beyond_the_bound_returns_the_response_now() {
    let peer = Peer::new([status(503).header("retry-after", "121")]);
    let start = Instant::now();
    let reply = get(&peer, policy()).await;
    assert_eq!(reports(&reply), StopReason::RetryAfterTooLong);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_hint_counts_as_absent() {
    let peer = Peer::new([status(503).header("retry-after", "1.5"), status(200)]);
    get(&peer, policy()).await.unwrap();
    assert_eq!(peer.waits(), [WAIT]);
}

#[tokio::test(start_paused = true)]
async fn a_hint_does_not_make_a_final_status_retryable() {
    let peer = Peer::new([
        status(404).header("retry-after", "1"),
        status(413),
        status(200),
    ]);
    assert_eq!(get(&peer, policy()).await.unwrap().status(), 404);
    assert_eq!(get(&peer, policy()).await.unwrap().status(), 413);
}

// Schedules

#[tokio::test(start_paused = true)]
async fn a_schedule_that_is_over_ends_the_call() {
    let waits = [30, 10].map(Duration::from_millis);
    let policy = builder()
        .max_attempts(9)
        .backoff(Backoff::schedule(waits))
        .build()
        .unwrap();
    let peer = Peer::new([status(503), status(503), status(503)]);
    let reply = get(&peer, policy).await;
    assert_eq!(peer.waits(), waits);
    assert_eq!(reports(&reply), StopReason::AttemptsExhausted);
}

#[tokio::test(start_paused = true)]
async fn no_wait_at_all_is_a_wait_of_nothing() {
    let policy = builder()
        .backoff(Backoff::fixed(Duration::ZERO))
        .build()
        .unwrap();
    let peer = Peer::new([status(503), status(503), status(200)]);
    get(&peer, policy).await.unwrap();
    assert_eq!(peer.waits(), [Duration::ZERO; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_that_can_be_asked_for_does_not_overflow() {
    let longest = Exponential::new(Duration::MAX).cap(Duration::MAX);
    let policy = builder()
        .backoff(Backoff::from(longest).jitter(Jitter::None))
        .build()
        .unwrap();
    let peer = Peer::new([status(503)]);
    let mut call = task::spawn(get(&peer, policy));
    assert_pending!(call.poll());
}

// Deadlines

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_outlive_the_deadline_is_not_begun() {
    let policy = builder().deadline(WAIT).build().unwrap();
    let peer = Peer::new([status(503), status(503), status(200)]);
    let start = Instant::now();
    let reply = get(&peer, policy).await;
    assert_eq!(reports(&reply), StopReason::DeadlineTooClose);
    assert_eq!(start.elapsed(), Duration::ZERO);

    let mut request = request(Method::GET);
    request
        .extensions_mut()
        .insert(Deadline::within(WAIT + Duration::from_millis(1)));
    assert_eq!(
        send(&peer, builder().deadline(WAIT).build().unwrap(), request)
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_allows_not_even_a_transparent_retry() {
    let late = error(Class::Unprocessed).taking(Duration::from_secs(2));
    let peer = Peer::new([late]);
    let policy = builder().deadline(Duration::from_secs(1)).build().unwrap();
    assert_eq!(
        reports(&get(&peer, policy).await),
        StopReason::DeadlineExceeded
    );
}

// Bodies of refused responses

#[tokio::test(start_paused = true)]
async fn a_short_refused_body_is_read_to_its_end_before_the_wait() {
    let body = Refused::frames([30_000, 30_000]);
    let peer = Peer::new([status(503).body(body.clone()), status(200)]);
    let start = Instant::now();
    get(&peer, policy()).await.unwrap();
    assert_eq!(*body.read.lock().unwrap(), 60_000);
    assert_eq!(peer.dropped_bodies()[0], start, "gone before the wait");
    assert_eq!(peer.waits(), [WAIT]);
}

#[tokio::test(start_paused = true)]
async fn a_long_refused_body_is_dropped_when_the_bound_is_reached() {
    let body = Refused::frames([40_000; 10]);
    let peer = Peer::new([status(503).body(body.clone()), status(200)]);
    get(&peer, policy()).await.unwrap();
    assert_eq!(*body.read.lock().unwrap(), 280_000);
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_that_says_it_is_long_is_not_read() {
    let body = Refused {
        announced: Some(256 * 1024 + 1),
        ..Refused::frames([1])
    };
    let peer = Peer::new([status(503).body(body.clone()), status(200)]);
    get(&peer, policy()).await.unwrap();
    assert_eq!(*body.read.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_refused_body_is_dropped_and_its_time_is_part_of_the_wait() {
    let peer = Peer::new([status(503).body(Refused::hanging()), status(200)]);
    let start = Instant::now();
    get(&peer, policy()).await.unwrap();
    let dropped = peer.dropped_bodies()[0] - start;
    assert!(dropped >= Duration::from_millis(50) && dropped < Duration::from_millis(52));
    assert_eq!(peer.waits(), [WAIT]);
}

// Bodies of requests

#[tokio::test(start_paused = true)]
async fn bytes_are_sent_again_whole_and_of_the_same_length() {
    let peer = Peer::new([status(503), status(200)]);
    let request = Request::put("http://peer/")
        .body(Full::from("payload"))
        .unwrap();
    send(&peer, policy(), request).await.unwrap();
    for seen in peer.seen() {
        assert_eq!(
            (seen.body.as_ref(), seen.length),
            (&b"payload"[..], Some(7))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_within_the_bound_is_sent_again() {
    let peer = Peer::new([status(503), error(Class::Ambiguous).reading(1), status(200)]);
    let request = Request::put("http://peer/")
        .body(Frames::new(["one ", "two"]))
        .unwrap();
    send(&peer, policy(), request).await.unwrap();
    let bodies: Vec<_> = peer.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, ["one two", "one ", "one two"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_over_the_bound_is_sent_once_and_whole() {
    let policy = builder().replay_limit(6).build().unwrap();
    let peer = Peer::new([status(503)]);
    let request = Request::put("http://peer/")
        .body(Frames::new(["one ", "two"]))
        .unwrap();
    let reply = send(&peer, policy, request).await;
    assert_eq!(peer.seen()[0].body, "one two");
    assert_eq!(reports(&reply), StopReason::BodyNotReplayable);
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_body_was_read_is_final() {
    let peer = Peer::new([status(503).reading(1)]);
    let request = Request::put("http://peer/")
        .body(Frames::new(["one ", "two"]))
        .unwrap();
    let reply = send(&peer, policy(), request).await;
    assert_eq!(reports(&reply), StopReason::BodyNotReplayable);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_never_polled_is_sent_again() {
    let peer = Peer::new([status(503).reading(0), status(200)]);
    let request = Request::put("http://peer/")
        .body(Frames::new(["one ", "two"]))
        .unwrap();
    send(&peer, policy(), request).await.unwrap();
    assert_eq!(peer.seen()[1].body, "one two");
}

// Cancellation

fn spawn(
    peer: &Peer,
    policy: RetryPolicy,
) -> task::Spawn<impl Future<Output = Result<Response<RefusedBody>, Failure>> + use<>> {
    let mut retry = Retry::new(peer.handle(), policy);
    let mut ready = task::spawn(async move {
        std::future::poll_fn(|cx| Service::<Request<Empty<Bytes>>>::poll_ready(&mut retry, cx))
            .await
            .unwrap();
        retry
    });
    let mut retry = assert_ready!(ready.poll());
    task::spawn(retry.call(request(Method::GET)))
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_in_any_state_sends_nothing_more_and_pays_back() {
    let slow = || status(503).taking(Duration::from_secs(1));
    let hanging = || status(503).body(Refused::hanging());
    // While it sends, drains, waits.
    for (reply, polls) in [(slow(), 1), (hanging(), 1), (status(503), 1)] {
        let budget = Arc::new(FixedBudget::new(10, 10).unwrap());
        let policy = builder().budget(Arc::clone(&budget)).build().unwrap();
        let peer = Peer::new([reply]);
        let mut call = spawn(&peer, policy);
        for _ in 0..polls {
            assert_pending!(call.poll());
        }
        drop(call);
        advance(Duration::from_secs(60)).await;
        assert_eq!(peer.seen().len(), 1);
        assert_eq!(budget.millitokens(), 10_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_paid_for_before_its_wait_and_not_given_back_once_sent() {
    let budget = Arc::new(FixedBudget::new(10, 10).unwrap());
    let policy = builder().budget(Arc::clone(&budget)).build().unwrap();
    let peer = Peer::new([status(503), status(200).taking(Duration::from_secs(1))]);
    let mut call = spawn(&peer, policy);
    assert_pending!(call.poll());
    assert_eq!(budget.millitokens(), 9_000);
    advance(WAIT + Duration::from_millis(1)).await;
    assert_pending!(call.poll());
    drop(call);
    assert_eq!((peer.seen().len(), budget.millitokens()), (2, 9_000));
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_returns_the_outcome_at_once() {
    let policy = builder()
        .budget(FixedBudget::new(1, 10).unwrap())
        .build()
        .unwrap();
    let peer = Peer::new([status(503), status(503)]);
    let reply = get(&peer, policy).await;
    assert_eq!(reports(&reply), StopReason::BudgetExhausted);
    assert_eq!(peer.waits(), [WAIT]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_refused_for_another_reason_costs_no_token() {
    let budget = Arc::new(FixedBudget::new(10, 10).unwrap());
    let refused = builder()
        .budget(Arc::clone(&budget))
        .deadline(Duration::from_millis(1))
        .build()
        .unwrap();
    let peer = Peer::new([status(503), error(Class::Unprocessed), status(200)]);
    get(&peer, refused.clone()).await.unwrap();
    get(&peer, refused).await.unwrap();
    assert_eq!(
        budget.millitokens(),
        10_000,
        "neither the refusal nor the transparent_retry"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_without_waits_lets_others_run_between_its_attempts() {
    let busy = |_: Request<retry_layer::ReplayBody<Empty<Bytes>>>| {
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    };
    let hasty = builder().backoff(Backoff::fixed(Duration::ZERO));
    let policy = hasty.max_attempts(100).build().unwrap();
    let service = Retry::new(tower::service_fn(busy), policy);
    let mut call = task::spawn(service.oneshot(request(Method::GET)));
    let mut polls = 1;
    while call.poll().is_pending() {
        assert!(call.is_woken());
        polls += 1;
    }
    assert_eq!(
        polls, 99,
        "the first poll makes two attempts, each other one"
    );
}

// The profile of aiohttp-retry

#[tokio::test(start_paused = true)]
async fn the_aiohttp_profile_makes_three_requests_with_waits_of_2_and_4_seconds() {
    for code in [429, 500, 501, 502, 503, 504, 505, 599] {
        for method in [Method::GET, Method::POST] {
            let replies: [Reply; 3] = std::array::from_fn(|n| {
                status(code)
                    .header("retry-after", "9")
                    .body(Refused::frames([n]))
            });
            let peer = Peer::new(replies);
            let response = send(&peer, aiohttp(&[]), request(method)).await.unwrap();
            assert_eq!(response.status(), code);
            assert_eq!(peer.waits(), [2, 4].map(Duration::from_secs), "{code}");
            let body = http_body_util::BodyExt::collect(response.into_body())
                .await
                .unwrap();
            assert_eq!(body.to_bytes().len(), 2, "the last of the three");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_aiohttp_profile_leaves_these_alone() {
    for reply in [
        status(200),
        status(404),
        status(408),
        status(413).header("retry-after", "1"),
        status(421),
        io_error(std::io::ErrorKind::TimedOut),
        io_error(std::io::ErrorKind::ConnectionReset),
    ] {
        for exceptions in [&[][..], &[AiohttpException::ClientConnectorError]] {
            let peer = Peer::new([reply.clone()]);
            let _ = get(&peer, aiohttp(exceptions)).await;
            assert_eq!(peer.seen().len(), 1);
        }
    }
    let peer = Peer::new([status(503)]);
    let query = Method::from_bytes(b"QUERY").unwrap();
    let _ = send(&peer, aiohttp(&[]), request(query)).await;
    assert_eq!(peer.seen().len(), 1, "the package does not list it");
}

#[tokio::test(start_paused = true)]
async fn the_aiohttp_profile_retries_a_refused_connection_only_if_listed() {
    let refused = || io_error(std::io::ErrorKind::ConnectionRefused);
    for exceptions in [&[][..], &[AiohttpException::HttpClientError]] {
        let peer = Peer::new([refused()]);
        let reply = get(&peer, aiohttp(exceptions)).await;
        assert_eq!(reports(&reply), StopReason::ErrorNotRetryable);
    }
    let listed = [
        AiohttpException::HttpClientError,
        AiohttpException::ClientConnectorError,
    ];
    for method in [Method::GET, Method::POST] {
        let peer = Peer::new([refused(), refused(), refused()]);
        let reply = send(&peer, aiohttp(&listed), request(method)).await;
        assert_eq!(reports(&reply), StopReason::AttemptsExhausted);
        assert_eq!(peer.waits(), [2, 4].map(Duration::from_secs));
    }
}

#[tokio::test(start_paused = true)]
async fn the_aiohttp_profile_can_be_changed() {
    let policy = RetryPolicy::aiohttp_retry()
        .to_builder()
        .max_attempts(5)
        .statuses([503])
        .build()
        .unwrap();
    let peer = Peer::new([
        status(503),
        status(503),
        status(503),
        status(503),
        status(500),
    ]);
    let response = get(&peer, policy).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(peer.waits(), [2, 4, 8, 16].map(Duration::from_secs));
}

#[test]
fn a_standard_classifier_can_be_asked_by_another() {
    let _ = Knowing(Standard::default().statuses([StatusCode::IM_A_TEAPOT]));
}
