//! What an attempt passes before it reaches the session, where the client has a circuit breaker or
//! pauses: below what moves an attempt to its endpoint, so that each endpoint has its own circuit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use retry_layer::{
    breaker::{Breaker, BreakerError, BreakerFuture, CircuitBreaker},
    health::Ledger,
    pause::{Pause, PauseError, PauseFuture, SharedPause},
};
use tower_service::Service;

use crate::{DeadlinePhase, Error, error::Kind, phase::ReportsPhase};

/// The breaker and the pauses of a client. One that has neither has no `Guards`.
#[derive(Clone, Debug)]
pub(crate) struct Guards {
    pub(crate) ledger: Ledger,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) pause: Option<Pause>,
}

/// The service below an attempt, behind what guards it: the breaker first, so that a request that it
/// refuses need not wait for its turn.
#[derive(Clone, Debug)]
pub(crate) enum Guarded<S> {
    Plain(Named<S>),
    Breaker(CircuitBreaker<Named<S>>),
    Pause(SharedPause<Named<S>>),
    Both(CircuitBreaker<SharedPause<Named<S>>>),
}

impl<S> Guarded<S> {
    /// Wraps a service. If it was ready, so is this.
    pub(crate) fn new(inner: S, guards: Option<&Guards>) -> Self {
        let inner = Named { inner };
        let Some(Guards { breaker, pause, .. }) = guards else {
            return Self::Plain(inner);
        };
        match (breaker.clone(), pause.clone()) {
            (None, None) => Self::Plain(inner),
            (Some(breaker), None) => Self::Breaker(CircuitBreaker::new(inner, breaker)),
            (None, Some(pause)) => Self::Pause(SharedPause::new(inner, pause)),
            (Some(breaker), Some(pause)) => {
                Self::Both(CircuitBreaker::new(SharedPause::new(inner, pause), breaker))
            }
        }
    }
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<Error>,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = GuardFuture<S, B, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Plain(inner) => inner.poll_ready(cx),
            Self::Breaker(inner) => inner.poll_ready(cx).map_err(refused),
            Self::Pause(inner) => inner.poll_ready(cx).map_err(paused),
            Self::Both(inner) => inner.poll_ready(cx).map_err(refused_or_paused),
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self {
            Self::Plain(inner) => GuardFuture::Plain {
                inner: inner.call(request),
            },
            Self::Breaker(inner) => GuardFuture::Breaker {
                inner: inner.call(request),
            },
            Self::Pause(inner) => GuardFuture::Pause {
                inner: inner.call(request),
            },
            Self::Both(inner) => GuardFuture::Both {
                inner: inner.call(request),
            },
        }
    }
}

fn refused(error: BreakerError<Error>) -> Error {
    match error.into_inner() {
        Ok(error) => error,
        Err(open) => Error::new(Kind::CircuitOpen).with(open),
    }
}

fn paused(error: PauseError<Error>) -> Error {
    match error.into_inner() {
        Ok(error) => error,
        Err(error) => Error::new(Kind::Paused).with(error),
    }
}

fn refused_or_paused(error: BreakerError<PauseError<Error>>) -> Error {
    match error.into_inner() {
        Ok(error) => paused(error),
        Err(open) => Error::new(Kind::CircuitOpen).with(open),
    }
}

pin_project! {
    #[project = GuardProj]
    #[must_use = "futures do nothing unless polled"]
    pub(crate) enum GuardFuture<S, B, F> {
        Plain { #[pin] inner: Naming<F> },
        Breaker { #[pin] inner: BreakerFuture<Naming<F>> },
        Pause { #[pin] inner: PauseFuture<Named<S>, B, Naming<F>> },
        Both { #[pin] inner: BreakerFuture<PauseFuture<Named<S>, B, Naming<F>>> },
    }
}

impl<S, B, R> Future for GuardFuture<S, B, S::Future>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<Error>,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            GuardProj::Plain { inner } => inner.poll(cx),
            GuardProj::Breaker { inner } => inner.poll(cx).map_err(refused),
            GuardProj::Pause { inner } => inner.poll(cx).map_err(paused),
            GuardProj::Both { inner } => inner.poll(cx).map_err(refused_or_paused),
        }
    }
}

impl<S, B, F: ReportsPhase> ReportsPhase for GuardFuture<S, B, F> {
    fn phase(&self) -> DeadlinePhase {
        let (sent, otherwise) = match self {
            Self::Plain { inner } => (Some(inner), DeadlinePhase::Start),
            Self::Breaker { inner } => (inner.attempt(), DeadlinePhase::Start),
            Self::Pause { inner } => (inner.attempt(), DeadlinePhase::Pause),
            Self::Both { inner } => {
                let inner = inner.attempt();
                (inner.and_then(PauseFuture::attempt), DeadlinePhase::Pause)
            }
        };
        sent.map_or(otherwise, |sent| sent.inner.phase())
    }
}

/// Gives the error of a service its name in this crate, which a breaker's classifier knows.
#[derive(Clone, Debug)]
pub(crate) struct Named<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Named<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<Error>,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = Naming<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Naming {
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Naming<F> {
        #[pin]
        inner: F,
    }
}

impl<F, R, E> Future for Naming<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<Error>,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_err(Into::into)
    }
}
