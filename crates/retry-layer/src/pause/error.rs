use std::{error::Error, fmt, time::Duration};

use crate::health::PartitionKey;

/// The requests of a partition are paused for too long, or the service inside failed.
///
/// Either is the [`source`](Error::source): a [`Paused`], or the error of the service.
#[derive(Debug)]
pub struct PauseError<E>(Kind<E>);

#[derive(Debug)]
enum Kind<E> {
    Paused(Paused),
    Inner(E),
}

impl<E> PauseError<E> {
    pub(super) fn paused(error: Paused) -> Self {
        Self(Kind::Paused(error))
    }

    pub(super) fn inner(error: E) -> Self {
        Self(Kind::Inner(error))
    }

    /// What is known of the pause, if the request was not sent because of it.
    #[must_use]
    pub fn paused_error(&self) -> Option<&Paused> {
        match &self.0 {
            Kind::Paused(error) => Some(error),
            Kind::Inner(_) => None,
        }
    }

    /// Takes the two cases apart.
    ///
    /// # Errors
    ///
    /// With [`Paused`] if the request was not sent; else the error of the service is returned.
    pub fn into_inner(self) -> Result<E, Paused> {
        match self.0 {
            Kind::Paused(error) => Err(error),
            Kind::Inner(error) => Ok(error),
        }
    }
}

impl<E> fmt::Display for PauseError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Paused(_) => "the request was not sent",
            Kind::Inner(_) => "the attempt failed",
        })
    }
}

impl<E: Error + 'static> Error for PauseError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.0 {
            Kind::Paused(error) => error,
            Kind::Inner(error) => error,
        })
    }
}

/// A request was not sent: the server has asked for a pause, and the request cannot wait for its turn.
///
/// The retry layer calls this error [`Final`](crate::Class::Final): another attempt would wait no
/// shorter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Paused {
    pub(super) key: PartitionKey,
    pub(super) reason: PausedReason,
    pub(super) retry_after: Duration,
    pub(super) waited: Duration,
}

/// Why a request could not wait for its turn.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PausedReason {
    /// Its turn would come after its deadline, or later than a request
    /// [may wait](super::PauseBuilder::max_wait).
    TooLong,
    /// [As many as may](super::PauseBuilder::max_waiting) wait already.
    LineFull,
}

impl Paused {
    /// Whose requests are paused.
    #[must_use]
    pub fn key(&self) -> &PartitionKey {
        &self.key
    }

    /// Why the request did not wait.
    #[must_use]
    pub fn reason(&self) -> PausedReason {
        self.reason
    }

    /// After how long the pause is over, at the earliest.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// How long the request has waited all the same, since the pause became longer meanwhile.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, wait) = (self.key.as_str(), self.retry_after);
        match self.reason {
            PausedReason::TooLong if wait.is_zero() => {
                write!(
                    f,
                    "more requests to {key} wait for their turn than fit into "
                )?;
                f.write_str("the time that this one may wait")
            }
            PausedReason::TooLong => {
                write!(f, "requests to {key} are paused for another {wait:.1?}, ")?;
                f.write_str("which is longer than this one may wait")
            }
            PausedReason::LineFull => {
                write!(f, "requests to {key} are paused, and too many wait already")
            }
        }
    }
}

impl Error for Paused {}
