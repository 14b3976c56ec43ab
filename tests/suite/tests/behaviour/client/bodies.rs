//! Request bodies: what is said of them, and how they are sent again.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use client::{Body, Client, Deadline, retry_layer::BeforeAttempt};
use futures_core::Stream;
use http::{HeaderValue, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use test_support::{MemoryConnector, Reply, answer, sequence};
use tower::Service;

use super::support::over;

/// A peer that fails once and then gives back what it was sent.
fn fails_once() -> MemoryConnector {
    let asked = AtomicUsize::new(0);
    MemoryConnector::new(answer(move |request| {
        if asked.fetch_add(1, Relaxed) == 0 {
            Reply::status(503)
        } else {
            Reply::status(200).body(request.body.clone())
        }
    }))
}

/// A stream of these pieces.
fn stream(pieces: &[&'static str]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let pieces: Vec<_> = pieces
        .iter()
        .map(|piece| Bytes::from_static(piece.as_bytes()))
        .collect();
    Listed(pieces.into_iter())
}

struct Listed(std::vec::IntoIter<Bytes>);

impl Stream for Listed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next().map(Ok))
    }
}

#[derive(Serialize)]
struct Login {
    user: &'static str,
    roles: Vec<&'static str>,
    note: Option<&'static str>,
}

#[tokio::test(start_paused = true)]
async fn a_form_is_urlencoded() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200)));
    let client = over(&connector);
    let login = Login {
        user: "anna b&c",
        roles: vec!["a", "é"],
        note: None,
    };
    client
        .post("http://peer/")
        .form(&login)
        .fetch()
        .await
        .unwrap();
    client
        .post("http://peer/")
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .form(&[("a", "1")])
        .fetch()
        .await
        .unwrap();
    let log = connector.log();
    assert_eq!(log.requests[0].body, "user=anna+b%26c&roles=a&roles=%C3%A9");
    assert_eq!(
        log.requests[0].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        log.requests[1].header("content-type"),
        Some("application/x-www-form-urlencoded; charset=utf-8")
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_of_a_request_are_sent_and_not_shown() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200)));
    let client = over(&connector);
    let bearer = client.get("http://peer/").bearer("canary");
    let basic = client
        .get("http://url:canary@peer/")
        .basic("Aladdin", "open sesame");
    for request in [&bearer, &basic] {
        let request = request.try_clone().unwrap().build().unwrap();
        assert!(request.headers()["authorization"].is_sensitive());
        assert!(!format!("{request:?}").contains("canary"));
    }
    bearer.fetch().await.unwrap();
    basic.fetch().await.unwrap();
    let log = connector.log();
    assert_eq!(
        log.requests[0].header("authorization"),
        Some("Bearer canary")
    );
    // The example of RFC 7617.
    assert_eq!(
        log.requests[1].header("authorization"),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    for wrong in [
        client.get("http://peer/").bearer("canary\r\nx: y"),
        client.get("http://peer/").basic("canary:", "canary"),
    ] {
        let error = wrong.fetch().await.unwrap_err();
        assert!(error.is_builder());
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_made_anew_is_sent_again_by_every_sender() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let body = Body::from_fn(move || {
        count.fetch_add(1, Relaxed);
        Body::stream_with_length(stream(&["one ", "two"]), 7)
    });
    assert_eq!(body.size_hint().exact(), Some(7));

    let connector = fails_once();
    let request = Request::put("http://peer/")
        .body(body.try_clone().unwrap())
        .unwrap();
    let response = over(&connector).call(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "one two"
    );

    let connector = fails_once();
    let response = over(&connector)
        .put("http://peer/")
        .body(body)
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.body(), "one two");
    let log = connector.log();
    assert!(
        log.requests
            .iter()
            .all(|it| it.header("content-length") == Some("7"))
    );
    // Once by hand, once for the clone, and once for each second attempt.
    assert_eq!(made.load(Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_held_to_the_length_that_was_announced() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200)));
    let client = over(&connector);
    for length in [0, 1, 2, 4, 100] {
        let body = Body::stream_with_length(stream(&["a", "bc"]), length);
        let sent = client
            .put("http://peer/")
            .body(body)
            .no_retry()
            .fetch()
            .await;
        let error = sent.unwrap_err();
        assert!(error.is_body(), "{length}: {error:?}");
    }
    let body = Body::stream_with_length(stream(&["a", "bc"]), 3);
    client.put("http://peer/").body(body).fetch().await.unwrap();
    let log = connector.log();
    let whole: Vec<_> = log.requests.iter().filter(|it| it.complete).collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].body, "abc");
}

