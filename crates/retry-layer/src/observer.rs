use std::{fmt, time::Duration};

use http::{Method, Uri};

use crate::{
    report::{AttemptOutcome, AttemptRecord, Wait},
    stop::StopReason,
};

/// Observes how every attempt ends: for metrics.
///
/// Each attempt that ends is followed by one decision, and by one call of one of these methods. It
/// costs nothing in a policy without an observer. Requests that are sent once whatever their outcome,
/// because the policy allows one attempt and no [transparent retry](crate::RetryReport::transparent_retries) or the request is
/// marked [`NoRetry`](crate::NoRetry), are not observed, because nothing is decided about them. If the
/// body of a response breaks and is [continued](crate::resume), the exchanges that broke are observed
/// too, after the call itself has ended. For a call that is dropped while it waits,
/// [`sends_again`](Self::sends_again) was the last method called; a `tracing` event reports the drop.
///
/// The methods are called on the task that polls the call, between attempts. They must not block,
/// and should not panic: a panic ends the call.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use retry_layer::{EndedAttempt, RetryObserver, RetryPolicy, Wait};
///
/// #[derive(Default)]
/// struct Retries(AtomicU64);
///
/// impl RetryObserver for Retries {
///     fn sends_again(&self, _: &EndedAttempt<'_>, _: Wait) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// let policy = RetryPolicy::builder().observer(Retries::default()).build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
pub trait RetryObserver: Send + Sync + 'static {
    /// An attempt ended and another one will follow, after this wait, if the call is not dropped.
    fn sends_again(&self, exchange: &EndedAttempt<'_>, wait: Wait) {
        let _ = (exchange, wait);
    }

    /// An attempt ended and was the last one, for this reason.
    fn stops(&self, exchange: &EndedAttempt<'_>, reason: StopReason) {
        let _ = (exchange, reason);
    }

    /// A [hedge](crate::hedge) is sent beside an attempt that is still under way. How it ended is in the
    /// report of the call; of an attempt and its hedges the one whose outcome is returned is the
    /// [`EndedAttempt`] of the other methods.
    fn hedges(&self, hedge: &SentHedge<'_>) {
        let _ = hedge;
    }
}

impl<T> RetryObserver for std::sync::Arc<T>
where
    T: RetryObserver + ?Sized,
{
    fn sends_again(&self, exchange: &EndedAttempt<'_>, wait: Wait) {
        (**self).sends_again(exchange, wait);
    }

    fn stops(&self, exchange: &EndedAttempt<'_>, reason: StopReason) {
        (**self).stops(exchange, reason);
    }

    fn hedges(&self, hedge: &SentHedge<'_>) {
        (**self).hedges(hedge);
    }
}

/// One attempt that has ended, as a [`RetryObserver`] sees it.
#[derive(Clone, Copy)]
pub struct EndedAttempt<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) number: u32,
    pub(crate) record: &'a AttemptRecord,
}

impl<'a> EndedAttempt<'a> {
    /// The method of the request.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URI of the request as it entered the layer. It may hold secrets, in its query above
    /// all.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The number of the exchange within its call, from 1, transparent retries counted. One less is what
    /// OpenTelemetry calls `http.request.resend_count`.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> AttemptOutcome {
        self.record.outcome()
    }

    /// What the call's [report](crate::RetryReport) says of it: when it began, how long it took, why
    /// it failed and with whom.
    #[must_use]
    pub fn record(&self) -> &'a AttemptRecord {
        self.record
    }
}

// Without the URI, which may hold a secret.
impl fmt::Debug for EndedAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndedAttempt")
            .field("method", self.method)
            .field("number", &self.number)
            .field("record", self.record)
            .finish_non_exhaustive()
    }
}

/// A [hedge](crate::hedge) that is sent, as a [`RetryObserver`] sees it.
#[derive(Clone, Copy)]
pub struct SentHedge<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) number: u32,
    pub(crate) after: Duration,
}

impl<'a> SentHedge<'a> {
    /// The method of the request.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URI of the request as it entered the layer. It may hold secrets, in its query above
    /// all.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The number of the hedge among all exchanges of its call, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How long the attempt had been under way.
    #[must_use]
    pub fn after(&self) -> Duration {
        self.after
    }
}

// Without the URI, which may hold a secret.
impl fmt::Debug for SentHedge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentHedge")
            .field("method", self.method)
            .field("number", &self.number)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
