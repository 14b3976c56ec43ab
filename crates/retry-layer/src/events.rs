//! The `tracing` events of a call: one for each attempt that has ended, unless it was the only one and
//! succeeded.

use http::{Method, Uri};
use tracing::field;

use crate::{
    details::{AttemptPhase, FailureKind},
    report::{AttemptRecord, Wait},
    stop::StopReason,
};

/// Whether events contain the paths of URLs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Paths {
    #[default]
    Redacted,
    Recorded,
}

/// The request of a call.
pub(crate) struct EventRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) paths: Paths,
}

/// What follows an attempt.
pub(crate) enum Decision {
    Again {
        wait: Wait,
        /// The number of the next attempt, from 1; transparent retries do not count.
        attempt: u32,
        /// How many requests were sent by now.
        sent: u32,
    },
    Stop {
        reason: StopReason,
        /// How many requests were sent.
        attempts: usize,
        /// How many of them were transparent retries.
        transparent_retries: u32,
    },
}

/// Emits the event of an attempt that has ended, and of what follows it.
pub(crate) fn attempt_ended(
    request: &EventRequest<'_>,
    record: &AttemptRecord,
    decision: &Decision,
) {
    tracing::debug!(
        target: "retry_layer",
        method = %request.method,
        host = request.uri.host(),
        path = request.path(),
        outcome = %record.outcome(),
        "error.type" = record.kind().map(FailureKind::as_str),
        phase = record.phase().map(AttemptPhase::as_str),
        cause = record.cause(),
        peer = record.peer(),
        address = record.address().map(field::display),
        version = record.version().map(field::debug),
        reused = record.is_reused(),
        other_requests = record.other_requests(),
        began = record.began().map(field::debug),
        took = record.took().map(field::debug),
        asked_by_classifier = record.is_asked_again(),
        wait = decision.wait().map(|wait| field::debug(wait.delay())),
        reason = decision.reason(),
        attempt = decision.attempt(),
        http.request.resend_count = decision.resend_count(),
        attempts = decision.attempts(),
        transparent_retries = decision.transparent_retries(),
        "{}",
        decision.message(),
    );
}

impl EventRequest<'_> {
    fn path(&self) -> Option<&str> {
        (self.paths == Paths::Recorded).then(|| self.uri.path())
    }
}

impl Decision {
    fn message(&self) -> &'static str {
        match self {
            Self::Again { .. } => "sending again",
            Self::Stop { .. } => "not sending again",
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Again { wait, .. } => wait.reason().as_str(),
            Self::Stop { reason, .. } => reason.as_str(),
        }
    }

    fn wait(&self) -> Option<Wait> {
        match self {
            Self::Again { wait, .. } => Some(*wait),
            Self::Stop { .. } => None,
        }
    }

    fn attempt(&self) -> Option<u32> {
        match self {
            Self::Again { attempt, .. } => Some(*attempt),
            Self::Stop { .. } => None,
        }
    }

    fn resend_count(&self) -> Option<u32> {
        match self {
            Self::Again { sent, .. } => Some(*sent),
            Self::Stop { .. } => None,
        }
    }

    fn attempts(&self) -> Option<usize> {
        match self {
            Self::Again { .. } => None,
            Self::Stop { attempts, .. } => Some(*attempts),
        }
    }

    fn transparent_retries(&self) -> Option<u32> {
        match self {
            Self::Again { .. } => None,
            Self::Stop {
                transparent_retries,
                ..
            } => Some(*transparent_retries),
        }
    }
}
