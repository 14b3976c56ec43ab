use http::StatusCode;

use super::Facts;
use crate::class::Class;

/// The causes for which a request is sent again though no attempt is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Resend {
    Refused,
    GoneAway,
    Misdirected,
    TooEarly,
    Stale,
}

/// Which resends a request may still cause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Resends {
    /// A bit for each [cause](Resend) that grants one.
    once: u8,
    gone_away: u8,
}

impl Resends {
    pub(crate) const ALL: Self = Self {
        once: Self::bit(Resend::Refused)
            | Self::bit(Resend::Misdirected)
            | Self::bit(Resend::TooEarly)
            | Self::bit(Resend::Stale),
        gone_away: Self::GOAWAYS,
    };
    pub(crate) const NONE: Self = Self {
        once: 0,
        gone_away: 0,
    };
    /// Where each connection serves few requests (nginx's `keepalive_requests`), a call among many
    /// meets several that go away before its turn comes, and no server is worse for it.
    const GOAWAYS: u8 = 5;
    /// The most resends of a call, over all its hops: as many as one request may cause.
    pub(super) const MOST: u32 = 9;

    /// Whether no cause grants a resend.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn use_up(&mut self, cause: Resend) {
        match cause {
            Resend::GoneAway => self.gone_away = self.gone_away.saturating_sub(1),
            Resend::Refused | Resend::Misdirected | Resend::TooEarly | Resend::Stale => {
                self.once &= !Self::bit(cause);
            }
        }
    }

    /// Whether none was made yet for this cause.
    pub(super) fn is_first(self, cause: Resend) -> bool {
        cause != Resend::GoneAway || self.gone_away == Self::GOAWAYS
    }

    /// The cause for which this outcome grants a resend, if it does.
    pub(super) fn granted(self, facts: &Facts) -> Option<Resend> {
        if facts.resent >= Self::MOST {
            return None;
        }
        let status = facts.status;
        let cause = match facts.class {
            Class::Unprocessed if facts.gone_away => {
                return (self.gone_away > 0).then_some(Resend::GoneAway);
            }
            Class::Unprocessed if status == Some(StatusCode::TOO_EARLY) => Resend::TooEarly,
            Class::Unprocessed if status.is_some() => Resend::Misdirected,
            Class::Unprocessed => Resend::Refused,
            Class::Stale { .. } => Resend::Stale,
            Class::Final
            | Class::Ambiguous
            | Class::NotSent
            | Class::Throttled { .. }
            | Class::Permanent => return None,
        };
        (self.once & Self::bit(cause) != 0).then_some(cause)
    }

    const fn bit(cause: Resend) -> u8 {
        1 << cause as u8
    }
}
