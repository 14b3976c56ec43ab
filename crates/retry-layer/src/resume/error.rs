use std::{error::Error, fmt};

use crate::report::RetryReport;

/// Why a body that a [`ResumeBody`](super::ResumeBody) reads did not come to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResumeBodyError<E> {
    /// The body broke, and was not continued: its error as it is. Where the error has room for it,
    /// [`Classifier::annotate`](crate::Classifier::annotate) gets the report.
    Inner(E),
    /// The response of the server does not continue the received bytes.
    Resume(ResumeError),
}

impl<E> ResumeBodyError<E> {
    /// Returns the error if the body could not be continued.
    pub fn resume_error(&self) -> Option<&ResumeError> {
        match self {
            Self::Inner(_) => None,
            Self::Resume(error) => Some(error),
        }
    }
}

impl<E: fmt::Display> fmt::Display for ResumeBodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => error.fmt(f),
            Self::Resume(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for ResumeBodyError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Inner(error) => error.source(),
            Self::Resume(error) => error.source(),
        }
    }
}

/// The rest of a broken body could not be read: the server's answer to the request for it does not
/// fit the received bytes. Those are right, but incomplete.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResumeError {
    kind: ResumeErrorKind,
    offset: u64,
    report: Box<RetryReport>,
}

impl ResumeError {
    pub(super) fn new(kind: ResumeErrorKind, offset: u64, report: RetryReport) -> Self {
        Self {
            kind,
            offset,
            report: Box::new(report),
        }
    }

    /// What does not fit.
    #[must_use]
    pub fn kind(&self) -> ResumeErrorKind {
        self.kind
    }

    /// The offset in the representation, in bytes, at which the missing rest begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// All exchanges, with the one that gave the head of the response.
    #[must_use]
    pub fn report(&self) -> &RetryReport {
        &self.report
    }
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, offset, .. } = self;
        write!(f, "the body cannot be continued at byte {offset}: {kind}")
    }
}

impl Error for ResumeError {}

/// What does not fit in the answer to a request for the rest of a body.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ResumeErrorKind {
    /// The server has another version by now: it answered with another validator, with 412, with
    /// 304, or with a 200 in place of a part that the caller had asked for.
    ValidatorChanged,
    /// The part of a 206 is not the one that was asked for, or is one of a whole of another length;
    /// or the server sent several parts.
    ContentRangeMismatch,
    /// The part has another content coding than the beginning.
    EncodingChanged,
    /// A body is longer or shorter than was announced.
    LengthMismatch,
    /// The server says that there are no bytes at this offset (416), and the length of its whole is
    /// not that of the received bytes.
    RangeNotSatisfiable,
}

impl ResumeErrorKind {
    /// The name for logs and metrics, such as `validator_changed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ValidatorChanged => "validator_changed",
            Self::ContentRangeMismatch => "content_range_mismatch",
            Self::EncodingChanged => "encoding_changed",
            Self::LengthMismatch => "length_mismatch",
            Self::RangeNotSatisfiable => "range_not_satisfiable",
        }
    }
}

impl fmt::Display for ResumeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValidatorChanged => "the server has another version now",
            Self::ContentRangeMismatch => "the server sent another part than was asked for",
            Self::EncodingChanged => "the server sent it in another encoding",
            Self::LengthMismatch => "the length is not the one that was announced",
            Self::RangeNotSatisfiable => "the server says that there is no such part",
        })
    }
}
