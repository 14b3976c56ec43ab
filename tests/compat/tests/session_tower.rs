//! A session among the layers of tower, above it and below it.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use retry_layer::{
    BoxError, NamedErrorLayer, ReplayBody, ResponseExt, Retry, RetryLayer, RetryPolicy,
};
use session_layer::{Error, Http2, PoolConfig, Session, SessionBody, SessionLayer, Timeouts};
use test_support::{Connect, MemoryConnector, Reply, always, http2, sequence};
use tokio::time::Instant;
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    limit::ConcurrencyLimit,
    load_shed::error::Overloaded,
    timeout::{Timeout, error::Elapsed},
};

type Answered = Response<SessionBody>;

const SECOND: Duration = Duration::from_secs(1);

/// What stands in a user's struct, with every type written out.
struct Gateway {
    limited: ConcurrencyLimit<Timeout<Session<Full<Bytes>>>>,
    retrying: Retry<Session<ReplayBody<Full<Bytes>>>>,
}

/// What a user's function returns.
fn gateway<C>(
    connector: C,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Answered,
    Error = BoxError,
    Future = impl Future<Output = Result<Answered, BoxError>> + Send,
> + Clone
where
    SessionLayer<ReplayBody<Full<Bytes>>>: Layer<C, Service = Session<ReplayBody<Full<Bytes>>>>,
{
    ServiceBuilder::new()
        .buffer(8)
        .load_shed()
        .concurrency_limit(4)
        .timeout(60 * SECOND)
        .layer(RetryLayer::new(policy()))
        .layer(NamedErrorLayer::new())
        .timeout(2 * SECOND)
        .layer(SessionLayer::default())
        .service(connector)
}

fn policy() -> RetryPolicy {
    RetryPolicy::builder().seed(1).build().unwrap()
}

fn request(method: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri("http://peer/")
        .body(Full::from(body))
        .unwrap()
}

async fn text(response: Answered) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Those of an error and of its causes that are of this type.
fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| (*error).source())
        .find_map(|error| error.downcast_ref())
}

#[tokio::test(start_paused = true)]
async fn all_layers_go_together_in_one_task_of_its_own() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).body("busy"),
        Reply::stall(),
        Reply::status(200).body("there"),
    ]));
    let service = gateway(connector.clone());

    let call = tokio::spawn(async move { service.oneshot(request("PUT", "all")).await });

    let response = call.await.unwrap().unwrap();
    assert_eq!(response.retry_report().attempts().len(), 3);
    assert_eq!(text(response).await, "there");
    let bodies: Vec<_> = connector
        .log()
        .requests
        .iter()
        .map(|seen| seen.body.clone())
        .collect();
    assert_eq!(bodies, ["all", "all", "all"]);
}

#[tokio::test(start_paused = true)]
async fn every_type_can_be_a_field() {
    let connector = MemoryConnector::new(always(200, "hello"));
    let limited = ServiceBuilder::new()
        .concurrency_limit(1)
        .timeout(SECOND)
        .layer(SessionLayer::default())
        .service(connector.clone());
    let mut gateway = Gateway {
        limited,
        retrying: Retry::new(Session::new(connector), policy()),
    };
    let limited = gateway
        .limited
        .ready()
        .await
        .unwrap()
        .call(request("GET", ""));
    assert_eq!(text(limited.await.unwrap()).await, "hello");
    let retrying = gateway
        .retrying
        .ready()
        .await
        .unwrap()
        .call(request("GET", ""));
    assert_eq!(text(retrying.await.unwrap()).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_timeout_above_gives_up_leaves_nothing_in_the_pool() {
    let peer = http2::Peer::new(h2::server::Builder::new(), http2::Stream::hold);
    let http2: Session<Full<Bytes>> = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(peer.connector());
    let http1 = Session::new(MemoryConnector::new(sequence([Reply::stall()])));
    for session in [http1, http2] {
        let service = ServiceBuilder::new()
            .timeout(SECOND)
            .service(session.clone());
        let error = service.oneshot(request("GET", "")).await.unwrap_err();
        assert!(error.is::<Elapsed>());
        tokio::task::yield_now().await;
        let stats = session.stats();
        assert_eq!(
            (stats.in_use, stats.streams, stats.waiting),
            (0, 0, 0),
            "{stats:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_above_sheds_what_the_session_would_queue() {
    let session = Session::new(MemoryConnector::new(sequence([Reply::stall()])));
    let mut service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service(session.clone());
    let held = tokio::spawn(service.ready().await.unwrap().call(request("GET", "")));
    tokio::task::yield_now().await;
    let shed = service
        .ready()
        .await
        .unwrap()
        .call(request("GET", ""))
        .await;
    assert!(shed.unwrap_err().is::<Overloaded>());
    assert_eq!(session.stats().open, 1);
    held.abort();
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_the_connector_is_a_failed_connect_that_sent_nothing() {
    let connector = MemoryConnector::new(always(200, "hello"));
    connector.script([Connect::Hang, Connect::Accept]);
    let session: Session<Full<Bytes>> = ServiceBuilder::new()
        .layer(SessionLayer::default())
        .timeout(SECOND)
        .service(connector);
    let began = Instant::now();
    let error = session
        .clone()
        .oneshot(request("POST", "once"))
        .await
        .unwrap_err();
    assert!(error.is_connect() && error.is_unsent(), "{error:?}");
    assert!(find::<Elapsed>(&error).is_some(), "{error:?}");
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(
        text(session.oneshot(request("GET", "")).await.unwrap()).await,
        "hello"
    );
}

#[tokio::test(start_paused = true)]
async fn a_limit_around_the_connector_paces_what_is_opened() {
    let connector = MemoryConnector::new(always(200, "hello"));
    connector.delay(SECOND);
    let session: Session<Full<Bytes>> = ServiceBuilder::new()
        .layer(SessionLayer::default())
        .concurrency_limit(1)
        .service(connector.clone());
    let began = Instant::now();
    let calls: Vec<_> = (0..3)
        .map(|_| tokio::spawn(session.clone().oneshot(request("GET", ""))))
        .collect();
    let mut bodies = Vec::new();
    for call in calls {
        // Kept, so that each needs a connection of its own.
        bodies.push(call.await.unwrap().unwrap().into_body());
    }
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(connector.log().accepted, 3);
}

#[tokio::test(start_paused = true)]
async fn errors_stay_the_sessions_own_where_no_layer_changes_them() {
    let connector = MemoryConnector::new(always(200, "hello"));
    connector.refuse();
    let service = ServiceBuilder::new()
        .map_err(Arc::<Error>::from)
        .layer(SessionLayer::<Full<Bytes>>::default())
        .map_request(|uri: Uri| uri)
        .service(connector);
    let error = service.oneshot(request("GET", "")).await.unwrap_err();
    assert!(error.is_connect() && error.is_unsent());
}
