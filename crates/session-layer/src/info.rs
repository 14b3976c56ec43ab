use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Version;
use tokio::time::Instant;

use crate::ConnectTimes;

/// The connection that a response came over, and how the request got it.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    pub(crate) facts: Arc<Facts>,
    pub(crate) reused: bool,
    /// In nanoseconds.
    pub(crate) waited: u64,
}

/// The facts of a connection that are known when it is open.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) id: u64,
    pub(crate) version: Version,
    pub(crate) times: Arc<ConnectTimes>,
    pub(crate) took: Duration,
    /// When it was open.
    pub(crate) opened: Instant,
}

impl ConnectionInfo {
    /// Returns the number by which the session knows the connection.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// Whether it had carried another request before.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Returns how long the request waited for it: in the queue, and while it was being opened.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited)
    }

    /// Returns how long it took to open: name, TCP and TLS.
    #[must_use]
    pub fn open_time(&self) -> Duration {
        self.facts.took
    }

    /// Returns how long each step of that took, as far as the connector tells.
    #[must_use]
    pub fn times(&self) -> &ConnectTimes {
        &self.facts.times
    }

    /// Returns the protocol that it speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.facts.version
    }

    /// Returns the address of its peer, which is a proxy's if there is one; `None` if the connector
    /// does not tell.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.facts.times.peer
    }

    /// Returns its address on this side; `None` if the connector does not tell.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.facts.times.local
    }
}
