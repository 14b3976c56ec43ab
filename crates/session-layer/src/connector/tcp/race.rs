//! Runs attempts to connect beside each other ([RFC 8305, section
//! 5](https://www.rfc-editor.org/rfc/rfc8305#section-5)).

use std::{
    error::Error as StdError,
    fmt,
    future::{Future, pending, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::history::Outcome;
use crate::box_error::BoxError;

/// The stream of the attempt that won.
pub(super) struct Won<T> {
    pub(super) stream: T,
    /// How the attempts have ended that say something about their address. If none connects, none
    /// says anything: the network may be down.
    pub(super) outcomes: Vec<(SocketAddr, Outcome)>,
}

/// The error if none of several addresses could be connected to.
#[derive(Debug)]
pub(super) struct NoneConnected {
    tried: usize,
    cause: BoxError,
}

/// Dials the addresses, in this order, until one of them connects.
///
/// The next attempt begins as soon as one fails, and at the latest `delay` after the one before;
/// without a delay, only when that one has failed. All of them end at the deadline. The first
/// that connects wins; the other attempts are dropped, which closes their sockets.
///
/// # Cancel safety
///
/// Dropping the future drops all attempts.
pub(super) async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    delay: Option<Duration>,
    deadline: Option<Instant>,
    dial: impl Fn(SocketAddr) -> F,
) -> Result<Won<T>, NoneConnected>
where
    F: Future<Output = Result<T, BoxError>>,
{
    let mut deadline = pin!(until(deadline));
    let mut waiting = addresses.into_iter();
    let mut race = Race::new(delay);
    loop {
        let now = Instant::now();
        if let Some(address) = waiting.next() {
            race.begin(address, dial(address), now);
        }
        let addresses = waiting.len();
        let next = delay.filter(|_| addresses > 0);
        let mut next = pin!(until(next.and_then(|delay| now.checked_add(delay))));
        let step = poll_fn(|cx| {
            // Polled before the timers: an attempt that has connected wins, even if the deadline
            // has passed by now.
            if let Poll::Ready(step) = race.poll(cx, addresses) {
                return Poll::Ready(step);
            }
            if deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Step::TimedOut);
            }
            next.as_mut().poll(cx).map(|()| Step::Next)
        });
        match step.await {
            Step::Next => {}
            Step::Connected(connected) => return Ok(race.won(connected)),
            Step::Failed => return Err(race.lost()),
            Step::TimedOut => return Err(race.timed_out()),
        }
    }
}

/// What happens next in a race.
enum Step<T> {
    /// Another attempt begins.
    Next,
    Connected(Connected<T>),
    /// No attempt is left.
    Failed,
    TimedOut,
}

/// The attempt that won, by its place among those that were running.
struct Connected<T> {
    place: usize,
    stream: T,
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

struct Race<F> {
    delay: Duration,
    /// In the order in which they began.
    attempts: Vec<Attempt<F>>,
    /// The errors of the attempts that have failed.
    failures: Vec<(SocketAddr, BoxError)>,
}

struct Attempt<F> {
    address: SocketAddr,
    began: Instant,
    dial: Pin<Box<F>>,
}

impl<F> Race<F> {
    fn new(delay: Option<Duration>) -> Self {
        Self {
            delay: delay.unwrap_or_default(),
            attempts: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn begin(&mut self, address: SocketAddr, dial: F, now: Instant) {
        self.attempts.push(Attempt {
            address,
            began: now,
            dial: Box::pin(dial),
        });
    }

    /// Polls the attempts. One that fails lets the next begin at once, if any `addresses` are left.
    fn poll<T>(&mut self, cx: &mut Context<'_>, addresses: usize) -> Poll<Step<T>>
    where
        F: Future<Output = Result<T, BoxError>>,
    {
        let failed_before = self.failures.len();
        let mut place = 0;
        while let Some(attempt) = self.attempts.get_mut(place) {
            match attempt.dial.as_mut().poll(cx) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(stream)) => {
                    return Poll::Ready(Step::Connected(Connected { place, stream }));
                }
                Poll::Ready(Err(cause)) => {
                    let failed = self.attempts.remove(place);
                    self.failures.push((failed.address, cause));
                }
            }
        }
        if addresses > 0 && self.failures.len() > failed_before {
            return Poll::Ready(Step::Next);
        }
        if self.attempts.is_empty() {
            return Poll::Ready(Step::Failed);
        }
        Poll::Pending
    }

    fn won<T>(mut self, Connected { place, stream }: Connected<T>) -> Won<T> {
        let failed = self.failures.iter();
        let mut outcomes: Vec<_> = failed
            .map(|(address, _)| (*address, Outcome::Failed))
            .collect();
        // Those that began after the winner have not lost to it: they had less time.
        self.attempts.truncate(place + 1);
        if let Some(winner) = self.attempts.pop() {
            let now = Instant::now();
            // Nor has one that had less than the delay: it may be as good as the winner.
            let overtaken = self
                .attempts
                .iter()
                .filter(|attempt| now.saturating_duration_since(attempt.began) >= self.delay);
            outcomes.extend(overtaken.map(|attempt| (attempt.address, Outcome::Failed)));
            outcomes.push((winner.address, Outcome::Connected));
        }
        Won { stream, outcomes }
    }

    fn lost(self) -> NoneConnected {
        let tried = self.failures.len();
        let causes = self.failures.into_iter().map(|(_, cause)| cause);
        // Of two with the same weight, the later one.
        let cause = causes.max_by_key(|cause| weight(cause.as_ref()));
        NoneConnected {
            tried,
            cause: cause.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into()),
        }
    }

