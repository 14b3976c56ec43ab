//! The wait of a request for a connection that takes it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::{
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    exchange::Exchange,
    turn::{KeptTurn, Turn},
};
use crate::{
    Error,
    box_error::BoxError,
    error::{Kind, Phase},
    exchange::RequestBody,
    pool::{ALLOWS_NO_REQUEST, CheckedOut, Notification, Pool, PooledConnection, Wait, Waiting},
    runtime,
    target::HeaderFlags,
};

/// Waits for a connection, and until hyper takes a request on it.
pub(super) async fn when_served<B>(
    pool: Arc<Pool<B>>,
    mut waiting: Waiting<B>,
    mut queued: Duration,
    request: Request<RequestBody<B>>,
    flags: HeaderFlags,
) -> Result<Exchange<B>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    loop {
        let origin = waiting.origin().clone();
        let (pooled, mut turn) = served(&pool, waiting, queued, flags.options.connect()).await?;
        let pooled = match pooled {
            Some(pooled) if !pooled.is_too_much() => pooled,
            pooled => {
                if let Some(pooled) = pooled {
                    pooled.release();
                }
                let again = pool.check_out(&origin.here(), Instant::now(), Some(turn.arrival));
                match again.map_err(|error| error.at(&origin))? {
                    CheckedOut::Connection(pooled, arrival) => {
                        turn.arrival = arrival;
                        pooled
                    }
                    CheckedOut::Waiting(again) => {
                        (waiting, queued) = (again, turn.queued);
                        continue;
                    }
                }
            }
        };
        return when_ready(pooled, request, flags, turn).await;
    }
}

/// Waits in the queue, where it has been for `queued` before, and opens a connection when a permit
/// comes.
///
/// Returns no connection if the permit comes on another runtime than that of the call. A connection
/// that is opened there would be kept for requests of the runtime of the call, which does not drive
/// it. So the request has to wait again, among those of its present runtime.
async fn served<B>(
    pool: &Arc<Pool<B>>,
    waiting: Waiting<B>,
    queued: Duration,
    connect: Option<Duration>,
) -> Result<(Option<PooledConnection<B>>, Turn), Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut times = Times::new(pool, queued, waiting.wait(), connect);
    loop {
        let notification = poll_fn(|cx| waiting.poll_notification(cx));
        let notification = match before(times.next(), notification).await {
            Some(notification) => notification,
            None => match times.look(&waiting) {
                None => continue,
                Some(kind) => {
                    // Made before the next wait: after that, the pool may know of a later connect
                    // only.
                    let error = timed_out(kind, pool, &waiting);
                    match served_late(&waiting).await {
                        Some(outcome) => Notification::Served(outcome),
                        None => return Err(error),
                    }
                }
            },
        };
        match notification {
            Notification::Permit(permit) if runtime::is_other(waiting.origin().runtime()) => {
                times.granted();
                drop(permit);
                let turn = Turn {
                    arrival: waiting.arrival(),
                    queued: times.queued(),
                };
                return Ok((None, turn));
            }
            Notification::Permit(permit) => {
                times.granted();
                if pool.open(permit).is_err() {
                    // The permit was granted anew, mostly to this request, and so without an end. A task
                    // of the runtime that has ended is dropped here; another executor goes on to the error.
                    yield_now().await;
                    let error = Error::new(Kind::Connect).with(RUNTIME_ENDED);
                    return Err(error.at(waiting.origin()));
                }
            }
            Notification::Served(outcome) => {
                let origin = waiting.origin();
                let pooled = outcome.map_err(|error| match error.origin() {
                    Some(_) => error,
                    None => error.at(origin),
                })?;
                let turn = Turn {
                    arrival: waiting.arrival(),
                    queued: times.queued(),
                };
                return Ok((Some(pooled), turn));
            }
        }
    }
}

