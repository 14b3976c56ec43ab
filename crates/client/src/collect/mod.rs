//! Collects response bodies below the retries, so that one that breaks is an attempt that failed.
//!
//! A response is judged at its head, as without collecting: only one that will be returned, and that
//! is no failure, is collected here. One that the policy refuses goes up as it came: the retry layer
//! reads no more of it than its connection is worth, and never waits for its end. A failed status
//! goes up too: it is the outcome of the attempt, whatever becomes of its body. If it is the last
//! one, the call collects it above the retries, where a body that breaks leaves the status in the
//! error.
//!
//! A body that is too large did not break: its response goes on without it, and becomes an error
//! above the retries.

mod gathering;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Method, Request, Response, StatusCode, Uri};
use pin_project_lite::pin_project;
use retry_layer::{Attempt, NoRetry, Outcome, RetryPolicy, classify::TransportClassifier as _};
use tower_service::Service;

pub(crate) use self::gathering::{Gathering, Trailers};
use crate::{
    DeadlinePhase, DecodeLimits, Error, ResponseBody,
    classify::{Judged, SessionErrors},
    decode,
    error::is_failed,
    phase::ReportsPhase,
    redirect,
};

#[derive(Clone, Debug)]
pub(crate) struct Collect<S> {
    inner: S,
    limit: usize,
    decode: DecodeLimits,
    when: When,
    /// The policy of the retries above, if it refuses responses whose status is no failure.
    refuses: Option<RetryPolicy>,
}

/// Which responses are collected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    Always,
    /// Those to requests that have a [`CollectBody`] in their extensions.
    Asked,
}

/// A request extension: the body of the response is to be collected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectBody;

/// A request extension: no redirect of it is followed, so that each is an answer to be collected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowsNone;

impl<S> Collect<S> {
    pub(crate) fn new(inner: S, limit: usize, when: When) -> Self {
        Self {
            inner,
            limit,
            decode: DecodeLimits::default(),
            when,
            refuses: None,
        }
    }

    /// Leaves the responses alone that this policy, of the retries above, refuses.
    pub(crate) fn below(mut self, policy: &RetryPolicy) -> Self {
        self.refuses = may_refuse_success(policy).then(|| policy.clone());
        self
    }

    /// Decodes within these limits, unless a request has its own.
    pub(crate) fn decoding(mut self, limits: DecodeLimits) -> Self {
        self.decode = limits;
        self
    }

    fn judge<B>(&self, request: &Request<B>) -> Option<Box<Judge>> {
        let of_request = request.extensions().get::<RetryPolicy>();
        let of_request = of_request.filter(|policy| may_refuse_success(policy));
        let policy = of_request.or(self.refuses.as_ref())?;
        Judge::new(policy, request).map(Box::new)
    }
}

/// Whether a policy has to see the head of a response whose status is no failure. The default has
/// not.
fn may_refuse_success(policy: &RetryPolicy) -> bool {
    let mut statuses = (200..400).filter_map(|status| StatusCode::from_u16(status).ok());
    !statuses.all(|status| policy.classifier().is_always_final(status))
}

/// Asks a policy what it makes of the head of a response.
struct Judge {
    policy: RetryPolicy,
    method: Method,
    uri: Uri,
    attempt: u32,
}

