use std::{fmt, sync::Arc, time::Duration};

use http::Request;

use crate::{
    before::BeforeAttempt,
    deadline::Deadline,
    headers::{AttemptHeader, TimeoutHeader},
    key::IdempotencyKeys,
    observer::Observer,
    owner::RetryOwner,
    policy::RetryPolicy,
};

/// What a policy does only if it is asked to. A policy that does nothing of it has none, so that
/// all of it costs a call one look.
#[derive(Clone, Default)]
pub(crate) struct Extras {
    pub(crate) keys: Option<IdempotencyKeys>,
    pub(crate) before: Option<BeforeAttempt>,
    pub(crate) attempt_header: Option<AttemptHeader>,
    pub(crate) timeout_header: Option<TimeoutHeader>,
    pub(crate) nested: Nested,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// What retry layers below the own one do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Nested {
    #[default]
    Retry,
    StandDown,
}

impl Extras {
    /// Nothing if nothing was asked for.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        let Self {
            keys,
            before,
            attempt_header,
            timeout_header,
            nested,
            observer,
        } = &self;
        let idle = keys.is_none()
            && before.is_none()
            && attempt_header.is_none()
            && timeout_header.is_none()
            && *nested == Nested::Retry
            && observer.is_none();
        (!idle).then(|| Box::new(self))
    }
}

impl fmt::Debug for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extras")
            .field("keys", &self.keys)
            .field("before", &self.before)
            .field("attempt_header", &self.attempt_header)
            .field("timeout_header", &self.timeout_header)
            .field("nested", &self.nested)
            .field("observed", &self.observer.is_some())
            .finish()
    }
}

/// Which attempt a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Among those that count, from 1.
    pub(crate) attempt: u32,
    /// Resends so far.
    pub(crate) resends: u32,
}

impl Place {
    pub(crate) const FIRST: Self = Self {
        attempt: 1,
        resends: 0,
    };
}

impl RetryPolicy {
    /// Whether neither the policy nor the request asks for anything of this.
    #[inline]
    pub(crate) fn is_idle_for<B>(&self, request: &Request<B>) -> bool {
        self.settings().extras.is_none() && request.extensions().is_empty()
    }

    /// Gives a request the key that the policy or the request asks for, and tells whether it did.
    pub(crate) fn give_key<B>(&self, request: &mut Request<B>) -> bool {
        let own = request.extensions().get::<IdempotencyKeys>().cloned();
        let extras = self.settings().extras.as_deref();
        own.as_ref()
            .or(extras.and_then(|extras| extras.keys.as_ref()))
            .is_some_and(|keys| keys.mark(request))
    }

    /// Does to a request what is done before each attempt.
    pub(crate) fn dress<B>(
        &self,
        request: &mut Request<B>,
        place: Place,
        deadline: Option<Deadline>,
    ) {
        let extras = self.settings().extras.as_deref();
        if let Some(extras) = extras {
            if let Some(header) = &extras.attempt_header {
                header.write(request.headers_mut(), place.attempt, self.max_attempts());
            }
            if let (Some(header), Some(deadline)) = (&extras.timeout_header, deadline) {
                let remaining = deadline.remaining();
                // One that lies beyond what the clock can express is none.
                if remaining < Duration::MAX {
                    header.write(request.headers_mut(), remaining);
                }
            }
            if extras.nested == Nested::StandDown {
                request.extensions_mut().insert(RetryOwner);
            }
        }
        let own = request.extensions().get::<BeforeAttempt>().cloned();
        if let Some(before) = own.or_else(|| extras.and_then(|extras| extras.before.clone())) {
            before.alter_head(place.attempt.saturating_add(place.resends), request);
        }
    }
}
