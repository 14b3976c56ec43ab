//! The settings of a session, and of one request.

mod error;
mod floors;
#[cfg(feature = "http2")]
mod http2;
mod limits;
mod own_times;
mod pool;
mod request;
mod timeouts;

use std::time::Duration;

#[cfg(feature = "http2")]
pub use self::http2::Http2;
pub use self::{error::ConfigError, pool::PoolConfig, request::RequestOptions, timeouts::Timeouts};
pub(crate) use self::{
    floors::{Floors, OwnFloor},
    limits::{Limits, Multiplexing},
    own_times::{OwnTimeout, OwnTimes},
};
use crate::{observer::Listener, origin::RawOrigin};

/// All settings of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) pool: PoolConfig,
    pub(crate) timeouts: Timeouts,
    #[cfg(feature = "http2")]
    pub(crate) http2: Http2,
    pub(crate) listener: Listener,
}

impl Config {
    /// Whether connections to this origin may turn out to speak HTTP/2.
    pub(crate) fn may_share(&self, origin: &RawOrigin<'_>) -> bool {
        match self.limits().multiplexing {
            Multiplexing::Never => false,
            Multiplexing::Negotiated => origin.is_secure(),
            Multiplexing::Always => true,
        }
    }

    /// The longest wait of a request with these settings; see
    /// [`Session::longest_wait`](crate::Session::longest_wait).
    pub(crate) fn longest_wait(&self) -> Option<Duration> {
        let place = self.pool.queue_timeout?;
        let connection = self.timeouts.connect?;
        let (head, body) = (self.timeouts.head?, self.timeouts.body_idle?);
        // The connection that a request got may be unusable, and then both waits happen once more.
        let twice = place.saturating_add(connection).saturating_mul(2);
        let waits = place.saturating_add(self.timeouts.connects()?).max(twice);
        Some(waits.saturating_add(head).saturating_add(body))
    }

    pub(crate) fn limits(&self) -> Limits {
        #[cfg(feature = "http2")]
        let multiplexing = self.http2.multiplexing();
        #[cfg(not(feature = "http2"))]
        let multiplexing = Multiplexing::Never;
        self.pool.limits(multiplexing)
    }
}
