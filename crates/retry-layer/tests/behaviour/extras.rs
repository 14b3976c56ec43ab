//! What a policy or a request can ask for beyond retries, over a strict peer and a paused clock.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use retry_layer::{
    AttemptHeader, AttemptOutcome, AttemptRecord, BeforeAttempt, Class, Classifier, Deadline,
    EndedAttempt, IdempotencyKeys, Jitter, NoRetry, Outcome, ResponseExt, Retry, RetryObserver,
    RetryPolicy, RetryPolicyBuilder, StopReason, TimeoutHeader, Wait, WaitReason,
    budget::Unlimited, classifier_fn,
};
use tower::ServiceExt;

use crate::support::{Failure, Knowing, Peer, RefusedBody, Seen, error, io_error, status};

fn builder() -> RetryPolicyBuilder {
    RetryPolicy::builder()
        .classifier(Knowing::standard())
        .jitter(Jitter::None)
        .budget(Unlimited)
}

fn request(method: Method) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(method)
        .uri("http://peer/path")
        .header("x-own", "yes")
        .body(Empty::new())
        .unwrap()
}

async fn send(
    peer: &Peer,
    builder: RetryPolicyBuilder,
    request: Request<Empty<Bytes>>,
) -> Result<Response<RefusedBody>, Failure> {
    Retry::new(peer.handle(), builder.build().unwrap())
        .oneshot(request)
        .await
}

