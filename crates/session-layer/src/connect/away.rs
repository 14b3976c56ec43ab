use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::runtime::Id;

use super::{
    driver::{Look, Watch, look_at_exchange},
    io::Wire,
};
use crate::{layer::Config, runtime};

/// Keeps the times of an exchange for a request that is polled on another runtime than the one
/// that drives its connection: nothing says that the other runtime is being driven. And for a request
/// with timeouts of its own, since the task of its connection may sleep for longer than those.
#[derive(Default)]
pub(crate) struct Away(Option<Pin<Box<Watch>>>);

/// How late it is seen, there, that an exchange was cut.
const TICK: Duration = Duration::from_secs(1);

impl Away {
    /// Whether the exchange needs it: it does not on the runtime that drives the connection, whose
    /// task keeps the times, where all of them are the session's.
    #[inline]
    pub(crate) fn is_needed(driven_on: Option<Id>, wire: &Wire) -> bool {
        wire.own_times().shortest().is_some() || is_away(driven_on)
    }

    /// Whether one of the times of the exchange has run out, or it was cut.
    #[cold]
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>, config: &Config, wire: &Wire) -> bool {
        let tick = wire.own_times().shortest().map_or(TICK, |it| it.min(TICK));
        let new = || Box::pin(Watch::new(config, Some(tick)));
        let watch = self.0.get_or_insert_with(new);
        let look = |now| match wire.severed() {
            Some(cause) => Look::Cut(cause),
            None => look_at_exchange(wire, &config.timeouts, now),
        };
        match watch.as_mut().poll(cx, look) {
            Poll::Ready(cause) => {
                wire.sever(cause);
                true
            }
            Poll::Pending => false,
        }
    }
}

/// Whether the caller runs on another runtime than this, and so with a timer of its own.
#[inline]
pub(crate) fn is_away(driven_on: Option<Id>) -> bool {
    let here = runtime::current();
    here.is_some() && here != driven_on
}
