//! Requests on several threads: they take connections and give them back without the state, while others
//! ask it for room.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use super::*;
use crate::pool::{
    lent::Lent,
    waiter_cell::{Notification, WaiterCell},
};

type Given = Checkout<Arc<Link>, Arc<Link>>;
/// What a waiter is given; nothing if the connect has failed.
type Cell = WaiterCell<Permit, Option<Given>>;
type Asked = State<Arc<Link>, Arc<Link>, Arc<Cell>>;

const CONNECTIONS: usize = 4;
const PER_ORIGIN: usize = 2;
const STREAMS: usize = 4;

/// The state and what it lends, as the pool uses them.
struct Pool {
    state: Mutex<Asked>,
    lent: Lent<Arc<Link>, Arc<Link>>,
    origins: [Origin; 3],
    next: AtomicU64,
    /// How many connections are open, to each origin.
    open: [AtomicUsize; 3],
}

/// A connection. It closes when it is dropped, and then frees its permit.
struct Link {
    pool: Arc<Pool>,
    at: usize,
    id: u64,
    /// How many requests it carries.
    carries: AtomicUsize,
}

impl Numbered for Arc<Link> {
    fn id(&self) -> u64 {
        self.id
    }

    fn has_answered(&self) -> bool {
        true
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        assert_eq!(*self.carries.get_mut(), 0);
        self.pool.open[self.at].fetch_sub(1, SeqCst);
        let granted = self
            .pool
            .about(self.at, |state, origin| state.closed(origin, self.id));
        self.pool.grant(granted);
    }
}