fn header(seen: &Seen, name: &str) -> Option<String> {
    Some(seen.headers.get(name)?.to_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_call_keeps_its_idempotency_key_on_retries_and_transparent_retries() {
    let peer = Peer::new([status(503), error(Class::Unprocessed), status(200)]);
    let keyed = builder().idempotency_keys(IdempotencyKeys::new());
    send(&peer, keyed, request(Method::POST)).await.unwrap();

    let seen = peer.seen();
    assert_eq!(seen.len(), 3, "a keyed POST is retried");
    let keys: Vec<_> = seen
        .iter()
        .map(|seen| header(seen, "idempotency-key"))
        .collect();
    assert!(keys[0].as_ref().is_some_and(|key| key.len() == 38));
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test(start_paused = true)]
async fn each_call_has_a_key_of_its_own() {
    let peer = Peer::new([status(200), status(200)]);
    let keyed = || builder().idempotency_keys(IdempotencyKeys::new());
    for _ in 0..2 {
        send(&peer, keyed(), request(Method::POST)).await.unwrap();
    }
    let seen = peer.seen();
    assert_ne!(
        seen[0].headers["idempotency-key"],
        seen[1].headers["idempotency-key"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_can_ask_for_a_key_and_nothing_is_added_unasked() {
    let peer = Peer::new([status(200), status(200)]);
    let mut asking = request(Method::POST);
    asking
        .extensions_mut()
        .insert(IdempotencyKeys::new().bare());
    send(&peer, builder(), asking).await.unwrap();
    send(&peer, builder(), request(Method::POST)).await.unwrap();
    let seen = peer.seen();
    assert_eq!(header(&seen[0], "idempotency-key").unwrap().len(), 36);
    assert_eq!(header(&seen[1], "idempotency-key"), None);
}

#[tokio::test(start_paused = true)]
async fn a_keyed_call_that_is_still_being_processed_is_asked_for_again() {
    let peer = Peer::new([status(409), status(201)]);
    let keyed = builder().idempotency_keys(IdempotencyKeys::new());
    let response = send(&peer, keyed, request(Method::POST)).await.unwrap();
    assert_eq!(response.status(), 201);

    let peer = Peer::new([status(409)]);
    let response = send(&peer, builder(), request(Method::PUT)).await.unwrap();
    assert_eq!(
        response.status(),
        409,
        "without a key of the layer's it is final"
    );
}

#[tokio::test(start_paused = true)]
async fn the_hook_alters_every_attempt_of_the_original() {
    let peer = Peer::new([status(503), error(Class::Unprocessed), status(200)]);
    let hooked = builder().before_attempt(|number, parts| {
        parts.uri = format!("http://peer-{number}/path").parse::<Uri>().unwrap();
        parts.headers.append("x-token", number.into());
    });
    send(&peer, hooked, request(Method::GET)).await.unwrap();
    for (seen, number) in peer.seen().iter().zip(["1", "2", "3"]) {
        assert_eq!(seen.uri.to_string(), format!("http://peer-{number}/path"));
        assert_eq!(header(seen, "x-token").as_deref(), Some(number));
        assert_eq!(header(seen, "x-own").as_deref(), Some("yes"));
        assert_eq!(seen.headers.get_all("x-token").iter().count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_requests_own_hook_goes_first_and_runs_though_it_is_sent_once() {
    let peer = Peer::new([status(503)]);
    let hooked = builder().before_attempt(|_, _| panic!("not this one"));
    let mut once = request(Method::GET);
    once.extensions_mut().insert(NoRetry);
    once.extensions_mut().insert(BeforeAttempt::new(|_, parts| {
        parts.headers.insert("x-token", 1.into());
    }));
    send(&peer, hooked, once).await.unwrap();
    assert_eq!(header(&peer.seen()[0], "x-token").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_which_attempt_it_sees() {
    // A free transparent retry is no attempt.
    let replies = || Peer::new([error(Class::Unprocessed), status(503), status(200)]);
    let name = HeaderName::from_static("x-attempt");
    for (header_kind, name, expected) in [
        (
            AttemptHeader::grpc(),
            "grpc-previous-rpc-attempts",
            [None, None, Some("1")],
        ),
        (
            AttemptHeader::aws(),
            "amz-sdk-request",
            [
                Some("attempt=1; max=3"),
                Some("attempt=1; max=3"),
                Some("attempt=2; max=3"),
            ],
        ),
        (
            AttemptHeader::numbered(name),
            "x-attempt",
            [Some("1"), Some("1"), Some("2")],
        ),
    ] {
        let peer = replies();
        let told = builder().attempt_header(header_kind);
        send(&peer, told, request(Method::GET)).await.unwrap();
        let told: Vec<_> = peer.seen().iter().map(|seen| header(seen, name)).collect();
        assert_eq!(told, expected.map(|text| text.map(str::to_owned)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_how_much_time_is_left() {
    let peer = Peer::new([status(503), status(200)]);
    let name = HeaderName::from_static("x-timeout-ms");
    let told = builder().timeout_header(TimeoutHeader::milliseconds(name));
    let mut request = request(Method::GET);
    request
        .extensions_mut()
        .insert(Deadline::within(Duration::from_secs(1)));
    send(&peer, told, request).await.unwrap();
    let seen = peer.seen();
    assert_eq!(header(&seen[0], "x-timeout-ms").as_deref(), Some("1000"));
    assert_eq!(header(&seen[1], "x-timeout-ms").as_deref(), Some("900"));
}

#[tokio::test(start_paused = true)]
async fn no_timeout_is_told_without_a_deadline() {
    let peer = Peer::new([status(200)]);
    let told = builder().timeout_header(TimeoutHeader::grpc());
    send(&peer, told, request(Method::GET)).await.unwrap();
    assert_eq!(header(&peer.seen()[0], "grpc-timeout"), None);
}

#[tokio::test(start_paused = true)]
async fn a_nested_layer_stands_down_for_the_owner() {
    for (outer, attempts) in [(builder().own_retries(), 3), (builder(), 9)] {
        let peer = Peer::new((0..attempts).map(|_| status(503)));
        let inner = Retry::new(peer.handle(), builder().build().unwrap());
        let outer = Retry::new(inner, outer.build().unwrap());
        outer.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(peer.seen().len(), attempts);
    }
}

#[derive(Default)]
struct Diary(Mutex<Vec<(u32, AttemptOutcome, Entry)>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Again(WaitReason),
    Stop(StopReason),
}

impl RetryObserver for Diary {
    fn sends_again(&self, exchange: &EndedAttempt<'_>, wait: Wait) {
        let entry = Entry::Again(wait.reason());
        self.0
            .lock()
            .unwrap()
            .push((exchange.number(), exchange.outcome(), entry));
    }

    fn stops(&self, exchange: &EndedAttempt<'_>, reason: StopReason) {
        let entry = Entry::Stop(reason);
        self.0
            .lock()
            .unwrap()
            .push((exchange.number(), exchange.outcome(), entry));
    }
}

fn answered(code: u16) -> AttemptOutcome {
    AttemptOutcome::Status(code.try_into().unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_every_attempt_and_decision() {
    let peer = Peer::new([error(Class::Unprocessed), status(503), status(200)]);
    let diary = Arc::new(Diary::default());
    let observed = builder().observer(Arc::clone(&diary));
    send(&peer, observed, request(Method::GET)).await.unwrap();
    let refused = AttemptOutcome::Error(Class::Unprocessed);
    assert_eq!(
        *diary.0.lock().unwrap(),
        [
            (1, refused, Entry::Again(WaitReason::TransparentRetry)),
            (2, answered(503), Entry::Again(WaitReason::Backoff)),
            (3, answered(200), Entry::Stop(StopReason::Answered)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_a_plain_success_too() {
    let peer = Peer::new([status(200)]);
    let diary = Arc::new(Diary::default());
    let observed = builder().observer(Arc::clone(&diary));
    let response = send(&peer, observed, request(Method::GET)).await.unwrap();
    assert!(response.extensions().is_empty());
    assert_eq!(response.retry_report().stop(), StopReason::Answered);
    let expected = (1, answered(200), Entry::Stop(StopReason::Answered));
    assert_eq!(*diary.0.lock().unwrap(), [expected]);
}

/// Notes what the record of each attempt says.
#[derive(Default)]
struct Times(Mutex<Vec<AttemptRecord>>);

impl RetryObserver for Times {
    fn sends_again(&self, exchange: &EndedAttempt<'_>, _: Wait) {
        self.0.lock().unwrap().push(exchange.record().clone());
    }

    fn stops(&self, exchange: &EndedAttempt<'_>, _: StopReason) {
        self.0.lock().unwrap().push(exchange.record().clone());
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_keeps_its_cause_and_its_time() {
    const SECOND: Duration = Duration::from_secs(1);
    let peer = Peer::new([
        io_error(io::ErrorKind::TimedOut).taking(SECOND * 3),
        io_error(io::ErrorKind::ConnectionReset).taking(SECOND),
        io_error(io::ErrorKind::ConnectionRefused),
    ]);
    let times = Arc::new(Times::default());
    let observed = builder().observer(Arc::clone(&times));
    let failure = send(&peer, observed, request(Method::GET)).await;
    let report = failure.unwrap_err().report.unwrap();

    let records = report.attempts();
    let kinds: Vec<_> = records.iter().filter_map(AttemptRecord::kind).collect();
    let expected = ["timeout", "broken", "connection_refused"];
    assert_eq!(kinds, expected.map(retry_layer::FailureKind::new));
    let began: Vec<_> = records.iter().filter_map(AttemptRecord::began).collect();
    let (first, second) = (Duration::from_millis(100), Duration::from_millis(200));
    assert_eq!(
        began,
        [
            Duration::ZERO,
            SECOND * 3 + first,
            SECOND * 4 + first + second
        ]
    );
    let took: Vec<_> = records.iter().filter_map(AttemptRecord::took).collect();
    assert_eq!(took, [SECOND * 3, SECOND, Duration::ZERO]);
    for record in records {
        assert_eq!(record.peer(), Some("http://peer"));
        assert!(record.cause().is_some_and(|cause| !cause.is_empty()));
    }
    let seen = times.0.lock().unwrap();
    assert_eq!(*seen, records);
    let text = report.to_string();
    assert!(
        text.starts_with(
            "timeout after 3s at http://peer, waited 100ms (backoff), broken after 1s"
        ),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_anybody_who_looks_at_the_clock_later_attempts_are_timed_alone() {
    let second = Duration::from_secs(1);
    let peer = Peer::new([status(503).taking(second), status(200).taking(second)]);
    let response = send(&peer, builder(), request(Method::GET)).await.unwrap();
    let report = response.retry_report();
    let took: Vec<_> = report.attempts().iter().map(AttemptRecord::took).collect();
    assert_eq!(took, [None, Some(second)]);
    assert!(report.attempts().iter().all(|it| it.began().is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_asks_for_a_retry_of_a_success_is_named() {
    let standard = Knowing::standard();
    let asks = classifier_fn(move |outcome: &Outcome<'_>| match outcome.status() {
        Some(StatusCode::OK) => Class::Ambiguous,
        _ => standard.classify(outcome),
    });
    let peer = Peer::new([status(200), status(503), status(200)]);
    let asking = builder().classifier(asks);
    let response = send(&peer, asking, request(Method::GET)).await.unwrap();
    let report = response.retry_report();
    let asked = report.attempts().iter().map(AttemptRecord::is_asked_again);
    assert!(asked.eq([true, false, true]));
    assert_eq!(
        report.to_string(),
        "200, retried: the classifier asked for it, waited 100ms (backoff), \
         503 at once, waited 200ms (backoff), \
         200 at once, not retried though the classifier asked for it; stopped: attempts_exhausted"
    );
}

#[test]
fn the_types_cross_tasks() {
    fn check<T: Send + Sync + std::fmt::Debug + Clone + 'static>() {}
    check::<AttemptHeader>();
    check::<BeforeAttempt>();
    check::<EndedAttempt<'static>>();
    check::<IdempotencyKeys>();
    check::<TimeoutHeader>();
    check::<retry_layer::BodyFactory<Empty<Bytes>>>();
    check::<retry_layer::RetryOwner>();
    check::<retry_layer::attempt_timeout::AttemptTimeout<()>>();
    check::<retry_layer::attempt_timeout::AttemptTimeoutLayer>();
    check::<retry_layer::peek::Peek<()>>();
    check::<retry_layer::peek::PeekLayer>();
    check::<retry_layer::peek::Peeked>();
}