/// The connection, or the error, that other tasks of this runtime bring at the same moment at which
/// the request's time is over.
///
/// After a runtime was blocked, the timeouts of several tasks run out together. The task of a
/// connect knows whether the connection is open, and if not, what took too long. So it runs first,
/// as far as one yield does that; on a runtime of several threads it may still be late.
async fn served_late<B: Send + 'static>(
    waiting: &Waiting<B>,
) -> Option<Result<PooledConnection<B>, Error>> {
    yield_now().await;
    poll_fn(|cx| match waiting.poll_notification(cx) {
        Poll::Ready(Notification::Served(outcome)) => Poll::Ready(Some(outcome)),
        // A permit would begin another wait. It is released.
        Poll::Ready(Notification::Permit(_)) | Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn timed_out<B: Send + 'static>(kind: Kind, pool: &Pool<B>, waiting: &Waiting<B>) -> Error {
    let origin = waiting.origin();
    let refused = matches!(kind, Kind::PoolTimeout(_)) && pool.is_refused(origin);
    let error = match kind {
        Kind::Timeout(Phase::Connect, after) => Error::connect_timeout(waiting.step(), after),
        kind => Error::new(kind),
    };
    let error = error.at(origin);
    if refused {
        error.with(ALLOWS_NO_REQUEST)
    } else {
        error
    }
}

/// The timeouts of a request that waits for a connection.
///
/// Whether a connection is being opened for the request may change without a notification: another
/// leaves the queue, or a connection that was to serve many turns out to be full. So that is asked
/// when a timeout has run out.
struct Times {
    /// The settings.
    queue: Option<Duration>,
    connect: Option<Duration>,
    /// How long it waits for several connects, one after the other.
    connects: Option<Duration>,
    /// How much of the queue's timeout is used up.
    queued: Duration,
    wait: Wait,
    /// Since when it waits for that.
    since: Instant,
    /// When the timeouts were checked last.
    looked: Instant,
}

/// Why no connection is opened for a request on a runtime that was shut down.
const RUNTIME_ENDED: &str = "the Tokio runtime to connect on has ended";

/// How long a request waits at most until it notices that no connection is being opened for it any
/// more, when its time in the queue is over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Times {
    /// `own` is the connect timeout of the request itself, if it has one.
    fn new<B: Send + 'static>(
        pool: &Pool<B>,
        queued: Duration,
        wait: Wait,
        own: Option<Duration>,
    ) -> Self {
        let now = Instant::now();
        let timeouts = &pool.config().timeouts;
        // A longer one has no effect: connects are shared, and have the session's timeout.
        let own = own.filter(|own| timeouts.connect.is_none_or(|connect| *own < connect));
        Self {
            queue: pool.config().pool.queue_timeout,
            connect: own.or(timeouts.connect),
            connects: own.or(timeouts.connects()),
            queued,
            wait,
            since: now,
            looked: now,
        }
    }

    fn queue_ends(&self) -> Option<Instant> {
        let left = self.queue?.saturating_sub(self.queued);
        self.since.checked_add(left)
    }

    /// When it has waited for connects for long enough.
    fn connect_ends(&self) -> Option<Instant> {
        let within = self.connects.filter(|_| self.wait == Wait::Connecting)?;
        self.since.checked_add(within)
    }

    /// When to check the timeouts next.
    fn next(&self) -> Option<Instant> {
        let ends = [self.queue_ends(), self.connect_ends()].into_iter();
        let next = ends.flatten().filter(|at| *at > self.looked).min();
        // The queue's time may be over while a connection is being opened that has no timeout. If
        // the connect fails, the wait is over, and no notification says so.
        let again = self.looked.checked_add(LOOK_AGAIN);
        next.or_else(|| again.filter(|_| self.queue.is_some()))
    }

    /// Says which timeout has run out, if any.
    fn look<B: Send + 'static>(&mut self, waiting: &Waiting<B>) -> Option<Kind> {
        if waiting.is_covered() {
            self.look_covered()
        } else {
            self.look_queued()
        }
    }

    /// Whether the queue's timeout has run out, while no connection is being opened for the waiter.
    fn look_queued(&mut self) -> Option<Kind> {
        self.looked = Instant::now();
        let is_over = self.queue_ends().is_some_and(|at| at <= self.looked);
        is_over.then(|| Kind::PoolTimeout(self.queue.unwrap_or_default()))
    }

    /// Whether the connect timeout has run out, while a connection is being opened for the waiter.
    fn look_covered(&mut self) -> Option<Kind> {
        self.looked = Instant::now();
        if self.wait == Wait::Queued {
            // The time in the queue ends, and that for connects begins.
            self.connects();
            return None;
        }
        let is_over = self.connect_ends().is_some_and(|at| at <= self.looked);
        is_over.then(|| Kind::Timeout(Phase::Connect, self.connect.unwrap_or_default()))
    }

    /// Notes that a permit has come. If a connection was being opened for the request before, that
    /// connect has failed, at an unknown moment. So all of that time counts as spent in the queue,
    /// as in [`queue_ends`](Self::queue_ends).
    fn granted(&mut self) {
        self.wait = Wait::Queued;
        self.connects();
    }

    /// Notes that from now on it waits for a connection that is being opened.
    fn connects(&mut self) {
        self.queued = self.queued();
        self.wait = Wait::Connecting;
        self.since = Instant::now();
        self.looked = self.since;
    }

    /// How long it has been in the queue.
    fn queued(&self) -> Duration {
        match self.wait {
            Wait::Queued => self.queued.saturating_add(self.since.elapsed()),
            Wait::Connecting => self.queued,
        }
    }
}

