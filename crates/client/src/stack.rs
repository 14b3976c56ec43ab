//! The stack, composed in one place.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use retry_layer::{ReplayBody, Retry, RetryPolicy};
use session_layer::Session;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::{
    Body, Error, ResponseBody,
    attempt::{self, Adapt, Attempt},
    collect::Collect,
    error::BoxError,
};

/// The request body that goes over the wire: one pool has one.
pub(crate) type WireBody = ReplayBody<Body>;

/// The default transport below the retries.
type Transport = Attempt<Session<WireBody>>;

/// A stack over somebody's own service.
pub(crate) type Custom = BoxCloneSyncService<Request<Body>, Response<ResponseBody>, Error>;

/// The two ways through the stack: they share everything but where the body is collected.
#[derive(Clone, Debug)]
pub(crate) struct Stack<S, C> {
    /// Gives the response at its head.
    pub(crate) streaming: S,
    /// Gives the response with its whole body.
    pub(crate) collecting: C,
}

pub(crate) type Streaming = Retry<Transport>;
pub(crate) type Collecting = Retry<Collect<Transport>>;
pub(crate) type Standard = Stack<Streaming, Collecting>;

/// What a stack is made with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) policy: RetryPolicy,
    pub(crate) attempt: Arc<attempt::Settings>,
    pub(crate) max_body: usize,
}

/// Composes the default stack, innermost last in words and first in code.
pub(crate) fn standard(session: Session<WireBody>, parts: Parts) -> Standard {
    compose(session, parts)
}

/// Composes the same stack over somebody's service instead of the session.
pub(crate) fn over<S, R>(service: S, parts: Parts) -> Stack<Custom, Custom>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let stack = compose(Adapt::new(service), parts);
    Stack {
        streaming: BoxCloneSyncService::new(stack.streaming),
        collecting: BoxCloneSyncService::new(stack.collecting),
    }
}

/// Puts nothing but this crate's types around somebody's service.
pub(crate) fn bare<S, R>(service: S, max_body: usize) -> Stack<Custom, Custom>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let attempt = Attempt::new(Adapt::new(service), Arc::default());
    Stack {
        streaming: BoxCloneSyncService::new(attempt.clone()),
        collecting: BoxCloneSyncService::new(Collect::new(attempt, max_body)),
    }
}

/// The order of everything below the call, outermost first:
///
/// 1. **retry**: the only loop; what is below is done once per attempt.
/// 2. **collect**, for `fetch`: below retry, so that a body that breaks is a failed attempt.
/// 3. **attempt**: headers of each attempt, and one type of response and error from here on.
/// 4. **session** (or somebody's service): the pool and its timeouts.
fn compose<S: Clone>(
    inner: S,
    parts: Parts,
) -> Stack<Retry<Attempt<S>>, Retry<Collect<Attempt<S>>>> {
    let Parts {
        policy,
        attempt,
        max_body,
    } = parts;
    let attempt = Attempt::new(inner, attempt);
    Stack {
        streaming: Retry::new(attempt.clone(), policy.clone()),
        collecting: Retry::new(Collect::new(attempt, max_body), policy),
    }
}
