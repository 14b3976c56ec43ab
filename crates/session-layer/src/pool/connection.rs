use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{runtime, time::Instant};

use super::{
    Pool,
    keep_alive::KeepAlive,
    pooled::{Channel, PooledConnection},
};
use crate::{
    connector::ViaProxy,
    exchange::{Cause, ExchangeState, FOR, Release, Unread},
    info::Facts,
    observer::Event,
    origin::Origin,
    stats::CloseReason,
};

/// A connection, as the pool, its driver and its requests share it.
pub(crate) struct Connection<B: Send + 'static> {
    pub(super) facts: Arc<Facts>,
    pub(super) pool: Arc<Pool<B>>,
    pub(super) origin: Origin,
    pub(super) state: Arc<ExchangeState>,
    expires: Option<Instant>,
    /// Set if the peer is an HTTP proxy that is sent each request with its whole URI.
    via_proxy: Option<Box<ViaProxy>>,
    /// The runtime that drives it.
    runtime: Option<runtime::Id>,
    /// Whether a response has come over it.
    pub(super) used: AtomicBool,
    /// Whether its driver has ended.
    ended: AtomicBool,
    /// How many requests it has been given.
    requests: AtomicU64,
    /// For how many seconds the peer keeps the connection idle, if it has said so; 0 if not.
    idle_hint: AtomicU32,
    /// Whether the driver has not read that yet.
    idle_hint_is_new: AtomicBool,
    /// What is learned of how long the peer keeps it idle, where that is wanted.
    keep_alive: Option<Arc<KeepAlive>>,
    /// What changes when an exchange ends.
    between: Mutex<Between<B>>,
}

/// What a connection notes between two exchanges.
pub(super) struct Between<B: Send + 'static> {
    /// Where an HTTP/1 connection is kept while a response body holds it: the type of the body does
    /// not know `B`.
    pub(super) channel: Option<Box<Channel<B>>>,
    /// The rest of a response body that was dropped. The driver reads it.
    unread: Option<Box<Unread>>,
    /// When it was opened, or carried something last. A moment, since to make a number of it costs
    /// more than the lock, which is taken anyway.
    idle_since: Instant,
}

