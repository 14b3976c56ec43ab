use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release as Releasing},
        },
    },
};

use super::submission::Submission;
use crate::exchange::{Cause, ExchangePhase, ExchangeState, Gate};

/// What a shared connection keeps for its requests.
pub(crate) struct Streams<B> {
    kept: Mutex<Kept<B>>,
    /// How many requests are under way.
    active: AtomicUsize,
    /// How many the peer is known to allow.
    limit: AtomicUsize,
    queue: Mutex<Queue<B>>,
    /// Whether the connection takes no request any more.
    closed: AtomicBool,
    /// Whether no further request will be sent on it.
    unused: AtomicBool,
    /// Whether a response has come.
    answered: AtomicBool,
    /// How many requests in a row were given up before they were answered.
    given_up: AtomicU32,
    /// When the first request began that was given up before anything came; 0 if none was.
    doubted: AtomicU64,
    gate: Arc<Gate>,
}

/// How many requests in a row may be given up before their answer. Then the connection is replaced,
/// if the limits allow another.
///
/// Each of them resets its stream. Servers count resets since CVE-2023-44487. They end a connection
/// with too many by a GOAWAY of `ENHANCE_YOUR_CALM`, and with it all its other requests: by default
/// Netty allows 200 in 30 s, and nghttp2 1000 at once and 33 a second.
const MOST_GIVEN_UP: u32 = 100;

/// Requests that the driver has not given to hyper yet.
struct Queue<B> {
    waiting: VecDeque<Arc<Submission<B>>>,
    closed: bool,
}

struct Kept<B> {
    /// As many as the connection has carried at the same time.
    exchanges: Vec<Arc<ExchangeState>>,
    /// Those of them that are free.
    spare: Vec<Arc<ExchangeState>>,
    submissions: Vec<Arc<Submission<B>>>,
    /// How many requests it has carried.
    begun: u64,
}

