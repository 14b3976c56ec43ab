//! Which time ran out.

use session_layer::Phase;

use super::{DeadlinePhase, Error, Kind};
use crate::TooSlow;

/// What a call was waiting for when its time ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TimeoutPhase {
    /// A connection of the pool.
    Queue,
    /// The addresses of the name; [`is_dns`](Error::is_dns) holds too.
    Dns,
    /// The connection: TCP, a proxy, TLS.
    Connect,
    /// The head of the response.
    Head,
    /// The next bytes of the response body.
    Body,
    /// The whole call, all attempts and waits together.
    Deadline,
}

impl Error {
    /// Returns what the call was waiting for when its time ran out.
    #[must_use]
    pub fn timeout_phase(&self) -> Option<TimeoutPhase> {
        match self.0.kind {
            Kind::Deadline(_) => return Some(TimeoutPhase::Deadline),
            Kind::Silent { .. } => return Some(TimeoutPhase::Body),
            _ => {}
        }
        match self.session_error()?.timeout_phase()? {
            Phase::Queue => Some(TimeoutPhase::Queue),
            Phase::Dns => Some(TimeoutPhase::Dns),
            Phase::Connect => Some(TimeoutPhase::Connect),
            Phase::Head => Some(TimeoutPhase::Head),
            // `Phase` may grow; a phase that is added gets its own variant here.
            _ => Some(TimeoutPhase::Body),
        }
    }

    /// Returns what the call was doing when its deadline passed. `None` for any other error, and
    /// where a layer of the caller's holds the call back, as a limit that is reached does, or polls it
    /// elsewhere, as tower's `Buffer` does.
    #[must_use]
    pub fn deadline_phase(&self) -> Option<DeadlinePhase> {
        self.0.phase
    }

    /// Returns the throughput that was [too slow](Self::is_too_slow), and its direction.
    #[must_use]
    pub fn too_slow(&self) -> Option<TooSlow> {
        self.session_error()?.too_slow()
    }
}