impl<B: Send + 'static> Connection<B> {
    pub(crate) fn new(
        facts: Facts,
        pool: Arc<Pool<B>>,
        origin: Origin,
        state: Arc<ExchangeState>,
        expires: Option<Instant>,
        via_proxy: Option<Box<ViaProxy>>,
    ) -> Arc<Self> {
        let between = Between {
            channel: None,
            unread: None,
            idle_since: facts.opened,
        };
        Arc::new(Self {
            facts: Arc::new(facts),
            keep_alive: pool.keep_alive_of(&origin),
            pool,
            origin,
            state,
            expires,
            via_proxy,
            runtime: crate::runtime::current(),
            used: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            idle_hint: AtomicU32::new(0),
            idle_hint_is_new: AtomicBool::new(false),
            between: Mutex::new(between),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.facts.id
    }

    /// The runtime that drives it.
    #[inline]
    pub(crate) fn runtime(&self) -> Option<runtime::Id> {
        self.runtime
    }

    pub(crate) fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Counts a request; returns whether it is the last that the connection may carry.
    pub(crate) fn count_request(&self) -> bool {
        let requests = self.requests.fetch_add(1, Relaxed).saturating_add(1);
        let limit = self.pool.config().pool.max_requests_per_connection;
        limit.is_some_and(|limit| requests >= limit)
    }

    /// How many requests it has been given.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    #[cfg(feature = "http2")]
    pub(crate) fn state_arc(&self) -> &Arc<ExchangeState> {
        &self.state
    }

    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Whether it may take a request, as far as this side knows: it is neither aborted nor too old.
    #[inline]
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.state.aborted().is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Notes why it takes no request any more: it is closed, or too old.
    pub(super) fn note_unusable(&self) -> Cause {
        let too_old = self
            .expires
            .is_some_and(|expires| expires <= Instant::now());
        let cause = if too_old {
            Cause::TooOld
        } else {
            Cause::Broken
        };
        self.state.note_end(cause);
        cause
    }

    /// Notes how long the peer says that it keeps the connection idle.
    pub(crate) fn hint_idle(&self, seconds: u32) {
        // One second earlier, so that no request is sent while the peer closes.
        let seconds = seconds.saturating_sub(1).max(1);
        if self.idle_hint.swap(seconds, Relaxed) != seconds {
            self.idle_hint_is_new.store(true, Relaxed);
            self.state.wake();
        }
    }

    /// The time that the peer has named last, if the driver has not read it yet.
    pub(crate) fn new_idle_hint(&self) -> Option<Duration> {
        let is_new = self.idle_hint_is_new.load(Relaxed);
        is_new.then(|| self.idle_hint_is_new.store(false, Relaxed))?;
        self.idle_hint()
    }

    fn idle_hint(&self) -> Option<Duration> {
        let seconds = self.idle_hint.load(Relaxed);
        (seconds != 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// How long it may be idle: the shorter of what the pool and the peer allow.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        let own = self.pool.config().pool.idle_timeout;
        own.into_iter().chain(self.idle_hint()).min()
    }

    /// Takes note that it carries nothing from now on.
    #[inline]
    pub(super) fn note_idle(&self, now: Instant) {
        self.between().idle_since = now;
    }

    /// What is learned of how long the peer keeps it idle. What the peer says of that comes first.
    fn learned_keep_alive(&self) -> Option<&KeepAlive> {
        let keep_alive = self.keep_alive.as_deref()?;
        (self.idle_hint.load(Relaxed) == 0).then_some(keep_alive)
    }

    fn idle_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.between().idle_since)
    }

    /// Whether anything is known of how long its peer keeps idle connections.
    #[inline]
    pub(super) fn is_keep_alive_known(&self) -> bool {
        self.keep_alive.as_ref().is_some_and(|it| !it.is_empty())
    }

    /// Whether it has been idle for nearly as long as its peer was seen to keep connections.
    #[cold]
    pub(super) fn is_too_old_to_use(&self, now: Instant) -> bool {
        let Some(keep_alive) = self.learned_keep_alive() else {
            return false;
        };
        let age = self.idle_for(now);
        let allowed = if self.requests() == 0 {
            keep_alive.allows_unused(age, now)
        } else {
            keep_alive.allows(age, now)
        };
        if let Some(limit) = keep_alive.news(now) {
            let origin = &self.origin;
            let listener = &self.pool.config().listener;
            listener.tell(|| Event::KeepAliveLearned { origin, limit });
        }
        !allowed
    }

    /// Takes note that the peer closed it while it carried nothing.
    pub(crate) fn note_closed_idle(&self) {
        if self.state.close_reason() == CloseReason::Peer && self.requests() > 0 {
            self.note_closed(Instant::now());
        }
    }

    /// Takes note that it was closed by the time that it was used for a request, at `now`.
    pub(crate) fn note_stale(&self, now: Instant) {
        // That request is counted.
        if self.requests() > 1 {
            self.note_closed(now);
        }
    }

    /// A peer may wait for another time for the first request of a connection, so those that were not used
    /// tell nothing of those that were.
    fn note_closed(&self, now: Instant) {
        if let Some(keep_alive) = self.learned_keep_alive() {
            keep_alive.closed(self.idle_for(now), now);
        }
    }

    /// Takes note that it was still open when this side closed it, since it had been idle too long.
    pub(super) fn note_outlived(&self, now: Instant) {
        if let Some(keep_alive) = self.learned_keep_alive().filter(|_| self.requests() > 0) {
            keep_alive.lived(self.idle_for(now), now);
        }
    }

    /// Notes that its driver has ended. Must be called before the pool forgets the connection.
    pub(super) fn note_ended(&self) {
        self.ended.store(true, Relaxed);
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// The proxy that the peer is, if it is sent each request with its whole URI.
    pub(crate) fn via_proxy(&self) -> Option<&ViaProxy> {
        self.via_proxy.as_deref()
    }

    /// Takes the rest of a response body that was dropped.
    pub(crate) fn take_unread(&self) -> Option<Box<Unread>> {
        self.between().unread.take()
    }

    pub(super) fn between(&self) -> MutexGuard<'_, Between<B>> {
        self.between.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send + 'static> Release for Connection<B> {
    fn release(self: Arc<Self>, _: Option<Arc<ExchangeState>>) {
        let now = Instant::now();
        // Before its phase says that it is idle: the peer may close it at this moment, and its driver then
        // asks for how long it was.
        let channel = {
            let mut between = self.between();
            between.idle_since = now;
            between.channel.take()
        };
        self.state.end();
        if let Some(channel) = channel {
            Pool::take_back(PooledConnection::Whole(self, channel), now);
        }
    }

    fn drain_body(self: Arc<Self>, unread: Unread) {
        self.between().unread = Some(Box::new(unread));
        self.state.begin_draining(FOR);
    }

    fn state(&self) -> &ExchangeState {
        &self.state
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn requests(&self) -> u64 {
        self.requests()
    }

    fn body_idle(&self) -> Option<Duration> {
        self.pool.config().timeouts.body_idle
    }

    fn is_body_idle_chosen(&self) -> bool {
        self.pool.config().timeouts.body_idle_is_chosen
    }

    fn is_download_floor_chosen(&self) -> bool {
        self.pool.config().timeouts.download_floor_is_chosen
    }

    fn runtime(&self) -> Option<runtime::Id> {
        self.runtime
    }
}
