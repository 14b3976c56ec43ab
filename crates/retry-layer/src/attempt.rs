use std::num::NonZeroU32;

use crate::{
    deadline::Deadline,
    pause::CallPlace,
    report::{AttemptOutcome, RetryReport},
};

/// A request extension with the number of the attempt, for the services below the layer.
///
/// Present from the second exchange of a call on; a request without it is the first.
///
/// ```
/// use retry_layer::Attempt;
///
/// fn resend_count<B>(request: &http::Request<B>) -> Option<u32> {
///     request.extensions().get::<Attempt>().map(|attempt| attempt.number() + attempt.transparent_retries() - 1)
/// }
/// # assert_eq!(resend_count(&http::Request::new(())), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    pub(crate) number: u32,
    pub(crate) transparent_retries: u32,
    pub(crate) previous: AttemptOutcome,
    pub(crate) hedge: u32,
    /// That of the call, for a pause below.
    pub(crate) deadline: Option<Deadline>,
    /// The place of the call in the line of the partition that paused it.
    pub(crate) place: Option<CallPlace>,
}

impl Attempt {
    /// The number of the attempt among those that count, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How many [transparent retries](RetryReport::transparent_retries) came before, this exchange included if it is one.
    #[must_use]
    pub fn transparent_retries(&self) -> u32 {
        self.transparent_retries
    }

    /// How the exchange before this one ended: [`Unanswered`](AttemptOutcome::Unanswered) if this is a
    /// [hedge](crate::hedge), for then that one is still under way.
    #[must_use]
    pub fn previous(&self) -> AttemptOutcome {
        self.previous
    }

    /// Which hedge it is, from 1, of the attempt that it is sent beside; `None` if it is no
    /// [hedge](crate::hedge). Services below send hedges of different numbers over different connections.
    #[must_use]
    pub fn hedge(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.hedge)
    }
}

/// A request extension with the number of [transparent retries](RetryReport::transparent_retries) that
/// the call has made before this request: for a service above that sends several requests for one
/// call, such as one that follows redirects.
///
/// Only the first transparent retry of a call is free, and a call makes nine at most. Without this
/// extension the layer takes each request for a call of its own.
///
/// ```
/// use retry_layer::{EarlierTransparentRetries, ResponseExt};
///
/// fn next_hop<T>(redirect: &http::Response<T>, next: &mut http::Request<()>) {
///     next.extensions_mut().insert(EarlierTransparentRetries::of(&redirect.retry_report()));
/// }
/// # let mut next = http::Request::new(());
/// # next_hop(&http::Response::new(()), &mut next);
/// # assert_eq!(next.extensions().get::<EarlierTransparentRetries>().map(EarlierTransparentRetries::count), Some(0));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EarlierTransparentRetries(u32);

impl EarlierTransparentRetries {
    /// The transparent retries of this report, which is that of all earlier requests of the call: see
    /// [`RetryReport::followed_by`].
    #[must_use]
    pub fn of(report: &RetryReport) -> Self {
        Self(report.transparent_retries())
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0
    }
}

impl From<u32> for EarlierTransparentRetries {
    fn from(count: u32) -> Self {
        Self(count)
    }
}

/// A request extension, which [`Resume`](crate::resume::Resume) inserts, of a request for the rest of a
/// body that broke.
///
/// The retry layer counts the attempts of such a request on from [`attempts`](Self::attempts), and its
/// waits too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resumption {
    pub(crate) offset: u64,
    pub(crate) attempts: u32,
    pub(crate) exchanges: u32,
}

impl Resumption {
    /// The offset in the representation, in bytes, of what is asked for.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many attempts were made, without this one, since the last one that read any of the
    /// body. That one, which then broke, is the first of them.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How many exchanges the call has made before this request, transparent retries included.
    #[must_use]
    pub fn exchanges(&self) -> u32 {
        self.exchanges
    }
}
