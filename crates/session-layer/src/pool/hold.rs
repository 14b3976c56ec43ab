//! What the locks of the pool are held for, and what threads lose by waiting for each other. It prints
//! figures, of which `docs/threads.md` tells:
//!
//! ```text
//! cargo test -p session-layer --lib --release pool::hold -- --ignored --nocapture
//! ```

use std::{
    hint::black_box,
    sync::{Barrier, Mutex},
    thread,
    time::{Duration, Instant as Clock},
};

use tokio::time::Instant;

use super::{
    lent::Lent,
    state::{Checkout, CheckoutAnswer, Numbered, Returned, State},
};
use crate::{
    config::{Limits, Multiplexing},
    origin::{Origin, RawOrigin},
};

/// A connection that is a number.
#[derive(Clone, Copy, Debug)]
struct Id(u64);

impl Numbered for Id {
    fn id(&self) -> u64 {
        self.0
    }

    fn has_answered(&self) -> bool {
        true
    }
}

/// A pool of numbers, as `Pool` has it of connections.
struct Numbers {
    state: Mutex<State<Id, Id, Id>>,
    lent: Lent<Id, Id>,
    now: Instant,
}

fn origin(number: usize) -> Origin {
    let uri = format!("http://host-{number}.example").parse().unwrap();
    let read = RawOrigin::of(&uri).and_then(|it| it.read());
    read.and_then(|it| it.to_origin()).unwrap()
}

impl Numbers {
    /// With so many idle connections to each.
    fn new(origins: &[Origin], connections: u64) -> Self {
        let pool = Self {
            state: Mutex::new(State::new(Limits {
                connections: 10_000,
                per_origin: 10_000,
                waiting: 0,
                steal_after: Duration::ZERO,
                multiplexing: Multiplexing::Negotiated,
                requests: u64::MAX,
            })),
            lent: Lent::new(),
            now: Instant::now(),
        };
        for origin in origins {
            for id in 0..connections {
                pool.open(origin, id);
            }
            let mut state = pool.state.lock().unwrap();
            for id in 0..connections {
                let returned = state.release(origin, Id(id), pool.now);
                assert!(matches!(returned, Returned::Idle));
            }
        }
        pool
    }

    fn open(&self, origin: &Origin, id: u64) {
        let mut state = self.state.lock().unwrap();
        let answer = state.check_out(&origin.here(), self.now, None, || Id(id), |_| {});
        assert!(matches!(answer, Ok(CheckoutAnswer::Connect(_))));
        let returned = state.connected(origin, Id(id), self.now).0;
        assert!(matches!(returned, Returned::Serve(..)));
    }

    fn lend(&self, origins: &[Origin]) {
        for origin in origins {
            self.lend_anew(origin);
        }
    }

    #[cold]
    fn lend_anew(&self, origin: &Origin) {
        let mut state = self.state.lock().unwrap();
        self.lent.recall(&mut state, origin);
        assert!(self.lent.settle(&mut state, origin).is_empty());
    }

    /// What the pool does for a request: it takes a connection and gives it back.
    #[inline(never)]
    fn lent_request(&self, origin: &Origin, exchange: impl FnOnce()) {
        let id = loop {
            match self.lent.take(origin) {
                Some((Checkout::Own(id), _)) => break id,
                // Its tickets are used up.
                _ => self.lend_anew(origin),
            }
        };
        exchange();
        if let Err(id) = self.lent.put_back(origin, id, self.now) {
            // Another thread lends it anew at this moment.
            let returned = self.state.lock().unwrap().release(origin, id, self.now);
            assert!(matches!(returned, Returned::Idle));
        }
    }

    /// The same by the state, under the one lock of all origins.
    #[inline(never)]
    fn state_request(&self, origin: &Origin, exchange: impl FnOnce()) {
        let asked = {
            let mut state = self.state.lock().unwrap();
            state.check_out(&origin.here(), self.now, None, || Id(0), |_| {})
        };
        let Ok(CheckoutAnswer::Ready(Checkout::Own(id), _)) = asked else {
            panic!("there are enough");
        };
        exchange();
        let returned = self.state.lock().unwrap().release(origin, id, self.now);
        assert!(matches!(returned, Returned::Idle));
    }
}

/// Does nothing that another thread could notice, for so many turns.
fn work(turns: u32) {
    for turn in 0..turns {
        black_box(turn);
    }
}

/// Nanoseconds from the beginning to the end of all threads, for each call of one. The least of several rounds
/// counts: that is one in which all threads ran at the same time, and no other program.
fn measure(threads: usize, request: impl Fn(usize) + Sync) -> f64 {
    const CALLS: u32 = 10_000;
    let round = || {
        let start = Barrier::new(threads);
        let request = &request;
        let one = &|thread: usize| {
            start.wait();
            let began = Clock::now();
            (0..CALLS).for_each(|_| request(thread));
            (began, Clock::now())
        };
        let times: Vec<_> = thread::scope(|scope| {
            let all: Vec<_> = (0..threads)
                .map(|thread| scope.spawn(move || one(thread)))
                .collect();
            all.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let began = times.iter().map(|(began, _)| *began).min().unwrap();
        let ended = times.iter().map(|(_, ended)| *ended).max().unwrap();
        (ended - began).as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..60).map(|_| round()).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "it measures"]
fn what_a_request_holds_and_what_two_threads_lose() {
    let origins = [origin(0), origin(1)];
    let (one, two) = (Numbers::new(&origins, 8), Numbers::new(&origins, 8));
    one.lend(&origins);
    println!(
        "turns of work  ns alone   2 on 1 origin   2 on 2 origins   1 lock: alone   2 on 2 origins"
    );
    for turns in [0, 100, 300, 1_000, 3_000] {
        let lent = |thread: usize| one.lent_request(&origins[thread], || work(turns));
        let same = |_| one.lent_request(&origins[0], || work(turns));
        let locked = |thread: usize| two.state_request(&origins[thread], || work(turns));
        println!(
            "{turns:13} {:9.1} {:15.1} {:16.1} {:15.1} {:16.1}",
            measure(1, lent),
            measure(2, same),
            measure(2, lent),
            measure(1, locked),
            measure(2, locked),
        );
    }
    println!(
        "a turn alone: {:.3} ns",
        measure(1, |_| work(1_000)) / 1_000.0
    );
    // What the locks and the calls alone take.
    let empty = Mutex::new(());
    let lock = |_| drop(black_box(empty.lock().unwrap()));
    println!(
        "a lock alone: {:.1} ns; of two threads: {:.1} ns",
        measure(1, lock),
        measure(2, lock)
    );
}
