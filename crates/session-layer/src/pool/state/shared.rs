use tokio::time::Instant;

use super::{Effects, Failure, Mode, Numbered, PerOrigin, State, Ticket};
use crate::{config::Multiplexing, origin::Origin};

/// How many requests one connection to an origin serves at the same time, as far as is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sharing {
    Unknown,
    One,
    /// As many as the peer has allowed last.
    Many(usize),
}

impl Sharing {
    pub(super) fn expected(multiplexing: Multiplexing, origin: &Origin) -> Self {
        if multiplexing.is_possible(origin) {
            Self::Unknown
        } else {
            Self::One
        }
    }

    /// How many waiters one connect covers.
    pub(super) fn share(self) -> usize {
        match self {
            Self::Unknown => usize::MAX,
            Self::One => 1,
            Self::Many(limit) => limit.max(1),
        }
    }
}

/// How a connection ended before its peer had said how many requests it allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failed {
    Broken,
    /// The connect timeout has run out.
    TimedOut,
}

/// A connection that takes several requests at once.
///
/// Until the peer has said how many requests it allows, the connection is *unsettled* and carries
/// one; or none, if the connection before it allowed none.
#[derive(Debug)]
pub(super) struct Shared<S> {
    handle: S,
    /// Each waiter with a place before this came before the connection was opened.
    since: Ticket,
    streams: usize,
    /// How many requests the peer allows, once it has said so.
    limit: Option<usize>,
    /// How many it may carry until then.
    unsettled: usize,
    /// How many more requests it may carry in its life.
    left: u64,
    /// Takes no request until the peer shows that it is alive.
    paused: bool,
    /// Takes no more requests, since another origin needs its permit.
    draining: bool,
    /// Since when it has been idle.
    idle: Option<Instant>,
}

impl<S: Numbered + Clone> Shared<S> {
    fn new(handle: S, since: Ticket, left: u64, unsettled: usize) -> Self {
        Self {
            handle,
            since,
            streams: 0,
            limit: None,
            unsettled,
            left,
            paused: false,
            draining: false,
            idle: None,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.handle.id()
    }

    pub(super) fn handle(&self) -> &S {
        &self.handle
    }

    /// How many requests it carries.
    pub(super) fn streams(&self) -> usize {
        self.streams
    }

    pub(super) fn into_handle(self) -> S {
        self.handle
    }

    pub(super) fn has_room(&self) -> bool {
        let limit = self.limit.unwrap_or(self.unsettled);
        !self.paused && !self.draining && self.left > 0 && self.streams < limit
    }

    /// Whether the peer allows no request on it, and has never answered on it.
    fn refuses(&self) -> bool {
        self.limit == Some(0) && !self.handle.has_answered()
    }

    /// Whether it carries no request, and never will.
    fn is_spent(&self) -> bool {
        self.streams == 0 && (self.left == 0 || self.draining)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle
    }

    /// Takes a stream on it, if it has room.
    pub(super) fn take(&mut self) -> Option<S> {
        if !self.has_room() {
            return None;
        }
        self.streams += 1;
        self.left -= 1;
        self.idle = None;
        Some(self.handle.clone())
    }

    /// Ends a request where no request waits and no connection has to make room, if the connection
    /// goes on. Returns whether that is so. Where it carries nothing from now on, it is idle since `now`.
    #[inline]
    pub(super) fn end_one(&mut self, now: Option<Instant>) -> bool {
        match (self.streams, now) {
            (2.., _) => {
                self.streams -= 1;
                true
            }
            (1, Some(now)) if !self.draining && self.left > 0 => {
                self.streams = 0;
                self.idle = Some(now);
                true
            }
            (0 | 1, _) => false,
        }
    }
}

impl<C, S: Numbered + Clone, W> PerOrigin<C, S, W> {
    /// How many waiters, counted from the first, are covered.
    pub(super) fn covered(&self) -> usize {
        let share = self.sharing.share();
        let unsettled =
            |shared: &&Shared<S>| shared.limit.is_none() && !shared.paused && !shared.draining;
        let unsettled = self.shared().iter().filter(unsettled);
        let streams = unsettled.map(|shared| share.saturating_sub(shared.streams));
        streams.fold(self.connecting.saturating_mul(share), usize::saturating_add)
    }

    /// Whether the peer allows no request at all, so that another connection would hardly help now.
    /// A connection on which it has answered does not count: it may be closing, and its successor
    /// need not.
    pub(super) fn is_refused(&self) -> bool {
        !self.shared().is_empty() && self.shared().iter().all(Shared::refuses)
    }

