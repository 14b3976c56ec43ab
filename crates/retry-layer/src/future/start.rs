use std::mem;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::{ResponseFuture, State, plan::Plan};
use crate::{
    budget::Counted,
    call::Call,
    extras::AttemptNumber,
    named::BoxError,
    policy::RetryPolicy,
    replay::{BodyFactory, ReplayBody, ReplaySource},
    stop::StopReason,
};

impl<S, B, R> ResponseFuture<S, B, S::Future, R, S::Error>
where
    S: Service<Request<ReplayBody<B>>> + Clone,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    /// A call that may ask for any of the [extras](crate::extras). Most do not, and do not pay for
    /// looking: that is what `DRESS` says below.
    #[cold]
    pub(crate) fn decorated(
        service: &mut S,
        policy: RetryPolicy,
        mut request: Request<B>,
        now: Option<Instant>,
    ) -> Self {
        let keyed = policy.give_key(&mut request);
        if let Some(stop) = policy.refusal(&request) {
            return Self::once::<true>(service, policy, stop, request, now);
        }
        let spare = service.clone();
        let ready = mem::replace(service, spare);
        Self::repeatable::<true>(ready, policy, request, keyed, now)
    }

    /// Sends the only attempt at once, on the instance that said ready.
    #[inline]
    pub(crate) fn once<const DRESS: bool>(
        service: &mut S,
        policy: RetryPolicy,
        stop: StopReason,
        request: Request<B>,
        now: Option<Instant>,
    ) -> Self {
        let mut request = request.map(ReplayBody::passing);
        if DRESS {
            let deadline = policy.deadline_of(request.extensions(), now);
            policy.decorate(&mut request, AttemptNumber::FIRST, deadline);
        }
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
                started: now,
            },
        }
    }

    /// Sends the first attempt at once, on this instance, which said ready, and which later
    /// attempts are sent on too.
    // One literal at the end: put together in steps, each step would copy all of it once more.
    #[inline]
    pub(crate) fn repeatable<const DRESS: bool>(
        mut service: S,
        policy: RetryPolicy,
        request: Request<B>,
        keyed: bool,
        now: Option<Instant>,
    ) -> Self {
        let (parts, passing) = request.into_parts();
        let now = policy.start_of(&parts.extensions, now);
        let deadline = policy.deadline_of(&parts.extensions, now);
        let settings = policy.settings();
        let (limit, memory) = (settings.replay_limit, policy.replay_memory());
        let resends = settings.resends;
        let counted = policy
            .counts_calls()
            .then(|| Counted::enter(policy.budget()));
        let method = parts.method.clone();
        let uri = parts.uri.clone();
        let version = parts.version;
        let headers = (!parts.headers.is_empty()).then(|| parts.headers.clone());
        let extensions = parts.extensions.clone();
        let factory = if DRESS {
            extensions.get::<BodyFactory<B>>().cloned()
        } else {
            None
        };
        let (body, first) = match factory {
            Some(factory) => ReplaySource::make(passing, factory),
            None => ReplaySource::record(passing, limit, memory),
        };
        let mut request = Request::from_parts(parts, first);
        if DRESS {
            policy.decorate(&mut request, AttemptNumber::FIRST, deadline);
        }
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
                    body,
                    deadline,
                    started: now,
                    attempts: 1,
                    keyed,
                    resends,
                    counted,
                    journal: None,
                },
            },
        }
    }
}
