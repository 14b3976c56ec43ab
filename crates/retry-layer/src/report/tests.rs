use std::time::Duration;

use http::Version;

use super::*;
use crate::{
    class::{Class, Processed},
    details::{AttemptDetails, FailureKind},
};

const SECOND: Duration = Duration::from_secs(1);

fn status(code: u16) -> AttemptRecord {
    AttemptRecord::new(AttemptOutcome::Status(code.try_into().unwrap()))
}

fn failed(class: Class) -> AttemptRecord {
    AttemptRecord::new(AttemptOutcome::Error(class))
}

#[test]
fn the_text_is_a_timeline() {
    let after = Duration::from_millis(1_500);
    let report = RetryReport::new(
        vec![
            failed(Class::Stale(Processed::Possibly))
                .followed_after(Wait::new(Duration::ZERO, WaitReason::TransparentRetry)),
            status(503).followed_after(Wait::new(after, WaitReason::RetryAfter)),
            status(200),
        ],
        1,
        StopReason::Answered,
    );
    assert_eq!(
        report.to_string(),
        "error (stale), retried transparently at once, 503, waited 1.5s (retry_after), 200; stopped: answered"
    );
}

#[test]
fn the_text_of_an_attempt_has_outcome_time_peer_and_cause() {
    let details = AttemptDetails::default()
        .kind(FailureKind::new("head_timeout"))
        .cause("no response within 30s")
        .peer("http://a:80")
        .reused(true)
        .address(([10, 0, 0, 7], 80).into())
        .version(Version::HTTP_11)
        .other_requests(4);
    let times = AttemptTimes {
        began: Some(SECOND),
        took: Some(SECOND * 30),
    };
    let late = failed(Class::Ambiguous).described(details).timed(times);
    assert_eq!(
        late.to_string(),
        "head timeout after 30s on a reused connection to http://a:80 (10.0.0.7:80)"
    );
    assert_eq!(late.cause(), Some("no response within 30s"));
    assert_eq!(late.version(), Some(Version::HTTP_11));
    assert_eq!(late.other_requests(), Some(4));

    let literal = AttemptDetails::default()
        .kind(FailureKind::BROKEN)
        .peer("http://10.0.0.7:80")
        .address(([10, 0, 0, 7], 80).into())
        .reused(false);
    assert_eq!(
        failed(Class::Ambiguous).described(literal).to_string(),
        "broken on a new connection to http://10.0.0.7:80"
    );

    let details = AttemptDetails::default()
        .kind(FailureKind::TLS)
        .cause("unknown issuer")
        .peer("https://a:443");
    let untrusted = failed(Class::Permanent).described(details);
    assert_eq!(
        untrusted.to_string(),
        "tls at https://a:443 (unknown issuer)"
    );
}

#[test]
fn what_the_classifier_asked_for_is_named() {
    let asked = status(200).asked_again(AskedAgain::ByClassifier);
    let wait = Wait::new(SECOND, WaitReason::Backoff);
    let report = RetryReport::new(
        vec![asked.clone().followed_after(wait), asked],
        0,
        StopReason::AttemptsExhausted,
    );
    assert_eq!(
        report.to_string(),
        "200, retried: the classifier asked for it, waited 1s (backoff), \
         200, not retried though the classifier asked for it; stopped: attempts_exhausted"
    );
}

#[test]
fn reports_of_requests_that_followed_each_other_are_one() {
    let times = |began, took| AttemptTimes {
        began: Some(SECOND * began),
        took: Some(SECOND * took),
    };
    let first = status(302).timed(times(0, 2));
    let first = RetryReport::single(first, StopReason::StatusNotRetryable);
    let unprocessed = failed(Class::Unprocessed)
        .timed(times(0, 1))
        .followed_after(Wait::new(Duration::ZERO, WaitReason::TransparentRetry));
    let answer = status(200).timed(times(1, 3));
    let second = RetryReport::new(vec![unprocessed, answer], 1, StopReason::Answered);

    let whole = first.followed_by(second);

    assert_eq!(whole.transparent_retries(), 1);
    assert_eq!(
        whole.to_string(),
        "302 after 2s, then error (unprocessed) after 1s, retried transparently at once, 200 after 3s; \
         stopped: answered"
    );
    let began = whole.attempts().iter().map(AttemptRecord::began);
    assert!(began.eq([0, 2, 3].map(|seconds| Some(SECOND * seconds))));
}
