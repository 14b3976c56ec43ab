use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Poll,
    time::Duration,
};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::{
    runtime::{self, Handle},
    sync::watch,
    time::Instant,
};

use super::{
    DnsError,
    cache::{Answer, Cache},
    source::{Found, Source},
};

/// Looks names up: one lookup is in flight per name, and its outcome goes to all callers that wait
/// for it.
///
/// A lookup runs in a task of its own, so that no caller has to drive it. The task ends when the
/// last caller leaves.
pub(super) struct Lookups {
    source: Box<dyn Source>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cache: Cache,
    /// The tasks own the lookups; this only finds them. Each runtime has its own lookups, since a
    /// task of another runtime may not be driven.
    in_flight: HashMap<(Arc<str>, Option<runtime::Id>), Weak<InFlight>>,
}

/// Carries the outcome to the callers. It closes without one if the task ends early.
type InFlight = watch::Sender<Option<Outcome>>;

type Receiver = watch::Receiver<Option<Outcome>>;

type Outcome = Result<Arc<Answer>, DnsError>;

/// At which failed lookup a caller fails.
const MAX_FAILURES: u8 = 3;

/// A failure that took this long fails all callers: name servers that answer so late were asked
/// more than once, and the rest of the time is for connecting.
const LONG: Duration = Duration::from_secs(1);

enum Role {
    Cached(Arc<Answer>),
    Waiter(Arc<InFlight>),
    Leader(Leader, Receiver),
}

impl Lookups {
    pub(super) fn new(source: impl Source + 'static) -> Self {
        Self {
            source: Box::new(source),
            state: Mutex::default(),
        }
    }

    /// Returns an answer younger than `ttl`, or that of the lookup in flight, or of a new one.
    ///
    /// A failure fails the caller that began the lookup. One of the callers that joined it begins
    /// the next one, if that may help and they have not waited for long. Otherwise one lost packet
    /// would fail all of them.
    pub(super) async fn lookup(
        self: &Arc<Self>,
        name: &Arc<str>,
        ttl: Duration,
        capacity: usize,
    ) -> Outcome {
        let began = Instant::now();
        let mut failures = 0_u8;
        loop {
            let receiver = match self.join(name, ttl) {
                Role::Cached(answer) => return Ok(answer),
                // Only a receiver is kept: a sender would keep the channel open.
                Role::Waiter(in_flight) => in_flight.subscribe(),
                Role::Leader(leader, receiver) => return leader.start(receiver, capacity).await,
            };
            match outcome(receiver).await {
                Some(Err(error)) => {
                    failures = failures.saturating_add(1);
                    let lasts = error.is_not_found() || failures >= MAX_FAILURES;
                    if lasts || began.elapsed() >= LONG {
                        return Err(error);
                    }
                }
                Some(Ok(answer)) => return Ok(answer),
                // Its runtime has ended, or the others have just left it: it is begun again.
                None => {}
            }
        }
    }

    fn join(self: &Arc<Self>, name: &Arc<str>, ttl: Duration) -> Role {
        let mut state = self.lock();
        if let Some(answer) = state.cache.get(name, ttl, Instant::now()) {
            return Role::Cached(answer);
        }
        let place = (name.clone(), crate::runtime::current());
        if let Some(in_flight) = state.in_flight.get(&place).and_then(Weak::upgrade) {
            // A lookup that all callers have left is about to end, or its runtime is not driven any
            // more.
            if in_flight.receiver_count() > 0 {
                return Role::Waiter(in_flight);
            }
        }
        // It has a receiver from the beginning, so that it is not taken for a lookup that all
        // callers have left.
        let (in_flight, receiver) = watch::channel(None);
        let in_flight = Arc::new(in_flight);
        state
            .in_flight
            .insert(place.clone(), Arc::downgrade(&in_flight));
        let leader = Leader {
            lookups: self.clone(),
            name: name.clone(),
            place,
            in_flight,
        };
        Role::Leader(leader, receiver)
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.lock().in_flight.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the outcome; `None` if the lookup ended without one.
async fn outcome(mut receiver: Receiver) -> Option<Outcome> {
    receiver.wait_for(Option::is_some).await.ok()?.clone()
}

/// The right to run the lookup of a name. When it is dropped, the next caller begins a new one.
struct Leader {
    lookups: Arc<Lookups>,
    name: Arc<str>,
    /// The key of the lookup among those in flight.
    place: (Arc<str>, Option<runtime::Id>),
    in_flight: Arc<InFlight>,
}

impl Leader {
    /// Starts the lookup in a task, and waits for it.
    async fn start(self, receiver: Receiver, capacity: usize) -> Outcome {
        let runtime = Handle::try_current().map_err(|error| failed(io::Error::other(error)))?;
        runtime.spawn(self.run(capacity));
        outcome(receiver).await.unwrap_or_else(|| {
            let why = "the runtime shut down";
            Err(failed(io::Error::new(io::ErrorKind::Interrupted, why)))
        })
    }

    async fn run(self, capacity: usize) {
        let Some(found) = self.unless_abandoned(caught(self.ask())).await else {
            return;
        };
        let outcome = match found {
            Ok(addresses) => {
                let mut state = self.lookups.lock();
                let now = Instant::now();
                Ok(state.cache.insert(&self.name, addresses, capacity, now))
            }
            Err(error) => Err(error.of(&self.name)),
        };
        // Forgotten first, so that no caller joins a lookup that is over.
        self.forget();
        self.in_flight.send_replace(Some(outcome));
    }

    async fn ask(&self) -> Found {
        let name = Name::from_str(&self.name)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        self.lookups.source.lookup(name).await
    }

    /// Waits for the lookup, until the last caller has left it.
    async fn unless_abandoned<T>(&self, lookup: impl Future<Output = T>) -> Option<T> {
        let mut lookup = pin!(lookup);
        let mut abandoned = pin!(self.in_flight.closed());
        poll_fn(|cx| match lookup.as_mut().poll(cx) {
            Poll::Ready(found) => Poll::Ready(Some(found)),
            Poll::Pending => abandoned.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    fn forget(&self) {
        let mut state = self.lookups.lock();
        let ours = |other: &Weak<InFlight>| other.as_ptr() == Arc::as_ptr(&self.in_flight);
        if state.in_flight.get(&self.place).is_some_and(ours) {
            state.in_flight.remove(&self.place);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Turns a panic of foreign code into an error. Without one, the next caller would repeat the
/// lookup and its panic.
async fn caught(lookup: impl Future<Output = Found>) -> Found {
    let mut lookup = pin!(lookup);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| lookup.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(failed(io::Error::other("the resolver panicked")))))
    })
    .await
}

fn failed(error: io::Error) -> DnsError {
    DnsError::new(error)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tower::service_fn;

    use super::{super::source::Over, *};

    #[test]
    fn the_second_waits_even_before_the_first_has_begun() {
        let source = service_fn(async |_: Name| Ok::<[SocketAddr; 0], io::Error>([]));
        let lookups = Arc::new(Lookups::new(Over(source)));
        let name = "peer".into();
        let leader = lookups.join(&name, Duration::ZERO);
        assert!(matches!(leader, Role::Leader(..)));
        let waiter = lookups.join(&name, Duration::ZERO);
        assert!(matches!(waiter, Role::Waiter(_)));

        // Both callers have left, and so the lookup ends.
        drop((leader, waiter));
        assert_eq!(lookups.in_flight(), 0);
    }
}
