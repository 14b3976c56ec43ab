use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The answers of the last lookups, by name. At its capacity the least recently used answer is
/// removed.
///
/// It has no clock: the reader says how old an answer may be.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Arc<str>, Entry>,
    /// The names by their last use.
    used: BTreeMap<u64, Arc<str>>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<Answer>,
    used: u64,
}

/// What a lookup found, and at which address the next reader starts.
#[derive(Debug)]
pub(super) struct Answer {
    addresses: Box<[SocketAddr]>,
    found: Instant,
    turn: AtomicUsize,
}

impl Cache {
    /// Returns the answer for a name if it is younger than `ttl`.
    pub(super) fn get(&mut self, name: &str, ttl: Duration, now: Instant) -> Option<Arc<Answer>> {
        let entry = self.entries.get_mut(name)?;
        if now.saturating_duration_since(entry.answer.found) >= ttl {
            // It stays until the next answer comes, which takes its turn over.
            return None;
        }
        if let Some(name) = self.used.remove(&entry.used) {
            self.uses += 1;
            entry.used = self.uses;
            self.used.insert(self.uses, name);
        }
        Some(entry.answer.clone())
    }

    /// Keeps an answer for a name in place of the older one. At the capacity, the least recently
    /// used name is removed.
    pub(super) fn insert(
        &mut self,
        name: &Arc<str>,
        addresses: Vec<SocketAddr>,
        capacity: usize,
        now: Instant,
    ) -> Arc<Answer> {
        let older = self.entries.remove(name);
        let turn = older.as_ref().map_or(0, |older| older.answer.turn());
        if let Some(older) = older {
            self.used.remove(&older.used);
        }
        let answer = Arc::new(Answer {
            addresses: addresses.into(),
            found: now,
            turn: AtomicUsize::new(turn),
        });
        while self.entries.len() >= capacity {
            let Some((_, oldest)) = self.used.pop_first() else {
                break;
            };
            self.entries.remove(&oldest);
        }
        if capacity > 0 {
            self.uses += 1;
            self.used.insert(self.uses, name.clone());
            let entry = Entry {
                answer: answer.clone(),
                used: self.uses,
            };
            self.entries.insert(name.clone(), entry);
        }
        answer
    }
}

impl Answer {
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Counts the readers of this answer: each starts at the next address.
    pub(super) fn take_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn keep(cache: &mut Cache, name: &str, capacity: usize, now: Instant) -> Arc<Answer> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        cache.insert(&name.into(), vec![address], capacity, now)
    }

    fn names(cache: &Cache) -> Vec<&str> {
        assert_eq!(cache.entries.len(), cache.used.len());
        let mut names: Vec<_> = cache.entries.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn an_answer_is_good_until_its_time_and_not_at_it() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        keep(&mut cache, "a", 1, now);
        let just_before = now + TTL.checked_sub(Duration::from_nanos(1)).unwrap();
        assert!(cache.get("a", TTL, just_before).is_some());
        assert!(cache.get("a", TTL, now + TTL).is_none());
        assert!(cache.get("a", 2 * TTL, now + TTL).is_some());
        assert!(cache.get("a", Duration::ZERO, now).is_none());
    }

    #[test]
    fn the_name_that_was_not_asked_for_the_longest_goes() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for name in ["a", "b", "c"] {
            keep(&mut cache, name, 3, now);
        }
        assert!(cache.get("a", TTL, now).is_some());
        keep(&mut cache, "d", 3, now);
        assert_eq!(names(&cache), ["a", "c", "d"]);
        keep(&mut cache, "c", 3, now);
        assert_eq!(names(&cache), ["a", "c", "d"]);
        keep(&mut cache, "e", 2, now);
        assert_eq!(names(&cache), ["c", "e"]);
        keep(&mut cache, "f", 0, now);
        assert!(names(&cache).is_empty());
    }

    #[test]
    fn ten_thousand_names_leave_what_the_capacity_allows() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..10_000 {
            keep(&mut cache, &format!("host-{number}"), 1024, now);
        }
        assert_eq!(names(&cache).len(), 1024);
    }

    #[test]
    fn a_new_answer_goes_on_with_the_turn_of_the_old_one() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let answer = keep(&mut cache, "a", 1, now);
        assert_eq!((answer.take_turn(), answer.take_turn()), (0, 1));
        assert_eq!(keep(&mut cache, "a", 1, now + TTL).take_turn(), 2);
    }
}
