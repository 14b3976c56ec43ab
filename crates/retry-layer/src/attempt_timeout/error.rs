use std::{error::Error, fmt};

/// An attempt took too long, or the inner service failed.
///
/// Either is the [`source`](Error::source): an [`AttemptElapsed`], or the error of the service.
#[derive(Debug)]
pub struct AttemptError<E>(Kind<E>);

#[derive(Debug)]
enum Kind<E> {
    Elapsed(AttemptElapsed),
    Inner(E),
}

impl<E> AttemptError<E> {
    pub(super) fn elapsed() -> Self {
        Self(Kind::Elapsed(AttemptElapsed(())))
    }

    pub(super) fn inner(error: E) -> Self {
        Self(Kind::Inner(error))
    }

    /// Whether the attempt took too long.
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        matches!(self.0, Kind::Elapsed(_))
    }

    /// Returns the error of the inner service; `None` if the attempt took too long.
    #[must_use]
    pub fn into_inner(self) -> Option<E> {
        match self.0 {
            Kind::Elapsed(_) => None,
            Kind::Inner(error) => Some(error),
        }
    }
}

impl<E> fmt::Display for AttemptError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the attempt failed")
    }
}

impl<E: Error + 'static> Error for AttemptError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.0 {
            Kind::Elapsed(elapsed) => elapsed,
            Kind::Inner(error) => error,
        })
    }
}

/// An attempt was given up since it took too long. It may have been processed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttemptElapsed(());

impl fmt::Display for AttemptElapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the attempt took too long")
    }
}

impl Error for AttemptElapsed {}
