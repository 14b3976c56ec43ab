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

/// The timers that a request keeps itself, where those of the driver do not suffice. It does so if
/// it is polled on another runtime than the driver, which may not be driven; if it has timeouts of
/// its own, since the driver may sleep for longer; and if it has floors of throughput.
#[derive(Default)]
pub(crate) struct RequestTimers {
    watch: Option<Pin<Box<Watch>>>,
    /// The runtime on which the timer of the watch was made.
    watched_on: Option<Id>,
    floors: Option<Floors>,
    upload: Option<UploadMeter>,
    /// By how much the exchange was too slow, if it was aborted for that.
    too_slow: Option<TooSlow>,
}

/// How late a request on another runtime notices that its exchange was aborted.
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

    /// Whether the exchange needs timers of its own: it has timeouts of its own, or runs on another
    /// runtime than the driver.
    #[inline]
    pub(crate) fn is_needed(driven_on: Option<Id>, exchange: &ExchangeState) -> bool {
        exchange.own_times().shortest().is_some() || runtime::is_other(driven_on)
    }

    /// Whether a timeout of the exchange has run out, or it was aborted.
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
        // The timer of another runtime fires only while that is driven, and panics if that has
        // ended.
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
        // The future may have moved to another task.
        watch.as_mut().register(cx);
        match watch.as_mut().poll(cx, look) {
            Poll::Ready(cause) => {
                exchange.abort(cause);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Whether the peer takes the request too slowly; the exchange is aborted then. `socket` is the
    /// state of the connection, if the exchange is a stream's.
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
