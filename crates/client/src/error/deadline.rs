use std::fmt;

/// What a call was doing when its deadline passed: see
/// [`deadline_phase`](crate::Error::deadline_phase).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DeadlinePhase {
    /// It had not begun: the deadline lay in the past.
    Start,
    /// It waited for a connection: in the pool's queue, or for a new one to be set up.
    Connection,
    /// An attempt was being sent, or waited for the head of its response.
    Head,
    /// It read the body of the response.
    Body,
    /// An attempt had failed, and it waited to make the next one.
    Retry,
    /// It read the rest of a response that redirects, before it went on.
    Redirect,
    /// An attempt was under way, and how far it had come is not known: it is authorized, or watched
    /// by a span.
    Attempt,
}

impl DeadlinePhase {
    /// Writes it as what the call was doing, with the number of the attempt from the second one on.
    pub(super) fn describe(self, attempts: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self {
            // These have texts of their own.
            Self::Start | Self::Body => return Ok(()),
            Self::Connection => "waiting for a connection",
            Self::Head => "waiting for the head",
            Self::Retry => return f.write_str(", while waiting to retry"),
            Self::Redirect => return f.write_str(", while following a redirect"),
            Self::Attempt => "waiting for the answer",
        };
        write!(f, ", while {doing}")?;
        match (self, attempts) {
            (_, 0 | 1) => Ok(()),
            (Self::Connection, number) => write!(f, " for attempt {number}"),
            (_, number) => write!(f, " of attempt {number}"),
        }
    }
}
