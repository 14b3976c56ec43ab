//! What has to compile: the layer's types cross tasks, hold any body, and have names.

use std::{
    cell::Cell,
    convert::Infallible,
    error::Error,
    marker::PhantomPinned,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use retry_layer::{
    Attempt, Backoff, BoxError, BuildError, Deadline, NamedErrorLayer, NamedServiceError,
    ReplayBody, ReplayBodyError, Retry, RetryLayer, RetryPolicy, RetryPolicyBuilder, RetryReport,
    budget::{
        AwsBudget, ConcurrencyShare, FinagleBudget, FixedBudget, GrpcThrottle, SuccessBudget,
    },
    classify::{And, Errors, Not, Or, Standard, StatusSet},
    future::ResponseFuture,
    grpc::{Grpc, GrpcRetry},
    hint::Hints,
    resume::{Ask, Resume, ResumeBody, ResumeBodyError, ResumeError, ResumeFuture, ResumeLayer},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

type Answer = Response<Full<Bytes>>;

async fn echo<B>(request: Request<ReplayBody<B>>) -> Result<Answer, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    Ok(Response::new(Full::new(
        request.into_body().collect().await?.to_bytes(),
    )))
}

async fn spawned<B>(body: B) -> Bytes
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::default()))
        .layer(NamedErrorLayer::new())
        .service(service_fn(echo::<B>));
    let task = tokio::spawn(async move {
        let request = Request::put("http://peer/").body(body).unwrap();
        service
            .oneshot(request)
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap()
    });
    task.await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_call_can_be_spawned_with_any_body() {
    assert_eq!(spawned(Empty::<Bytes>::new()).await, "");
    assert_eq!(spawned(Full::<Bytes>::from("full")).await, "full");
    let boxed = Full::<Bytes>::from("boxed").map_err(|never: Infallible| match never {});
    assert_eq!(
        spawned(BoxBody::<Bytes, BoxError>::new(boxed)).await,
        "boxed"
    );

    // A stream that cannot be moved once it is polled.
    let stream = Unmovable {
        left: Cell::new(2),
        _pin: PhantomPinned,
    };
    assert_eq!(spawned(StreamBody::new(stream)).await, "..");
}

struct Unmovable {
    left: Cell<u32>,
    _pin: PhantomPinned,
}

impl futures_core::Stream for Unmovable {
    type Item = Result<http_body::Frame<Bytes>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.left.set(left);
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b".")))))
    }
}

#[test]
fn public_types_are_send_sync_static_and_debug() {
    type Asking = Ask<(), Full<Bytes>, std::future::Ready<()>>;

    fn check<T: Send + Sync + std::fmt::Debug + 'static>() {}
    check::<Attempt>();
    check::<Backoff>();
    check::<BuildError>();
    check::<Deadline>();
    check::<AwsBudget>();
    check::<ConcurrencyShare>();
    check::<FinagleBudget>();
    check::<FixedBudget>();
    check::<GrpcRetry>();
    check::<GrpcThrottle>();
    check::<Hints>();
    check::<NamedServiceError>();
    check::<ReplayBodyError>();
    check::<Resume<()>>();
    check::<ResumeBody<Full<Bytes>, std::io::Error, Asking>>();
    check::<ResumeBodyError<std::io::Error>>();
    check::<ResumeError>();
    check::<ResumeFuture<(), Full<Bytes>, std::future::Ready<()>>>();
    check::<ResumeLayer>();
    check::<Retry<()>>();
    check::<RetryLayer>();
    check::<RetryPolicy>();
    check::<RetryPolicyBuilder>();
    check::<RetryReport>();
    check::<SuccessBudget>();
    check::<ReplayBody<Full<Bytes>>>();
}

#[test]
fn classifiers_that_are_put_together_are_one_type() {
    fn check<T: retry_layer::Classifier + Clone + std::fmt::Debug>() {}
    check::<And<Or<Standard, StatusSet>, Not<Errors>>>();
    check::<Or<Grpc, And<Standard, std::sync::Arc<Standard>>>>();
}

#[test]
fn errors_are_errors() {
    fn check<T: Error>() {}
    check::<BuildError>();
    check::<NamedServiceError>();
    check::<ReplayBodyError>();
    check::<ResumeBodyError<std::io::Error>>();
    check::<ResumeError>();
}

#[tokio::test]
async fn the_service_can_be_boxed_and_its_future_named() {
    type Inner = retry_layer::NamedError<Boxed>;
    type Boxed = BoxCloneSyncService<Request<ReplayBody<Full<Bytes>>>, Answer, BoxError>;
    type Future = <Inner as Service<Request<ReplayBody<Full<Bytes>>>>>::Future;

    let inner = NamedErrorLayer::new().layer(Boxed::new(service_fn(echo::<Full<Bytes>>)));
    let mut retry: Retry<Inner> = Retry::new(inner, RetryPolicy::default());
    std::future::poll_fn(|cx| Service::<Request<Full<Bytes>>>::poll_ready(&mut retry, cx))
        .await
        .unwrap();
    let future: ResponseFuture<Inner, Full<Bytes>, Future, Full<Bytes>, NamedServiceError> =
        retry.call(Request::new(Full::from("named")));
    assert_eq!(
        future
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes(),
        "named"
    );

    let again = BoxCloneSyncService::new(retry);
    let _: BoxCloneSyncService<Request<Full<Bytes>>, Answer, NamedServiceError> = again;
}

#[tokio::test(start_paused = true)]
async fn a_boxed_error_is_found_below_its_name() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = std::sync::Arc::clone(&calls);
    let refused = service_fn(move |_: Request<ReplayBody<Empty<Bytes>>>| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let error = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        async move { Err::<Answer, _>(BoxError::from(error)) }
    });
    let inner = NamedErrorLayer::new().layer(refused);
    let retry = Retry::new(inner, RetryPolicy::default());
    let error = retry
        .oneshot(Request::post("http://peer/").body(Empty::new()).unwrap())
        .await
        .unwrap_err();
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 3);
    assert!(error.source().unwrap().is::<std::io::Error>());
}

#[test]
fn a_policy_and_its_builder_are_taken_alike() {
    fn take<P>(policy: P) -> Result<RetryPolicy, BuildError>
    where
        P: TryInto<RetryPolicy>,
        P::Error: Into<BuildError>,
    {
        policy.try_into().map_err(Into::into)
    }
    assert!(take(RetryPolicy::default()).is_ok());
    assert!(take(RetryPolicy::builder().max_attempts(0)).is_err());
}
