//! Tries every order in which threads can notify a waiter while it polls or leaves, and in which requests
//! of a lent origin meet what the state decides.
//!
//! ```text
//! RUSTFLAGS="--cfg session_loom" cargo test -p session-layer --lib --release pool::loom
//! ```
//!
//! The usual `--cfg loom` would switch tokio's sockets off.

use std::{
    sync::Arc as StdArc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};
use tokio::time::Instant;

use super::{
    lent::Lent,
    state::{Checkout, CheckoutAnswer, Numbered, Returned, State},
    waiter_cell::{Notification, WaiterCell},
};
use crate::{
    config::{Limits, Multiplexing},
    origin::{Origin, RawOrigin},
};

/// Stands for a connection or a permit, and counts how often it goes back to the pool.
struct Token(Arc<AtomicUsize>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

type Cell = WaiterCell<Token, Token>;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: StdArc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn waker() -> (StdArc<Woken>, Waker) {
    let woken = StdArc::new(Woken(AtomicBool::new(false)));
    (woken.clone(), Waker::from(woken))
}

/// Polls the cell once, and releases what is in it.
fn look(cell: &Cell, waker: &Waker) -> bool {
    match cell.poll_notification(&mut Context::from_waker(waker)) {
        Poll::Ready(Notification::Permit(_) | Notification::Served(_)) => true,
        Poll::Pending => false,
    }
}

#[test]
fn a_request_that_found_nothing_is_woken_by_what_comes() {
    loom::model(|| {
        let back = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(Cell::new());
        let pool = {
            let (cell, token) = (cell.clone(), Token(back.clone()));
            thread::spawn(move || assert!(cell.serve(token).is_ok()))
        };
        let (woken, waker) = waker();
        let found = look(&cell, &waker);
        pool.join().unwrap();
        assert!(found || (woken.0.load(SeqCst) && look(&cell, &waker)));
        assert_eq!(back.load(SeqCst), 1);
    });
}

#[test]
fn the_last_waker_is_the_one_that_counts() {
    loom::model(|| {
        let back = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(Cell::new());
        let pool = {
            let (cell, token) = (cell.clone(), Token(back.clone()));
            thread::spawn(move || cell.grant(token))
        };
        let (_, first) = waker();
        let (woken, second) = waker();
        let found = look(&cell, &first) || look(&cell, &second);
        pool.join().unwrap();
        assert!(found || (woken.0.load(SeqCst) && look(&cell, &second)));
    });
}

#[test]
fn what_comes_while_a_request_leaves_goes_back_once() {
    loom::model(|| {
        let back = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(Cell::new());
        let permits = {
            let (cell, token) = (cell.clone(), Token(back.clone()));
            thread::spawn(move || cell.grant(token))
        };
        let connections = {
            let (cell, token) = (cell.clone(), Token(back.clone()));
            thread::spawn(move || drop(cell.serve(token)))
        };
        let (_, waker) = waker();
        look(&cell, &waker);
        drop(cell.close());
        permits.join().unwrap();
        connections.join().unwrap();
        // None of them is left in the cell of a request that has left.
        assert_eq!(back.load(SeqCst), 2);
        assert_eq!(Arc::strong_count(&back), 1);
    });
}

/// A small pool: what is free, and which requests wait.
struct Pool {
    waiters: Mutex<Vec<Arc<Cell>>>,
    back: Arc<AtomicUsize>,
}

impl Pool {
    /// As the pool's `release`: chooses a waiter under the lock and serves it after that. If it has
    /// left meanwhile, another is chosen.
    fn release(&self, mut token: Token) {
        loop {
            let Some(chosen) = self.waiters.lock().expect("nothing panics under it").pop() else {
                return;
            };
            match chosen.serve(token) {
                Ok(()) => return,
                Err(refused) => token = refused,
            }
        }
    }

    /// As the pool's `cancel`: closes the cell under the lock under which waiters are chosen.
    fn cancel(&self, cell: &Arc<Cell>) {
        let mut waiters = self.waiters.lock().expect("nothing panics under it");
        let left = cell.close();
        waiters.retain(|other| !Arc::ptr_eq(other, cell));
        drop(waiters);
        if let Some(token) = left.served {
            self.release(token);
        }
    }
}

#[test]
fn a_connection_for_a_request_that_leaves_serves_the_next() {
    loom::model(|| {
        let (stays, leaves) = (Arc::new(Cell::new()), Arc::new(Cell::new()));
        let pool = Arc::new(Pool {
            waiters: Mutex::new(vec![stays.clone(), leaves.clone()]),
            back: Arc::new(AtomicUsize::new(0)),
        });
        let giver = {
            let pool = pool.clone();
            thread::spawn(move || pool.release(Token(pool.back.clone())))
        };
        let (woken, waker) = waker();
        let found = look(&stays, &waker);
        pool.cancel(&leaves);
        giver.join().unwrap();
        assert!(found || (woken.0.load(SeqCst) && look(&stays, &waker)));
        assert_eq!(pool.back.load(SeqCst), 1);
    });
}

/// A connection and a waiter, by number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Id(u64);

impl Numbered for Id {
    fn id(&self) -> u64 {
        self.0
    }

    fn has_answered(&self) -> bool {
        true
    }
}

/// The pool's state and what it lends, as `Pool` uses them.
struct Lending {
    state: Mutex<State<Id, Id, Id>>,
    lent: Lent<Id, Id>,
}

fn origin(uri: &str) -> Origin {
    let uri = uri.parse().expect("it is a URI");
    let spelled = RawOrigin::of(&uri).and_then(|it| it.read());
    spelled.and_then(|it| it.to_origin()).expect("it is valid")
}

impl Lending {
    /// A pool with room for one connection, which serves a request of this origin.
    fn with_one_in_use(origin: &Origin) -> Self {
        let limits = Limits {
            connections: 1,
            per_origin: 1,
            waiting: 9,
            steal_after: Duration::ZERO,
            multiplexing: Multiplexing::Negotiated,
            requests: u64::MAX,
        };
        let pool = Self {
            state: Mutex::new(State::new(limits)),
            lent: Lent::new(),
        };
        assert!(pool.ask(origin, 0).is_none());
        pool.about(origin, |state| {
            let returned = state.connected(origin, Id(1), Instant::now()).0;
            assert!(matches!(returned, Returned::Serve(Id(0), Id(1))));
        });
        pool
    }

    fn about<T>(&self, origin: &Origin, ask: impl FnOnce(&mut State<Id, Id, Id>) -> T) -> T {
        let mut state = self.state.lock().expect("nothing panics under it");
        self.lent.recall(&mut state, origin);
        let answer = ask(&mut state);
        let evicted = self.lent.settle(&mut state, origin);
        assert!(
            evicted.is_empty(),
            "only a request that comes makes room here"
        );
        answer
    }

    /// As the pool's `take` and `check_out`; returns the connection that the request got, or that has to be
    /// closed for it.
    fn ask(&self, origin: &Origin, waiter: u64) -> Option<Id> {
        if let Some((Checkout::Own(id), _)) = self.lent.take(origin) {
            return Some(id);
        }
        let recall = |state: &mut _| self.lent.recall_all(state);
        let answer = self.about(origin, |state| {
            let waiter = || Id(waiter);
            state.check_out(&origin.here(), Instant::now(), None, waiter, recall)
        });
        match answer.expect("its name is valid") {
            CheckoutAnswer::Ready(Checkout::Own(id), _)
            | CheckoutAnswer::Queue(_, Some(Checkout::Own(id))) => Some(id),
            _ => None,
        }
    }

    /// As the pool's `take_back`; returns the waiter that gets the connection, or the connection to
    /// close.
    fn give_back(&self, origin: &Origin, id: Id) -> Option<Returned<Id, Id>> {
        let back = self.lent.put_back(origin, id, Instant::now());
        let id = back.err()?;
        let returned = self.about(origin, |state| state.release(origin, id, Instant::now()));
        (!matches!(returned, Returned::Idle)).then_some(returned)
    }
}

#[test]
fn a_connection_that_comes_back_while_its_origin_is_asked_serves_that_request() {
    loom::model(|| {
        let a = origin("http://a");
        let pool = Arc::new(Lending::with_one_in_use(&a));
        let giver = {
            let (pool, a) = (pool.clone(), a.clone());
            thread::spawn(move || pool.give_back(&a, Id(1)))
        };
        let taken = pool.ask(&a, 2);
        let given = giver.join().unwrap();
        // It either came first and was taken, or found the waiter.
        let served = matches!(given, Some(Returned::Serve(Id(2), Id(1))));
        assert!(served != (taken == Some(Id(1))));
        let counts = pool.about(&a, |state| state.counts());
        assert_eq!((counts.idle, counts.waiting), (0, 0));
    });
}

#[test]
fn a_connection_that_comes_back_while_another_origin_is_asked_makes_room() {
    loom::model(|| {
        let (a, b) = (origin("http://a"), origin("http://b"));
        let pool = Arc::new(Lending::with_one_in_use(&a));
        let giver = {
            let pool = pool.clone();
            thread::spawn(move || pool.give_back(&a, Id(1)))
        };
        let evicted = pool.ask(&b, 2);
        let given = giver.join().unwrap();
        // Whoever came second closes it: it never stands idle while the other origin waits for room.
        let closed = matches!(given, Some(Returned::Close(Id(1))));
        assert!(closed != (evicted == Some(Id(1))));
        let counts = pool.about(&b, |state| state.counts());
        assert_eq!((counts.idle, counts.waiting), (0, 1));
        assert_eq!(pool.lent.count_idle(), 0);
    });
}

#[test]
fn two_requests_never_get_the_same_connection() {
    loom::model(|| {
        let a = origin("http://a");
        let pool = Arc::new(Lending::with_one_in_use(&a));
        assert!(pool.give_back(&a, Id(1)).is_none());
        let other = {
            let (pool, a) = (pool.clone(), a.clone());
            thread::spawn(move || pool.ask(&a, 2))
        };
        let one = pool.ask(&a, 3);
        let other = other.join().unwrap();
        assert!(one.is_some() != other.is_some());
        let counts = pool.about(&a, |state| state.counts());
        assert_eq!(counts.waiting, 1);
    });
}

#[test]
fn nothing_is_kept_when_the_session_closes_at_the_same_moment() {
    loom::model(|| {
        let a = origin("http://a");
        let pool = Arc::new(Lending::with_one_in_use(&a));
        let giver = {
            let (pool, a) = (pool.clone(), a.clone());
            thread::spawn(move || pool.give_back(&a, Id(1)))
        };
        let mut state = pool.state.lock().expect("nothing panics under it");
        pool.lent.recall_all(&mut state);
        let idle = state.close().0.len();
        drop(state);
        let given = giver.join().unwrap();
        let closed = matches!(given, Some(Returned::Close(Id(1))));
        assert!(closed != (idle == 1));
        assert_eq!(pool.lent.count_idle(), 0);
    });
}
