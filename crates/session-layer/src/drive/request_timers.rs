use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::runtime::Id;

use super::watch::{Look, Watch, look_at_exchange};
use crate::{
    config::{Config, Floors},
    exchange::{Cause, ExchangeState},
    runtime,
    throughput::{TooSlow, UploadMeter},
};

/// The timers of one exchange that its request keeps itself, where the driver does not suffice: if
/// the request is polled on another runtime than that task, which may not be driven; if it has
/// timeouts of its own, since the task may sleep for longer than those; and if it has floors of
/// throughput.
#[derive(Default)]
pub(crate) struct RequestTimers {
    watch: Option<Pin<Box<Watch>>>,
    /// The runtime whose timer the watch has.
    watched_on: Option<Id>,
    floors: Option<Floors>,
    upload: Option<UploadMeter>,
    /// Why the exchange was aborted, if it was too slow.
    too_slow: Option<TooSlow>,
}

/// How late it is seen, there, that an exchange was aborted.
const TICK: Duration = Duration::from_secs(1);

impl RequestTimers {
    /// Holds an exchange to these floors. An upload is held to its floor by
    /// [`measure_upload`](Self::measure_upload).
    #[cold]
    pub(crate) fn hold_to(&mut self, floors: Floors) {
        self.floors = Some(floors);
    }

    /// Holds the request body of an exchange that begins to the floor of uploads, if it has one.
    #[cold]
    pub(crate) fn measure_upload(&mut self, exchange: &ExchangeState) {
        if let Some(floor) = self.floors.and_then(|floors| floors.upload) {
            exchange.measure_upload();
            self.upload = Some(UploadMeter::new(floor));
        }
    }

    /// The floors of the exchange, if there are any.
    pub(crate) fn floors(&self) -> Option<Floors> {
        self.floors
    }

    /// By how much it was too slow, if it was aborted for that.
    pub(crate) fn too_slow(&self) -> Option<TooSlow> {
        self.too_slow
    }

    /// Whether the exchange needs it: it does not on the runtime that drives the connection, whose
    /// task keeps the times, where all of them are the session's.
    #[inline]
    pub(crate) fn is_needed(driven_on: Option<Id>, exchange: &ExchangeState) -> bool {
        exchange.own_times().shortest().is_some() || runtime::is_other(driven_on)
    }

    /// Whether one of the times of the exchange has run out, or it was aborted.
    #[cold]
    pub(crate) fn is_over(
        &mut self,
        cx: &mut Context<'_>,
        config: &Config,
        exchange: &ExchangeState,
    ) -> bool {
        let here = runtime::current();
        // There is no clock outside of a runtime.
        if here.is_none() {
            return false;
        }
        // The timer of another does not fire unless that is driven, and panics where it has ended.
        if here != self.watched_on {
            self.watch = None;
            self.watched_on = here;
        }
        let tick = exchange
            .own_times()
            .shortest()
            .map_or(TICK, |it| it.min(TICK));
        let new = || Box::pin(Watch::new(config, Some(tick)));
        let watch = self.watch.get_or_insert_with(new);
        let look = |now| match exchange.aborted() {
            Some(cause) => Look::Abort(cause),
            None => look_at_exchange(exchange, &config.timeouts, now),
        };
        // A future may go on in another task.
        watch.as_mut().register(cx);
        match watch.as_mut().poll(cx, look) {
            Poll::Ready(cause) => {
                exchange.abort(cause);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Whether the request is taken too slowly, whose connection is aborted then. `socket` is what the
    /// connection's socket is noted on, where others use it too.
    #[cold]
    pub(crate) fn is_too_slow(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &ExchangeState,
        socket: Option<&ExchangeState>,
    ) -> bool {
        let Some(upload) = &mut self.upload else {
            return false;
        };
        // There is no clock outside of a runtime.
        if runtime::current().is_none() {
            return false;
        }
        let Poll::Ready(slow) = upload.poll_too_slow(cx, exchange, socket) else {
            return false;
        };
        self.too_slow = Some(slow);
        exchange.abort(Cause::TooSlow);
        true
    }
}
