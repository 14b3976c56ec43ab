use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use retry_layer::{
    BoxError, Class, Classifier, Exponential, Outcome, Processed, RetryLayer, RetryPolicy,
    Standard, budget::Unlimited, classifier_fn,
};
use session_layer::{Connector, Http2, PoolConfig, SessionBody, SessionLayer, Timeouts};
use tower::{Service, ServiceBuilder, util::AndThenLayer};

/// A session with the retry layer over it, and without `client`, which does the same and more.
///
/// A restart fails everybody at once, for longer than loopback takes for anything else: so there is no budget, and there
/// are more attempts than usual. `http2` speaks that without asking.
///
/// # Errors
///
/// None with these settings.
pub fn retrying_session(http2: bool) -> Result<impl Retrying, BoxError> {
    let backoff = Exponential::from(Duration::from_millis(20));
    let policy = RetryPolicy::builder()
        .classifier(classifier())
        .backoff(backoff)
        .budget(Unlimited)
        .max_attempts(12)
        .build()?;
    let session = SessionLayer::new(PoolConfig::default(), Timeouts::default())?
        .http2(Http2::default().prior_knowledge(http2))?;
    Ok(ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        // Below the retries, so that a body that breaks is an attempt that failed: a server that is
        // stopped may cut it off behind its head.
        .layer(AndThenLayer::new(collected))
        .layer(session)
        .service(Connector::new()))
}

/// What [`retrying_session`] gives.
pub trait Retrying:
    Service<
        Request<Full<Bytes>>,
        Response = Response<Full<Bytes>>,
        Error = session_layer::Error,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
}

impl<S> Retrying for S where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<Full<Bytes>>,
            Error = session_layer::Error,
            Future: Send,
        > + Clone
        + Send
        + 'static
{
}

async fn collected(
    response: Response<SessionBody>,
) -> Result<Response<Full<Bytes>>, session_layer::Error> {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Response::from_parts(head, Full::new(bytes)))
}

/// The standard rules, told what the session's errors prove.
fn classifier() -> impl Classifier {
    let standard = Standard::default();
    classifier_fn(move |outcome: &Outcome<'_>| {
        let Some(error) = outcome.find_error::<session_layer::Error>() else {
            return standard.classify(outcome);
        };
        let class = if error.is_stale() {
            Class::Stale(if error.is_unsent() {
                Processed::Never
            } else {
                Processed::Possibly
            })
        } else if error.is_unsent() {
            Class::NotSent
        } else if error.is_unprocessed() {
            Class::Unprocessed
        } else {
            Class::Ambiguous
        };
        standard.classify(&outcome.with_error_class(class))
    })
}
