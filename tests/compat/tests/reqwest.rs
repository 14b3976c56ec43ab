//! Over reqwest's client, made a service of `http` types.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Channel, Full};
use pin_project_lite::pin_project;
use retry_layer::{Exponential, ReplayBody, ResponseExt, Retry, RetryLayer, RetryPolicy};
use test_support::{Port, Reply, Server, sequence};
use tower::{Service, ServiceBuilder, ServiceExt};

/// The adapter: `http::Request` in, `http::Response` out.
///
/// reqwest's client takes a `reqwest::Request`, whose body is a box. A request that reqwest does
/// not accept, such as one without a host, is an error of the future.
#[derive(Clone, Debug)]
struct Reqwest(reqwest::Client);

impl<B> Service<Request<ReplayBody<B>>> for Reqwest
where
    ReplayBody<B>: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    <ReplayBody<B> as http_body::Body>::Error: Error + Send + Sync + 'static,
{
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<reqwest::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReplayBody<B>>) -> Answering {
        match request.map(reqwest::Body::wrap).try_into() {
            Ok(request) => Answering::Sending {
                answer: self.0.call(request),
            },
            Err(error) => Answering::Refused { error: Some(error) },
        }
    }
}

pin_project! {
    #[project = AnsweringProj]
    enum Answering {
        Sending { #[pin] answer: <reqwest::Client as Service<reqwest::Request>>::Future },
        Refused { error: Option<reqwest::Error> },
    }
}

impl Future for Answering {
    type Output = reqwest::Result<Response<reqwest::Body>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweringProj::Sending { answer } => {
                Poll::Ready(ready!(answer.poll(cx)).map(Into::into))
            }
            AnsweringProj::Refused { error } => {
                Poll::Ready(Err(error.take().expect("polled once, it has ended")))
            }
        }
    }
}

/// What stands in a user's struct, with every type written out.
struct Api {
    service: Retry<Reqwest>,
    origin: String,
}

impl Api {
    async fn put(&mut self, body: &'static str) -> reqwest::Result<Response<reqwest::Body>> {
        let request = Request::put(&self.origin).body(Full::<Bytes>::from(body));
        let service = ServiceExt::<Request<Full<Bytes>>>::ready(&mut self.service).await?;
        service.call(request.unwrap()).await
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        // `RetryLayer` is the only one to send anything again.
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

fn policy() -> RetryPolicy {
    let backoff = Exponential::from(Duration::from_millis(1));
    RetryPolicy::builder().backoff(backoff).build().unwrap()
}

/// What a user's function returns.
fn retrying() -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<reqwest::Body>,
    Error = reqwest::Error,
    Future = impl Future<Output = reqwest::Result<Response<reqwest::Body>>> + Send,
> + Clone {
    ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .service(Reqwest(client()))
}

#[tokio::test]
async fn an_answer_of_503_is_followed_by_one_of_200() {
    let server = Server::start(sequence([
        Reply::status(503).body("busy"),
        Reply::status(200).body("there"),
    ]))
    .await;
    let mut api = Api {
        service: Retry::new(Reqwest(client()), policy()),
        origin: server.url("/"),
    };

    let call = tokio::spawn(async move { api.put("7").await });

    let response = call.await.unwrap().unwrap();
    assert_eq!(response.retry_report().attempts().len(), 2);
    let body = reqwest::Response::from(response).text().await.unwrap();
    assert_eq!(body, "there");
    let log = server.log();
    assert_eq!(log.accepted, 1, "the refused answer left its connection");
    assert!(log.requests.iter().all(|request| request.body == "7"));
    assert!(
        log.requests
            .iter()
            .all(|request| request.header("content-length") == Some("1"))
    );
}

#[tokio::test]
async fn a_stream_is_sent_again_from_its_beginning() {
    let server = Server::start(sequence([Reply::status(503), Reply::status(200)])).await;
    let (mut sender, body) = Channel::<Bytes>::new(4);
    for part in ["one, ", "two"] {
        sender.send_data(Bytes::from(part)).await.unwrap();
    }
    drop(sender);
    let service = Retry::new(Reqwest(client()), policy());

    let put = Request::put(server.url("/")).body(body).unwrap();
    let response = service.oneshot(put).await.unwrap();

    assert_eq!(response.status(), 200);
    let bodies: Vec<_> = server.log().requests.into_iter().map(|r| r.body).collect();
    assert_eq!(bodies, ["one, two"; 2]);
}

#[tokio::test]
async fn a_get_on_a_connection_that_was_reset_is_sent_again_and_a_post_is_not() {
    for (method, requests) in [("GET", 2), ("POST", 1)] {
        let server = Server::start(sequence([Reply::reset(), Reply::status(200)])).await;
        let request = Request::builder().method(method).uri(server.url("/"));

        let outcome = retrying()
            .oneshot(request.body(Full::default()).unwrap())
            .await;

        assert_eq!(outcome.is_ok(), method == "GET");
        assert_eq!(server.log().requests.len(), requests);
    }
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_tried_again_even_for_a_post() {
    let unused = Port::free();
    let origin = unused.url();
    let attempts = Arc::new(AtomicUsize::new(0));
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .map_request({
            let attempts = attempts.clone();
            move |request: Request<ReplayBody<Full<Bytes>>>| {
                attempts.fetch_add(1, Ordering::Relaxed);
                request
            }
        })
        .service(Reqwest(client()));

    let post = Request::post(origin).body(Full::from("1")).unwrap();
    let error = service.oneshot(post).await.unwrap_err();

    assert!(error.is_connect());
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_request_that_reqwest_does_not_take_is_final() {
    let request = Request::get("/no-host").body(Full::default()).unwrap();
    let error = retrying().oneshot(request).await.unwrap_err();
    assert!(error.is_builder());
}

#[tokio::test]
async fn what_was_collected_is_what_came() {
    let server = Server::start(sequence([Reply::status(200).body("whole")])).await;
    let request = Request::get(server.url("/")).body(Full::default()).unwrap();
    let response = retrying().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "whole");
}
