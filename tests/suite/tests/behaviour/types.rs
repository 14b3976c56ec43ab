//! The types that users write, held to what they do with them.

use std::convert::Infallible;

use axum::{Router, extract::State, routing::get};
use bytes::Bytes;
use client::{Client, Error, ResponseBody};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use retry_layer::{ReplayBody, RetryLayer};
use session_layer::{Connector, Session, SessionBody, SessionLayer};
use test_support::{MemoryConnector, Reply, always, answer, sequence};
use tower::{Service, ServiceBuilder, ServiceExt};

fn is_shared<T: Clone + Send + Sync + 'static>() {}
fn is_sent<T: Send + 'static>() {}
fn is_lent<T: Send + Sync + 'static>() {}
fn is_error<E: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn everything_may_be_shared_and_sent() {
    is_shared::<Client>();
    is_shared::<Session<Full<Bytes>>>();
    is_shared::<Session<ReplayBody<client::Body>>>();
    is_shared::<SessionLayer<Full<Bytes>>>();
    is_shared::<RetryLayer>();
    is_shared::<Connector>();
    is_sent::<client::ResponseFuture>();
    is_sent::<client::RequestBuilder>();
    is_lent::<client::Response>();
    is_lent::<client::ByteStream>();
    is_lent::<client::Lines>();
    is_lent::<client::Events>();
    is_lent::<SessionBody>();
    is_sent::<session_layer::ResponseFuture<Full<Bytes>>>();
    is_shared::<retry_layer::RetryPolicy>();
    is_error::<Error>();
    is_error::<session_layer::Error>();
}

/// What a library asks for that takes anybody's client.
async fn call_anything<S, B>(service: S, body: B) -> Result<Bytes, S::Error>
where
    S: Service<Request<B>, Response = Response<ResponseBody>, Error = Error>,
{
    let request = Request::put("http://peer/")
        .body(body)
        .expect("the URL is valid");
    Ok(service
        .oneshot(request)
        .await?
        .into_body()
        .collect()
        .await?
        .to_bytes())
}

fn echo() -> Client {
    let connector = MemoryConnector::new(answer(|request| {
        Reply::status(200).body(request.body.clone())
    }));
    Client::builder()
        .build_with_connector(connector)
        .expect("the settings are valid")
}

#[tokio::test]
async fn a_client_serves_requests_with_any_body_of_bytes() {
    let client = echo();
    let full = call_anything(client.clone(), Full::<Bytes>::from("full")).await;
    assert_eq!(full.unwrap(), "full");
    let empty = call_anything(client.clone(), Empty::<Bytes>::new()).await;
    assert_eq!(empty.unwrap(), "");
    let axum = call_anything(client.clone(), axum::body::Body::from("axum")).await;
    assert_eq!(axum.unwrap(), "axum");
    let frames = ["stre", "amed"].map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part))));
    let streamed = StreamBody::new(Frames(frames.into_iter()));
    assert_eq!(
        call_anything(client.clone(), streamed).await.unwrap(),
        "streamed"
    );
    let own = call_anything(client, client::Body::from("own")).await;
    assert_eq!(own.unwrap(), "own");
}

struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

#[tokio::test]
async fn every_way_to_call_works_inside_a_spawned_task() {
    let client = echo();
    let mut service = client.clone();
    let task = tokio::spawn(async move {
        let fetched = client.post("http://peer/").body("fetched").fetch().await?;
        assert_eq!(fetched.body(), "fetched");
        let sent = client.post("http://peer/").body("sent").send().await?;
        assert_eq!(sent.text().await?, "sent");
        let request = Request::put("http://peer/")
            .body(Full::<Bytes>::from("called"))
            .unwrap();
        let called = service.call(request).await?;
        assert_eq!(called.into_body().collect().await?.to_bytes(), "called");
        client.close().await;
        Ok::<_, Error>(())
    });
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_stands_in_axum_state_and_forwards_the_callers_body() {
    async fn forward(
        State(client): State<Client>,
        mut request: Request<axum::body::Body>,
    ) -> Result<Response<ResponseBody>, StatusCode> {
        *request.uri_mut() = "http://peer/".parse().unwrap();
        client
            .oneshot(request)
            .await
            .map_err(|_| StatusCode::BAD_GATEWAY)
    }
    let app: Router = Router::new()
        .route("/", get(forward).put(forward))
        .with_state(echo());
    let request = Request::put("/")
        .body(axum::body::Body::from("through"))
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "through"
    );
}

#[tokio::test]
async fn the_layers_compose_in_a_pipeline_of_ones_own_that_spawns() {
    let mut pipeline = ServiceBuilder::new()
        .layer(RetryLayer::default())
        .concurrency_limit(10)
        .layer(SessionLayer::<ReplayBody<Full<Bytes>>>::default())
        .service(MemoryConnector::new(always(200, "x")));
    let call = tokio::spawn(async move {
        let request = Request::get("http://peer/")
            .body(Full::<Bytes>::default())
            .unwrap();
        pipeline
            .ready()
            .await
            .unwrap()
            .call(request)
            .await
            .unwrap()
            .status()
    });
    assert_eq!(call.await.unwrap(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_layers_composed_by_hand_retry_what_the_session_reports() {
    let connector = MemoryConnector::new(sequence([
        Reply::stall(),
        Reply::reset(),
        Reply::status(200),
    ]));
    let pipeline = ServiceBuilder::new()
        .layer(RetryLayer::default())
        .layer(SessionLayer::<ReplayBody<Full<Bytes>>>::default())
        .service(connector.clone());
    let request = Request::get("http://peer/").body(Full::default()).unwrap();
    let response = pipeline.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(connector.log().requests.len(), 3);
}

#[test]
fn futures_and_bodies_stay_small() {
    // hyper's part of it depends on the features that other crates ask of hyper.
    let incoming = size_of::<hyper::body::Incoming>();
    // Moved on every request: a figure that grows here is a change to think about.
    for (what, size, limit) in [
        (
            "session future",
            size_of::<session_layer::ResponseFuture<Full<Bytes>>>(),
            80,
        ),
        ("client future", size_of::<client::ResponseFuture>(), 600),
        ("session body", size_of::<SessionBody>(), incoming + 72),
        (
            "request body on the wire",
            size_of::<ReplayBody<client::Body>>(),
            40,
        ),
        (
            "session error",
            size_of::<session_layer::Error>(),
            size_of::<usize>(),
        ),
        ("client error", size_of::<Error>(), size_of::<usize>()),
        // 16 of them for a jar of cookies, or its absence, where it could have one.
        ("client", size_of::<Client>(), 88),
    ] {
        println!("{what}: {size}");
        assert!(size <= limit, "{what} has {size} bytes, more than {limit}");
    }
}
