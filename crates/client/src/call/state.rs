//! What a call is doing.

use std::task::{Context, Poll, Waker};

use http::{Method, Request, Uri};
use pin_project_lite::pin_project;
use retry_layer::{Retry, RetryReport};
use tokio::time::Instant;
use tower::{ServiceExt as _, util::Oneshot};
use tower_service::Service;

use super::{Settings, observed::Observed};
use crate::{
    Body, DeadlinePhase, Error,
    collect::{CollectBody, Gathering},
    description::Description,
    phase::ReportsPhase,
    redirect::{Drain, Kept},
    setting,
    stack::{Custom, Mode, Stack},
};

type Retrying<W> = <Retry<W> as Service<Request<Body>>>::Future;

pin_project! {
    #[project = StateProj]
    pub(super) enum State<W>
    where
        W: Mode,
    {
        Standard { #[pin] call: Retrying<W> },
        Custom { #[pin] call: Oneshot<Custom, Request<Body>> },
        // The body of what the call returns, and the request that it answers.
        Gathering { gathering: Option<Gathering>, request: Option<Description> },
        Draining { drain: Drain, next: Option<Box<Request<Body>>> },
        Failed { error: Option<Error> },
        // All of the call, in a box: the others are no larger for it.
        Observed { observed: Box<Observed<W>> },
    }
}

impl<W: Mode> State<W> {
    /// Gives the request to the stack.
    #[inline]
    pub(super) fn enter(stack: &Stack, mut request: Request<Body>, now: Instant) -> Self {
        match stack {
            Stack::Standard(stack) => {
                let mut retry = W::of(stack).clone();
                let mut cx = Context::from_waker(Waker::noop());
                let ready = Service::<Request<Body>>::poll_ready(&mut retry, &mut cx);
                let Poll::Ready(Ok(())) = ready else {
                    unreachable!("a session is always ready, and each layer above it asks it alone")
                };
                Self::Standard {
                    call: retry.into_call(request, now),
                }
            }
            Stack::Custom(stack) => {
                if W::COLLECTS {
                    setting::set(request.extensions_mut(), CollectBody);
                }
                Self::Custom {
                    call: stack.clone().oneshot(request),
                }
            }
        }
    }

    /// What was tried by now, where a retry layer of this crate's type knows it.
    pub(super) fn report_so_far(&self) -> Option<RetryReport> {
        match self {
            Self::Standard { call } => Some(call.report_so_far()),
            Self::Observed { .. }
            | Self::Custom { .. }
            | Self::Gathering { .. }
            | Self::Draining { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// Whether the first attempt of the call is under way, and the session keeps its times.
    #[inline]
    pub(super) fn is_first_attempt(&self) -> bool {
        match self {
            Self::Standard { call } => call.is_first_attempt(),
            Self::Observed { .. }
            | Self::Custom { .. }
            | Self::Gathering { .. }
            | Self::Draining { .. }
            | Self::Failed { .. } => false,
        }
    }

    /// What the call is doing, where the stack tells.
    pub(super) fn phase(&self) -> Option<DeadlinePhase> {
        match self {
            Self::Standard { call } => {
                let attempt = call.attempt().map(ReportsPhase::phase);
                Some(attempt.unwrap_or(DeadlinePhase::Retry))
            }
            Self::Gathering { .. } => Some(DeadlinePhase::Body),
            Self::Draining { .. } => Some(DeadlinePhase::Redirect),
            Self::Observed { .. } | Self::Custom { .. } | Self::Failed { .. } => None,
        }
    }

    pub(super) fn is_stack(&self) -> bool {
        matches!(self, Self::Standard { .. })
    }

    /// The method and the URI that it is about.
    pub(super) fn asked<'a>(&'a self, kept: Option<&'a Kept>) -> Option<(&'a Method, &'a Uri)> {
        match self {
            Self::Standard { call } => Some((call.method(), call.uri())),
            Self::Custom { .. } => kept.map(Kept::asked),
            Self::Gathering { request, .. } => request.as_ref().map(Description::asked),
            Self::Draining { next, .. } => next.as_ref().map(|it| (it.method(), it.uri())),
            Self::Observed { observed } => {
                let call = observed.get_ref()?;
                call.state.asked(call.kept.as_deref())
            }
            Self::Failed { .. } => None,
        }
    }

    /// What the stack keeps of the request, where it keeps anything.
    #[cold]
    pub(super) fn kept(&self, settings: &Settings) -> Option<Box<Kept>> {
        let (request, body) = match self {
            Self::Standard { call } => (call.request_again()?, call.body_again()),
            Self::Observed { .. }
            | Self::Custom { .. }
            | Self::Gathering { .. }
            | Self::Draining { .. }
            | Self::Failed { .. } => return None,
        };
        let request = request.map(|()| body.map(Body::new));
        Some(Box::new(Kept::new(request, &settings.redirects)))
    }
}
