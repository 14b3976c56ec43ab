//! The stack of a client, which is composed in one place.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use retry_layer::{Retry, RetryPolicy, future::ResponseFuture as Retrying};
use session_layer::Session;
#[cfg(feature = "cookies")]
use session_layer::cookies::{Cookies, Jar};
use tower::ServiceExt as _;
use tower_service::Service;

#[cfg(feature = "cookies")]
use crate::inner_session::InnerSession;
use crate::{
    Body, DecodeLimits, Error, ResponseBody,
    adapt::Adapt,
    attempt::{self, Attempt},
    body,
    collect::{Collect, When},
    error::BoxError,
    hedge::{Attempts, BoxedAttempts, Hedges},
    layers::{AttemptBody, InnerService, Layers},
    phase::ReportsPhase,
    so_far::{SoFar, Telling},
};

/// The session alone, where no client has cookies.
#[cfg(not(feature = "cookies"))]
type InnerSession = Session<AttemptBody>;

/// The default transport below the retries.
type Transport = Attempts<InnerSession>;

/// The default stack, without a box. Its two modes share all services but the one that collects the
/// body.
#[derive(Clone, Debug)]
pub(crate) struct Standard {
    pub(crate) streaming: Retry<mode::Streaming>,
    pub(crate) collecting: Retry<mode::Collecting>,
}

/// How a call gets its body: the service that makes a single attempt in this mode.
pub(crate) trait Mode:
    Service<
        Request<AttemptBody>,
        Response = Response<ResponseBody>,
        Error = Error,
        Future: ReportsPhase,
    > + Clone
{
    /// Whether the response comes with its whole body.
    const COLLECTS: bool;

    /// The part of the default stack for this mode.
    fn of(stack: &Standard) -> &Retry<Self>;
}

pub(crate) mod mode {
    /// The response comes at its head, and its body streams.
    pub(crate) type Streaming = super::Transport;

    /// The response comes with its whole body.
    pub(crate) type Collecting = super::Collect<super::Transport>;
}

impl Mode for mode::Streaming {
    const COLLECTS: bool = false;

    #[inline]
    fn of(stack: &Standard) -> &Retry<Self> {
        &stack.streaming
    }
}

impl Mode for mode::Collecting {
    const COLLECTS: bool = true;

    #[inline]
    fn of(stack: &Standard) -> &Retry<Self> {
        &stack.collecting
    }
}

/// Any other stack. The caller's layers are built once, so that both modes share their limits, and
/// a request [carries](crate::collect::CollectBody) its mode.
pub(crate) type Custom = InnerService<Body>;

/// The stack below the calls of a client.
#[derive(Clone, Debug)]
pub(crate) enum Stack {
    Standard(Standard),
    Custom(Custom),
}

impl Stack {
    /// Whether the stack keeps this request while it is sent, so that the call need not.
    #[inline]
    pub(crate) fn keeps<B>(&self, request: &Request<B>) -> bool {
        match self {
            // Both modes have the same policy.
            Self::Standard(stack) => stack.streaming.refusal(request).is_none(),
            Self::Custom(_) => false,
        }
    }
}

/// The parts from which a stack is composed.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) policy: RetryPolicy,
    pub(crate) attempt: Arc<attempt::Settings>,
    pub(crate) max_body: usize,
    pub(crate) decode_limits: DecodeLimits,
    #[cfg(feature = "cookies")]
    pub(crate) jar: Option<Jar>,
    pub(crate) call_layers: Layers<Body>,
    pub(crate) attempt_layers: Layers<AttemptBody>,
}

/// Composes the stack over the session: without a box, unless the caller added a layer.
pub(crate) fn over_session(session: Session<AttemptBody>, parts: Parts) -> Stack {
    #[cfg(feature = "cookies")]
    let session = InnerSession::new(session, parts.jar.clone());
    if !parts.call_layers.is_empty() || !parts.attempt_layers.is_empty() {
        return Stack::Custom(boxed(session, parts));
    }
    let both = |streaming, collecting, _| Standard {
        streaming,
        collecting,
    };
    let hedges = Hedges::of(&parts.policy);
    Stack::Standard(compose(
        session,
        parts,
        |attempt| Attempts::new(attempt, hedges),
        When::Always,
        both,
    ))
}

/// Composes the same stack over a service in the session's place.
pub(crate) fn over_service<S, R>(service: S, parts: Parts) -> Stack
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let on_wire = |request: Request<AttemptBody>| request.map(Body::new);
    let transport = Adapt::new(service.map_request(on_wire));
    #[cfg(feature = "cookies")]
    if let Some(jar) = parts.jar.clone() {
        return Stack::Custom(boxed(Cookies::new(transport, jar), parts));
    }
    Stack::Custom(boxed(transport, parts))
}

