//! The origin that a thread has last asked for, so that its hash is not computed again.
//!
//! Most requests of a thread go where the one before went, and a request that passes a breaker and a
//! pause is looked up twice. To compare the text of an authority takes a third of what it takes to
//! normalize and to hash it.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
};

use http::{Uri, uri::Authority};

thread_local! {
    static LAST: RefCell<Memo> = const { RefCell::new(Memo::NONE) };
}

/// Tells the ledgers of a process apart: each hashes by a seed of its own. Never 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LedgerId(u64);

impl LedgerId {
    pub(super) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }
}

#[derive(Debug)]
struct Memo {
    ledger: LedgerId,
    hash: u64,
    is_https: bool,
    length: usize,
    authority: [u8; Memo::LONGEST],
}

impl Memo {
    /// Longer ones are not kept.
    const LONGEST: usize = 48;
    const NONE: Self = Self {
        ledger: LedgerId(0),
        hash: 0,
        is_https: false,
        length: 0,
        authority: [0; Self::LONGEST],
    };

    #[inline]
    fn is_of(&self, ledger: LedgerId, is_https: bool, authority: &[u8]) -> bool {
        self.ledger == ledger
            && self.is_https == is_https
            && self.length == authority.len()
            && self.authority.get(..self.length) == Some(authority)
    }

    fn keep(&mut self, ledger: LedgerId, is_https: bool, authority: &[u8], hash: u64) {
        let Some(kept) = self.authority.get_mut(..authority.len()) else {
            return;
        };
        kept.copy_from_slice(authority);
        self.length = authority.len();
        (self.ledger, self.is_https, self.hash) = (ledger, is_https, hash);
    }
}

/// The hash of the origin of this URI in a ledger, by `compute` unless it is known.
#[inline]
pub(super) fn hash_of(ledger: LedgerId, uri: &Uri, compute: impl FnOnce() -> u64) -> u64 {
    // Their text is compared, since `Scheme` compares in a call of its own.
    let is_https = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(_) | None => return compute(),
    };
    let Some(authority) = uri.authority() else {
        return compute();
    };
    let text = authority.as_str().as_bytes();
    let known = LAST.try_with(|last| {
        let last = last.try_borrow().ok()?;
        last.is_of(ledger, is_https, text).then_some(last.hash)
    });
    match known {
        Ok(Some(hash)) => hash,
        Ok(None) | Err(_) => computed(ledger, is_https, authority, compute()),
    }
}

#[inline(never)]
fn computed(ledger: LedgerId, is_https: bool, authority: &Authority, hash: u64) -> u64 {
    // On a thread that ends there may be no memo any more.
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            last.keep(ledger, is_https, authority.as_str().as_bytes(), hash);
        }
    });
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: LedgerId = LedgerId(u64::MAX);

    /// The hash, and whether it was computed.
    fn hash(ledger: LedgerId, uri: &str, computed: u64) -> (u64, bool) {
        let mut was_computed = false;
        let hash = hash_of(ledger, &uri.parse().unwrap(), || {
            was_computed = true;
            computed
        });
        (hash, was_computed)
    }

    #[test]
    fn the_origin_that_was_asked_for_last_is_known() {
        assert_eq!(hash(LEDGER, "http://peer/", 1), (1, true));
        assert_eq!(hash(LEDGER, "http://peer/path?query", 2), (1, false));
    }

    #[test]
    fn another_scheme_authority_or_ledger_is_another_origin() {
        for (number, (ledger, uri)) in [
            (LEDGER, "http://peer/"),
            (LEDGER, "https://peer/"),
            (LEDGER, "https://peer:1/"),
            (LEDGER, "https://peer:2/"),
            (LedgerId(u64::MAX - 1), "https://peer:2/"),
            (LEDGER, "https://peer:2/"),
        ]
        .into_iter()
        .enumerate()
        {
            let number = u64::try_from(number).unwrap();
            assert_eq!(hash(ledger, uri, number), (number, true), "{uri}");
        }
    }

    #[test]
    fn what_is_long_or_has_another_scheme_is_computed_each_time() {
        let long = format!("http://{}/", "a".repeat(Memo::LONGEST + 1));
        for uri in [&*long, "ftp://peer/", "/path"] {
            assert_eq!(hash(LEDGER, uri, 1), (1, true), "{uri}");
            assert_eq!(hash(LEDGER, uri, 2), (2, true), "{uri}");
        }
    }

    #[test]
    fn no_two_ledgers_have_the_same_number() {
        assert_ne!(LedgerId::new(), LedgerId::new());
    }
}
