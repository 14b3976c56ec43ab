use std::sync::OnceLock;

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::{DefaultGuard, Interest, set_default},
};

/// Makes this the subscriber of this thread until the guard is dropped, whatever other threads have met before.
///
/// `tracing` asks once, where a span or an event is met first, whether anybody wants it. While no more than one subscriber was
/// ever made it asks that of the thread that came first, and a thread without one would decide for all the others. A second
/// subscriber, which lives as long as the process, takes nothing and never says no.
pub fn subscribe(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    static UNDECIDED: OnceLock<Dispatch> = OnceLock::new();
    UNDECIDED.get_or_init(|| Dispatch::new(Undecided));
    set_default(subscriber)
}

/// Has each span and event asked for each time.
struct Undecided;

impl Subscriber for Undecided {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
