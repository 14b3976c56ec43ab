//! Bodies that are continued where they break.
//!
//! | case | test |
//! |---|---|
//! | the rest, its headers; an end that is not known | `the_rest_is_asked_for_where_the_body_breaks`, `an_end_that_is_not_known_is_left_open` |
//! | strong date; weak, missing or doubled validator | `a_strong_date_is_a_validator_where_there_is_no_tag`, `what_has_no_strong_validator_breaks_with_its_own_error` |
//! | `Accept-Ranges: none` | `a_server_that_takes_no_ranges_is_not_asked_for_one` |
//! | HEAD, other methods, other statuses, a body of its own | `only_the_body_of_a_get_is_continued`, `other_statuses_are_not_continued`, `a_get_with_a_body_of_its_own_is_not_continued` |
//! | 206 with more than asked, with less, with nothing | `a_part_that_begins_earlier_is_taken_from_where_it_is_new`, `a_part_that_is_shorter_than_asked_is_gone_on_from`, `a_part_without_anything_new_does_not_go_on_for_ever` |
//! | another range, several parts, another total, validator, coding or length; 200, 304, 412, 416 | `what_is_no_part_of_the_same_is_a_typed_error`, `what_says_that_it_changed_is_a_typed_error` |
//! | 416 at the end; all there but the end | `an_unsatisfied_range_behind_the_last_byte_is_the_end`, `a_body_of_which_all_came_is_whole_though_it_breaks_then` |
//! | 200 where nothing was handed out | `where_nothing_was_handed_out_the_whole_is_asked_for`, `what_began_anew_is_continued_by_its_own_validator` |
//! | 200 in place of the rest | `where_the_server_ignores_the_range_what_was_received_is_skipped` |
//! | a range of the caller's own; its several parts | `a_range_of_the_callers_own_is_continued_within_it`, `several_parts_are_not_continued` |
//! | encoded bodies; trailers | `an_encoded_body_is_continued_in_the_same_coding`, `trailers_come_once_and_at_the_end`, `a_digest_of_a_part_alone_is_no_trailer_of_the_body` |
//! | attempts, waits, budget, deadline, report | `the_retries_of_the_rest_and_of_the_whole_are_counted_together`, `each_wait_is_the_next_of_the_schedule`, `what_brought_the_body_forward_is_given_back_to_the_budget`, `a_deadline_of_the_policy_counts_from_the_break`, `the_report_has_each_exchange_and_where_it_began` |

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use retry_layer::{
    AttemptOutcome, AttemptRecord, Backoff, Class, Deadline, NoRetry, Retry, RetryPolicy,
    RetryPolicyBuilder, StopReason,
    budget::{Budget, Cost, FixedBudget},
    resume::{NoResume, Resume, ResumeBodyError, ResumeErrorKind},
};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::support::script::{Act, Answer, Server, answer};

type Outcome = Result<Bytes, ResumeBodyError<io::Error>>;

fn no_wait() -> RetryPolicyBuilder {
    RetryPolicy::builder().backoff(Backoff::fixed(Duration::ZERO))
}

fn policy() -> RetryPolicy {
    no_wait().build().unwrap()
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("http://peer/file").body(Empty::new()).unwrap()
}

/// The whole is `abcdef`, and breaks behind `abc`.
fn half() -> Answer {
    answer(200).etag("\"v1\"").length(6).data("abc").breaks()
}

fn rest() -> Answer {
    answer(206).etag("\"v1\"").range("3-5/6").data("def")
}

async fn read_with(
    server: &Server,
    policy: RetryPolicy,
    request: Request<Empty<Bytes>>,
) -> Outcome {
    let service = Resume::new(Retry::new(server.clone(), policy.clone()), policy);
    let response = service.oneshot(request).await.unwrap();
    let collected = response.into_body().collect().await?;
    Ok(collected.to_bytes())
}

async fn read(server: &Server) -> Outcome {
    read_with(server, policy(), get()).await
}

/// The error of the body is its own, and not one of the layer.
fn is_original(outcome: &Outcome) -> bool {
    matches!(outcome, Err(ResumeBodyError::Inner(error)) if error.kind() == io::ErrorKind::ConnectionReset)
}

