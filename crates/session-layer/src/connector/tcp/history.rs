//! Decides in which order to try the addresses of a name, by which of them connected lately. It has
//! no lock and no clock.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use tokio::time::Instant;

/// How long it is remembered that an address failed, or that it was the one that connected.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The most addresses that are remembered; at the limit the oldest mark is dropped.
const CAPACITY: usize = 1024;

/// How an attempt to connect has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Connected,
    /// It failed, or an attempt that began later was connected first.
    Failed,
}

/// Marks on addresses, from connects in which an address failed or was overtaken.
///
/// They belong to addresses and not to names: whether an address can be reached does not depend on
/// the name that led to it. As long as every address works, nothing is remembered, so that
/// connections stay spread over all of them in the order that the resolver gives.
#[derive(Debug, Default)]
pub(super) struct History {
    marks: HashMap<SocketAddr, Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    outcome: Outcome,
    made: Instant,
}

impl Mark {
    fn holds(self, now: Instant) -> bool {
        now.saturating_duration_since(self.made) < REMEMBERED
    }
}

impl History {
    /// Puts the addresses into the order in which to try them.
    ///
    /// Addresses that failed lately come last, the one whose failure is oldest first. If there are
    /// any, the address that connected in their place comes first. Within both groups the families
    /// take turns, beginning with the family of the first address
    /// ([RFC 8305, section 4](https://www.rfc-editor.org/rfc/rfc8305#section-4)); apart from that
    /// the order stays as it was.
    pub(super) fn arrange(&self, addresses: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        let mut good = Vec::with_capacity(addresses.len());
        let mut failed = Vec::new();
        for address in addresses {
            match self.mark(address, now) {
                Some(mark) if mark.outcome == Outcome::Failed => failed.push((mark.made, address)),
                Some(_) | None => good.push(address),
            }
        }
        if !failed.is_empty() {
            good.sort_by_key(|address| self.mark(*address, now).is_none());
            failed.sort_by_key(|(made, _)| *made);
        }
        let mut arranged = interleave(good);
        arranged.extend(interleave(failed.into_iter().map(|(_, address)| address)));
        arranged
    }

    /// Adds how the attempts of one connect have ended.
    pub(super) fn note(&mut self, outcomes: &[(SocketAddr, Outcome)], now: Instant) {
        let failed = |(_, outcome): &(_, Outcome)| *outcome == Outcome::Failed;
        let trouble = outcomes.iter().any(failed);
        for (address, outcome) in outcomes.iter().copied() {
            // If no address failed, a success only corrects the mark of its own address.
            if trouble || self.failed(address) {
                self.make_room(address, now);
                self.marks.insert(address, Mark { outcome, made: now });
            }
        }
    }

    fn mark(&self, address: SocketAddr, now: Instant) -> Option<Mark> {
        self.marks
            .get(&address)
            .copied()
            .filter(|mark| mark.holds(now))
    }

    fn failed(&self, address: SocketAddr) -> bool {
        let mark = self.marks.get(&address);
        mark.is_some_and(|mark| mark.outcome == Outcome::Failed)
    }

    fn make_room(&mut self, address: SocketAddr, now: Instant) {
        if self.marks.len() < CAPACITY || self.marks.contains_key(&address) {
            return;
        }
        self.marks.retain(|_, mark| mark.holds(now));
        if self.marks.len() >= CAPACITY {
            let oldest = self.marks.iter().min_by_key(|(_, mark)| mark.made);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.marks.remove(&oldest);
            }
        }
    }
}