impl Judge {
    /// None for a request that is sent once, whatever comes. A policy of one attempt is asked: it may
    /// call for a transparent retry.
    fn new<B>(policy: &RetryPolicy, request: &Request<B>) -> Option<Self> {
        let extensions = request.extensions();
        if extensions.get::<NoRetry>().is_some() {
            return None;
        }
        Some(Self {
            policy: policy.clone(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            attempt: extensions.get::<Attempt>().map_or(1, Attempt::number),
        })
    }

    /// Whether the response will not be returned. The retries above read the answer where it is
    /// left.
    fn refuses<T>(&self, response: &mut Response<T>) -> bool {
        // A client in the place of the session may have left the judgement of its own policy.
        response.extensions_mut().remove::<Judged>();
        let (status, headers) = (response.status(), response.headers());
        let outcome = Outcome::from_response(&self.method, &self.uri, status, headers)
            .with_extensions(response.extensions())
            .at_attempt(self.attempt);
        let class = SessionErrors::default().classify(&outcome, &**self.policy.classifier());
        response.extensions_mut().insert(Judged(class));
        class.is_retryable()
    }
}

impl<S, B> Service<Request<B>> for Collect<S>
where
    S: Service<Request<B>, Response = Response<ResponseBody>, Error = Error>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Collecting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Collecting<S::Future> {
        let collects = match self.when {
            When::Always => true,
            When::Asked => request.extensions().get::<CollectBody>().is_some(),
        };
        let how = How {
            limit: self.limit,
            decode: decode::wanted(&request, self.decode),
            redirects: request.extensions().get::<FollowsNone>().is_some(),
        };
        let how = collects.then_some(how);
        Collecting {
            judge: how.and_then(|_| self.judge(&request)),
            how,
            state: State::Head {
                inner: self.inner.call(request),
            },
        }
    }
}

/// How a body is collected.
#[derive(Clone, Copy, Debug)]
struct How {
    limit: usize,
    decode: Option<DecodeLimits>,
    /// Whether a redirect is one of them.
    redirects: bool,
}

impl How {
    /// Whether this response is to be collected here, if the policy does not refuse it.
    #[inline]
    fn collects<T>(&self, response: &Response<T>) -> bool {
        // Little of a redirect's body is read if it is followed, and the call collects it if it
        // turns out that it is not.
        // A status from 600 on belongs to no class; a policy may refuse it as it does a failure.
        response.status().as_u16() < 400 && (self.redirects || !redirect::is_redirect(response))
    }
}

pin_project! {
    /// Waits for the head, then for the body.
    pub(crate) struct Collecting<F> {
        #[pin]
        state: State<F>,
        // None if the body is not to be collected.
        how: Option<How>,
        // None if the status says it all.
        judge: Option<Box<Judge>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Head { #[pin] inner: F },
        Body { gathering: Option<Gathering> },
    }
}

/// Tells the connection of a failed status in its head, where a report of the attempt finds it.
fn name_connection(response: &mut Response<ResponseBody>) {
    if is_failed(response.status()) {
        if let Some(connection) = response.body().connection().cloned() {
            response.extensions_mut().insert(connection);
        }
    }
}

impl<F: ReportsPhase> ReportsPhase for Collecting<F> {
    fn phase(&self) -> DeadlinePhase {
        match &self.state {
            State::Head { inner } => inner.phase(),
            State::Body { .. } => DeadlinePhase::Body,
        }
    }
}

impl<F> Future for Collecting<F>
where
    F: Future<Output = Result<Response<ResponseBody>, Error>>,
{
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Head { inner } => {
                    let mut response = ready!(inner.poll(cx))?;
                    let how = this.how.filter(|how| how.collects(&response));
                    let Some(How { limit, decode, .. }) = how else {
                        name_connection(&mut response);
                        return Poll::Ready(Ok(response));
                    };
                    if let Some(judge) = this.judge {
                        if judge.refuses(&mut response) {
                            return Poll::Ready(Ok(response));
                        }
                    }
                    if let Some(limits) = decode {
                        response = decode::response(response, limits)?;
                    }
                    let gathering = Some(Gathering::new(response, limit));
                    this.state.set(State::Body { gathering });
                }
                StateProj::Body { gathering } => {
                    let ended = match gathering {
                        Some(gathering) => ready!(gathering.poll_gather(cx)),
                        None => Ok(()),
                    };
                    let gathered = gathering.take().expect("polled after it was ready");
                    return Poll::Ready(match ended {
                        Ok(()) => Ok(gathered.into_response()),
                        Err(error) => Err(gathered.fail(error)),
                    });
                }
            }
        }
    }
}
