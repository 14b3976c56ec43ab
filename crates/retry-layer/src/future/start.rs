use std::mem;

use bytes::Bytes;
use http::{Extensions, Request};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::{ResponseFuture, State, plan::Plan};
use crate::{
    call::{Call, Counted},
    deadline::Deadline,
    extras::AttemptNumber,
    hedge::{CallStart, HedgedCall},
    named::BoxError,
    policy::RetryPolicy,
    replay::{BodyFactory, ReplayBody, ReplaySource},
    stop::StopReason,
};

/// How a call gets the instance of its service that said ready.
pub(crate) trait ReadyService<S> {
    /// The instance itself, for a call that needs it only now.
    fn get_mut(&mut self) -> &mut S;

    /// The instance itself, for a call that makes further attempts on it.
    fn take(self) -> S;
}

/// A service that stays with its owner: the call that takes the instance leaves a clone in its place.
impl<S: Clone> ReadyService<S> for &mut S {
    #[inline]
    fn get_mut(&mut self) -> &mut S {
        self
    }

    #[inline]
    fn take(self) -> S {
        let spare = self.clone();
        mem::replace(self, spare)
    }
}

/// A service that is used for one call.
pub(crate) struct Owned<S>(pub(crate) S);

impl<S> ReadyService<S> for Owned<S> {
    #[inline]
    fn get_mut(&mut self) -> &mut S {
        &mut self.0
    }

    #[inline]
    fn take(self) -> S {
        self.0
    }
}

/// Whether a call has any of the [extras](crate::extras). A type, so that a call without them, as
/// most are, is compiled without the code for them.
trait Decoration: Copy {
    fn has_generated_key(self) -> bool;

    fn body_factory<B: 'static>(self, extensions: &Extensions) -> Option<BodyFactory<B>>;

    /// When the call began, if that has to be known.
    fn start(self, started: Option<Instant>) -> Option<Instant>;

    /// Shares the call with the layer below that hedges it, if it may be hedged.
    fn share<B>(
        self,
        policy: &RetryPolicy,
        request: &mut Request<B>,
        started: Option<Instant>,
    ) -> Option<HedgedCall>;

    /// Alters the request of the first attempt. The deadline is asked for only if it is needed, since
    /// that may read the clock.
    fn decorate<B>(
        self,
        policy: &RetryPolicy,
        request: &mut Request<B>,
        deadline: impl FnOnce(&Extensions) -> Option<Deadline>,
    );
}

#[derive(Clone, Copy)]
struct Plain;

impl Decoration for Plain {
    #[inline]
    fn has_generated_key(self) -> bool {
        false
    }

    #[inline]
    fn body_factory<B: 'static>(self, _: &Extensions) -> Option<BodyFactory<B>> {
        None
    }

    #[inline]
    fn start(self, started: Option<Instant>) -> Option<Instant> {
        started
    }

    #[inline]
    fn share<B>(
        self,
        _: &RetryPolicy,
        _: &mut Request<B>,
        _: Option<Instant>,
    ) -> Option<HedgedCall> {
        None
    }

    #[inline]
    fn decorate<B>(
        self,
        _: &RetryPolicy,
        _: &mut Request<B>,
        _: impl FnOnce(&Extensions) -> Option<Deadline>,
    ) {
    }
}

#[derive(Clone, Copy)]
struct Decorated {
    has_generated_key: bool,
    is_hedged: bool,
}

impl Decoration for Decorated {
    #[inline]
    fn has_generated_key(self) -> bool {
        self.has_generated_key
    }

    #[inline]
    fn body_factory<B: 'static>(self, extensions: &Extensions) -> Option<BodyFactory<B>> {
        extensions.get().cloned()
    }

    #[inline]
    fn start(self, started: Option<Instant>) -> Option<Instant> {
        if self.is_hedged {
            started.or_else(|| Some(Instant::now()))
        } else {
            started
        }
    }

    fn share<B>(
        self,
        policy: &RetryPolicy,
        request: &mut Request<B>,
        started: Option<Instant>,
    ) -> Option<HedgedCall> {
        let hedging = policy.hedging().filter(|_| self.is_hedged)?;
        let start = CallStart {
            deadline: policy.deadline_of(request.extensions(), started),
            started,
            has_generated_key: self.has_generated_key,
        };
        let call = HedgedCall::new(policy.clone(), hedging.clone(), request, start);
        request.extensions_mut().insert(call.clone());
        Some(call)
    }

    #[inline]
    fn decorate<B>(
        self,
        policy: &RetryPolicy,
        request: &mut Request<B>,
        deadline: impl FnOnce(&Extensions) -> Option<Deadline>,
    ) {
        let deadline = deadline(request.extensions());
        policy.decorate(request, AttemptNumber::FIRST, deadline);
    }
}