/// Puts only this crate's types, and the caller's layers, around a service in the session's place.
pub(crate) fn bare<S, R>(service: S, parts: Parts) -> Result<Stack, Error>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    if !parts.attempt_layers.is_empty() {
        return Err(Error::builder(
            "an `attempt_layer` needs retries below which it could stand; use `layer`",
        ));
    }
    if parts.attempt.guards.is_some() {
        return Err(Error::builder(
            "a `breaker`, a `pause` and a `ledger` are about each attempt, of which there are none \
             without retries; see `build_with_service`",
        ));
    }
    let extras = parts.attempt.extras.as_ref();
    if extras.is_some_and(|it| it.https_only) {
        return Err(Error::builder(
            "`https_only` is about each attempt, of which there are none without retries; see \
             `build_with_service`",
        ));
    }
    if extras.is_some_and(|it| it.trace_context.is_set()) {
        return Err(Error::builder(
            "a `trace_context` is written into each attempt, of which there are none without \
             retries; see `build_with_service`",
        ));
    }
    #[cfg(feature = "cookies")]
    if parts.jar.is_some() {
        return Err(Error::builder(
            "cookies are sent with each attempt, of which there are none without retries; see \
             `build_with_service`",
        ));
    }
    let service = Adapt::new(service.map_request(body::follow_once));
    let service = Collect::new(service, parts.max_body, When::Asked).decoding(parts.decode_limits);
    let service = Telling::new(service, of_attempt);
    let service = parts.call_layers.wrap(InnerService::new(service));
    Ok(Stack::Custom(service))
}

/// Composes the stack with the caller's layers in their places.
fn boxed<S, R, E>(transport: S, mut parts: Parts) -> Custom
where
    S: Service<Request<AttemptBody>, Response = Response<R>, Error = E>,
    S: Clone + Send + Sync + 'static,
    S::Future: ReportsPhase + Send + 'static,
    R: Into<ResponseBody> + 'static,
    E: Into<Error> + 'static,
{
    let attempt_layers = std::mem::take(&mut parts.attempt_layers);
    let hedges = Hedges::of(&parts.policy);
    compose(
        transport,
        parts,
        |attempt| {
            let attempt = Telling::new(attempt, of_attempt);
            let attempts = InnerService::new(attempt.map_response(told));
            BoxedAttempts::new(attempt_layers.wrap(attempts), hedges)
        },
        When::Asked,
        |_, collecting, call_layers| {
            let collecting =
                Telling::new(collecting, of_retries).asks_on(|call| call.attempt().is_some());
            call_layers.wrap(InnerService::new(collecting))
        },
    )
}

/// What a single attempt has done so far.
fn of_attempt<F: ReportsPhase>(attempt: &F) -> SoFar {
    SoFar::in_phase(attempt.phase())
}

/// What the retries have done so far, and their attempt under way.
fn of_retries<S, B, F, R, E>(call: &Retrying<S, B, F, R, E>) -> SoFar
where
    F: ReportsPhase,
{
    SoFar::in_phase(call.phase()).reported(call.report_so_far())
}

/// Puts the connection into the head too, because a layer that wraps the body hides it.
fn told(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if let Some(connection) = response.body().connection().cloned() {
        response.extensions_mut().insert(connection);
    }
    response
}

/// The order of everything below the call, outermost first:
///
/// 1. `call_layers`: the caller's, once for each hop of a call.
/// 2. **retry**: the only loop; what is below is done once per attempt.
/// 3. **collect**, for `fetch`: below retry, so that a body that breaks is a failed attempt. It
///    decodes the body too, which for `send` the call does. What retry refuses at its head, and a
///    failed status, it leaves alone: of the last one of these the call collects the body.
/// 4. **hedge**, if the policy hedges: below collect, since the first byte of a body decides; what is below
///    is done for each hedge as for an attempt.
/// 5. `attempt_layers`: the caller's, once per attempt; each attempt has an end, so that they may time it.
/// 6. **attempt**: headers of each attempt, and one type of response and error from here on.
/// 7. **breaker and pauses**, if there are any: below the layer that moves an attempt to its endpoint, so
///    that each endpoint has a circuit.
/// 8. **cookies**, if there is a jar: below everything that changes the URI, by which they are
///    chosen, and for each attempt anew, since the answer before may have brought others.
/// 9. **session** (or the service in its place): the pool and its timeouts.
fn compose<S, T, C>(
    transport: S,
    parts: Parts,
    attempt_layers: impl FnOnce(Attempt<S>) -> T,
    when: When,
    call_layers: impl FnOnce(Retry<T>, Retry<Collect<T>>, Layers<Body>) -> C,
) -> C
where
    T: Clone,
{
    let attempt = attempt_layers(Attempt::new(transport, parts.attempt));
    let streaming = Retry::new(attempt.clone(), parts.policy.clone());
    let collect = Collect::new(attempt, parts.max_body, when)
        .decoding(parts.decode_limits)
        .below(&parts.policy);
    let collecting = Retry::new(collect, parts.policy);
    call_layers(streaming, collecting, parts.call_layers)
}
