use std::{error::Error, fmt};

use crate::named::BoxError;

/// The body of a request could not be read.
///
/// Either it failed by itself, in which case that error is the [`source`](Error::source), or the
/// attempt that reads it has been given up in the meantime, or a [`BodyFactory`](crate::BodyFactory) made one of
/// another length than the first.
#[derive(Debug)]
pub struct ReplayBodyError {
    kind: Kind,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Inner,
    Superseded,
    Spent,
    Changed,
}

impl ReplayBodyError {
    /// An error of the body inside. One of this type says already what it is.
    pub(super) fn inner(error: impl Into<BoxError>) -> Self {
        error.into().downcast().map_or_else(
            |error| Self {
                kind: Kind::Inner,
                source: Some(error),
            },
            |known| *known,
        )
    }

    pub(super) fn superseded() -> Self {
        Self {
            kind: Kind::Superseded,
            source: None,
        }
    }

    pub(super) fn spent() -> Self {
        Self {
            kind: Kind::Spent,
            source: None,
        }
    }

    pub(super) fn changed() -> Self {
        Self {
            kind: Kind::Changed,
            source: None,
        }
    }

    /// Whether the attempt was given up for a newer one, which reads the body now.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.kind == Kind::Superseded
    }
}

impl fmt::Display for ReplayBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner => "the request body failed",
            Kind::Superseded => "the request body belongs to a newer attempt",
            Kind::Spent => "the request body failed in an earlier attempt",
            Kind::Changed => "the request body was made anew with another length",
        })
    }
}

impl Error for ReplayBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
