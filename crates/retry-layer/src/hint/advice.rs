//! What the hints of a response come to.

use std::time::Duration;

use crate::{report::WaitReason, stop::StopReason};

/// What a response says about another attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Advice {
    Nothing,
    Wait(RequestedWait),
    Stop(StopReason),
}

impl Advice {
    /// The longer wait of the two. A response that says when to come back exactly, or not to come back, is
    /// obeyed whatever another one says.
    pub(crate) fn or_longer(self, other: Option<RequestedWait>) -> Self {
        match (self, other) {
            (Self::Nothing, Some(other)) => other.into(),
            (Self::Wait(asked), Some(other))
                if asked.rule != Rule::Exactly && asked.wait < other.wait =>
            {
                other.into()
            }
            (advice, _) => advice,
        }
    }
}

/// A wait that the server asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RequestedWait {
    pub(crate) wait: Duration,
    pub(crate) rule: Rule,
    pub(crate) reason: WaitReason,
}

/// How a wait that the server asks for is combined with the backoff.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    /// Whichever is longer.
    AtLeast,
    /// Not earlier than the backoff, and at most 5 seconds later.
    Near,
    /// In place of the backoff.
    Exactly,
}

impl RequestedWait {
    pub(crate) fn new(wait: Duration, rule: Rule, reason: WaitReason) -> Self {
        Self { wait, rule, reason }
    }
}

impl From<RequestedWait> for Advice {
    fn from(asked: RequestedWait) -> Self {
        Self::Wait(asked)
    }
}
