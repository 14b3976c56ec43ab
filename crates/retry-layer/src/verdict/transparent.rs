use http::StatusCode;

use super::Facts;
use crate::class::Class;

/// Why a request is sent again without counting as an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TransparentCause {
    Refused,
    GoneAway,
    Misdirected,
    TooEarly,
    Stale,
}

/// Which transparent retries a request may still cause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TransparentRetries {
    /// A bit for each [cause](TransparentCause) that grants one.
    once: u8,
    gone_away: u8,
}

impl TransparentRetries {
    pub(crate) const ALL: Self = Self {
        once: Self::bit(TransparentCause::Refused)
            | Self::bit(TransparentCause::Misdirected)
            | Self::bit(TransparentCause::TooEarly)
            | Self::bit(TransparentCause::Stale),
        gone_away: Self::GOAWAYS,
    };
    pub(crate) const NONE: Self = Self {
        once: 0,
        gone_away: 0,
    };
    /// Where each connection serves few requests (nginx's `keepalive_requests`), a call among many can
    /// meet several connections that are closed before its turn comes. That is no load on the server.
    const GOAWAYS: u8 = 5;
    /// The most transparent retries of a call, over all its hops: as many as one request may cause.
    pub(super) const MOST: u32 = 9;

    /// Whether no cause grants a transparent retry.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn use_up(&mut self, cause: TransparentCause) {
        match cause {
            TransparentCause::GoneAway => self.gone_away = self.gone_away.saturating_sub(1),
            TransparentCause::Refused
            | TransparentCause::Misdirected
            | TransparentCause::TooEarly
            | TransparentCause::Stale => {
                self.once &= !Self::bit(cause);
            }
        }
    }

    /// Whether none was made yet for this cause.
    pub(super) fn is_first(self, cause: TransparentCause) -> bool {
        cause != TransparentCause::GoneAway || self.gone_away == Self::GOAWAYS
    }

    /// The cause for which this outcome grants a transparent retry, if it does.
    pub(super) fn granted(self, facts: &Facts) -> Option<TransparentCause> {
        if facts.transparent_so_far >= Self::MOST {
            return None;
        }
        let status = facts.status;
        let cause = match facts.class {
            Class::Unprocessed if facts.gone_away => {
                return (self.gone_away > 0).then_some(TransparentCause::GoneAway);
            }
            Class::Unprocessed if status == Some(StatusCode::TOO_EARLY) => {
                TransparentCause::TooEarly
            }
            Class::Unprocessed if status.is_some() => TransparentCause::Misdirected,
            Class::Unprocessed => TransparentCause::Refused,
            Class::Stale(_) => TransparentCause::Stale,
            Class::Final
            | Class::Ambiguous
            | Class::NotSent
            | Class::Throttled(_)
            | Class::Permanent => return None,
        };
        (self.once & Self::bit(cause) != 0).then_some(cause)
    }

    const fn bit(cause: TransparentCause) -> u8 {
        1 << cause as u8
    }
}
