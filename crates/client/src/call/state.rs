//! What a call is doing.

use std::{
    fmt,
    future::Future as _,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http::Request;
use pin_project_lite::pin_project;
use retry_layer::{Drain, Retry, RetryReport};
use tokio::time::Instant;
use tower::{ServiceExt as _, util::Oneshot};
use tower_service::Service;

use super::observed::Observed;
use crate::{
    Body, DeadlinePhase, Error, ResponseBody,
    collect::{CollectBody, Gathering},
    phase::ReportsPhase,
    redirect::Again,
    setting,
    so_far::{self, SoFar},
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
        // The body of what the call returns.
        Gathering { gathering: Option<Gathering> },
        // The rest of a redirect's body, and the request that it leads to.
        Draining { drain: Option<Pin<Box<Drain<ResponseBody>>>>, next: Option<Box<Request<Body>>> },
        Failed { error: Option<Error> },
        // All of the call, in a box: the others are no larger for it.
        Observed { observed: Box<Observed<W>> },
    }
}

impl<W: Mode> State<W> {
    /// Gives the request to the stack.
    #[inline]
    pub(super) fn enter(stack: &Stack, request: Request<Body>, now: Instant) -> Self {
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
            Stack::Custom(stack) => Self::enter_custom(stack, request),
        }
    }

    #[cold]
    fn enter_custom(stack: &Custom, mut request: Request<Body>) -> Self {
        if W::COLLECTS {
            setting::set(request.extensions_mut(), CollectBody);
        }
        Self::Custom {
            call: stack.clone().oneshot(request),
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

    /// Whether an attempt is under way, all of whose waits the session keeps.
    #[inline]
    pub(super) fn is_sending(&self) -> bool {
        match self {
            Self::Standard { call } => call.attempt().is_some(),
            Self::Observed { .. }
            | Self::Custom { .. }
            | Self::Gathering { .. }
            | Self::Draining { .. }
            | Self::Failed { .. } => false,
        }
    }

    /// What the call is doing, where the stack tells.
    fn phase(&self) -> Option<DeadlinePhase> {
        match self {
            Self::Standard { call } => Some(call.phase()),
            Self::Gathering { .. } => Some(DeadlinePhase::Body),
            Self::Draining { .. } => Some(DeadlinePhase::Redirect),
            Self::Observed { .. } | Self::Custom { .. } | Self::Failed { .. } => None,
        }
    }

    /// What the call has done by its deadline. Breaks with the answer of the stack, if that has come
    /// since it was polled last.
    pub(super) fn so_far(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> ControlFlow<super::Answer, SoFar> {
        ControlFlow::Continue(match self.as_mut().project() {
            StateProj::Custom { call } => match so_far::ask(|| call.poll(cx)) {
                (Poll::Pending, so_far) => so_far,
                (Poll::Ready(answer), _) => return ControlFlow::Break(answer),
            },
            StateProj::Standard { .. }
            | StateProj::Observed { .. }
            | StateProj::Gathering { .. }
            | StateProj::Draining { .. }
            | StateProj::Failed { .. } => SoFar {
                phase: self.phase(),
                report: self.report_so_far(),
            },
        })
    }

    pub(super) fn is_stack(&self) -> bool {
        matches!(self, Self::Standard { .. })
    }

    /// Takes the request from the stack, which is not asked for anything any more; `None` where it keeps
    /// nothing.
    #[inline]
    pub(super) fn take_request(self: Pin<&mut Self>) -> Option<Request<Again>> {
        match self.project() {
            StateProj::Standard { call } => Some(call.take_request()?.map(Again::Replayed)),
            StateProj::Observed { .. }
            | StateProj::Custom { .. }
            | StateProj::Gathering { .. }
            | StateProj::Draining { .. }
            | StateProj::Failed { .. } => None,
        }
    }
}

impl<W: Mode> fmt::Debug for State<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standard { .. } | Self::Custom { .. } => "sending",
            Self::Gathering { .. } => "collecting",
            Self::Draining { .. } => "redirected",
            Self::Failed { .. } => "failed",
            Self::Observed { observed } => match observed.get_ref() {
                Some(call) => return call.state.fmt(f),
                None => "dropped",
            },
        })
    }
}