struct Permit {
    pool: Arc<Pool>,
    at: usize,
    /// Whether the state counts it among the connects.
    connects: bool,
    is_used: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_used {
            return;
        }
        let granted = self.pool.about(self.at, |state, origin| {
            if self.connects {
                state.connect_cancelled(origin);
            }
            state.permit_freed(origin)
        });
        self.pool.grant(granted);
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits until the pool tells this waiter something.
fn wait(cell: &Cell) -> Notification<Permit, Option<Given>> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let began = Instant::now();
    loop {
        if let Poll::Ready(told) = cell.poll_notification(&mut Context::from_waker(&waker)) {
            return told;
        }
        let left = Duration::from_secs(30).saturating_sub(began.elapsed());
        assert!(!left.is_zero(), "the pool forgot a waiter");
        thread::park_timeout(left);
    }
}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(Limits {
                connections: CONNECTIONS,
                per_origin: PER_ORIGIN,
                waiting: usize::MAX,
                steal_after: Duration::from_micros(20),
                multiplexing: Multiplexing::Negotiated,
                requests: 50,
            })),
            lent: Lent::new(),
            origins: ["a", "b", "s"].map(origin),
            next: AtomicU64::new(1),
            open: Default::default(),
        })
    }

    fn about<T>(&self, at: usize, ask: impl FnOnce(&mut Asked, &Origin) -> T) -> T {
        let origin = &self.origins[at];
        // A test that fails on one thread is to end on the others.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.lent.recall(&mut state, origin);
        let answer = ask(&mut state, origin);
        let evicted = self.lent.settle(&mut state, origin);
        if !thread::panicking() {
            state.assert_consistent();
            state.assert_lends_in_calm_only();
        }
        drop(state);
        drop(evicted);
        answer
    }

    fn grant(self: &Arc<Self>, granted: Vec<(Origin, Arc<Cell>)>) {
        for (origin, cell) in granted {
            let at = self.origins.iter().position(|it| *it == origin);
            cell.grant(self.permit(at.expect("it is one of them")));
        }
    }

    fn permit(self: &Arc<Self>, at: usize) -> Permit {
        Permit {
            pool: self.clone(),
            at,
            connects: true,
            is_used: false,
        }
    }

    fn follow(self: &Arc<Self>, effects: Effects<Arc<Link>, Arc<Cell>>) {
        for (cell, link) in effects.serve {
            self.serve(&cell, Self::begin(Checkout::Stream(link)));
        }
        self.grant(effects.grant);
        for cell in effects.tell {
            let _ = cell.serve(None);
        }
    }

    fn carry_out(self: &Arc<Self>, returned: Returned<Arc<Link>, Arc<Cell>>) {
        match returned {
            Returned::Idle => {}
            Returned::Close(link) => drop(link),
            Returned::Serve(cell, link) => self.serve(&cell, Self::begin(Checkout::Own(link))),
        }
    }

    fn serve(self: &Arc<Self>, cell: &Cell, given: Given) {
        if let Err(Some(refused)) = cell.serve(Some(given)) {
            self.end(refused);
        }
    }

    /// Notes that a request has this connection.
    fn begin(given: Given) -> Given {
        match &given {
            Checkout::Own(link) => assert_eq!(link.carries.fetch_add(1, SeqCst), 0),
            Checkout::Stream(link) => assert!(link.carries.fetch_add(1, SeqCst) < STREAMS),
        }
        given
    }

    /// Ends the request that has this connection.
    fn end(self: &Arc<Self>, given: Given) {
        match given {
            Checkout::Own(link) => {
                let now = Instant::now();
                let at = link.at;
                assert_eq!(link.carries.fetch_sub(1, SeqCst), 1);
                if let Err(link) = self.lent.put_back(&self.origins[at], link, now) {
                    let returned = self.about(at, |state, origin| state.release(origin, link, now));
                    self.carry_out(returned);
                }
            }
            Checkout::Stream(link) => {
                let is_last = link.carries.fetch_sub(1, SeqCst) == 1;
                let now = is_last.then(Instant::now);
                let ended = self.lent.end_stream(&self.origins[link.at], link.id, now);
                if ended == StreamEnd::Open {
                    let effects = self.about(link.at, |state, origin| {
                        state.stream_ended(origin, link.id, Instant::now())
                    });
                    self.follow(effects);
                }
            }
        }
    }

    fn open(self: &Arc<Self>, mut permit: Permit, random: &mut fastrand::Rng) {
        let at = permit.at;
        if random.u8(..10) == 0 {
            let told = self.about(at, |state, origin| {
                state.connect_failed(origin, Failure::Passing)
            });
            permit.connects = false;
            drop(permit);
            for cell in told {
                let _ = cell.serve(None);
            }
            return;
        }
        permit.is_used = true;
        let before = self.open[at].fetch_add(1, SeqCst);
        assert!(before < PER_ORIGIN);
        let all: usize = self.open.iter().map(|open| open.load(SeqCst)).sum();
        assert!(all <= CONNECTIONS);
        let link = Arc::new(Link {
            pool: self.clone(),
            at,
            id: self.next.fetch_add(1, SeqCst),
            carries: AtomicUsize::new(0),
        });
        let now = Instant::now();
        if self.origins[at].scheme() == "https" && random.u8(..8) > 0 {
            let id = link.id;
            let opened = self.about(at, |state, origin| {
                state.connected_shared(origin, link, STREAMS, now)
            });
            self.follow(opened);
            self.set_limit(at, id, random);
        } else {
            let (returned, granted) =
                self.about(at, |state, origin| state.connected(origin, link, now));
            self.carry_out(returned);
            self.grant(granted);
        }
    }

    fn set_limit(self: &Arc<Self>, at: usize, id: u64, random: &mut fastrand::Rng) {
        let limit = random.usize(1..=STREAMS);
        let effects = self.about(at, |state, origin| {
            state.set_limit(origin, id, limit, Instant::now())
        });
        self.follow(effects);
    }

    /// Lets something happen to a connection while it carries a request.
    fn disturb(self: &Arc<Self>, link: &Arc<Link>, random: &mut fastrand::Rng) {
        let (at, id, now) = (link.at, link.id, Instant::now());
        match random.u8(..12) {
            0 => {
                let paused = self.about(at, |state, origin| state.pause(origin, id, now));
                self.follow(paused);
                let resumed = self.about(at, |state, origin| state.resume(origin, id, now));
                self.follow(resumed);
            }
            1 => self.set_limit(at, id, random),
            2 => {
                let drained = self.about(at, |state, origin| state.drain(origin, id, None));
                self.follow(drained);
            }
            3 => drop(self.about(at, |state, origin| {
                state.take_idle_before(origin, Instant::now())
            })),
            _ => {}
        }
    }

    /// One request, from its begin to its end.
    fn request(self: &Arc<Self>, at: usize, again: Option<Arrival>, random: &mut fastrand::Rng) {
        let origin = &self.origins[at];
        let now = Instant::now();
        let taken = again.is_none().then(|| self.lent.take(origin)).flatten();
        let cell = Arc::new(Cell::new());
        let answer = match taken {
            Some((given, ticket)) => CheckoutAnswer::Ready(given, ticket),
            None => self
                .about(at, |state, origin| {
                    let recall = |state: &mut _| self.lent.recall_all(state);
                    state.check_out(&origin.here(), now, again, || cell.clone(), recall)
                })
                .expect("its name is valid"),
        };
        let (given, arrival) = match answer {
            CheckoutAnswer::Ready(given, ticket) => {
                let since = again.map_or(now, |arrival| arrival.since);
                (Some(Self::begin(given)), Arrival { ticket, since })
            }
            CheckoutAnswer::Connect(place) => {
                self.open(self.permit(at), random);
                (None, place.arrival)
            }
            CheckoutAnswer::Covered(place) => (None, place.arrival),
            CheckoutAnswer::Queue(place, evicted) => {
                drop(evicted);
                (None, place.arrival)
            }
            _ => panic!("the queue has no end"),
        };
        let given = match given {
            None if random.u8(..10) == 0 => return self.leave(at, arrival.ticket, &cell),
            None => loop {
                match wait(&cell) {
                    Notification::Permit(permit) => self.open(permit, random),
                    Notification::Served(None) => return,
                    Notification::Served(Some(given)) => break given,
                }
            },
            Some(given) => given,
        };
        match given {
            Checkout::Own(link) if random.u8(..20) == 0 => {
                // It was dead: the request asks again, at the place that it had.
                link.carries.fetch_sub(1, SeqCst);
                drop(link);
                return self.request(at, Some(arrival), random);
            }
            Checkout::Own(_) => {}
            Checkout::Stream(ref link) => self.disturb(link, random),
        }
        if random.bool() {
            thread::yield_now();
        }
        self.end(given);
    }

    fn leave(self: &Arc<Self>, at: usize, ticket: Ticket, cell: &Cell) {
        let left = self.about(at, |state, origin| {
            let mut left = cell.close();
            for permit in &mut left.permits {
                state.connect_cancelled(origin);
                permit.connects = false;
            }
            let _ = state.cancel(origin, ticket);
            left
        });
        drop(left.permits);
        if let Some(Some(given)) = left.served {
            self.end(given);
        }
    }
}

#[test]
fn requests_on_several_threads_keep_the_limits_and_no_waiter_is_forgotten() {
    for round in 0..20 {
        let pool = Pool::new();
        thread::scope(|scope| {
            for number in 0..6 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(round * 100 + number);
                    for _ in 0..200 {
                        // Mostly the same origin, so that it is lent for some time.
                        let at = if random.u8(..4) > 0 {
                            0
                        } else {
                            random.usize(..3)
                        };
                        pool.request(at, None, &mut random);
                    }
                });
            }
        });
        let mut state = pool.state.lock().unwrap();
        pool.lent.recall_all(&mut state);
        let counts = state.counts();
        assert_eq!((counts.connecting, counts.waiting), (0, 0));
        assert_eq!(counts.open, counts.idle, "none carries a request");
        let idle = state.stop_keeping();
        drop(state);
        drop(idle);
        let open: usize = pool.open.iter().map(|open| open.load(SeqCst)).sum();
        assert_eq!(open, 0);
        assert!(pool.state.lock().unwrap().origins.is_empty());
    }
}
