/// The figures of a pool at one moment, as [`Session::stats`](crate::Session::stats) gives them.
///
/// Connections are counted from the moment at which their opening begins until their socket is
/// closed, so `open` never exceeds the limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections now: being opened, idle, and in use.
    pub open: usize,
    /// Connections being opened now.
    pub connecting: usize,
    /// Connections that are idle now.
    pub idle: usize,
    /// Connections that carry a request or a response body now, or are closing.
    pub in_use: usize,
    /// Requests under way now on shared connections, which are those of HTTP/2.
    pub streams: usize,
    /// Requests that wait for a connection now.
    pub waiting: usize,
    /// Origins of which it is learned, and counts now, how long they keep idle connections
    /// ([`PoolConfig::learned_keep_alive`](crate::PoolConfig::learned_keep_alive)).
    pub learned_keep_alives: usize,
    /// Connections opened so far.
    pub opened: u64,
    /// Requests so far that went over a connection which had carried a request before, or had been
    /// idle.
    pub reused: u64,
    /// Connections closed so far, by the reason.
    pub closed: Closed,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed or broke it, or said that it would.
    Peer,
    /// It was idle for too long.
    Idle,
    /// It stood idle for nearly as long as its peer was seen to keep idle connections
    /// ([`PoolConfig::learned_keep_alive`](crate::PoolConfig::learned_keep_alive)).
    KeepAlive,
    /// It was too old.
    Lifetime,
    /// It had served as many requests as it may.
    Requests,
    /// Another origin waited for its permit, at the limit for all connections. That origin may have
    /// got another permit meanwhile.
    Evicted,
    /// A head or a body did not come in time.
    Timeout,
    /// A call or a response body was dropped before its end; over HTTP/2, a hundred calls in a row
    /// were dropped, or ran out of time, before they were answered.
    Abandoned,
    /// An exchange left it in a state that could not be trusted: an early answer, stray bytes, a
    /// response that breaks the rules.
    Unclean,
    /// Another connection to the same origin turned out to be dead, or led to the wrong server.
    Suspect,
    /// Its name has the address no more that it leads to, where requests are
    /// [spread](crate::Spread).
    AddressGone,
    /// The session was closed or dropped.
    Session,
}

/// Connections closed so far, by the reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Closed {
    /// By the peer: [`CloseReason::Peer`].
    pub peer: u64,
    /// Idle too long: [`CloseReason::Idle`].
    pub idle: u64,
    /// Before the peer would: [`CloseReason::KeepAlive`].
    pub keep_alive: u64,
    /// Too old: [`CloseReason::Lifetime`].
    pub lifetime: u64,
    /// After enough requests: [`CloseReason::Requests`].
    pub requests: u64,
    /// For another origin: [`CloseReason::Evicted`].
    pub evicted: u64,
    /// After a timeout: [`CloseReason::Timeout`].
    pub timeout: u64,
    /// After a drop: [`CloseReason::Abandoned`].
    pub abandoned: u64,
    /// After an exchange that could not be trusted: [`CloseReason::Unclean`].
    pub unclean: u64,
    /// Since others were dead: [`CloseReason::Suspect`].
    pub suspect: u64,
    /// To an address that is gone: [`CloseReason::AddressGone`].
    pub address_gone: u64,
    /// With the session: [`CloseReason::Session`].
    pub session: u64,
}

impl Closed {
    pub(crate) fn count(&mut self, reason: CloseReason) {
        let count = match reason {
            CloseReason::Peer => &mut self.peer,
            CloseReason::Idle => &mut self.idle,
            CloseReason::KeepAlive => &mut self.keep_alive,
            CloseReason::Lifetime => &mut self.lifetime,
            CloseReason::Requests => &mut self.requests,
            CloseReason::Evicted => &mut self.evicted,
            CloseReason::Timeout => &mut self.timeout,
            CloseReason::Abandoned => &mut self.abandoned,
            CloseReason::Unclean => &mut self.unclean,
            CloseReason::Suspect => &mut self.suspect,
            CloseReason::AddressGone => &mut self.address_gone,
            CloseReason::Session => &mut self.session,
        };
        *count = count.saturating_add(1);
    }

    /// Returns the sum of all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        [
            self.peer,
            self.idle,
            self.keep_alive,
            self.lifetime,
            self.requests,
            self.evicted,
            self.timeout,
            self.abandoned,
            self.unclean,
            self.suspect,
            self.address_gone,
            self.session,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// What became of the connections that were in use when a session was closed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Those whose exchange ended in time.
    pub finished: usize,
    /// Those that were aborted at the deadline.
    pub aborted: usize,
}
