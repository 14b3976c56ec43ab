//! Tries every order in which threads can take from a balance, add to it and pay back.
//!
//! ```text
//! RUSTFLAGS="--cfg retry_loom" cargo test -p retry-layer --lib --release budget::loom
//! ```
//!
//! The usual `--cfg loom` would switch tokio's sockets off, which other tests are built with.

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::tokens::Tokens;

/// A balance of `capacity` from which all but `balance` is taken.
fn tokens(capacity: u64, balance: u64) -> Arc<Tokens> {
    let tokens = Tokens::full(capacity);
    assert!(tokens.take(capacity - balance));
    Arc::new(tokens)
}

#[test]
fn two_calls_cannot_both_have_the_last_token() {
    loom::model(|| {
        let tokens = tokens(3, 1);
        let other = {
            let tokens = Arc::clone(&tokens);
            thread::spawn(move || tokens.take(1))
        };
        let here = tokens.take(1);
        assert!(here != other.join().unwrap());
        assert_eq!(tokens.balance(), 0);
    });
}

#[test]
fn a_refund_beside_withdrawals_is_neither_lost_nor_doubled() {
    loom::model(|| {
        let tokens = tokens(3, 1);
        let granted = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..2)
            .map(|n| {
                let (tokens, granted) = (Arc::clone(&tokens), Arc::clone(&granted));
                thread::spawn(move || {
                    if tokens.take(1) {
                        if n == 0 {
                            // The retry was given up before it was sent.
                            tokens.add(1);
                        } else {
                            granted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(tokens.balance() + granted.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn deposits_beside_withdrawals_keep_the_balance_exact() {
    loom::model(|| {
        let tokens = tokens(10, 4);
        let taker = {
            let tokens = Arc::clone(&tokens);
            thread::spawn(move || u64::from(tokens.take(5)) * 5)
        };
        let giver = {
            let tokens = Arc::clone(&tokens);
            thread::spawn(move || tokens.add(1))
        };
        tokens.add(1);
        giver.join().unwrap();
        let taken = taker.join().unwrap();
        assert_eq!(tokens.balance(), 6 - taken);
    });
}

#[test]
fn a_full_balance_stays_at_its_capacity() {
    loom::model(|| {
        let tokens = tokens(2, 1);
        let other = {
            let tokens = Arc::clone(&tokens);
            thread::spawn(move || tokens.add(1))
        };
        tokens.add(2);
        other.join().unwrap();
        assert_eq!(tokens.balance(), 2);
    });
}

#[test]
fn losses_end_at_nothing() {
    loom::model(|| {
        let tokens = tokens(3, 1);
        let other = {
            let tokens = Arc::clone(&tokens);
            thread::spawn(move || tokens.lose(1))
        };
        tokens.lose(1);
        other.join().unwrap();
        assert_eq!(tokens.balance(), 0);
    });
}
