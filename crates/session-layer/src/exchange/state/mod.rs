use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::Instant;

mod socket;
mod upload;

use self::upload::Upload;
use super::{Cause, Gate};
use crate::{
    CloseReason,
    box_error::BoxError,
    config::{OwnTimeout, OwnTimes},
};

/// The most bytes of a response head.
pub(crate) const MAX_HEAD: u64 = 256 * 1024;

/// The state of an exchange: what the socket of its connection and those that use it know of each
/// other. Over HTTP/1 a connection has one for all its exchanges, one after the other. Over HTTP/2 each
/// stream has one, and the connection has one more for its socket.
///
/// The socket's task writes the counters, requests write the phase, and either may abort the
/// connection. There is no lock: each value is written by one side, and a request learns of its
/// end through hyper's channel, which orders the rest.
#[derive(Debug)]
pub(crate) struct ExchangeState {
    /// Times are kept as nanoseconds since this moment, in atomics.
    epoch: Instant,
    max_head: u64,
    read: AtomicU64,
    written: AtomicU64,
    /// The first digit of the status that the response begins with; 0 if it is not known.
    class: AtomicU8,
    /// The last four bytes that were read.
    tail: AtomicU32,
    /// Whether hyper waits for bytes. It may ask for more before a reader wants them, and what it
    /// gets need not be content.
    read_blocked: AtomicBool,
    /// Whether the peer has ended or broken the connection, as far as it was read.
    has_read_ended: AtomicBool,
    /// Since when the reader of the response body has been waiting; 0 while it is not.
    wanted_since: AtomicU64,
    /// Since when a write has been waiting for room; 0 while none is.
    write_blocked: AtomicU64,
    phase: AtomicU8,
    /// The [`OwnTimes`] of the present exchange.
    own_times: AtomicU64,
    /// When the present exchange must have its head.
    head_deadline: AtomicU64,
    /// The value of `read` when the present exchange began.
    response_from: AtomicU64,
    /// The connection's values of `read` and `written` when the present exchange began.
    read_before: AtomicU64,
    written_before: AtomicU64,
    /// When the present exchange began; 0 before the first.
    began: AtomicU64,
    /// Which request of its connection it is, if no other was under way when it began; 0 else.
    alone: AtomicU64,
    /// How many streams the connection had opened when hyper was given this request, of several;
    /// [`NEVER`] before.
    sent_from: AtomicU64,
    /// The value of `read` above which more has come than informational responses and a head may
    /// have, while a head is awaited.
    head_ends_by: AtomicU64,
    /// The bytes of the request body that hyper has taken.
    uploaded: AtomicU64,
    /// When the peer last took bytes of a request that has a body.
    wrote_at: AtomicU64,
    /// Whether the request body itself gave an error, or panicked.
    body_failed: AtomicBool,
    /// An error that hyper does not pass on: of the body of one request of several, or of a write.
    error: Mutex<Option<BoxError>>,
    /// Since when writes have failed; 0 while they have not.
    write_failed: AtomicU64,
    /// When the task of the connection has to look at its times, where that is earlier than it
    /// plans; 0 if it is not.
    look_by: AtomicU64,
    /// Whether a write that fails may have sent a part before, as TLS does with its records.
    torn_writes: bool,
    /// Whether response bytes were there before the end of the request body was taken.
    answered_early: AtomicBool,
    /// Of one request of several on a connection: whether its body is still on its way.
    upload: Mutex<Upload>,
    /// For how long the request of the present exchange has waited for the peer to take more of it, in
    /// nanoseconds, without the wait that is under way; [`NEVER`] where that is not measured.
    upload_blocked: AtomicU64,
    aborted: AtomicU8,
    /// Why nothing more is given to it, where it was not aborted for that.
    end_cause: AtomicU8,
    /// Whom to wake when it is aborted.
    driver: Mutex<Option<Waker>>,
}

/// What has the streams of a connection, and takes one back when its request body has ended after
/// its exchange.
pub(crate) trait StreamOwner: Send + Sync {
    fn take_back(self: Arc<Self>, stream: Arc<ExchangeState>);
}

/// What carries an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carrier {
    /// A connection that it has for itself: the socket tells what becomes of it.
    Connection,
    /// A stream of a connection that others use too: the socket does not tell which of them waits,
    /// and closing it would end them all.
    Stream,
}

/// What a connection is doing, as its timers see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum ExchangePhase {
    Idle = 0,
    /// The request body has not been taken to its end.
    Sending = 1,
    Head = 2,
    Body = 3,
    /// The exchange is over, and its request body is not.
    Orphan = 4,
    /// Nobody wants the rest of the response body, which the connection reads to be used again.
    Draining = 5,
}

/// Of a request that hyper was not given, or whose upload is not measured.
const NEVER: u64 = u64::MAX;