/// Waits for the future, until `moment` at most. Outside of a runtime there is no clock, and no
/// limit.
///
/// When it is polled on another runtime, it takes a timer of that: the timer of the runtime before
/// fires only while that is driven, and panics if that has ended.
pub(super) async fn before<T>(
    moment: Option<Instant>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut timer = pin!(None::<Sleep>);
    let mut timer_of = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let here = runtime::current();
        let Some(moment) = moment.filter(|_| here.is_some()) else {
            return Poll::Pending;
        };
        if timer_of != here {
            timer.set(Some(sleep_until(moment)));
            timer_of = here;
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Waits until hyper takes the next request. On a reused connection the driver may not have seen
/// the end of the last exchange yet.
pub(super) async fn when_ready<B>(
    pooled: PooledConnection<B>,
    request: Request<RequestBody<B>>,
    flags: HeaderFlags,
    turn: Turn,
) -> Result<Exchange<B>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut pooled = Untouched(Some(pooled));
    // If the connection is closed, the send hands the request back.
    poll_fn(|cx| pooled.get().poll_ready(cx)).await;
    let now = Instant::now();
    pooled.get().note_wait(now);
    let turn = KeptTurn::new(turn, now);
    Ok(Exchange::begin(pooled.take(), request, flags, now, turn))
}

/// A pooled connection on which nothing was sent: it is released when this is dropped.
struct Untouched<B: Send + 'static>(Option<PooledConnection<B>>);

impl<B: Send + 'static> Untouched<B> {
    fn get(&mut self) -> &mut PooledConnection<B> {
        self.0.as_mut().expect("taken only at its end")
    }

    fn take(mut self) -> PooledConnection<B> {
        self.0.take().expect("taken only at its end")
    }
}

impl<B: Send + 'static> Drop for Untouched<B> {
    fn drop(&mut self) {
        if let Some(pooled) = self.0.take() {
            pooled.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_whose_time_is_over_ends_soon_after_its_connect_has_failed() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut times = Times {
            queue: Some(second),
            connect: None,
            connects: None,
            queued: Duration::ZERO,
            wait: Wait::Queued,
            since: now,
            looked: now,
        };
        sleep_until(times.next().expect("the queue has a timeout")).await;
        assert!(times.look_covered().is_none());
        sleep_until(times.next().expect("the connect may fail")).await;
        assert!(matches!(times.look_queued(), Some(Kind::PoolTimeout(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_went_by_for_connects_that_came_to_nothing_counts_as_queued() {
        let now = Instant::now();
        let mut times = Times {
            queue: Some(Duration::from_secs(1)),
            connect: None,
            connects: None,
            queued: Duration::ZERO,
            wait: Wait::Connecting,
            since: now,
            looked: now,
        };
        // Each permit comes because the runtime that was to connect with the one before has ended.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            times.granted();
        }
        assert_eq!(times.queued(), Duration::from_millis(1200));
        assert!(matches!(times.look_queued(), Some(Kind::PoolTimeout(_))));
    }
}
