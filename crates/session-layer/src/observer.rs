use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use http::Version;

use crate::{CloseReason, Error, Origin};

/// Is told what a pool does, as it happens.
///
/// A session without an observer pays one branch for each event. The observer is called in the task
/// in which the event happens, so it must be quick and must not block. If it panics, it misses the
/// event, and the pool goes on.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use session_layer::{Event, Observer};
///
/// #[derive(Default)]
/// struct Opened(AtomicUsize);
///
/// impl Observer for Opened {
///     fn observe(&self, event: &Event<'_>) {
///         if let Event::Opened { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync {
    /// Is told of one event.
    fn observe(&self, event: &Event<'_>);
}

/// What happened in a pool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A connection was opened.
    #[non_exhaustive]
    Opened {
        /// The origin that it leads to.
        origin: &'a Origin,
        /// The number by which this session knows it.
        connection: u64,
        /// The protocol that it speaks.
        version: Version,
        /// How long that took: name, TCP and TLS.
        took: Duration,
    },
    /// A connection could not be opened.
    #[non_exhaustive]
    OpenFailed {
        /// The origin that it should have led to.
        origin: &'a Origin,
        /// Why.
        error: &'a Error,
    },
    /// A request goes over a connection that had carried a request before, or had been idle.
    #[non_exhaustive]
    Reused {
        /// The origin that it leads to.
        origin: &'a Origin,
        /// The number by which this session knows it.
        connection: u64,
    },
    /// A request has to wait for a place in the pool.
    #[non_exhaustive]
    Queued {
        /// The origin of the request.
        origin: &'a Origin,
    },
    /// A request has its connection, and begins to be sent.
    #[non_exhaustive]
    Acquired {
        /// The origin that it leads to.
        origin: &'a Origin,
        /// The number by which this session knows it.
        connection: u64,
        /// How long the request waited for it: in the queue, and while it was being opened.
        waited: Duration,
    },
    /// It was seen for how long an origin keeps idle connections, or that it keeps them less long
    /// than was known.
    #[non_exhaustive]
    KeepAliveLearned {
        /// Where the connections lead.
        origin: &'a Origin,
        /// From which idle age on none is used any more: what was seen, less a margin.
        limit: Duration,
    },
    /// A connection has ended.
    #[non_exhaustive]
    Closed {
        /// The origin that it led to.
        origin: &'a Origin,
        /// The number by which this session knew it.
        connection: u64,
        /// The protocol that it spoke.
        version: Version,
        /// How long it was open.
        lived: Duration,
        /// Why.
        reason: CloseReason,
    },
}

/// The observer of a session, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<dyn Observer>>);

impl Listener {
    pub(crate) fn new(observer: impl Observer + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Tells the observer; without one, the event is not even made.
    #[inline]
    pub(crate) fn tell<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if let Some(observer) = &self.0 {
            tell(&**observer, &event());
        }
    }
}

fn tell(observer: &dyn Observer, event: &Event<'_>) {
    // It is called in tasks that drive connections, so its panic must not pass. Its state after a
    // panic is its own affair.
    if catch_unwind(AssertUnwindSafe(|| observer.observe(event))).is_err() {
        tracing::error!(?event, "the observer of a session panicked");
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "None" })
    }
}