impl ExchangeState {
    pub(crate) fn new(epoch: Instant, max_head: u64, torn_writes: bool) -> Self {
        Self {
            epoch,
            max_head,
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            class: AtomicU8::new(0),
            tail: AtomicU32::new(0),
            read_blocked: AtomicBool::new(false),
            has_read_ended: AtomicBool::new(false),
            wanted_since: AtomicU64::new(0),
            write_blocked: AtomicU64::new(0),
            phase: AtomicU8::new(ExchangePhase::Idle as u8),
            own_times: AtomicU64::new(0),
            head_deadline: AtomicU64::new(0),
            response_from: AtomicU64::new(0),
            read_before: AtomicU64::new(0),
            written_before: AtomicU64::new(0),
            began: AtomicU64::new(0),
            alone: AtomicU64::new(0),
            sent_from: AtomicU64::new(NEVER),
            head_ends_by: AtomicU64::new(u64::MAX),
            uploaded: AtomicU64::new(0),
            wrote_at: AtomicU64::new(0),
            body_failed: AtomicBool::new(false),
            error: Mutex::new(None),
            write_failed: AtomicU64::new(0),
            look_by: AtomicU64::new(0),
            torn_writes,
            answered_early: AtomicBool::new(false),
            upload: Mutex::default(),
            upload_blocked: AtomicU64::new(NEVER),
            aborted: AtomicU8::new(0),
            end_cause: AtomicU8::new(0),
            driver: Mutex::new(None),
        }
    }

    /// What one request of several on this connection is noted on.
    pub(crate) fn for_stream(&self) -> Self {
        let stream = Self::new(self.epoch, self.max_head, self.torn_writes);
        // No socket is noted on it: whatever has come is with its reader.
        stream.read_blocked.store(true, Relaxed);
        stream
    }

    /// Begins an exchange on the connection of this socket, in its `first` phase; must come before
    /// its request is given to hyper.
    #[inline]
    pub(crate) fn begin(
        &self,
        now: Instant,
        head: Option<Duration>,
        first: ExchangePhase,
        socket: &Self,
    ) {
        self.read_before.store(socket.read.load(Relaxed), Relaxed);
        self.written_before
            .store(socket.written.load(Relaxed), Relaxed);
        let read = self.read.load(Relaxed);
        self.response_from.store(read, Relaxed);
        self.head_ends_by
            .store(read.saturating_add(self.max_head), Relaxed);
        self.uploaded.store(0, Relaxed);
        self.wrote_at.store(0, Relaxed);
        self.answered_early.store(false, Relaxed);
        let now = self.since_epoch(now);
        self.began.store(now.max(1), Relaxed);
        self.set_head_deadline(now, head);
        self.phase.store(first as u8, Release);
    }

    /// Sets the timeouts of the present exchange that are not the session's.
    #[inline]
    pub(crate) fn set_own_times(&self, own: OwnTimes) {
        self.own_times.store(own.bits(), Relaxed);
    }

    /// Lets the body of the present exchange be silent for as long as it likes.
    pub(crate) fn lift_body_idle(&self) {
        let mut own = self.own_times();
        own.body_idle = OwnTimeout::NONE;
        self.set_own_times(own);
    }

    /// The timeouts of the present exchange that are not the session's.
    #[inline]
    pub(crate) fn own_times(&self) -> OwnTimes {
        OwnTimes::from_bits(self.own_times.load(Relaxed))
    }

    /// Takes note of which request of its connection it is, if no other is under way; 0 else.
    pub(crate) fn set_alone(&self, number: u64) {
        self.alone.store(number, Relaxed);
    }

    /// Which request of its connection it is, if no other was under way when it began.
    pub(crate) fn alone(&self) -> Option<u64> {
        Some(self.alone.load(Relaxed)).filter(|number| *number != 0)
    }

    /// Since when one request of several has been under way, if nothing has come on its connection
    /// from then on; [`moment`](Self::moment) tells the time.
    #[inline]
    pub(crate) fn unheard_since(&self, socket: &Self) -> Option<u64> {
        if self.read_before.load(Relaxed) != socket.read.load(Relaxed) {
            return None;
        }
        Some(self.began.load(Relaxed)).filter(|began| *began != 0)
    }

    /// Since when the reader of one request of several has waited for the next piece, if its body was cut
    /// since it came too slowly.
    pub(crate) fn too_slow_since(&self) -> Option<u64> {
        let is_cut = self.aborted() == Some(Cause::TooSlow);
        Some(self.wanted_since.load(Relaxed)).filter(|since| is_cut && *since != 0)
    }

    #[cfg(feature = "http2")]
    pub(crate) fn moment(&self, tick: u64) -> Option<Instant> {
        self.instant(tick)
    }

