use std::{error::Error as StdError, io, sync::Arc, time::Duration};

mod causes;
mod connector;
mod display;
mod kind;
mod questions;

pub use self::kind::Phase;
pub(crate) use self::kind::{Kind, Sent};
use crate::{ConnectionInfo, Origin, Step, box_error::BoxError, origin::InvalidUri};

/// What went wrong between a request and the end of its response.
///
/// An error says *what happened*, never what to do about it: a retry layer decides whether a
/// request may be sent again, and finds the facts for that here. The most useful one is
/// [`is_unsent`](Error::is_unsent): not a byte of the request left this process.
///
/// [`Display`](std::fmt::Display) writes this level only, in one line, with the origin; its
/// alternate form, `{:#}`, leaves the origin out. The cause is in [`source`](StdError::source).
/// Neither holds userinfo, headers or a path.
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    origin: Option<Origin>,
    /// The step of a connect whose timeout ran out, if it is known.
    step: Option<Step>,
    connection: Option<FailedOn>,
    /// Shared by the requests that waited for the same connection.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The connection that a request failed on.
#[derive(Clone)]
struct FailedOn {
    info: ConnectionInfo,
    /// How many other requests the connection had been given.
    others: u64,
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        // A kind of std's, so that a retry layer which does not know this crate finds it.
        let source = match kind {
            Kind::Timeout(..) | Kind::TooSlow(_) => {
                Some(Arc::new(io::Error::from(io::ErrorKind::TimedOut)) as _)
            }
            _ => None,
        };
        Self(Box::new(Inner {
            kind,
            origin: None,
            step: None,
            connection: None,
            source,
        }))
    }

    pub(crate) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// The same error, for another request.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    /// The error of a connect whose timeout ran out at this step.
    pub(crate) fn connect_timeout(step: Step, after: Duration) -> Self {
        let phase = match step {
            Step::Dns => Phase::Dns,
            _ => Phase::Connect,
        };
        let mut error = Self::new(Kind::Timeout(phase, after));
        error.0.step = Some(step);
        error
    }

    /// Adds the connection that the request was on, and how many `others` it had been given.
    pub(crate) fn on(mut self, info: ConnectionInfo, others: u64) -> Self {
        self.0.connection = Some(FailedOn { info, others });
        self
    }

    pub(crate) fn at(mut self, origin: &Origin) -> Self {
        self.0.origin = Some(origin.clone());
        self
    }

    /// Returns the origin that the request was for, if it was known.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// Returns the connection that the request was on: its peer's address, its version, whether it
    /// was reused. `None` if the request failed before it was given one. Over HTTP/2 it may be a
    /// connection that the request waited to share.
    #[must_use]
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.0.connection.as_ref().map(|it| &it.info)
    }

    /// Returns how many other requests the [`connection`](Self::connection) had been given when this
    /// one failed: over HTTP/1 those before it, over HTTP/2 those that came later too.
    #[must_use]
    pub fn other_requests(&self) -> Option<u64> {
        self.0.connection.as_ref().map(|it| it.others)
    }
}

impl From<InvalidUri> for Error {
    fn from(InvalidUri(why): InvalidUri) -> Self {
        Self::new(Kind::Uri(why))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