#[tokio::test(start_paused = true)]
async fn a_request_can_be_cloned_unless_its_body_is_a_stream() {
    let connector = MemoryConnector::new(answer(|request| {
        Reply::status(200).body(request.body.clone())
    }));
    let client = over(&connector);
    let request = client
        .post("http://peer/a?b")
        .header("x-key", "value")
        .extension(Deadline::within(std::time::Duration::from_secs(9)))
        .body("text");
    let clone = request.try_clone().unwrap();
    drop(request);
    assert_eq!(clone.fetch().await.unwrap().body(), "text");
    let log = connector.log();
    assert_eq!(log.requests[0].target, "/a?b");
    assert_eq!(log.requests[0].header("x-key"), Some("value"));

    let streamed = client
        .post("http://peer/")
        .body(Body::stream(stream(&["a"])));
    assert!(streamed.try_clone().is_none());
    assert!(client.get("relative").try_clone().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_made_elsewhere_goes_through_the_front_door() {
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let client = Client::builder()
        .base_url("http://peer/base/")
        .unwrap()
        .build_with_connector(connector.clone())
        .unwrap();
    let request = || {
        Request::put("/path?query")
            .header("x-key", "a")
            .header("x-key", "b")
            .extension(BeforeAttempt::new(|number, head| {
                head.headers.insert("x-number", HeaderValue::from(number));
            }))
            .body(Full::<Bytes>::from("content"))
            .expect("the request is valid")
    };
    let response = client.execute(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.retry_report().attempts().len(), 2);
    let log = connector.log();
    for (number, request) in (1..).zip(&log.requests) {
        assert_eq!(
            (request.method.as_str(), &*request.target),
            ("PUT", "/path?query")
        );
        assert_eq!(request.header("x-number"), Some(&*format!("{number}")));
        assert_eq!(request.headers.get_all("x-key").iter().count(), 2);
        assert_eq!(request.body, "content");
    }

    let connector = MemoryConnector::new(answer(|_| Reply::status(503)));
    let response = over(&connector)
        .request_from(Request::get("http://peer/").body(Body::empty()).unwrap())
        .no_retry()
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.retry_report().attempts().len(), 1);
    let error = over(&connector)
        .request_from(Request::get("/relative").body(Body::empty()).unwrap())
        .fetch()
        .await
        .unwrap_err();
    assert!(error.is_builder());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_call_is_polled() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let connector = MemoryConnector::new(answer(move |_| {
        counted.fetch_add(1, Relaxed);
        Reply::status(200)
    }));
    let client = over(&connector);
    let (sent, fetched) = (
        client.get("http://peer/").send(),
        client.get("http://peer/").fetch(),
    );
    tokio::task::yield_now().await;
    assert_eq!(client.stats().open, 0);
    drop(fetched);
    sent.await.unwrap();
    assert_eq!(asked.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_keeps_nothing_of_its_request() {
    /// The memory of a body.
    struct Owner {
        _alive: Arc<()>,
    }

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            b"body"
        }
    }

    let client = over(&MemoryConnector::new(answer(|_| Reply::status(300))));
    let memory = Arc::new(());
    let body = Bytes::from_owner(Owner {
        _alive: memory.clone(),
    });
    let request = client.put("http://peer/").body(body.clone());
    let mut sent = std::pin::pin!(request.send());
    sent.as_mut().await.unwrap();
    let mut fetched = std::pin::pin!(client.put("http://peer/").body(body).fetch());
    fetched.as_mut().await.unwrap();
    assert_eq!(Arc::strong_count(&memory), 1);
}