    /// Takes note that hyper is given this request, of several; so many streams had been opened by
    /// then.
    #[cfg(feature = "http2")]
    pub(crate) fn sends(&self, opened: u64) {
        self.sent_from.store(opened, Release);
    }

    /// Whether the HEADERS of one request of several may have been written.
    pub(crate) fn may_be_sent(&self, gate: &Gate) -> bool {
        let from = self.sent_from.load(Acquire);
        from != NEVER && gate.opened() != from
    }

    /// Takes note that hyper has taken the end of the request body: the head's time begins.
    pub(crate) fn request_ended(&self, head: Option<Duration>) {
        if self.read.load(Relaxed) != self.response_from.load(Relaxed) {
            self.answered_early.store(true, Relaxed);
        }
        self.set_head_deadline(self.since_epoch(Instant::now()), head);
        // Not back from `Body`, where a response came early.
        let _ = self.phase.compare_exchange(
            ExchangePhase::Sending as u8,
            ExchangePhase::Head as u8,
            AcqRel,
            Acquire,
        );
    }

    /// Takes note that the head came; returns whether the whole request had been taken before.
    #[inline]
    pub(crate) fn head_came(&self) -> bool {
        self.head_ends_by.store(u64::MAX, Relaxed);
        let before = self.phase.swap(ExchangePhase::Body as u8, AcqRel);
        before == ExchangePhase::Head as u8 && !self.answered_early.load(Relaxed)
    }

    /// Whether the request body has not been taken to its end.
    pub(crate) fn is_sending(&self) -> bool {
        self.phase() == ExchangePhase::Sending
    }

    /// Keeps an error for the request that waits for the response.
    pub(crate) fn keep_error(&self, error: BoxError) {
        *self.error() = Some(error);
    }

    pub(crate) fn take_error(&self) -> Option<BoxError> {
        self.error().take()
    }

    fn error(&self) -> MutexGuard<'_, Option<BoxError>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the rest of a response body to the task of the connection, for a short time.
    pub(crate) fn begin_draining(&self, time: Duration) {
        let now = Instant::now();
        self.wanted_since.store(0, Relaxed);
        self.set_head_deadline(self.since_epoch(now), Some(time));
        self.phase.store(ExchangePhase::Draining as u8, Release);
        if let Some(by) = now.checked_add(time) {
            self.look_by(by);
        }
        self.wake();
    }

    /// Makes the task of the connection look at its times at `moment`, when it is polled next.
    pub(crate) fn look_by(&self, moment: Instant) {
        let moment = self.tick(moment);
        let earlier = |set: u64| (set == 0 || moment < set).then_some(moment);
        let _ = self.look_by.fetch_update(AcqRel, Acquire, earlier);
    }

    /// The moment that was set last, once.
    #[inline]
    pub(crate) fn take_look_by(&self) -> Option<Instant> {
        if self.look_by.load(Relaxed) == 0 {
            return None;
        }
        self.instant(self.look_by.swap(0, AcqRel))
    }

    /// Ends an exchange.
    #[inline]
    pub(crate) fn end(&self) {
        self.head_ends_by.store(u64::MAX, Relaxed);
        self.wanted_since.store(0, Relaxed);
        self.phase.store(ExchangePhase::Idle as u8, Release);
    }

    /// Aborts the connection: its next read or write fails, and its task ends. The first cause
    /// stays; returns whether this is it.
    pub(crate) fn abort(&self, cause: Cause) -> bool {
        let first = self
            .aborted
            .compare_exchange(0, cause as u8, AcqRel, Acquire)
            .is_ok();
        self.wake();
        first
    }

    #[inline]
    pub(crate) fn aborted(&self) -> Option<Cause> {
        match self.aborted.load(Acquire) {
            0 => None,
            cause => Cause::of(cause),
        }
    }

    /// Notes why the connection is drained, without aborting what it carries.
    pub(crate) fn note_end(&self, cause: Cause) {
        let _ = self
            .end_cause
            .compare_exchange(0, cause as u8, Relaxed, Relaxed);
    }

    /// Why it ended, by what this side knows: else it was the peer's doing.
    pub(crate) fn close_reason(&self) -> CloseReason {
        let left = || Cause::of(self.end_cause.load(Relaxed));
        let cause = self.aborted().or_else(left);
        cause.map_or(CloseReason::Peer, Cause::reason)
    }

    /// Makes it as new, for the next request of a connection that carries several.
    pub(crate) fn reset(&self) {
        self.phase.store(ExchangePhase::Idle as u8, Release);
        self.aborted.store(0, Release);
        self.began.store(0, Relaxed);
        self.sent_from.store(NEVER, Relaxed);
        self.wanted_since.store(0, Relaxed);
        self.write_blocked.store(0, Relaxed);
        self.body_failed.store(false, Relaxed);
    }

