//! The client as people use it, over in-memory streams on a paused clock.

use std::{convert::Infallible, error::Error as _, time::Duration};

use client::{Body, Client, StopReason};
use http::{Request, StatusCode};
use test_support::{MemoryConnector, Reply, always, answer, sequence};
use tokio::time::Instant;

use super::support::{Order, over};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn get_gives_status_and_body() {
    let connector = MemoryConnector::new(always(200, "pong"));
    let client = over(&connector);
    let (status, body) = client
        .get("http://peer/ping")
        .header("x-key", "value")
        .fetch()
        .await
        .unwrap()
        .into_status_and_body();
    assert_eq!((status, &*body), (StatusCode::OK, &b"pong"[..]));
    let request = &connector.log().requests[0];
    assert_eq!(
        (request.method.as_str(), &*request.target),
        ("GET", "/ping")
    );
    assert_eq!(request.header("host"), Some("peer"));
    assert_eq!(request.header("x-key"), Some("value"));
    assert!(
        request
            .header("user-agent")
            .unwrap()
            .starts_with("hardy-http/")
    );
}

#[tokio::test(start_paused = true)]
async fn json_goes_out_and_comes_back_and_a_query_is_added() {
    let connector = MemoryConnector::new(answer(|request| {
        Reply::status(200).body(request.body.clone())
    }));
    let client = over(&connector);
    let order = Order {
        id: 7,
        name: "é".into(),
    };
    let response = client
        .post("http://peer/orders?a=1")
        .query(&[("b", "2 3"), ("c", "&")])
        .json(&order)
        .send()
        .await
        .unwrap();
    assert_eq!(response.json::<Order>().await.unwrap(), order);
    let request = &connector.log().requests[0];
    assert_eq!(request.target, "/orders?a=1&b=2+3&c=%26");
    assert_eq!(request.header("content-type"), Some("application/json"));

    let error = client
        .get("http://peer/")
        .fetch()
        .await
        .unwrap()
        .json::<Order>()
        .unwrap_err();
    assert!(error.is_decode() && error.source().is_some(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn text_is_read_in_the_charset_of_its_type() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(200)
            .header("content-type", "text/plain; charset=\"ISO-8859-1\"")
            .body(&b"caf\xe9"[..]),
        Reply::status(200).body("café"),
    ]));
    let client = over(&connector);
    for _ in 0..2 {
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.text().unwrap(), "café");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_larger_than_the_limit_is_refused_before_it_is_read() {
    let connector = MemoryConnector::new(always(200, vec![b'x'; 1000]));
    let client = Client::builder()
        .max_body(999)
        .build_with_connector(connector.clone())
        .unwrap();
    let fetched = client.get("http://peer/").fetch().await.unwrap_err();
    let sent = client
        .get("http://peer/")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap_err();
    for error in [fetched, sent] {
        assert!(error.is_body() && !error.is_timeout(), "{error:?}");
        assert!(
            error.to_string().contains("larger than 999 bytes"),
            "{error}"
        );
    }
    assert_eq!(
        connector.log().requests.len(),
        2,
        "to ask again would bring the same"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_page_larger_than_the_limit_is_tried_again_as_its_status_says() {
    let page = || vec![b'x'; 5000];
    let chunked = || {
        let mut raw =
            b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n1388\r\n"
                .to_vec();
        raw.extend(page());
        raw.extend(b"\r\n0\r\n\r\n");
        Reply::raw(raw)
    };
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).header("retry-after", "7").body(page()),
        chunked(),
        Reply::status(200).body("fine"),
    ]));
    let client = |connector: &MemoryConnector| {
        Client::builder()
            .max_body(1024)
            .build_with_connector(connector.clone())
            .unwrap()
    };
    let began = Instant::now();
    let get = client(&connector).get("http://peer/");
    assert_eq!(get.fetch().await.unwrap().body(), "fine");
    assert_eq!(connector.log().requests.len(), 3);
    assert!(began.elapsed() >= 7 * SECOND, "`Retry-After` is heard too");

    let connector = MemoryConnector::new(always(503, page()));
    let client = client(&connector);
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert_eq!(connector.log().requests.len(), 3);
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert!(error.is_body() && !error.is_status(), "{error:?}");
    assert_eq!(
        error.to_string(),
        "GET http://peer:80: the server answered 503 Service Unavailable, and the body is larger \
         than 1024 bytes; see `max_body` (3 attempts)"
    );
    let report = error.retry_report().unwrap();
    assert_eq!(report.stop(), StopReason::AttemptsExhausted);
    let sent = client.get("http://peer/").send().await.unwrap();
    let error = sent.bytes().await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_an_error_only_when_asked_for() {
    let connector = MemoryConnector::new(always(404, "no such order"));
    let client = over(&connector);
    let response = client.get("http://peer/orders/1").fetch().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let error = response.error_for_status().unwrap_err();
    assert!(error.is_status());
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    assert_eq!(error.body().unwrap(), "no such order");
    let sent = client.get("http://peer/").send().await.unwrap();
    assert!(sent.error_for_status().is_err());
    assert_eq!(connector.log().requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_refused_at_once_and_nothing_is_opened() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    for (request, words) in [
        (client.get("http://"), "not valid"),
        (client.get("ftp://peer/"), "not ftp"),
        (client.get("peer/path"), "relative"),
        (
            client.get("http://peer/").header("x-key", "a\r\nx-evil: b"),
            "x-key",
        ),
        (
            client.get("http://peer/").header("x key", "a"),
            "name is not valid",
        ),
        (client.get("http://peer/").query(&1), "query"),
    ] {
        let error = request.fetch().await.unwrap_err();
        assert!(error.is_builder(), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().starts_with("GET: "), "{error}");
        assert!(!error.to_string().contains("evil"), "{error}");
    }
    assert_eq!(client.stats().opened, 0);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_set_replaces_what_was_there() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    client
        .post("http://user:password@peer/")
        .json(&1)
        .header("content-type", "application/vnd.api+json")
        .header("authorization", "Bearer token")
        .header("x-list", "a")
        .append_header("x-list", "b")
        .fetch()
        .await
        .unwrap();
    let request = &connector.log().requests[0];
    let all = |name| request.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(all("content-type"), ["application/vnd.api+json"]);
    assert_eq!(all("authorization"), ["Bearer token"]);
    assert_eq!(all("x-list"), ["a", "b"]);
}

#[tokio::test]
async fn a_client_over_a_service_of_ones_own_may_have_a_base_url() {
    let service = tower::service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(http::Response::new(request.uri().to_string()))
    });
    let client = Client::builder()
        .base_url("http://peer/v2/")
        .unwrap()
        .build_from_service(service)
        .unwrap();
    let response = client.get("orders").fetch().await.unwrap();
    assert_eq!(response.body(), "http://peer/v2/orders");
}

