//! Checks the timeouts of an HTTP/2 connection and of its streams.

use std::sync::Arc;

use tokio::time::Instant;

use super::ALLOWS_NOTHING;
use crate::{
    drive::{
        keep_alive::{Act, KeepAlive},
        ping::OnDemand,
        watch::{Look, look_at_exchange},
    },
    exchange::{Cause, ExchangeState, Release},
    pool::{Connection, Expiry, Streams, close_idle},
};

/// The parts of the driver that the check needs, borrowed beside its timer.
pub(super) struct Looked<'a, B: Send + 'static> {
    pub(super) connection: &'a Arc<Connection<B>>,
    pub(super) streams: &'a Streams<B>,
    pub(super) settle_by: Option<Instant>,
    pub(super) allows_nothing: &'a mut Option<Instant>,
    pub(super) keep_alive: &'a mut KeepAlive,
    pub(super) on_demand: &'a OnDemand,
    pub(super) pinged: &'a mut bool,
    pub(super) paused: &'a mut bool,
}

impl<B: Send + 'static> Looked<'_, B> {
    pub(super) fn look(&mut self, now: Instant) -> Look {
        if self.settle_by.is_some_and(|by| by <= now) {
            return Look::Abort(Cause::HeadTimeout);
        }
        // A write has failed: what the peer has sent before comes within this time.
        let failed = self.connection.state().failed_write_deadline();
        if failed.is_some_and(|by| by <= now) {
            return Look::Abort(Cause::Broken);
        }
        let mut next: Vec<_> = self.settle_by.into_iter().chain(failed).collect();
        for exchange in self.streams.exchanges() {
            match self.look_at(&exchange, now) {
                Look::Abort(cause) => return Look::Abort(cause),
                Look::Again(at) => next.extend(at),
            }
        }
        match self.look_at_peer(now) {
            Look::Abort(cause) => return Look::Abort(cause),
            Look::Again(at) => next.extend(at),
        }
        let pool = self.connection.pool();
        let allows = self
            .allows_nothing
            .and_then(|it| it.checked_add(ALLOWS_NOTHING));
        if allows.is_some_and(|at| at <= now) {
            // As after a GOAWAY: another connection may lead to a peer that allows requests.
            *self.allows_nothing = None;
            self.drain(Cause::Broken);
        } else {
            next.extend(allows);
        }
        if self.connection.expires().is_some_and(|at| at <= now) {
            // It is too old for new requests; those on it finish.
            self.drain(Cause::TooOld);
        } else {
            next.extend(self.connection.expires());
        }
        match pool.expire(self.connection, now) {
            Expiry::Expired(idle) => close_idle(idle, Cause::Idle),
            Expiry::At(at) => next.push(at),
            Expiry::InUse => {}
        }
        Look::Again(next.into_iter().min())
    }

    /// Checks the timeouts of one stream.
    fn look_at(&mut self, exchange: &ExchangeState, now: Instant) -> Look {
        let wanted = exchange.wanted_since();
        let cause = match look_at_exchange(exchange, &self.connection.pool().config().timeouts, now)
        {
            Look::Abort(cause) => cause,
            again @ Look::Again(_) => return again,
        };
        exchange.abort(cause);
        match cause {
            Cause::HeadTimeout => {
                let socket = self.connection.state();
                let unheard = exchange
                    .unheard_since(socket)
                    .and_then(|it| socket.moment(it));
                if let Some(began) = unheard {
                    self.keep_alive.doubt(began);
                }
            }
            Cause::BodyTimeout => {
                if let Some(wanted) = wanted {
                    self.keep_alive.doubt(wanted);
                }
            }
            Cause::Unclean => {
                // hyper sends on an upload whose exchange is over, and the peer takes nothing of
                // it. Only the end of the connection ends that.
                if !self.streams.is_busy() {
                    return Look::Abort(cause);
                }
                self.drain(cause);
            }
            _ => {}
        }
        Look::Again(None)
    }

    /// Checks whether the peer is alive.
    pub(super) fn look_at_peer(&mut self, now: Instant) -> Look {
        let act = self.keep_alive.next(now, self.streams.count());
        if self.keep_alive.is_doubted(now) && !*self.paused {
            *self.paused = true;
            let (origin, id) = (self.connection.origin(), self.connection.id());
            self.connection.pool().pause(origin, id);
        }
        match act {
            Act::Wait(at) => Look::Again(at),
            Act::Ask => {
                *self.pinged = true;
                self.on_demand.want();
                // hyper sends it when it is polled.
                self.connection.state().wake();
                Look::Again(Some(now))
            }
            Act::Leave => {
                self.drain(Cause::Suspect);
                Look::Again(None)
            }
            Act::Close => Look::Abort(Cause::Unanswered),
        }
    }

    /// Drains the connection.
    fn drain(&self, cause: Cause) {
        self.connection.state().note_end(cause);
        self.connection.pool().drain(self.connection, None);
    }
}
