//! The span of a call, and what tells calls apart.

use std::time::Duration;

use client::{Client, RetryPolicy};
use opentelemetry::trace::{SpanKind, Status};
use test_support::{Connect, MemoryConnector, Reply, always, answer, sequence};
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::client::observe::{
    all_spans, attribute, attributes, calls, exporting, heard::Heard, over, spans,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_call_is_a_span_above_its_attempts_and_below_its_callers() {
    let (exporter, _guard) = exporting();
    let connector = MemoryConnector::new(sequence([
        Reply::status(503),
        Reply::status(307).header("Location", "/there"),
        Reply::status(404),
    ]));
    let outer = tracing::info_span!("outer");
    let client = over(&connector);
    let request = client.get("http://user:secret@peer:81/users/17?token=secret");
    let call = request.url_template("/users/{id}").fetch();
    call.instrument(outer.clone()).await.unwrap();
    drop(outer);

    let call = calls(&exporter).pop().unwrap();
    assert_eq!(call.span_kind, SpanKind::Internal);
    assert!(matches!(call.status, Status::Error { .. }));
    let mut told = attributes(&call);
    assert!(told.remove("http.client.call.id").is_some());
    let expected = [
        ("error.type", "404"),
        ("http.request.method", "GET"),
        ("http.request.resend_count", "2"),
        ("http.response.status_code", "404"),
        ("retry.attempts", "3"),
        ("retry.stop", "status_not_retryable"),
        ("server.address", "peer"),
        ("server.port", "81"),
        ("url.full", "http://peer:81/REDACTED?REDACTED"),
        ("url.template", "/users/{id}"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(told, expected.into());

    let all = spans(&exporter);
    let names: Vec<_> = all.iter().map(|span| &*span.name).collect();
    // A redirect leads away from the template.
    assert_eq!(
        names,
        ["GET /users/{id}", "GET /users/{id}", "GET", "outer"]
    );
    for attempt in &all[..3] {
        assert_eq!(attempt.parent_span_id, call.span_context.span_id());
    }
    assert_eq!(call.parent_span_id, all[3].span_context.span_id());
}

#[tokio::test(start_paused = true)]
async fn without_the_spans_of_calls_attempts_stand_below_the_caller() {
    let (exporter, _guard) = exporting();
    let client = Client::builder()
        .call_spans(false)
        .build_with_connector(MemoryConnector::new(always(200, "")))
        .unwrap();
    let outer = tracing::info_span!("outer");
    let call = client.get("http://peer/").fetch();
    call.instrument(outer.clone()).await.unwrap();
    drop(outer);
    let spans = all_spans(&exporter);
    assert_eq!(spans.len(), 2);
    assert_eq!(spans[0].parent_span_id, spans[1].span_context.span_id());
}

#[tokio::test(start_paused = true)]
async fn the_span_of_a_call_lasts_until_its_body_ends_and_tells_why_it_broke() {
    let (exporter, _guard) = exporting();
    let connector = MemoryConnector::new(sequence([
        Reply::status(200).body("body"),
        Reply::truncated_body(9, "half"),
    ]));
    let client = over(&connector);
    let response = client.get("http://peer/").send().await.unwrap();
    assert!(calls(&exporter).is_empty());
    assert_eq!(response.text().await.unwrap(), "body");
    let call = calls(&exporter).pop().unwrap();
    assert_eq!(attribute(&call, "error.type"), None);
    assert_eq!(attribute(&call, "retry.stop").unwrap(), "answered");
    assert_eq!(attribute(&call, "retry.attempts").unwrap(), "1");

    let response = client.get("http://peer/").send().await.unwrap();
    response.text().await.unwrap_err();
    let call = calls(&exporter).pop().unwrap();
    assert_eq!(attribute(&call, "error.type").unwrap(), "body");
    let last = all_spans(&exporter).pop().unwrap();
    // A call ends after its attempt.
    assert_eq!(last.name, "http.client.call");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_is_told_by_its_last_error() {
    let (exporter, _guard) = exporting();
    let connector = MemoryConnector::new(always(200, ""));
    let client = over(&connector);
    connector.refuse();
    client.get("http://peer/").fetch().await.unwrap_err();
    connector.hang();
    let request = client.get("http://peer/").timeout(SECOND);
    request.fetch().await.unwrap_err();
    client
        .get("http://peer/")
        .timeout(Duration::ZERO)
        .fetch()
        .await
        .unwrap_err();
    client.close().await;
    client.get("http://peer/").fetch().await.unwrap_err();
    let told: Vec<_> = calls(&exporter)
        .iter()
        .map(|call| {
            assert!(matches!(call.status, Status::Error { .. }));
            let of = |name| attribute(call, name).unwrap_or_default();
            (of("error.type"), of("retry.attempts"), of("retry.stop"))
        })
        .collect();
    let expected = [
        ("connection_refused", "3", "attempts_exhausted"),
        ("deadline", "1", "deadline_exceeded"),
        ("deadline", "", ""),
    ];
    let owned = |(a, b, c): (&str, &str, &str)| (a.into(), b.into(), c.into());
    assert_eq!(told[..3], expected.map(owned));
    assert_eq!(told[3].0, "closed");
}

#[tokio::test(start_paused = true)]
async fn two_calls_to_one_host_are_told_apart_by_the_events_of_their_retries() {
    let (heard, _guard) = Heard::begin();
    let connector = MemoryConnector::new(answer(|_| Reply::status(503)));
    let client = Client::builder()
        .record_paths()
        .build_with_connector(connector)
        .unwrap();
    // A policy that a request brings tells paths where the client does.
    let own = RetryPolicy::builder().max_attempts(2).build().unwrap();
    let (one, two) = tokio::join!(
        client.get("http://peer/one?token=secret").fetch(),
        client
            .get("http://peer/two?token=secret")
            .retry(own)
            .fetch(),
    );
    one.and(two).unwrap();
    let again = heard.events("sending again");
    let stops = heard.events("not sending again");
    assert_eq!((again.len(), stops.len()), (3, 2));
    let mut ids = std::collections::BTreeSet::new();
    for (event, call) in again.into_iter().chain(stops) {
        assert_eq!(
            call["url.full"],
            format!("http://peer{}?REDACTED", event["path"])
        );
        ids.insert((call["http.client.call.id"].clone(), event["path"].clone()));
    }
    let paths: std::collections::BTreeSet<_> = ids.iter().map(|(_, path)| &**path).collect();
    assert_eq!((ids.len(), paths), (2, ["/one", "/two"].into()));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_waits_says_so() {
    let (exporter, guard) = exporting();
    let connector = MemoryConnector::new(always(503, ""));
    let policy = RetryPolicy::builder().backoff(client::Backoff::fixed(10 * SECOND));
    let client = Client::builder().retry(policy);
    let client = client.build_with_connector(connector).unwrap();
    let call = client.get("http://peer/").fetch();
    timeout(5 * SECOND, call).await.unwrap_err();
    let call = calls(&exporter).pop().unwrap();
    let of = |name| attribute(&call, name).unwrap_or_default();
    assert_eq!(of("error.type"), "cancelled");
    assert_eq!(of("retry.stop"), "cancelled");
    assert_eq!(of("retry.attempts"), "1");
    drop(guard);

    let (heard, _guard) = Heard::begin();
    let call = client.get("http://peer/").fetch();
    timeout(5 * SECOND, call).await.unwrap_err();
    let given_up = heard.events("a retry was given up before it was sent");
    let [(event, call)] = &given_up[..] else {
        panic!("it is told once: {given_up:?}");
    };
    assert_eq!(event["reason"], "cancelled");
    assert!(call.contains_key("http.client.call.id"));
}

#[tokio::test(start_paused = true)]
async fn a_path_is_in_the_line_of_an_error_only_on_demand_and_a_query_never() {
    let connector = MemoryConnector::new(sequence([
        Reply::truncated_body(9, "half"),
        Reply::status(302).header("Location", "/there?token=secret"),
        Reply::truncated_body(9, "half"),
    ]));
    connector.script([
        Connect::Refuse,
        Connect::Refuse,
        Connect::Refuse,
        Connect::Accept,
    ]);
    let recording = Client::builder().record_paths();
    let recording = recording.build_with_connector(connector.clone()).unwrap();
    let line = |error: client::Error| error.to_string();
    let url = "http://user:secret@peer/a/b?token=secret";
    let refused = recording.get(url).fetch().await.map(drop).map_err(line);
    assert!(
        refused
            .unwrap_err()
            .starts_with("GET http://peer:80/a/b: cannot connect")
    );
    // After the head, and after a redirect.
    for path in ["/a/b", "/there"] {
        let response = recording.get(url).send().await.unwrap();
        let broken = line(response.text().await.unwrap_err());
        let expected = format!("GET http://peer:80{path}: ");
        assert!(
            broken.starts_with(&expected) && !broken.contains("secret"),
            "{broken}"
        );
    }
    connector.refuse();
    let refused = over(&connector)
        .get(url)
        .fetch()
        .await
        .map(drop)
        .map_err(line);
    assert!(
        refused
            .unwrap_err()
            .starts_with("GET http://peer:80: cannot connect")
    );
}