/// Lets the families take turns, beginning with that of the first address.
fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.into_iter().peekable();
    let first_is_ipv4 = addresses.peek().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.partition(|address| address.is_ipv4() == first_is_ipv4);
    let mut interleaved = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return interleaved;
        }
        interleaved.extend(pair.0.into_iter().chain(pair.1));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::{
        Outcome::{Connected, Failed},
        *,
    };

    /// `4a` is an IPv4 address, `6a` one of IPv6.
    fn address(name: &str) -> SocketAddr {
        let number = name.as_bytes()[1];
        if name.starts_with('4') {
            SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 80))
        } else {
            SocketAddr::from((Ipv6Addr::new(1, 0, 0, 0, 0, 0, 0, number.into()), 80))
        }
    }

    fn arranged(history: &History, names: &str, now: Instant) -> String {
        let all: Vec<_> = names.split(' ').collect();
        let arranged = history.arrange(all.iter().map(|name| address(name)).collect(), now);
        let name_of = |it: &SocketAddr| *all.iter().find(|name| address(name) == *it).unwrap();
        arranged.iter().map(name_of).collect::<Vec<_>>().join(" ")
    }

    fn note(history: &mut History, outcomes: &[(&str, Outcome)], now: Instant) {
        let outcomes: Vec<_> = outcomes
            .iter()
            .map(|(it, how)| (address(it), *how))
            .collect();
        history.note(&outcomes, now);
    }

    #[test]
    fn the_families_take_turns_and_the_first_address_stays_first() {
        let (history, now) = (History::default(), Instant::now());
        for (given, expected) in [
            ("4a", "4a"),
            ("4a 4b 4c", "4a 4b 4c"),
            ("6a 6b 4a 4b", "6a 4a 6b 4b"),
            ("6a 6b 6c 4a", "6a 4a 6b 6c"),
            ("4a 6a 6b 6c", "4a 6a 6b 6c"),
            ("4a 4b 4c 6a 6b", "4a 6a 4b 6b 4c"),
        ] {
            assert_eq!(arranged(&history, given, now), expected, "{given}");
        }
        assert!(history.arrange(Vec::new(), now).is_empty());
    }

    #[test]
    fn failed_addresses_come_last_and_the_one_that_connected_first() {
        let now = Instant::now();
        for (outcomes, given, expected) in [
            (&[("4a", Failed)][..], "4a 4b 4c", "4b 4c 4a"),
            (&[("4a", Failed), ("4b", Connected)], "4a 4b", "4b 4a"),
            (&[("4a", Failed), ("4c", Connected)], "4a 4b 4c", "4c 4b 4a"),
            (&[("4a", Failed), ("4c", Connected)], "4b 4a 4c", "4c 4b 4a"),
            (
                &[("6a", Failed), ("4a", Connected)],
                "6a 6b 4a 4b",
                "4a 6b 4b 6a",
            ),
            (
                &[("6a", Failed), ("6b", Failed)],
                "6a 6b 4a 4b",
                "4a 4b 6a 6b",
            ),
            (&[("4a", Failed), ("4b", Failed)], "4a 4b", "4a 4b"),
            // What is remembered of others says nothing of these.
            (&[("4x", Failed), ("4b", Connected)], "4a 4b", "4a 4b"),
        ] {
            let mut history = History::default();
            note(&mut history, outcomes, now);
            assert_eq!(arranged(&history, given, now), expected, "{outcomes:?}");
        }
    }

    #[test]
    fn of_those_that_failed_the_one_whose_failure_is_oldest_is_tried_first() {
        let (mut history, now) = (History::default(), Instant::now());
        note(&mut history, &[("4a", Failed)], now);
        let later = now + Duration::from_secs(1);
        note(&mut history, &[("4b", Failed)], later);
        assert_eq!(arranged(&history, "4b 4a", later), "4a 4b");
    }

    #[test]
    fn a_failure_is_forgotten_after_a_minute_or_a_success() {
        let (mut history, now) = (History::default(), Instant::now());
        note(&mut history, &[("4a", Failed), ("4b", Connected)], now);
        let just_before = now + REMEMBERED.checked_sub(Duration::from_nanos(1)).unwrap();
        assert_eq!(arranged(&history, "4a 4b", just_before), "4b 4a");
        assert_eq!(arranged(&history, "4a 4b", now + REMEMBERED), "4a 4b");

        note(&mut history, &[("4a", Connected)], now);
        assert_eq!(arranged(&history, "4a 4b", now), "4a 4b");
    }

    #[test]
    fn connects_without_trouble_leave_no_mark() {
        let (mut history, now) = (History::default(), Instant::now());
        for name in ["4a", "4b", "6a"] {
            note(&mut history, &[(name, Connected)], now);
        }
        assert!(history.marks.is_empty());
    }

    #[test]
    fn ten_thousand_failures_leave_what_the_capacity_allows() {
        let (mut history, now) = (History::default(), Instant::now());
        let address = |number: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        for number in 0..10_000_u16 {
            let now = now + Duration::from_millis(number.into());
            history.note(&[(address(number), Failed)], now);
        }
        assert_eq!(history.marks.len(), CAPACITY);
        assert!(history.failed(address(9_999)) && !history.failed(address(0)));
        let much_later = now + Duration::from_secs(3_600);
        history.note(&[(address(0), Failed)], much_later);
        assert_eq!(history.marks.len(), 1);
    }

    #[test]
    fn an_address_that_fails_again_at_the_capacity_costs_no_other_its_mark() {
        let (mut history, now) = (History::default(), Instant::now());
        let address = |number: usize| {
            let number = u16::try_from(number).unwrap();
            SocketAddr::from((Ipv4Addr::LOCALHOST, number))
        };
        for number in 0..CAPACITY {
            history.note(&[(address(number), Failed)], now);
        }
        let later = now + Duration::from_secs(1);
        history.note(&[(address(CAPACITY - 1), Failed)], later);
        assert!((0..CAPACITY).all(|number| history.failed(address(number))));
    }
}
