use std::fmt;

/// Why a circuit opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OpenReason {
    /// As many attempts in a row failed as are allowed.
    ConsecutiveFailures,
    /// Too small a part of the attempts succeeded.
    SuccessRate,
    /// A probe failed.
    Probe,
    /// [`Breaker::open`](super::Breaker::open) was called.
    ByHand,
}

impl OpenReason {
    /// The name for logs and metrics, such as `consecutive_failures`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::SuccessRate => "success_rate",
            Self::Probe => "probe",
            Self::ByHand => "by_hand",
        }
    }
}

impl fmt::Display for OpenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