    pub(super) fn shared_of(&self, id: u64) -> Option<&Shared<S>> {
        self.shared().iter().find(|shared| shared.id() == id)
    }

    fn shared_mut(&mut self, id: u64) -> Option<&mut Shared<S>> {
        let shared = &mut self.ready.as_mut()?.shared;
        shared.iter_mut().find(|shared| shared.id() == id)
    }

    pub(super) fn take_shared(
        &mut self,
        mut which: impl FnMut(&mut Shared<S>) -> bool,
    ) -> impl Iterator<Item = S> {
        let mut taken = Vec::new();
        let mut at = 0;
        let all = &mut self.ready().shared;
        while let Some(shared) = all.get_mut(at) {
            if which(shared) {
                taken.push(all.remove(at).into_handle());
            } else {
                at += 1;
            }
        }
        taken.into_iter()
    }
}

/// shared connections.
impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    /// Places a shared connection that has just been opened. `expected` is how many requests it may
    /// carry unless the peer allows fewer.
    pub(crate) fn connected_shared(
        &mut self,
        origin: &Origin,
        handle: S,
        expected: usize,
        now: Instant,
    ) -> Effects<S, W> {
        self.stop_connecting(origin);
        self.connected_shared_late(origin, handle, expected, now)
    }

    /// Places a shared connection whose connect was cancelled, but had succeeded by then. It is not
    /// counted among those that are being opened any more.
    pub(crate) fn connected_shared_late(
        &mut self,
        origin: &Origin,
        handle: S,
        expected: usize,
        now: Instant,
    ) -> Effects<S, W> {
        self.holding.insert(handle.id());
        let mut effects = Effects::default();
        let (mode, requests) = (self.mode, self.limits.requests);
        let since = self.next_ticket();
        let Some(entry) = self
            .origins
            .get_mut(origin)
            .filter(|_| mode != Mode::Closed)
        else {
            effects.close.push(handle);
            return effects;
        };
        if !matches!(entry.sharing, Sharing::Many(_)) {
            entry.sharing = Sharing::Many(expected);
        }
        let id = handle.id();
        let unsettled = usize::from(!entry.refused);
        let shared = Shared::new(handle, since, requests, unsettled);
        entry.ready().shared.push(shared);
        self.fill(origin, id, now, &mut effects);
        effects
    }

    /// Notes how many requests the peer allows on a connection at the same time.
    pub(crate) fn set_limit(
        &mut self,
        origin: &Origin,
        id: u64,
        limit: usize,
        now: Instant,
    ) -> Effects<S, W> {
        let mut effects = Effects::default();
        if let Some(entry) = self.origins.get_mut(origin) {
            if let Some(shared) = entry.shared_mut(id) {
                shared.limit = Some(limit);
                entry.refused = entry.shared_of(id).is_some_and(Shared::refuses);
                if limit > 0 {
                    // A limit of 0 says nothing of the next connection.
                    entry.sharing = Sharing::Many(limit);
                }
                self.fill(origin, id, now, &mut effects);
            }
        }
        effects
    }

    /// Gives no more requests to a connection whose peer may be dead.
    pub(crate) fn pause(&mut self, origin: &Origin, id: u64, now: Instant) -> Effects<S, W> {
        self.change(origin, id, now, |shared| shared.paused = true)
    }

    /// Gives requests again to a connection that was paused.
    pub(crate) fn resume(&mut self, origin: &Origin, id: u64, now: Instant) -> Effects<S, W> {
        self.change(origin, id, now, |shared| shared.paused = false)
    }

    fn change(
        &mut self,
        origin: &Origin,
        id: u64,
        now: Instant,
        change: impl FnOnce(&mut Shared<S>),
    ) -> Effects<S, W> {
        let mut effects = Effects::default();
        let entry = self.origins.get_mut(origin);
        if let Some(shared) = entry.and_then(|entry| entry.shared_mut(id)) {
            change(shared);
            self.fill(origin, id, now, &mut effects);
        }
        effects
    }

    /// Notes that a request on a shared connection is over, where no other step follows: no waiter
    /// is there, and the connection carries other requests. Returns whether that is so.
    pub(crate) fn stream_ended_quietly(&mut self, origin: &Origin, id: u64) -> bool {
        let nobody_starves = self.starved.is_empty();
        let Some(entry) = self.origins.get_mut(origin) else {
            return true;
        };
        let nobody_waits = nobody_starves && entry.waiters.is_empty();
        let Some(shared) = entry.shared_mut(id) else {
            return true;
        };
        nobody_waits && shared.end_one(None)
    }