    /// The deadline ended the attempts that were still running.
    fn timed_out(self) -> NoneConnected {
        NoneConnected {
            tried: self.failures.len() + self.attempts.len(),
            cause: io::Error::from(io::ErrorKind::TimedOut).into(),
        }
    }
}

/// How much an error says about the peer: an answer of its host most, a missing network (no IPv6,
/// for instance) least.
fn weight(error: &(dyn StdError + 'static)) -> u8 {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let mut kinds = causes
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    match kinds.next() {
        Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) => 3,
        Some(io::ErrorKind::TimedOut) => 2,
        Some(
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable,
        ) => 0,
        Some(_) | None => 1,
    }
}

impl fmt::Display for NoneConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {} addresses could be connected to", self.tried)
    }
}

impl StdError for NoneConnected {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.cause.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, cell::RefCell, rc::Rc};

    use super::*;

    const DELAY: Duration = Duration::from_millis(250);

    /// What becomes of an attempt, and how many milliseconds after it began.
    #[derive(Clone, Copy)]
    enum Peer {
        Connects(u64),
        Refuses(u64),
        Unreachable,
        /// Answers nothing, ever.
        Silent,
    }
    use Peer::{Connects, Refuses, Silent, Unreachable};

    /// What the tests see of a race: which ports were dialled, and when in milliseconds.
    struct Seen {
        dialled: Vec<(u16, u128)>,
        took: u128,
        connected: Result<u16, NoneConnected>,
        outcomes: Vec<(u16, Outcome)>,
        /// The attempts that were neither ended nor dropped.
        open: usize,
    }

    /// Counts an attempt for as long as it is there.
    struct Open(Rc<Cell<usize>>);

    impl Open {
        fn new(count: &Rc<Cell<usize>>) -> Self {
            count.set(count.get() + 1);
            Self(count.clone())
        }
    }

    impl Drop for Open {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    /// Races to these peers; the ports are their places.
    async fn run(peers: &[Peer], delay: Option<Duration>, timeout: Option<Duration>) -> Seen {
        let began = Instant::now();
        let dialled = RefCell::new(Vec::new());
        let open = Rc::new(Cell::new(0));
        let addresses = (0..peers.len()).map(|port| {
            let port = u16::try_from(port).unwrap();
            SocketAddr::from(([127, 0, 0, 1], port))
        });
        let deadline = timeout.map(|timeout| began + timeout);
        let ended = race(addresses.collect(), delay, deadline, |address| {
            let guard = Open::new(&open);
            let at = began.elapsed().as_millis();
            dialled.borrow_mut().push((address.port(), at));
            let peer = peers[usize::from(address.port())];
            async move {
                let (after, result) = match peer {
                    Connects(after) => (after, Ok(address.port())),
                    Refuses(after) => (after, Err(io::ErrorKind::ConnectionRefused)),
                    Unreachable => (0, Err(io::ErrorKind::NetworkUnreachable)),
                    Silent => pending().await,
                };
                tokio::time::sleep(Duration::from_millis(after)).await;
                drop(guard);
                result.map_err(|kind| BoxError::from(io::Error::from(kind)))
            }
        })
        .await;
        let (connected, outcomes) = match ended {
            Ok(won) => (Ok(won.stream), won.outcomes),
            Err(failed) => (Err(failed), Vec::new()),
        };
        let outcomes = outcomes.into_iter();
        Seen {
            dialled: dialled.into_inner(),
            took: began.elapsed().as_millis(),
            connected,
            outcomes: outcomes.map(|(it, outcome)| (it.port(), outcome)).collect(),
            open: open.get(),
        }
    }

    fn cause(failed: &NoneConnected) -> io::ErrorKind {
        let cause: &io::Error = failed.cause.downcast_ref().expect("an error of the system");
        cause.kind()
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_dialled_after_the_delay_whatever_its_place() {
        let peers = [Silent, Silent, Silent, Connects(10)];
        let seen = run(&peers, Some(DELAY), None).await;
        assert_eq!(seen.dialled, [(0, 0), (1, 250), (2, 500), (3, 750)]);
        assert_eq!((seen.connected.unwrap(), seen.took), (3, 760));
        assert_eq!(seen.open, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_dialled_at_once_when_one_fails() {
        let peers = [Refuses(20), Unreachable, Connects(10), Connects(0)];
        let seen = run(&peers, Some(DELAY), None).await;
        assert_eq!(seen.dialled, [(0, 0), (1, 20), (2, 20)]);
        assert_eq!((seen.connected.unwrap(), seen.took), (2, 30));
        let outcomes = [
            (0, Outcome::Failed),
            (1, Outcome::Failed),
            (2, Outcome::Connected),
        ];
        assert_eq!(seen.outcomes, outcomes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_address_may_still_win_over_the_second() {
        let seen = run(&[Connects(600), Silent, Silent], Some(DELAY), None).await;
        assert_eq!(seen.dialled, [(0, 0), (1, 250), (2, 500)]);
        assert_eq!((seen.connected.unwrap(), seen.took), (0, 600));
        assert_eq!(seen.outcomes, [(0, Outcome::Connected)]);
        assert_eq!(seen.open, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_was_overtaken_counts_as_failed_once_it_had_its_delay() {
        let seen = run(&[Silent, Connects(5)], Some(DELAY), None).await;
        let outcomes = [(0, Outcome::Failed), (1, Outcome::Connected)];
        assert_eq!(seen.outcomes, outcomes);

        // The second had 10 ms more than the third.
        let peers = [Refuses(260), Silent, Connects(5)];
        let seen = run(&peers, Some(DELAY), None).await;
        assert_eq!(seen.dialled, [(0, 0), (1, 250), (2, 260)]);
        let outcomes = [(0, Outcome::Failed), (2, Outcome::Connected)];
        assert_eq!(seen.outcomes, outcomes);
    }

    #[tokio::test(start_paused = true)]
    async fn all_attempts_share_the_deadline_and_none_has_a_part_of_it() {
        let timeout = Duration::from_secs(10);
        let seen = run(&[Silent, Connects(9_700)], Some(DELAY), Some(timeout)).await;
        assert_eq!((seen.connected.unwrap(), seen.took), (1, 9_950));

        let seen = run(&[Silent, Silent, Refuses(0)], Some(DELAY), Some(timeout)).await;
        let failed = seen.connected.unwrap_err();
        assert_eq!((seen.took, seen.open), (10_000, 0));
        assert_eq!(cause(&failed), io::ErrorKind::TimedOut);
        let told = failed.to_string();
        assert_eq!(told, "none of 3 addresses could be connected to");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_delay_an_address_is_dialled_when_the_one_before_has_failed() {
        let peers = [Refuses(3_000), Connects(2_000), Connects(0)];
        let seen = run(&peers, None, Some(Duration::from_secs(10))).await;
        assert_eq!(seen.dialled, [(0, 0), (1, 3_000)]);
        assert_eq!((seen.connected.unwrap(), seen.took), (1, 5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_cause_that_tells_most_of_the_peer_is_kept() {
        for (peers, kind) in [
            (
                &[Refuses(1), Unreachable][..],
                io::ErrorKind::ConnectionRefused,
            ),
            (&[Unreachable, Refuses(1)], io::ErrorKind::ConnectionRefused),
            (
                &[Unreachable, Unreachable],
                io::ErrorKind::NetworkUnreachable,
            ),
        ] {
            let seen = run(peers, Some(DELAY), None).await;
            let failed = seen.connected.unwrap_err();
            assert_eq!((cause(&failed), failed.tried), (kind, 2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_a_race_drops_its_attempts() {
        let open = Rc::new(Cell::new(0));
        let addresses = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let racing = race(addresses.to_vec(), Some(DELAY), None, |_| {
            let guard = Open::new(&open);
            async move {
                let _guard = guard;
                pending::<Result<(), BoxError>>().await
            }
        });
        let timed_out = tokio::time::timeout(DELAY * 3 / 2, racing).await.is_err();
        assert!(timed_out);
        assert_eq!(open.get(), 0);
    }
}
