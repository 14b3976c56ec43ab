//! The context of a trace in the headers of attempts.

use client::{
    Client, ClientBuilder, UrlTemplate,
    telemetry::{OpenTelemetry, propagator_fn},
};
use http::{HeaderMap, HeaderValue, Request, Uri};
use opentelemetry::{
    Context, SpanId, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceState},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use test_support::{MemoryConnector, Reply, always, sequence};

use crate::client::observe::{calls, exporting, spans};

fn w3c() -> ClientBuilder {
    let propagator = OpenTelemetry::with_propagator(TraceContextPropagator::new());
    Client::builder().trace_context(propagator)
}

/// Writes what it was asked for.
fn fixed() -> ClientBuilder {
    Client::builder().trace_context(propagator_fn(|uri: &Uri, headers: &mut HeaderMap| {
        assert!(headers.is_empty());
        let value = HeaderValue::try_from(format!("of {}", uri.path())).unwrap();
        headers.insert("traceparent", value.clone());
        headers.insert("baggage", value);
    }))
}

/// The headers of this name that the peer got.
fn got(connector: &MemoryConnector, name: &str) -> Vec<Option<String>> {
    let log = connector.log();
    let requests = log.requests.iter();
    requests
        .map(|request| request.header(name).map(str::to_owned))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn each_attempt_carries_the_context_of_its_own_span() {
    let (exporter, _guard) = exporting();
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let client = w3c().build_with_connector(connector.clone()).unwrap();
    client.get("http://peer/").fetch().await.unwrap();
    let call = calls(&exporter).pop().unwrap();
    let expected: Vec<_> = spans(&exporter)
        .iter()
        .map(|attempt| {
            let context = &attempt.span_context;
            assert_eq!(context.trace_id(), call.span_context.trace_id());
            assert_eq!(attempt.parent_span_id, call.span_context.span_id());
            let (trace, span) = (context.trace_id(), context.span_id());
            Some(format!("00-{trace}-{span}-01"))
        })
        .collect();
    assert_eq!(expected.len(), 2);
    assert_ne!(expected[0], expected[1]);
    assert_eq!(got(&connector, "traceparent"), expected);
}

#[tokio::test(start_paused = true)]
async fn without_spans_the_current_context_is_carried() {
    let connector = MemoryConnector::new(always(200, ""));
    let client = w3c().build_with_connector(connector.clone()).unwrap();
    let remote = SpanContext::new(
        TraceId::from(0x1234),
        SpanId::from(0x56),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    {
        let _attached = Context::new().with_remote_span_context(remote).attach();
        client.get("http://peer/").fetch().await.unwrap();
    }
    client.get("http://peer/").fetch().await.unwrap();
    let expected = "00-00000000000000000000000000001234-0000000000000056-01";
    assert_eq!(
        got(&connector, "traceparent"),
        [Some(expected.to_owned()), None]
    );
}

#[tokio::test(start_paused = true)]
async fn a_context_goes_to_another_origin_only_if_that_was_chosen() {
    let there = || Reply::status(307).header("Location", "http://other/there");
    let back = || Reply::status(307).header("Location", "http://peer/back");
    let replies = || sequence([there(), back(), Reply::status(200)]);
    let connector = MemoryConnector::new(replies());
    let client = fixed().build_with_connector(connector.clone()).unwrap();
    client.get("http://peer/").fetch().await.unwrap();
    for name in ["traceparent", "baggage"] {
        assert_eq!(got(&connector, name), [Some("of /".to_owned()), None, None]);
    }

    let connector = MemoryConnector::new(replies());
    let client = fixed().trace_context_everywhere();
    let client = client.build_with_connector(connector.clone()).unwrap();
    client.get("http://peer/").fetch().await.unwrap();
    let everywhere = ["of /", "of /there", "of /back"].map(|value| Some(value.to_owned()));
    assert_eq!(got(&connector, "traceparent"), everywhere);

    // One that was set by hand stays with its origin too.
    let connector = MemoryConnector::new(replies());
    let client = crate::client::observe::over(&connector);
    let names = ["traceparent", "tracestate", "baggage"];
    let request = client.get("http://peer/");
    let request = names
        .iter()
        .fold(request, |it, name| it.header(*name, "own"));
    request.fetch().await.unwrap();
    for name in names {
        assert_eq!(got(&connector, name), [Some("own".to_owned()), None, None]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_takes_the_place_of_what_a_request_had() {
    let connector = MemoryConnector::new(always(200, ""));
    let client = fixed().build_with_connector(connector.clone()).unwrap();
    let request = client.get("http://peer/x").header("traceparent", "own");
    request.header("tracestate", "own").fetch().await.unwrap();
    let request = client.get("http://peer/x").without_header("traceparent");
    let request = request.header("traceparent", "own");
    request.header("tracestate", "own").fetch().await.unwrap();
    let of_x = || Some("of /x".to_owned());
    let own = || Some("own".to_owned());
    assert_eq!(got(&connector, "traceparent"), [of_x(), own()]);
    // It belongs to the parent beside it.
    assert_eq!(got(&connector, "tracestate"), [None, own()]);
    assert_eq!(got(&connector, "baggage"), [of_x(), of_x()]);
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_forwards_keeps_the_context_that_it_came_with() {
    let connector = MemoryConnector::new(always(200, ""));
    let client = fixed().build_with_connector(connector.clone()).unwrap();
    let request = Request::get("http://peer/")
        .header("traceparent", "of another")
        .body(client::Body::empty())
        .unwrap();
    let forwarded = client.forward(request).to("http://peer/");
    forwarded.send().await.unwrap();
    assert_eq!(
        got(&connector, "traceparent"),
        [Some("of another".to_owned())]
    );
}

#[test]
fn a_stack_without_attempts_refuses_a_propagator() {
    let service = tower::service_fn(|_: Request<client::Body>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(client::Body::empty()))
    });
    let error = fixed().build_from_service(service).unwrap_err();
    assert!(error.is_builder() && error.to_string().contains("trace_context"));
}

#[tokio::test(start_paused = true)]
async fn the_template_of_a_request_that_was_made_by_hand_is_told_too() {
    let (exporter, _guard) = exporting();
    let client = crate::client::observe::over(&MemoryConnector::new(always(200, "")));
    let request = Request::get("http://peer/users/17")
        .extension(UrlTemplate::new("/users/{id}?q={q}"))
        .body(client::Body::empty())
        .unwrap();
    client.execute(request).await.unwrap();
    assert_eq!(spans(&exporter)[0].name, "GET /users/{id}");
}