impl<S, B, R> ResponseFuture<S, B, S::Future, R, S::Error>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    /// Sends the first attempt at once.
    #[inline]
    pub(crate) fn new(
        mut service: impl ReadyService<S>,
        policy: RetryPolicy,
        request: Request<B>,
        started: Option<Instant>,
    ) -> Self {
        if !policy.is_plain_for(&request) {
            return Self::decorated(service, policy, request, started);
        }
        match policy.refusal(&request) {
            Some(stop) => Self::once(Plain, service.get_mut(), policy, stop, request, started),
            None => Self::repeatable(Plain, service.take(), policy, request, started),
        }
    }

    #[cold]
    fn decorated(
        mut service: impl ReadyService<S>,
        policy: RetryPolicy,
        mut request: Request<B>,
        started: Option<Instant>,
    ) -> Self {
        HedgedCall::forget(request.extensions_mut());
        let has_generated_key = policy.give_key(&mut request);
        let decoration = Decorated {
            has_generated_key,
            is_hedged: policy.hedging_of(&request).is_some(),
        };
        match policy.refusal(&request) {
            Some(stop) => Self::once(
                decoration,
                service.get_mut(),
                policy,
                stop,
                request,
                started,
            ),
            None => Self::repeatable(decoration, service.take(), policy, request, started),
        }
    }

    /// Sends the only attempt of a call.
    #[inline]
    fn once(
        decoration: impl Decoration,
        service: &mut S,
        policy: RetryPolicy,
        stop: StopReason,
        request: Request<B>,
        started: Option<Instant>,
    ) -> Self {
        let mut request = request.map(|body| {
            if body.is_end_stream() {
                ReplayBody::empty()
            } else {
                ReplayBody::passing(body)
            }
        });
        let deadline = |extensions: &_| policy.deadline_of(extensions, started);
        decoration.decorate(&policy, &mut request, deadline);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self {
            state: State::Sending {
                attempt: service.call(request),
            },
            plan: Plan::Once {
                policy,
                stop,
                method,
                uri,
                started,
            },
        }
    }

    /// Sends the first attempt of a call on this instance, which makes the later ones too.
    // One literal at the end: a future that is put together in steps is copied in each of them.
    #[inline]
    fn repeatable(
        decoration: impl Decoration,
        mut service: S,
        policy: RetryPolicy,
        request: Request<B>,
        started: Option<Instant>,
    ) -> Self {
        let started = policy.start_of(request.extensions(), started);
        let started = decoration.start(started);
        let settings = policy.settings();
        let (limit, memory) = (settings.replay_limit, policy.replay_memory());
        let transparent_retries = settings.transparent_retries;
        let counted = Counted::enter(&policy);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let version = request.version();
        let headers = request.headers();
        let headers = (!headers.is_empty()).then(|| headers.clone());
        let extensions = request.extensions().clone();
        let mut body = ReplaySource::Empty;
        let mut request = request.map(|passing| {
            let first;
            (body, first) = match decoration.body_factory(&extensions) {
                Some(factory) => ReplaySource::make(passing, factory),
                None => ReplaySource::record(passing, limit, memory),
            };
            first
        });
        let hedged = decoration.share(&policy, &mut request, started);
        let deadline = |extensions: &_| policy.deadline_of(extensions, started);
        decoration.decorate(&policy, &mut request, deadline);
        Self {
            state: State::Sending {
                attempt: service.call(request),
            },
            plan: Plan::Repeatable {
                call: Call {
                    service: Some(service),
                    policy,
                    method,
                    uri,
                    version,
                    headers,
                    extensions,
                    hedged,
                    body,
                    started,
                    attempts: 1,
                    has_generated_key: decoration.has_generated_key(),
                    transparent_retries,
                    counted,
                    journal: None,
                },
            },
        }
    }
}
