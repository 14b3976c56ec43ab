use crate::CloseReason;

/// Why a connection or a stream was aborted, or a connection drained.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Cause {
    HeadTimeout = 1,
    BodyTimeout = 2,
    HeadTooLarge = 3,
    /// The request or its response was dropped.
    Dropped = 4,
    /// The session was closed, and the deadline for that has passed.
    Closed = 5,
    /// The request body is longer or shorter than it was announced.
    WrongLength = 6,
    /// The peer closed the connection, said that it would, or broke it.
    Broken = 7,
    Idle = 8,
    TooOld = 9,
    /// It has served as many requests as it may.
    Served = 10,
    /// Another origin needed its permit.
    Evicted = 11,
    /// An exchange has left the connection in a state that the next could not trust.
    Unclean = 12,
    /// The peer has turned out to be gone, or to be the wrong one.
    Suspect = 13,
    /// The peer did not answer a PING.
    Unanswered = 14,
    /// Bytes came, or were taken, more slowly than the floor asks for.
    TooSlow = 15,
    /// It stood idle for nearly as long as its peer was seen to keep connections.
    KeepAlive = 16,
    /// Its address is none of its name's any more.
    AddressGone = 17,
}

impl Cause {
    const ALL: [Self; 17] = [
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::HeadTooLarge,
        Self::Dropped,
        Self::Closed,
        Self::WrongLength,
        Self::Broken,
        Self::Idle,
        Self::TooOld,
        Self::Served,
        Self::Evicted,
        Self::Unclean,
        Self::Suspect,
        Self::Unanswered,
        Self::TooSlow,
        Self::KeepAlive,
        Self::AddressGone,
    ];

    pub(super) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u8 == number)
    }

    pub(crate) fn reason(self) -> CloseReason {
        match self {
            Self::HeadTimeout | Self::BodyTimeout | Self::Unanswered | Self::TooSlow => {
                CloseReason::Timeout
            }
            Self::HeadTooLarge | Self::WrongLength | Self::Unclean => CloseReason::Unclean,
            Self::Dropped => CloseReason::Abandoned,
            Self::Closed => CloseReason::Session,
            Self::Broken => CloseReason::Peer,
            Self::Idle => CloseReason::Idle,
            Self::TooOld => CloseReason::Lifetime,
            Self::Served => CloseReason::Requests,
            Self::Evicted => CloseReason::Evicted,
            Self::Suspect => CloseReason::Suspect,
            Self::KeepAlive => CloseReason::KeepAlive,
            Self::AddressGone => CloseReason::AddressGone,
        }
    }
}