#[test]
fn a_mock_that_answers_at_once_needs_no_clock() {
    let service = tower::service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(http::Response::new("pong".to_owned()))
    });
    let client = Client::from_service(service);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let text = runtime.block_on(async {
        let response = client.get("http://peer/").send().await?;
        response.text().await
    });
    assert_eq!(text.unwrap(), "pong");
}

#[tokio::test(start_paused = true)]
async fn credentials_in_a_url_are_sent_as_basic_and_leave_the_url() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    client
        .get("http://Aladdin:open%20sesame@peer/")
        .fetch()
        .await
        .unwrap();
    let request = &connector.log().requests[0];
    assert_eq!(
        request.header("authorization"),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    assert_eq!(request.header("host"), Some("peer"));
}

#[tokio::test(start_paused = true)]
async fn a_base_url_makes_relative_ones_whole() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = Client::builder()
        .base_url("http://peer/v2/")
        .unwrap()
        .user_agent("mine/1")
        .build_with_connector(connector.clone())
        .unwrap();
    client.get("orders").fetch().await.unwrap();
    client.get("/root").fetch().await.unwrap();
    assert_eq!(connector.log().targets(), ["/v2/orders", "/root"]);
    assert_eq!(
        connector.log().requests[0].header("user-agent"),
        Some("mine/1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_agent_is_left_out_on_demand_and_a_bad_one_is_refused() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = Client::builder()
        .no_user_agent()
        .build_with_connector(connector.clone())
        .unwrap();
    client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(connector.log().requests[0].header("user-agent"), None);

    let error = Client::builder().user_agent("a\nb").build().unwrap_err();
    assert!(error.is_builder());
    assert!(error.to_string().contains("`user_agent`"), "{error}");
}
