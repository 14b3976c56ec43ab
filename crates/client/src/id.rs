//! Random identifiers of requests.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Adds 128 random bits in hexadecimal digits to a request, unless it has the header.
pub(crate) fn give(headers: &mut HeaderMap, name: &HeaderName) {
    if headers.contains_key(name) {
        return;
    }
    if let Ok(id) = HeaderValue::try_from(random()) {
        headers.insert(name, id);
    }
}

pub(crate) fn random() -> String {
    format!("{:016x}{:016x}", seed(), seed())
}

/// Returns a random number: a keyed hash of the standard library, whose keys come from the
/// operating system.
pub(crate) fn seed() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // Relaxed: each needs another number, in no particular order.
    RandomState::new().hash_one(COUNT.fetch_add(1, Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_twice_and_one_that_is_there_stays() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| random()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32));
        let name = HeaderName::from_static("x-request-id");
        let mut headers = HeaderMap::new();
        headers.insert(&name, HeaderValue::from_static("own"));
        give(&mut headers, &name);
        assert_eq!(headers[&name], "own");
    }
}