    /// Takes note whether the reader of a response body waits.
    pub(crate) fn note_wanted(&self, waits: bool) {
        let since = if waits { self.tick(Instant::now()) } else { 0 };
        self.wanted_since.store(since, Relaxed);
    }

    /// Lets the task of the connection look at what has changed.
    pub(crate) fn wake(&self) {
        let driver = self.driver().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Undoes a timeout on an HTTP/2 stream when the awaited data had arrived but was not read yet.
    #[inline]
    pub(crate) fn forgive(&self, cause: Cause) {
        let cause = cause as u8;
        let _ = self.aborted.compare_exchange(cause, 0, AcqRel, Acquire);
    }

    /// The task that drives the connection, or waits for this stream; woken when it is
    /// aborted.
    #[inline]
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut driver = self.driver();
        // Mostly it is known: a connection has the same task all its life.
        if driver.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            return;
        }
        let before = driver.replace(cx.waker().clone());
        drop(driver);
        drop(before);
    }

    /// The task that waits for this stream.
    #[cfg(feature = "http2")]
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.driver().clone()
    }

    /// Forgets the task, which has ended: the socket of an upgraded connection may outlive it.
    pub(crate) fn unregister(&self) {
        let ended = self.driver().take();
        drop(ended);
    }

    #[inline]
    fn driver(&self) -> MutexGuard<'_, Option<Waker>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn phase(&self) -> ExchangePhase {
        match self.phase.load(Acquire) {
            1 => ExchangePhase::Sending,
            2 => ExchangePhase::Head,
            3 => ExchangePhase::Body,
            4 => ExchangePhase::Orphan,
            5 => ExchangePhase::Draining,
            _ => ExchangePhase::Idle,
        }
    }

    pub(crate) fn head_deadline(&self) -> Option<Instant> {
        self.instant(self.head_deadline.load(Relaxed))
    }

    pub(crate) fn write_blocked(&self) -> Option<Instant> {
        self.instant(self.write_blocked.load(Relaxed))
    }

    /// When the peer last took bytes of a request with a body.
    pub(crate) fn wrote_at(&self) -> Option<Instant> {
        self.instant(self.wrote_at.load(Relaxed))
    }

    /// Whether the reader of a response body waits.
    #[cfg(feature = "http2")]
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted_since.load(Relaxed) != 0
    }

    /// Since when the reader of a response body has been waiting for the peer.
    pub(crate) fn wanted_since(&self) -> Option<Instant> {
        // Where hyper does not ask for bytes, it has some that the reader has not taken.
        let waits = self.read_blocked.load(Relaxed);
        let since = self.wanted_since.load(Relaxed);
        self.instant(since).filter(|_| waits)
    }

    #[inline]
    fn set_head_deadline(&self, now: u64, head: Option<Duration>) {
        let deadline = head.map_or(0, |head| now.saturating_add(nanos(head)).max(1));
        self.head_deadline.store(deadline, Relaxed);
    }

    /// A moment as a number that is never 0, which stands for "no such moment".
    #[inline]
    fn tick(&self, moment: Instant) -> u64 {
        self.since_epoch(moment).max(1)
    }

    #[inline]
    fn since_epoch(&self, moment: Instant) -> u64 {
        nanos(moment.saturating_duration_since(self.epoch))
    }

    fn instant(&self, tick: u64) -> Option<Instant> {
        (tick != 0)
            .then(|| self.epoch.checked_add(Duration::from_nanos(tick)))
            .flatten()
    }
}

/// A time as a number; centuries are as good as for ever.
#[inline]
fn nanos(time: Duration) -> u64 {
    time.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(time.subsec_nanos().into())
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_woken_by_a_cut_and_forgotten_when_it_has_ended() {
        let exchange = ExchangeState::new(Instant::now(), u64::MAX, false);
        let task = Arc::new(Task(AtomicBool::new(false)));
        let waker = Waker::from(task.clone());
        let before = Arc::strong_count(&task);
        for _ in 0..2 {
            exchange.register(&Context::from_waker(&waker));
        }
        assert_eq!(Arc::strong_count(&task), before + 1);
        exchange.abort(Cause::Closed);
        assert!(task.0.load(Relaxed));
        exchange.unregister();
        assert_eq!(Arc::strong_count(&task), before);
    }

    #[test]
    fn the_error_of_one_request_body_is_not_told_of_the_next() {
        let exchange = ExchangeState::new(Instant::now(), u64::MAX, false).for_stream();
        exchange.upload_begins();
        exchange.keep_error("of the first".into());
        exchange.reset();
        exchange.upload_begins();
        assert!(exchange.take_error().is_none());
    }
}
