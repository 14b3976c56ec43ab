//! Tries every order in which threads can notify a waiter while it polls or leaves.
//!
//! ```text
//! RUSTFLAGS="--cfg session_loom" cargo test -p session-layer --lib --release pool::loom
//! ```
//!
//! The usual `--cfg loom` would switch tokio's sockets off.

use std::{
    sync::Arc as StdArc,
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use super::waiter_cell::{Notification, WaiterCell};

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
