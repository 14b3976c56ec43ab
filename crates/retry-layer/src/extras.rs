use std::{fmt, sync::Arc, time::Duration};

use http::Request;

use crate::{
    before::BeforeAttempt,
    deadline::Deadline,
    headers::{AttemptHeader, TimeoutHeader},
    hedge::Hedging,
    key::IdempotencyKeys,
    observer::RetryObserver,
    owner::RetryOwner,
};

/// The options of a policy that alter or observe attempts. A policy has none of this unless one of
/// them is set, so that all of them together cost a plain call one check.
#[derive(Clone, Default)]
pub(crate) struct Extras {
    pub(crate) keys: Option<IdempotencyKeys>,
    pub(crate) before: Option<BeforeAttempt>,
    pub(crate) attempt_header: Option<AttemptHeader>,
    pub(crate) timeout_header: Option<TimeoutHeader>,
    pub(crate) nested: Nested,
    pub(crate) observer: Option<Arc<dyn RetryObserver>>,
    pub(crate) hedging: Option<Hedging>,
}

impl Extras {
    /// Gives the request the `Idempotency-Key` that the request, or else the policy, asks for.
    /// Returns whether it did.
    pub(crate) fn give_key<B>(extras: Option<&Self>, request: &mut Request<B>) -> bool {
        let own = request.extensions().get::<IdempotencyKeys>().cloned();
        own.as_ref()
            .or(extras.and_then(|extras| extras.keys.as_ref()))
            .is_some_and(|keys| keys.mark(request))
    }

    /// Alters the request of an attempt: the headers that tell of the attempt, the mark for retry
    /// layers below, and last the function that the request, or else the policy, brings.
    pub(crate) fn decorate<B>(
        extras: Option<&Self>,
        request: &mut Request<B>,
        number: AttemptNumber,
        max_attempts: u32,
        deadline: Option<Deadline>,
    ) {
        if let Some(extras) = extras {
            if let Some(header) = &extras.attempt_header {
                header.write(request.headers_mut(), number.attempt, max_attempts);
            }
            if let (Some(header), Some(deadline)) = (&extras.timeout_header, deadline) {
                let remaining = deadline.remaining();
                // A deadline beyond what the clock can express is none.
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
            before.alter_head(number.exchange(), request);
        }
    }
}

/// What retry layers further down do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Nested {
    #[default]
    Retry,
    StandDown,
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
            .field("hedging", &self.hedging)
            .finish()
    }
}

/// The number of an attempt within its call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptNumber {
    /// Among the attempts that count, from 1.
    pub(crate) attempt: u32,
    /// The transparent retries before it, this one included if it is one.
    pub(crate) transparent_retries: u32,
}

impl AttemptNumber {
    pub(crate) const FIRST: Self = Self {
        attempt: 1,
        transparent_retries: 0,
    };

    /// The number among all exchanges of the call, from 1.
    pub(crate) fn exchange(self) -> u32 {
        self.attempt.saturating_add(self.transparent_retries)
    }

    /// The number of its hedge of this index, from 1; 0 is the attempt itself.
    pub(crate) fn after(self, hedge: usize) -> Self {
        let hedge = u32::try_from(hedge).unwrap_or(u32::MAX);
        Self {
            attempt: self.attempt.saturating_add(hedge),
            ..self
        }
    }
}