fn refusal(outcome: &Outcome) -> Option<ResumeErrorKind> {
    let error = outcome.as_ref().err()?.resume_error()?;
    Some(error.kind())
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_asked_for_where_the_body_breaks() {
    let server = Server::new([half(), rest()]);
    let request = Request::get("http://peer/file?signed=1").header("x-own", "1");
    let request = request.body(Empty::new()).unwrap();

    assert_eq!(
        read_with(&server, policy(), request).await.unwrap(),
        "abcdef"
    );

    let asked = &server.asked()[1];
    assert_eq!(asked.method, Method::GET);
    assert_eq!(asked.uri, "http://peer/file?signed=1");
    assert_eq!(asked.header("x-own"), Some("1"));
    assert_eq!(asked.header("range"), Some("bytes=3-5"));
    assert_eq!(asked.header("if-range"), Some("\"v1\""));
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    let resumption = asked.resumption.unwrap();
    assert_eq!(
        (
            resumption.offset(),
            resumption.attempts(),
            resumption.exchanges()
        ),
        (3, 1, 1)
    );
    assert_eq!(
        asked.held, 0,
        "the broken body is dropped before the rest is asked for"
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_not_known_is_left_open() {
    let first = answer(200).etag("\"v1\"").data("abc").breaks();
    let server = Server::new([first, rest()]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
    assert_eq!(server.ranges()[1].as_deref(), Some("bytes=3-"));
}

#[tokio::test(start_paused = true)]
async fn a_strong_date_is_a_validator_where_there_is_no_tag() {
    let modified = "Sat, 01 Jun 2024 00:00:00 GMT";
    let first = answer(200)
        .header("last-modified", modified)
        .header("date", "Sat, 01 Jun 2024 12:00:00 GMT");
    let first = first.length(6).data("abc").breaks();
    // A 206 may leave it out.
    let rest = answer(206).range("3-5/6").data("def");
    let server = Server::new([first.clone(), rest.clone()]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
    assert_eq!(server.asked()[1].header("if-range"), Some(modified));

    let other = rest.header("last-modified", "Sat, 01 Jun 2024 13:00:00 GMT");
    let outcome = read(&Server::new([first, other])).await;
    assert_eq!(refusal(&outcome), Some(ResumeErrorKind::ValidatorChanged));
}

#[tokio::test(start_paused = true)]
async fn what_has_no_strong_validator_breaks_with_its_own_error() {
    let without = answer(200).length(6).data("abc").breaks();
    let young = without
        .clone()
        .header("last-modified", "Sat, 01 Jun 2024 12:00:00 GMT")
        .header("date", "Sat, 01 Jun 2024 12:00:00 GMT");
    let weak_and_date = without
        .clone()
        .etag("W/\"v1\"")
        .header("last-modified", "Sat, 01 Jun 2024 00:00:00 GMT")
        .header("date", "Sat, 01 Jun 2024 12:00:00 GMT");
    for (what, first) in [
        ("none", without.clone()),
        ("weak tag", without.clone().etag("W/\"v1\"")),
        ("weak tag beside a strong date", weak_and_date),
        ("date of the same second", young),
        ("two tags", without.clone().etag("\"v1\"").etag("\"v2\"")),
    ] {
        let server = Server::new([first]);
        assert!(is_original(&read(&server).await), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_ranges_is_not_asked_for_one() {
    let server = Server::new([half().header("accept-ranges", "none")]);
    assert!(is_original(&read(&server).await));
    let server = Server::new([half().header("accept-ranges", "bytes"), rest()]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn only_the_body_of_a_get_is_continued() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let server = Server::new([half()]);
        let mut request = get();
        *request.method_mut() = method.clone();
        let outcome = read_with(&server, policy(), request).await;
        assert!(is_original(&outcome), "{method}");
    }
    let server = Server::new([answer(200).etag("\"v1\"").length(6)]);
    let mut request = get();
    *request.method_mut() = Method::HEAD;
    // Its `Content-Length` is that of a GET.
    assert_eq!(read_with(&server, policy(), request).await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn a_get_with_a_body_of_its_own_is_not_continued() {
    let server = Server::new([half()]);
    let service = Resume::new(server, policy());
    let request = Request::get("http://peer/")
        .body(Full::new(Bytes::from("q")))
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert!(!response.body().is_resumable());
}

#[tokio::test(start_paused = true)]
async fn other_statuses_are_not_continued() {
    for status in [203, 404, 500] {
        let server = Server::new([answer(status).etag("\"v1\"").length(6).data("abc").breaks()]);
        let service = Resume::new(server, policy());
        let response = service.oneshot(get()).await.unwrap();
        assert!(!response.body().is_resumable(), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_can_turn_it_off() {
    let mut marked = get();
    marked.extensions_mut().insert(NoResume);
    let mut once = get();
    once.extensions_mut().insert(NoRetry);
    for request in [marked, once] {
        let outcome = read_with(&Server::new([half()]), policy(), request).await;
        assert!(is_original(&outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_begins_earlier_is_taken_from_where_it_is_new() {
    for (range, pieces) in [
        ("1-5/6", &["bcdef"][..]),
        ("1-5/6", &["b", "c", "d", "ef"]),
        ("2-5/6", &["cd", "ef"]),
    ] {
        let rest = answer(206).etag("\"v1\"").range(range);
        let rest = pieces.iter().fold(rest, |rest, piece| rest.data(*piece));
        let server = Server::new([half(), rest]);
        assert_eq!(
            read(&server).await.unwrap(),
            "abcdef",
            "{range}, {pieces:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_shorter_than_asked_is_gone_on_from() {
    let part = |range, data| answer(206).etag("\"v1\"").range(range).data(data);
    let server = Server::new([half(), part("3-3/6", "d"), part("4-5/6", "ef")]);
    let begun = Instant::now();
    assert_eq!(read(&server).await.unwrap(), "abcdef");
    let ranges = ["bytes=3-5", "bytes=4-5"].map(|range| Some(range.to_owned()));
    assert_eq!(server.ranges()[1..], ranges);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_part_without_anything_new_does_not_go_on_for_ever() {
    let empty = || answer(206).etag("\"v1\"").range("3-5/6");
    let server = Server::new([half(), empty(), empty()]);
    assert_eq!(
        refusal(&read(&server).await),
        Some(ResumeErrorKind::LengthMismatch)
    );
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_part_of_the_same_is_a_typed_error() {
    use ResumeErrorKind as Kind;
    let part = || answer(206).etag("\"v1\"").data("def");
    for (what, rest, expected) in [
        (
            "from the first byte on",
            part().range("0-5/6"),
            Kind::ContentRangeMismatch,
        ),
        ("behind", part().range("4-5/6"), Kind::ContentRangeMismatch),
        ("before", part().range("1-2/6"), Kind::ContentRangeMismatch),
        (
            "another total",
            part().range("3-5/7"),
            Kind::ContentRangeMismatch,
        ),
        ("no range", part(), Kind::ContentRangeMismatch),
        (
            "no valid range",
            part().range("5-3/6"),
            Kind::ContentRangeMismatch,
        ),
        (
            "two ranges",
            part().range("3-5/6").range("3-5/6"),
            Kind::ContentRangeMismatch,
        ),
        (
            "several parts",
            part()
                .header("content-type", "Multipart/Byteranges; boundary=x")
                .range("3-5/6"),
            Kind::ContentRangeMismatch,
        ),
        (
            "another tag",
            answer(206).etag("\"v2\"").range("3-5/6").data("def"),
            Kind::ValidatorChanged,
        ),
        (
            "a weak tag",
            answer(206).etag("W/\"v1\"").range("3-5/6").data("def"),
            Kind::ValidatorChanged,
        ),
        (
            "no tag",
            answer(206).range("3-5/6").data("def"),
            Kind::ValidatorChanged,
        ),
        (
            "encoded",
            part().header("content-encoding", "gzip").range("3-5/6"),
            Kind::EncodingChanged,
        ),
        (
            "another length than its range",
            part().range("3-5/6").length(4),
            Kind::LengthMismatch,
        ),
        (
            "more bytes than its range",
            part().range("3-5/6").data("g"),
            Kind::LengthMismatch,
        ),
    ] {
        refuses(what, rest, expected).await;
    }
}

/// Whatever is answered in place of the rest is an error of its kind, and nothing more is asked.
async fn refuses(what: &str, rest: Answer, expected: ResumeErrorKind) {
    let server = Server::new([half(), rest]);
    let error = read(&server).await.unwrap_err();
    let error = error
        .resume_error()
        .unwrap_or_else(|| panic!("{what}: {error:?}"));
    assert_eq!(error.kind(), expected, "{what}");
    assert_eq!(error.report().stop(), StopReason::ErrorNotRetryable);
    assert!(error.offset() >= 3, "{what}");
    assert_eq!(server.asked().len(), 2, "{what}");
}

#[tokio::test(start_paused = true)]
async fn what_says_that_it_changed_is_a_typed_error() {
    use ResumeErrorKind as Kind;
    for (what, rest, expected) in [
        (
            "the whole, changed",
            answer(200).etag("\"v2\"").length(6).data("XYZ123"),
            Kind::ValidatorChanged,
        ),
        (
            "the whole, without a tag",
            answer(200).length(6).data("abcdef"),
            Kind::ValidatorChanged,
        ),
        (
            "the whole, of another length",
            answer(200).etag("\"v1\"").length(7).data("abcdefg"),
            Kind::ValidatorChanged,
        ),
        (
            "the whole, encoded",
            answer(200)
                .etag("\"v1\"")
                .header("content-encoding", "gzip"),
            Kind::EncodingChanged,
        ),
        ("412", answer(412), Kind::ValidatorChanged),
        ("304", answer(304).etag("\"v1\""), Kind::ValidatorChanged),
        ("416", answer(416).range("*/6"), Kind::RangeNotSatisfiable),
        ("416 of nothing", answer(416), Kind::RangeNotSatisfiable),
        (
            "416 of another",
            answer(416).etag("\"v2\"").range("*/6"),
            Kind::ValidatorChanged,
        ),
    ] {
        refuses(what, rest, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_server_ignores_the_range_what_was_received_is_skipped() {
    let whole = || answer(200).etag("\"v1\"").length(6).data("abcdef");
    let server = Server::new([half(), whole()]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
    assert_eq!(server.ranges()[1].as_deref(), Some("bytes=3-5"));

    // It breaks again, before and behind what was received.
    let early = answer(200).etag("\"v1\"").length(6).data("a").breaks();
    let late = answer(200).etag("\"v1\"").length(6).data("abcd").breaks();
    let server = Server::new([half(), early, late, whole()]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");

    // Of an unknown length.
    let chunked = || answer(200).etag("\"v1\"");
    let server = Server::new([chunked().data("abc").breaks(), chunked().data("abcdef")]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
    // One that ends before what was received is not complete.
    let shorter = (0..9).map(|_| chunked().data("ab"));
    let server = Server::new([chunked().data("abc").breaks()].into_iter().chain(shorter));
    read(&server).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_not_told_is_no_other_total() {
    let rest = answer(206).etag("\"v1\"").range("3-5/*").data("def");
    assert_eq!(read(&Server::new([half(), rest])).await.unwrap(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn an_unsatisfied_range_behind_the_last_byte_is_the_end() {
    // Only the end of the last chunk was missing.
    let first = || answer(200).etag("\"v1\"").data("abcdef").breaks();
    let server = Server::new([first(), answer(416).range("*/6")]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
    assert_eq!(server.ranges()[1].as_deref(), Some("bytes=6-"));

    let outcome = read(&Server::new([first(), answer(416).range("*/7")])).await;
    assert_eq!(
        refusal(&outcome),
        Some(ResumeErrorKind::RangeNotSatisfiable)
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_all_came_is_whole_though_it_breaks_then() {
    let first = answer(200).etag("\"v1\"").length(6).data("abcdef").breaks();
    let server = Server::new([first]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_without_an_error_is_continued_too() {
    let first = answer(200).etag("\"v1\"").length(6).data("abc");
    let server = Server::new([first, rest()]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_handed_out_the_whole_is_asked_for() {
    let first = || answer(200).etag("\"v1\"").length(6).breaks();
    let whole = || answer(200).length(6).data("abcdef");
    let server = Server::new([first(), whole().etag("\"v1\"")]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
    assert_eq!(server.ranges()[1], None);
    assert_eq!(server.asked()[1].header("if-range"), None);

    // What the head said has to stay true: the caller has its validator.
    for other in [whole().etag("\"v2\"").length(6), whole()] {
        let outcome = read(&Server::new([first(), other])).await;
        assert_eq!(refusal(&outcome), Some(ResumeErrorKind::ValidatorChanged));
    }
    let longer = answer(200).etag("\"v1\"").length(7).data("abcdefg");
    let outcome = read(&Server::new([first(), longer])).await;
    assert_eq!(refusal(&outcome), Some(ResumeErrorKind::ValidatorChanged));
    let encoded = whole().etag("\"v1\"").header("content-encoding", "gzip");
    let outcome = read(&Server::new([first(), encoded])).await;
    assert_eq!(refusal(&outcome), Some(ResumeErrorKind::EncodingChanged));
}

#[tokio::test(start_paused = true)]
async fn what_began_anew_is_continued() {
    let first = answer(200).etag("\"v1\"").length(6).breaks();
    let anew = answer(200).etag("\"v1\"").length(6).data("ABC").breaks();
    let rest = answer(206).etag("\"v1\"").range("3-5/6").data("DEF");
    let server = Server::new([first, anew, rest]);
    assert_eq!(read(&server).await.unwrap(), "ABCDEF");
    assert_eq!(server.asked()[2].header("if-range"), Some("\"v1\""));
}

#[tokio::test(start_paused = true)]
async fn a_range_of_the_callers_own_is_continued_within_it() {
    let part = |range, data| answer(206).etag("\"v1\"").range(range).data(data);
    let mut request = get();
    let headers = request.headers_mut();
    headers.insert("range", "bytes=10-15".parse().unwrap());
    headers.insert("if-range", "\"v1\"".parse().unwrap());
    let server = Server::new([part("10-15/100", "abc").breaks(), part("13-15/100", "def")]);
    assert_eq!(
        read_with(&server, policy(), request.clone()).await.unwrap(),
        "abcdef"
    );
    assert_eq!(server.ranges()[1].as_deref(), Some("bytes=13-15"));

    // More than asked for, at the end too.
    let server = Server::new([
        part("10-15/100", "abc").breaks(),
        part("12-99/100", "cdefgh"),
    ]);
    assert_eq!(
        read_with(&server, policy(), request.clone()).await.unwrap(),
        "abcdef"
    );

    // Nothing received: it is still a part, which a whole does not replace.
    let server = Server::new([part("10-15/100", "").breaks(), part("10-15/100", "abcdef")]);
    assert_eq!(
        read_with(&server, policy(), request.clone()).await.unwrap(),
        "abcdef"
    );
    assert_eq!(server.ranges()[1].as_deref(), Some("bytes=10-15"));
    let whole = answer(200).etag("\"v1\"").length(100).data(vec![b'.'; 100]);
    let server = Server::new([part("10-15/100", "").breaks(), whole]);
    let outcome = read_with(&server, policy(), request.clone()).await;
    assert_eq!(refusal(&outcome), Some(ResumeErrorKind::ValidatorChanged));

    // A server that knows no ranges sends the whole, of which the rest is asked for.
    let server = Server::new([half(), rest()]);
    assert_eq!(
        read_with(&server, policy(), request).await.unwrap(),
        "abcdef"
    );
    assert_eq!(server.ranges()[1].as_deref(), Some("bytes=3-5"));
}

#[tokio::test(start_paused = true)]
async fn several_parts_are_not_continued() {
    let first = answer(206).etag("\"v1\"");
    let first = first.header("content-type", "multipart/byteranges; boundary=x");
    let outcome = read(&Server::new([first.data("--x").breaks()])).await;
    assert!(is_original(&outcome));
}

#[tokio::test(start_paused = true)]
async fn an_encoded_body_is_continued_in_the_same_coding() {
    let gzip = |answer: Answer| answer.header("content-encoding", "gzip");
    let mut request = get();
    let accepted = "br, gzip;q=0.5".parse().unwrap();
    request.headers_mut().insert("accept-encoding", accepted);
    let server = Server::new([gzip(half()), gzip(rest())]);
    assert_eq!(
        read_with(&server, policy(), request.clone()).await.unwrap(),
        "abcdef"
    );
    assert_eq!(server.asked()[1].header("accept-encoding"), Some("gzip"));
    // The same by its old name.
    let old = rest().header("content-encoding", "x-gzip");
    let server = Server::new([gzip(half()), old]);
    assert_eq!(
        read_with(&server, policy(), request.clone()).await.unwrap(),
        "abcdef"
    );

    // The same tag for both is a fault of the server.
    let outcome = read_with(&Server::new([gzip(half()), rest()]), policy(), request).await;
    assert_eq!(refusal(&outcome), Some(ResumeErrorKind::EncodingChanged));
}

#[tokio::test(start_paused = true)]
async fn trailers_come_once_and_at_the_end() {
    let first = answer(200).etag("\"v1\"").data("abc").breaks();
    let short = answer(206)
        .etag("\"v1\"")
        .range("3-3/6")
        .data("d")
        .trailer("x-sum", "of the part");
    let last = answer(206)
        .etag("\"v1\"")
        .range("4-5/6")
        .data("ef")
        .trailer("x-sum", "1");
    let server = Server::new([first, short, last]);
    let response = Resume::new(server, policy()).oneshot(get()).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
    assert_eq!(collected.to_bytes(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn a_digest_of_a_part_alone_is_no_trailer_of_the_body() {
    let whole = |trailer| {
        answer(200)
            .etag("\"v1\"")
            .data("abc")
            .trailer(trailer, "of all")
    };
    let broken = || answer(200).etag("\"v1\"").data("abc").breaks();
    let rest = |trailer| {
        let part = answer(206).etag("\"v1\"").range("3-5/6").data("def");
        part.trailer(trailer, "of the part")
    };
    let anew = || answer(200).etag("\"v1\"").breaks();
    for (answers, trailer) in [
        (vec![whole("content-digest")], Some("content-digest")),
        (
            vec![anew(), whole("content-digest")],
            Some("content-digest"),
        ),
        (vec![broken(), rest("content-digest")], None),
        (vec![broken(), rest("repr-digest")], Some("repr-digest")),
    ] {
        let server = Server::new(answers);
        let response = Resume::new(server, policy()).oneshot(get()).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        let trailers = collected.trailers();
        let found = trailers
            .and_then(|it| it.keys().next())
            .map(http::HeaderName::as_str);
        assert_eq!(found, trailer);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_ends_with_the_error_that_broke_the_body() {
    for rest in [
        Act::from(answer(404)),
        answer(401).into(),
        answer(302).header("location", "/there").into(),
        Act::Fail(io::ErrorKind::InvalidInput),
    ] {
        let server = Server::new([half().into(), rest.clone()]);
        assert!(is_original(&read(&server).await), "{rest:?}");
        assert_eq!(server.asked().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_retries_of_the_rest_and_of_the_whole_are_counted_together() {
    // The body that broke is the first of three attempts, so two are left.
    let refused = Act::Fail(io::ErrorKind::ConnectionRefused);
    let server = Server::new([half().into(), answer(503).into(), refused]);
    assert!(is_original(&read(&server).await));
    assert_eq!(server.asked().len(), 3);

    let server = Server::new([half().into(), Act::from(answer(503)), rest().into()]);
    assert_eq!(read(&server).await.unwrap(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn the_count_begins_anew_whenever_the_body_was_brought_forward() {
    let part = |at: u32| {
        let range = format!("{at}-9/10");
        answer(206).etag("\"v1\"").range(&range).data(".").breaks()
    };
    let first = answer(200).etag("\"v1\"").length(10).data(".").breaks();
    let acts = std::iter::once(first).chain((1..10).map(part));
    let server = Server::new(acts);
    let budget = retry_layer::budget::Unlimited;
    let outcome = read_with(&server, no_wait().budget(budget).build().unwrap(), get()).await;
    assert_eq!(outcome.unwrap().len(), 10);

    let nothing = || answer(206).etag("\"v1\"").range("3-5/6").breaks();
    let server = Server::new([half(), nothing(), nothing()]);
    assert!(is_original(&read(&server).await));
    assert_eq!(server.asked().len(), 3);
    let attempts: Vec<_> = server
        .asked()
        .iter()
        .filter_map(|it| it.resumption)
        .map(|it| it.attempts())
        .collect();
    assert_eq!(attempts, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn each_wait_is_the_next_of_the_schedule() {
    let seconds = |seconds| Duration::from_secs(seconds);
    let backoff = Backoff::schedule([seconds(1), seconds(2), seconds(4), seconds(8)]);
    let policy = RetryPolicy::builder()
        .max_attempts(5)
        .backoff(backoff)
        .build()
        .unwrap();
    let nothing = || answer(206).etag("\"v1\"").range("3-5/6").breaks();
    let forward = answer(206).etag("\"v1\"").range("3-5/6").data("d").breaks();
    let last = answer(206).etag("\"v1\"").range("4-5/6").data("ef");
    let server = Server::new([half(), nothing(), answer(503), nothing(), forward, last]);
    assert_eq!(read_with(&server, policy, get()).await.unwrap(), "abcdef");
    let asked = server.asked();
    let waits = asked.windows(2).map(|pair| pair[1].at - pair[0].at);
    assert_eq!(waits.collect::<Vec<_>>(), [1, 2, 4, 8, 1].map(seconds));
}

#[tokio::test(start_paused = true)]
async fn a_schedule_or_a_policy_of_one_attempt_ends_it() {
    let once = no_wait().max_attempts(1).build().unwrap();
    let server = Server::new([half()]);
    assert!(is_original(&read_with(&server, once, get()).await));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_no_attempt_can_mend_is_final() {
    let never = retry_layer::classifier_fn(|_: &retry_layer::Outcome<'_>| Class::Permanent);
    let policy = no_wait().classifier(never).build().unwrap();
    let server = Server::new([half()]);
    assert!(is_original(&read_with(&server, policy, get()).await));
}

/// Counts what is taken and given back.
#[derive(Debug, Default)]
struct Purse(AtomicU64, AtomicU64);

impl Budget for Purse {
    fn deposit(&self, _: &Uri) {}

    fn withdraw(&self, _: &Uri, _: Cost, _: Instant) -> bool {
        self.0.fetch_add(1, Relaxed);
        true
    }

    fn refund(&self, _: &Uri, _: Cost) {
        self.1.fetch_add(1, Relaxed);
    }
}

async fn read_paying(acts: impl IntoIterator<Item = Answer>) -> (Outcome, u64, u64) {
    let purse = Arc::new(Purse::default());
    let policy = no_wait().budget(Arc::clone(&purse)).build().unwrap();
    let outcome = read_with(&Server::new(acts), policy, get()).await;
    (outcome, purse.0.load(Relaxed), purse.1.load(Relaxed))
}

#[tokio::test(start_paused = true)]
async fn what_brought_the_body_forward_is_given_back_to_the_budget() {
    // To its end.
    let (outcome, taken, refunded) = read_paying([half(), rest()]).await;
    assert!(outcome.is_ok());
    assert_eq!((taken, refunded), (1, 1));

    // By as much as a request costs.
    let first = answer(200).etag("\"v1\"").length(10_000).breaks();
    let much = answer(200)
        .etag("\"v1\"")
        .length(10_000)
        .data(vec![b'.'; 5_000])
        .breaks();
    let (outcome, taken, refunded) = read_paying([first.clone(), much, answer(404)]).await;
    assert!(is_original(&outcome));
    assert_eq!((taken, refunded), (2, 1));

    // Too little, or nothing.
    let little = answer(200)
        .etag("\"v1\"")
        .length(10_000)
        .data("...")
        .breaks();
    let (_, taken, refunded) = read_paying([first, little, answer(404)]).await;
    assert_eq!((taken, refunded), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_ends_it() {
    let policy = no_wait()
        .budget(FixedBudget::new(1, 10).unwrap())
        .build()
        .unwrap();
    let little = answer(206).etag("\"v1\"").range("3-5/6").data("d").breaks();
    let server = Server::new([half(), little]);
    let service = Resume::new(server.clone(), policy);
    let mut body = service.oneshot(get()).await.unwrap().into_body();
    while let Some(Ok(_)) = body.frame().await {}
    assert_eq!(body.report().unwrap().stop(), StopReason::BudgetExhausted);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_while_it_waits_gives_its_token_back() {
    let purse = Arc::new(Purse::default());
    let hour = Backoff::fixed(Duration::from_secs(3_600));
    let policy = RetryPolicy::builder()
        .backoff(hour)
        .budget(Arc::clone(&purse))
        .build()
        .unwrap();
    let server = Server::new([half()]);
    let response = Resume::new(server.clone(), policy)
        .oneshot(get())
        .await
        .unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let waiting = tokio::time::timeout(Duration::from_secs(1), body.frame()).await;
    assert!(waiting.is_err());
    assert_eq!(purse.0.load(Relaxed), 1);
    drop(body);
    assert_eq!(purse.1.load(Relaxed), 1);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_policy_counts_from_the_break() {
    let second = Duration::from_secs(1);
    let policy = RetryPolicy::builder()
        .backoff(Backoff::fixed(second))
        .deadline(second * 2)
        .build()
        .unwrap();
    let server = Server::new([half(), rest()]);
    let response = Resume::new(server, policy.clone())
        .oneshot(get())
        .await
        .unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    // A reader may take its time.
    tokio::time::sleep(second * 60).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "def");

    let nothing = || answer(206).etag("\"v1\"").range("3-5/6").breaks();
    let server = Server::new([half(), nothing()]);
    let service = Resume::new(server, policy);
    let mut body = service.oneshot(get()).await.unwrap().into_body();
    while let Some(Ok(_)) = body.frame().await {}
    assert_eq!(body.report().unwrap().stop(), StopReason::DeadlineTooClose);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_after_the_deadline_of_the_request() {
    let mut request = get();
    let deadline = Deadline::within(Duration::from_secs(1));
    request.extensions_mut().insert(deadline);
    let server = Server::new([half()]);
    let mut body = Resume::new(server.clone(), policy())
        .oneshot(request)
        .await
        .unwrap()
        .into_body();
    body.frame().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, ResumeBodyError::Inner(_)));
    assert_eq!(body.report().unwrap().stop(), StopReason::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn the_report_has_each_exchange_and_where_it_began() {
    let first = answer(503);
    let part = answer(206).etag("\"v1\"").range("3-5/6").data("d").breaks();
    let last = answer(206).etag("\"v1\"").range("4-5/6").data("ef");
    let server = Server::new([first, half(), answer(503), part, last]);
    let policy = no_wait().max_attempts(5).build().unwrap();
    let service = Resume::new(Retry::new(server.clone(), policy.clone()), policy);
    let mut body = service.oneshot(get()).await.unwrap().into_body();
    assert!(body.report().is_none());
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    let report = body.report().unwrap();
    assert_eq!(report.stop(), StopReason::Answered);
    let offsets = report.attempts().iter().map(AttemptRecord::resumed_at);
    assert_eq!(
        offsets.collect::<Vec<_>>(),
        [None, None, Some(3), Some(3), Some(4)]
    );
    let statuses = report.attempts().iter().map(AttemptRecord::outcome);
    let broken = AttemptOutcome::Error(Class::Ambiguous);
    let status = |code: u16| AttemptOutcome::Status(code.try_into().unwrap());
    assert_eq!(
        statuses.collect::<Vec<_>>(),
        [status(503), broken, status(503), broken, status(206)]
    );
    let text = report.to_string();
    assert!(text.contains("206 from byte 4"), "{text}");
    let exchanges: Vec<_> = server
        .asked()
        .iter()
        .filter_map(|it| it.resumption)
        .map(|it| it.exchanges())
        .collect();
    // The attempts of one call of the layer below have the same.
    assert_eq!(exchanges, [2, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn the_length_that_is_left_is_known_at_any_time() {
    let server = Server::new([half(), rest()]);
    let mut body = Resume::new(server, policy())
        .oneshot(get())
        .await
        .unwrap()
        .into_body();
    assert_eq!(body.size_hint().exact(), Some(6));
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.size_hint().exact(), Some(3));
    assert!(!body.is_end_stream());
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

/// A call that never waits must not keep its thread, whatever the server does.
#[tokio::test(start_paused = true)]
async fn one_poll_asks_for_the_rest_once() {
    let part = |at: u32| {
        let range = format!("{at}-99/100");
        answer(206).etag("\"v1\"").range(&range).breaks()
    };
    let first = answer(200).etag("\"v1\"").length(100).data(".").breaks();
    let acts: Vec<_> = std::iter::once(first)
        .chain((0..9).map(|_| part(1)))
        .collect();
    let server = Server::new(acts);
    let policy = no_wait()
        .max_attempts(9)
        .budget(retry_layer::budget::Unlimited)
        .build()
        .unwrap();
    let mut body = Resume::new(server.clone(), policy)
        .oneshot(get())
        .await
        .unwrap()
        .into_body();
    body.frame().await.unwrap().unwrap();
    let mut polled = tokio_test::task::spawn(body.frame());
    assert!(polled.poll().is_pending());
    assert!(polled.is_woken());
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cut_anywhere_and_again_anywhere_is_whole() {
    let whole: Vec<u8> = (0..=30).collect();
    let length = whole.len();
    for first in 0..=length {
        for second in first..=length {
            let policy = no_wait().build().unwrap();
            let seen = whole.clone();
            let asked = Arc::new(AtomicU64::new(0));
            let service = tower::service_fn(move |request: Request<Empty<Bytes>>| {
                let cut = match asked.fetch_add(1, Relaxed) {
                    0 => first,
                    1 => second,
                    _ => length,
                };
                let range = request
                    .headers()
                    .get("range")
                    .map(|it| it.to_str().unwrap().to_owned());
                let from = range.as_deref().map_or(0, |range| {
                    let (from, _) = range["bytes=".len()..].split_once('-').unwrap();
                    from.parse().unwrap()
                });
                let mut server = Server::new([{
                    let answer = answer(if range.is_some() { 206 } else { 200 }).etag("\"v1\"");
                    let answer = match range {
                        Some(_) => answer.range(&format!("{from}-{}/{length}", length - 1)),
                        None => answer.length(length as u64),
                    };
                    let answer = answer.data(seen[from..cut.max(from)].to_vec());
                    if cut < length {
                        answer.breaks()
                    } else {
                        answer
                    }
                }]);
                async move {
                    ServiceExt::<Request<Empty<Bytes>>>::ready(&mut server).await?;
                    tower::Service::call(&mut server, request).await
                }
            });
            let response: Response<_> = Resume::new(service, policy).oneshot(get()).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, whole, "{first}, {second}");
        }
    }
}
