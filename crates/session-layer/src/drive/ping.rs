//! A timer for hyper's PINGs, which fires when the driver wants a PING.
//!
//! hyper sends a PING when an interval has passed, and cannot be asked to send one at a certain
//! moment. So this timer ends hyper's interval when the driver [wants](OnDemand::want) a PING. The
//! driver also decides what follows from an answer, or from none.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::time::Instant;

/// The interval of PINGs in hyper's settings. It is longer than any other time that hyper waits
/// for, and is recognised by that.
pub(super) const INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);

/// The time for an answer in hyper's settings. The driver keeps the real one.
pub(super) const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// hyper's clock and timer on one connection. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct OnDemand {
    wanted: Arc<AtomicBool>,
    /// The time that hyper is told, if it does not measure round trips.
    fixed: Option<Instant>,
}

impl OnDemand {
    /// A timer whose clock stands still, for a hyper that measures nothing by it.
    pub(super) fn with_stopped_clock() -> Self {
        Self {
            wanted: Arc::default(),
            fixed: Some(Instant::now()),
        }
    }

    /// A timer with a clock, by which hyper measures round trips.
    pub(super) fn with_clock() -> Self {
        Self {
            wanted: Arc::default(),
            fixed: None,
        }
    }

    /// Lets hyper send a PING when it is polled next.
    pub(super) fn want(&self) {
        self.wanted.store(true, Relaxed);
    }

    /// Withdraws the wish for a PING.
    pub(super) fn forget(&self) {
        self.wanted.store(false, Relaxed);
    }

    fn instant(&self) -> Instant {
        self.fixed.unwrap_or_else(Instant::now)
    }
}

impl Timer for OnDemand {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let is_interval = duration > TIMEOUT;
        if !is_interval {
            // hyper waits for an answer now: the PING was sent.
            self.wanted.store(false, Relaxed);
        }
        let wanted = is_interval.then(|| self.wanted.clone());
        Box::pin(Wanted(wanted))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> std::time::Instant {
        self.instant().into_std()
    }
}

/// Ends when a PING is wanted. If hyper waits for something else by it, it never ends.
struct Wanted(Option<Arc<AtomicBool>>);

impl Future for Wanted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // The driver polls hyper itself after it has wanted one, so no waker is needed.
        match &self.0 {
            Some(wanted) if wanted.load(Relaxed) => Poll::Ready(()),
            Some(_) | None => Poll::Pending,
        }
    }
}

impl Sleep for Wanted {}