    /// Notes that a request on a shared connection is over.
    pub(crate) fn stream_ended(&mut self, origin: &Origin, id: u64, now: Instant) -> Effects<S, W> {
        let mut effects = Effects::default();
        if self.stream_ended_quietly(origin, id) {
            return effects;
        }
        let entry = self.origins.get_mut(origin);
        let Some(shared) = entry.and_then(|entry| entry.shared_mut(id)) else {
            return effects;
        };
        shared.streams = shared.streams.saturating_sub(1);
        let stays = !shared.draining;
        if stays && self.yields(id, origin, now) {
            // It is drained; then its permit is free for the other origin.
            self.draining.push((id, now));
            let entry = self.origins.get_mut(origin);
            if let Some(shared) = entry.and_then(|entry| entry.shared_mut(id)) {
                shared.draining = true;
            }
        }
        self.fill(origin, id, now, &mut effects);
        effects
    }

    /// Gives no more requests to a connection. It is among the effects, and ends when the last
    /// request on it has ended. `failed` is set if the connection ended before its peer had named a
    /// limit: then waiters may fail by it.
    pub(crate) fn drain(
        &mut self,
        origin: &Origin,
        id: u64,
        failed: Option<Failed>,
    ) -> Effects<S, W> {
        let mut effects = Effects::default();
        let Some(entry) = self.origins.get_mut(origin) else {
            return effects;
        };
        let ready = entry.ready();
        let Some(at) = ready.shared.iter().position(|shared| shared.id() == id) else {
            return effects;
        };
        let shared = ready.shared.remove(at);
        self.draining.retain(|(draining, _)| *draining != id);
        let closes_soon = failed.is_some() || shared.streams == 0;
        if let Some(failed) = failed.filter(|_| shared.limit.is_none() || shared.refuses()) {
            let failure = match failed {
                // Another connection would hardly allow more.
                _ if shared.refuses() => Failure::Lasting,
                Failed::Broken => Failure::Passing,
                Failed::TimedOut => Failure::TimedOut(shared.since),
            };
            effects.tell = self.fail_uncovered(origin, failure);
        }
        effects.close.push(shared.into_handle());
        self.refresh(origin);
        effects.grant = self.grant_all();
        if closes_soon {
            self.evict_if_wanted(origin, id);
        }
        self.forget_if_unused(origin);
        effects
    }

    /// Whether another connection may be opened in place of this one: the limits leave room for it,
    /// or this one carries nothing and closes at once.
    pub(crate) fn may_replace(&self, origin: &Origin, id: u64) -> bool {
        let Some(entry) = self.origins.get(origin) else {
            return false;
        };
        let has_room = self.open < self.limits.connections && entry.open < self.limits.per_origin;
        let is_idle = |shared: &Shared<S>| shared.streams == 0;
        entry
            .shared_of(id)
            .is_some_and(|it| has_room || is_idle(it))
    }

    /// Serves waiters while a connection has room, and adds what follows to the effects.
    fn fill(&mut self, origin: &Origin, id: u64, now: Instant, effects: &mut Effects<S, W>) {
        let keeps = self.keeps();
        let Some(entry) = self.origins.get_mut(origin) else {
            return;
        };
        let keeps = keeps && !entry.retired;
        let all = &mut entry.ready.get_or_insert_default().shared;
        let Some(at) = all.iter().position(|shared| shared.id() == id) else {
            return;
        };
        let Some(shared) = all.get_mut(at) else {
            return;
        };
        while shared.has_room() {
            let Some(waiting) = entry.waiters.pop_front() else {
                break;
            };
            if let Some(stream) = shared.take() {
                self.waiting -= 1;
                effects.serve.push((waiting.waiter, stream));
            }
        }
        // A paused one stays, since its peer is about to answer a PING.
        let may_stay = keeps || (shared.is_idle() && shared.paused);
        let closes = shared.is_spent() || (shared.streams == 0 && !may_stay);
        if closes {
            let shared = all.remove(at);
            self.draining.retain(|(draining, _)| *draining != id);
            effects.close.push(shared.into_handle());
        } else if shared.streams == 0 && !shared.is_idle() {
            shared.idle = Some(now);
        }
        self.refresh(origin);
        effects.grant = self.grant_all();
        if closes {
            self.evict_if_wanted(origin, id);
        }
    }
}
