//! Over an axum router, and in the state of one.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::{RouterIntoService, get, put},
};
use bytes::Bytes;
use http::{Request, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use retry_layer::{ReplayBody, ResponseExt, Retry, RetryLayer, RetryPolicy, StopReason};
use test_compat::Script;
use test_support::{MemoryConnector, Reply, StrictService, sequence};
use tokio::time::{Duration, Instant};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

fn policy() -> RetryPolicy {
    RetryPolicy::builder().seed(1).build().unwrap()
}

/// Answers 503 this many times, and then with the body of the request.
fn router(mut refusals: usize) -> Router {
    let calls = Arc::new(AtomicUsize::new(0));
    refusals += 1;
    let echo = async move |State(calls): State<Arc<AtomicUsize>>, body: Bytes| {
        if calls.fetch_add(1, Ordering::Relaxed) + 1 < refusals {
            return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "3")]).into_response();
        }
        body.into_response()
    };
    Router::new().route("/", put(echo)).with_state(calls)
}

/// What a user's function returns.
fn retrying(
    router: Router,
) -> impl Service<
    Request<Body>,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> + Clone {
    RetryLayer::new(policy()).layer(router)
}

async fn text(response: Response) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_router_is_asked_again_by_oneshot() {
    let begun = Instant::now();
    let request = Request::put("/").body(Body::from("one shot")).unwrap();

    let call = tokio::spawn(retrying(router(2)).oneshot(request));

    let response = call.await.unwrap().unwrap();
    assert_eq!(response.retry_report().attempts().len(), 3);
    assert!(begun.elapsed() >= Duration::from_secs(6));
    assert_eq!(text(response).await, "one shot");
}

#[tokio::test(start_paused = true)]
async fn a_router_made_into_a_service_has_a_type_to_write_down() {
    type Inner = RouterIntoService<ReplayBody<Full<Bytes>>>;
    let mut service: Retry<Inner> = Retry::new(router(1).into_service(), policy());

    for body in ["first", "second"] {
        let request = Request::put("/").body(Full::from(body)).unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(text(response).await, body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_from_one_handler_goes_to_another_twice() {
    let parts = ["a", "b", "c"].map(|part| Ok::<_, Infallible>(Bytes::from(part)));
    let body = Body::from_stream(tokio_stream::iter(parts));
    let request = Request::put("/").body(body).unwrap();

    let response = retrying(router(1)).oneshot(request).await.unwrap();

    assert_eq!(text(response).await, "abc");
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_not_there_is_final() {
    let request = Request::put("/elsewhere").body(Body::empty()).unwrap();
    let response = retrying(router(0)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        response.retry_report().stop(),
        StopReason::StatusNotRetryable
    );
}

/// What stands in a user's state: a service whose type is written out, and one whose type is not.
#[derive(Clone)]
struct AppState {
    upstream: Retry<legacy::Client<MemoryConnector, ReplayBody<Body>>>,
    strict: Retry<StrictService<Script>>,
    boxed: BoxCloneSyncService<Request<Body>, Response, legacy::Error>,
}

async fn proxy(State(state): State<AppState>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.uri = "http://peer/".parse().unwrap();
    let request = Request::from_parts(parts, body);
    match state.upstream.oneshot(request).await {
        Ok(response) => response.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn ask_boxed(State(state): State<AppState>) -> Response {
    let request = Request::get("http://peer/").body(Body::empty()).unwrap();
    let answer = state.boxed.oneshot(request).await;
    answer.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

async fn ask_strict(State(mut state): State<AppState>) -> Response {
    let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
    let service = ServiceExt::<Request<Full<Bytes>>>::ready(&mut state.strict).await;
    match service.unwrap().call(request).await {
        Ok(response) => response.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_take_the_service_from_their_state() {
    let flaky = || {
        MemoryConnector::new(sequence([
            Reply::status(503),
            Reply::status(200).body("there"),
        ]))
    };
    let peer = flaky();
    let client = |peer| {
        legacy::Client::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .build(peer)
    };
    let boxed = ServiceBuilder::new()
        .map_response(IntoResponse::into_response)
        .layer(RetryLayer::new(policy()))
        .service(client(flaky()));
    let state = AppState {
        upstream: Retry::new(client(peer.clone()), policy()),
        strict: Retry::new(StrictService::new(Script::unavailable(2)), policy()),
        boxed: BoxCloneSyncService::new(boxed),
    };
    let app = Router::new()
        .route("/proxy", put(proxy))
        .route("/boxed", get(ask_boxed))
        .route("/strict", get(ask_strict))
        .with_state(state);

    let request = Request::put("/proxy").body(Body::from("7")).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "there");
    assert!(peer.log().requests.iter().all(|r| r.body == "7"));

    for path in ["/boxed", "/strict"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
}