impl<B> Streams<B> {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self {
            kept: Mutex::new(Kept {
                exchanges: Vec::new(),
                spare: Vec::new(),
                submissions: Vec::new(),
                begun: 0,
            }),
            active: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                closed: false,
            }),
            closed: AtomicBool::new(false),
            unused: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            given_up: AtomicU32::new(0),
            doubted: AtomicU64::new(0),
            gate,
        }
    }

    /// Puts a request into the queue; returns whether the connection takes one.
    pub(super) fn submit(&self, submission: &Arc<Submission<B>>) -> bool {
        let mut queue = self.queue();
        if !queue.closed {
            queue.waiting.push_back(submission.clone());
        }
        !queue.closed
    }

    /// Takes the request that has waited longest to be given to hyper.
    #[cfg(feature = "http2")]
    pub(crate) fn next_submission(&self) -> Option<Arc<Submission<B>>> {
        self.queue().waiting.pop_front()
    }

    /// How many more requests than the peer allows are under way.
    #[cfg(feature = "http2")]
    pub(crate) fn excess(&self, allowed: usize) -> usize {
        self.count().saturating_sub(allowed)
    }

    /// Returns the newest requests of the queue, `count` or fewer, to their futures; returns how
    /// many.
    #[cfg(feature = "http2")]
    pub(crate) fn return_newest(&self, count: usize) -> usize {
        for returned in 0..count {
            let newest = self.queue().waiting.pop_back();
            let Some(newest) = newest else {
                return returned;
            };
            newest.return_request();
        }
        count
    }

    /// Takes no more requests, and returns those of the queue to their futures.
    #[cfg(feature = "http2")]
    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        self.closed.store(true, Releasing);
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        for submission in waiting {
            submission.return_request();
        }
    }

    /// Notes that no further request will be sent.
    pub(super) fn note_unused(&self) {
        self.unused.store(true, Releasing);
    }

    /// Whether no further request will be sent.
    #[cfg(feature = "http2")]
    pub(crate) fn is_unused(&self) -> bool {
        self.unused.load(Acquire)
    }

    /// Notes when a request began that was given up before anything came; returns whether it is the
    /// first.
    pub(super) fn doubt(&self, began: u64) -> bool {
        self.doubted
            .compare_exchange(0, began, Relaxed, Relaxed)
            .is_ok()
    }

    /// Takes the moment at which the first request began that was given up before anything came.
    #[cfg(feature = "http2")]
    pub(crate) fn take_doubt(&self) -> Option<u64> {
        // Mostly there is none, and a load is cheaper than a swap.
        if self.doubted.load(Relaxed) == 0 {
            return None;
        }
        Some(self.doubted.swap(0, Relaxed))
    }

    /// Notes that a request was given up before it was answered; returns whether that has happened so
    /// often in a row that the connection should be replaced.
    pub(super) fn note_given_up(&self) -> bool {
        let before = self.given_up.fetch_add(1, Relaxed);
        before.saturating_add(1) >= MOST_GIVEN_UP
    }

    /// Notes that a response has come.
    pub(super) fn note_answered(&self) {
        self.answered.store(true, Relaxed);
        self.given_up.store(0, Relaxed);
    }

    /// Whether any response has come.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// Whether it takes no request any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    /// Whether more requests are under way than the peer is known to allow.
    pub(super) fn is_over_limit(&self) -> bool {
        self.count() > self.limit.load(Relaxed)
    }

    /// How many requests the connection has carried.
    pub(super) fn begun(&self) -> u64 {
        self.lock().begun
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    fn queue(&self) -> MutexGuard<'_, Queue<B>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how many the peer allows.
    #[cfg(feature = "http2")]
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    /// The states of all exchanges, ended ones among them.
    pub(crate) fn exchanges(&self) -> Vec<Arc<ExchangeState>> {
        self.lock().exchanges.clone()
    }

    /// How many requests are under way.
    pub(crate) fn count(&self) -> usize {
        self.active.load(Relaxed)
    }

    /// Whether a request is under way, by the number of them.
    pub(super) fn is_under_way(&self) -> bool {
        self.count() > 0
    }

    /// Whether any exchange is under way.
    pub(crate) fn is_busy(&self) -> bool {
        let over = |exchange: &Arc<ExchangeState>| {
            matches!(
                exchange.phase(),
                ExchangePhase::Idle | ExchangePhase::Orphan
            )
        };
        !self.lock().exchanges.iter().all(over)
    }

    /// How many response bodies have no reader that waits at this moment.
    #[cfg(feature = "http2")]
    pub(super) fn unread(&self) -> usize {
        let is_unread = |exchange: &&Arc<ExchangeState>| {
            exchange.phase() == ExchangePhase::Body && !exchange.is_wanted()
        };
        self.lock().exchanges.iter().filter(is_unread).count()
    }

    /// Aborts all exchanges; returns how many.
    pub(crate) fn abort_all(&self, cause: Cause) -> usize {
        let exchanges = self.exchanges();
        let active = exchanges
            .iter()
            .filter(|exchange| exchange.phase() != ExchangePhase::Idle);
        active.filter(|exchange| exchange.abort(cause)).count()
    }

    pub(super) fn take(
        &self,
        new: impl FnOnce() -> ExchangeState,
    ) -> (Arc<ExchangeState>, Arc<Submission<B>>)
    where
        B: Send + 'static,
    {
        let others = self.active.fetch_add(1, Relaxed);
        let mut kept = self.lock();
        let submission = kept.submissions.pop();
        let exchange = kept.spare.pop().unwrap_or_else(|| {
            let exchange = Arc::new(new());
            kept.exchanges.push(exchange.clone());
            exchange
        });
        kept.begun = kept.begun.wrapping_add(1);
        let number = kept.begun;
        drop(kept);
        exchange.reset();
        exchange.set_alone(if others == 0 { number } else { 0 });
        (exchange, submission.unwrap_or_default())
    }

    pub(super) fn release(&self, exchange: Arc<ExchangeState>) {
        exchange.end();
        self.active.fetch_sub(1, Relaxed);
        let mut kept = self.lock();
        // Two references are known: this one, and the one in the list. A third belongs to a request
        // body that goes on after its response, and would write on the state of the next request.
        if Arc::strong_count(&exchange) == 2 {
            kept.spare.push(exchange);
        } else {
            kept.exchanges.retain(|kept| !Arc::ptr_eq(kept, &exchange));
        }
    }

    pub(super) fn keep(&self, submission: Arc<Submission<B>>) {
        self.lock().submissions.push(submission);
    }

    fn lock(&self) -> MutexGuard<'_, Kept<B>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
