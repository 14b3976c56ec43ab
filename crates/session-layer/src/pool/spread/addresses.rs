//! Which address of a name a request goes to. Pure: moments and randomness are parameters.

use std::{mem, net::SocketAddr, time::Duration};

use hashbrown::{HashMap, HashSet};
use tokio::time::Instant;

/// For how long an address is left out after its first failure; each further one doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);

const LONGEST_REST: Duration = Duration::from_secs(30);

/// How long no second request tries an address that has failed, while the first does.
const TRIAL: Duration = Duration::from_secs(1);

/// Up to so many addresses are all looked at for each request. Of more, a few are drawn: a name may have
/// thousands.
const FEW: usize = 16;

/// How often an address is drawn of many until it is one that works and is new to the call.
const DRAWS: usize = 16;

/// The addresses of one name; the pool knows each by a key `K`.
#[derive(Debug)]
pub(super) struct Addresses<K> {
    known: Vec<Known<K>>,
    /// Where each of them is in `known`.
    places: HashMap<SocketAddr, usize>,
    /// When the name is to be looked up again; before the first answer there is none.
    renew_at: Option<Instant>,
    is_renewing: bool,
    picks: u64,
}

#[derive(Debug)]
struct Known<K> {
    address: SocketAddr,
    key: K,
    /// Failures since a request was answered that was sent after the last of them.
    failures: u32,
    /// When it failed last.
    failed_at: Option<Instant>,
    /// Until when it is left out.
    rests_until: Option<Instant>,
    /// Whether a request tries it, after it has been left out.
    is_on_trial: bool,
    /// Which of the picks was its last one; 0 if none was.
    picked: u64,
}

/// What a lookup has changed.
#[derive(Debug)]
pub(super) struct Renewed<K> {
    pub(super) added: Vec<K>,
    pub(super) gone: Vec<K>,
}

/// The addresses of which a request takes one: the first, unless the second has fewer requests.
#[derive(Debug)]
pub(super) struct Candidates<K> {
    pub(super) first: K,
    pub(super) second: Option<K>,
}

impl<K: Clone> Addresses<K> {
    pub(super) fn new() -> Self {
        Self {
            known: Vec::new(),
            places: HashMap::new(),
            renew_at: None,
            is_renewing: false,
            picks: 0,
        }
    }

    /// Whether there is more than one.
    pub(super) fn are_several(&self) -> bool {
        self.known.len() > 1
    }

    /// Whether the name has to be looked up again now, which the caller does from then on.
    pub(super) fn begin_renewal(&mut self, now: Instant) -> bool {
        let is_due = self.renew_at.is_some_and(|at| at <= now) && !self.is_renewing;
        self.is_renewing |= is_due;
        is_due
    }

    /// Whether what is known was looked up lately.
    pub(super) fn are_fresh(&self, now: Instant) -> bool {
        self.renew_at.is_some_and(|at| now < at)
    }

    /// Takes note of the end of a lookup, if it did not bring anything: what is known stays.
    pub(super) fn renewal_ended(&mut self, again_at: Option<Instant>) {
        if mem::take(&mut self.is_renewing) {
            self.renew_at = again_at;
        }
    }

    /// Takes in what a lookup has found.
    pub(super) fn renew(
        &mut self,
        found: &[SocketAddr],
        again_at: Option<Instant>,
        mut key: impl FnMut(SocketAddr) -> K,
    ) -> Renewed<K> {
        self.is_renewing = false;
        self.renew_at = again_at;
        let listed: HashSet<_> = found.iter().copied().collect();
        let mut gone = Vec::new();
        self.known.retain(|known| {
            let stays = listed.contains(&known.address);
            if !stays {
                gone.push(known.key.clone());
            }
            stays
        });
        self.places.clear();
        let stay = self.known.iter().enumerate();
        self.places
            .extend(stay.map(|(place, known)| (known.address, place)));
        let mut added = Vec::new();
        for &address in found {
            if self.places.contains_key(&address) {
                continue;
            }
            let key = key(address);
            added.push(key.clone());
            self.places.insert(address, self.known.len());
            self.known.push(Known {
                address,
                key,
                failures: 0,
                failed_at: None,
                rests_until: None,
                is_on_trial: false,
                picked: 0,
            });
        }
        Renewed { added, gone }
    }

    /// Chooses two addresses at random of those that work and that the call has not `tried`; `random` gives
    /// a number below the one that it is given. Where there are none, it takes what is left of these wishes.
    pub(super) fn candidates(
        &self,
        tried: &[SocketAddr],
        now: Instant,
        mut random: impl FnMut(usize) -> usize,
    ) -> Option<Candidates<K>> {
        let drawn = self.draw(tried, now, &mut random);
        let (mut first, mut second) = match drawn {
            Some((first, second)) => (first, Some(second)),
            None => self.choose(tried, now, random)?,
        };
        if let Some(other) = &mut second {
            if other.picked < first.picked {
                mem::swap(&mut first, other);
            }
        }
        Some(Candidates {
            first: first.key.clone(),
            second: second.map(|known| known.key.clone()),
        })
    }

    /// Draws two of many addresses that work and that the call has not tried, without a look at the others.
    fn draw(
        &self,
        tried: &[SocketAddr],
        now: Instant,
        random: &mut impl FnMut(usize) -> usize,
    ) -> Option<(&Known<K>, &Known<K>)> {
        if self.known.len() <= FEW {
            return None;
        }
        let mut first: Option<&Known<K>> = None;
        for _ in 0..DRAWS {
            let drawn = self.known.get(random(self.known.len()))?;
            if drawn.rests(now) || tried.contains(&drawn.address) {
                continue;
            }
            match first {
                None => first = Some(drawn),
                Some(first) if first.address == drawn.address => {}
                Some(first) => return Some((first, drawn)),
            }
        }
        None
    }

    /// The same of all addresses.
    fn choose(
        &self,
        tried: &[SocketAddr],
        now: Instant,
        mut random: impl FnMut(usize) -> usize,
    ) -> Option<(&Known<K>, Option<&Known<K>>)> {
        let works = |known: &&Known<K>| !known.rests(now);
        let is_new = |known: &&Known<K>| !tried.contains(&known.address);
        let all = || self.known.iter();
        let mut choice: Vec<_> = all().filter(works).filter(is_new).collect();
        if choice.is_empty() {
            choice = all().filter(is_new).collect();
        }
        if choice.is_empty() {
            choice = all().filter(works).collect();
        }
        if choice.is_empty() {
            choice = all().collect();
        }
        let mut take = || {
            let at = (!choice.is_empty()).then(|| random(choice.len()))?;
            (at < choice.len()).then(|| choice.swap_remove(at))
        };
        Some((take()?, take()))
    }

    /// Takes note that a request goes to this address.
    pub(super) fn picked(&mut self, address: SocketAddr, now: Instant) {
        self.picks = self.picks.saturating_add(1);
        let number = self.picks;
        if let Some(known) = self.find(address) {
            known.picked = number;
            if known.failures > 0 && !known.rests(now) {
                known.is_on_trial = true;
                known.rests_until = now.checked_add(TRIAL);
            }
        }
    }

    /// Takes note that an address failed. What else fails while it is left out began before that, so it is
    /// the same failure: that of all requests on one connection, or of several connects.
    pub(super) fn failed(&mut self, address: SocketAddr, now: Instant) {
        if let Some(known) = self.find(address) {
            if known.rests(now) && !known.is_on_trial {
                return;
            }
            known.is_on_trial = false;
            let doublings = known.failures.min(u32::BITS - 1);
            let rest = FIRST_REST.saturating_mul(1 << doublings).min(LONGEST_REST);
            known.failures = known.failures.saturating_add(1);
            known.failed_at = Some(now);
            known.rests_until = now.checked_add(rest);
        }
    }

    /// Takes note that an address has answered a request that was `sent` at that moment. It works, unless
    /// it has failed since: connections that are open may do well while no more can be opened.
    pub(super) fn answered(&mut self, address: SocketAddr, sent: Instant) {
        if let Some(known) = self.find(address) {
            if known.failed_at.is_some_and(|failed| failed < sent) {
                known.failures = 0;
                known.failed_at = None;
                known.rests_until = None;
                known.is_on_trial = false;
            }
        }
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Known<K>> {
        let place = *self.places.get(&address)?;
        self.known.get_mut(place)
    }
}

impl<K> Known<K> {
    /// Whether it is left out.
    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 80))
    }

    fn addresses(numbers: &[u8], now: Instant) -> Addresses<u8> {
        let mut addresses = Addresses::new();
        let renewed = renew(&mut addresses, numbers, now);
        assert_eq!(renewed.added, numbers);
        addresses
    }

    fn renew(addresses: &mut Addresses<u8>, numbers: &[u8], now: Instant) -> Renewed<u8> {
        let found: Vec<_> = numbers.iter().map(|number| address(*number)).collect();
        addresses.renew(&found, Some(now + SECOND), |address| match address {
            SocketAddr::V4(address) => address.ip().octets()[3],
            SocketAddr::V6(_) => panic!("none was added"),
        })
    }

    /// Whom so many requests go to that have not tried anything, with these requests in flight.
    fn picks(
        addresses: &mut Addresses<u8>,
        times: usize,
        now: Instant,
        load: impl Fn(u8) -> usize,
    ) -> Vec<usize> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = vec![0; 10];
        for _ in 0..times {
            let candidates = addresses.candidates(&[], now, |below| random.usize(..below));
            let Candidates { first, second } = candidates.expect("there are some");
            let picked = match second {
                Some(second) if load(second) < load(first) => second,
                Some(_) | None => first,
            };
            addresses.picked(address(picked), now);
            counts[usize::from(picked)] += 1;
        }
        counts
    }

    #[test]
    fn requests_one_after_the_other_go_to_all_alike() {
        let now = Instant::now();
        let mut addresses = addresses(&[0, 1, 2], now);
        for count in &picks(&mut addresses, 300, now, |_| 0)[..3] {
            assert!((95..=105).contains(count), "{count}");
        }
        // One that is new gets its share, and no more.
        renew(&mut addresses, &[0, 1, 2, 3], now);
        for count in &picks(&mut addresses, 400, now, |_| 0)[..4] {
            assert!((92..=108).contains(count), "{count}");
        }
    }

    #[test]
    fn of_two_the_one_with_fewer_requests_is_taken() {
        let now = Instant::now();
        let mut addresses = addresses(&[0, 1, 2], now);
        let counts = picks(&mut addresses, 300, now, |number| usize::from(number == 1));
        assert_eq!(counts[1], 0);
    }

    #[test]
    fn what_failed_rests_longer_each_time_and_is_tried_by_one_request_then() {
        let start = Instant::now();
        let mut addresses = addresses(&[0, 1, 2], start);
        let mut now = start;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            addresses.failed(address(1), now);
            let almost = now + seconds * SECOND - Duration::from_millis(1);
            assert_eq!(picks(&mut addresses, 100, almost, |_| 0)[1], 0);
            now += seconds * SECOND;
            assert_eq!(picks(&mut addresses, 100, now, |_| 0)[1], 1);
        }
        // What was sent before the last failure says nothing.
        let failed = now - 30 * SECOND;
        addresses.answered(address(1), failed);
        assert_eq!(picks(&mut addresses, 100, now, |_| 0)[1], 0);
        addresses.answered(address(1), now);
        assert!(picks(&mut addresses, 100, now, |_| 0)[1] > 30);
        addresses.failed(address(1), now);
        assert_eq!(picks(&mut addresses, 100, now + SECOND, |_| 0)[1], 1);
    }

    #[test]
    fn of_many_addresses_those_that_work_are_found_by_drawing_or_by_looking_at_all() {
        let now = Instant::now();
        let numbers: Vec<u8> = (0..100).collect();
        let mut addresses = addresses(&numbers, now);
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = vec![0; 100];
        for _ in 0..10_000 {
            let candidates = addresses.candidates(&[], now, |below| random.usize(..below));
            let Candidates { first, second } = candidates.expect("there are some");
            assert_ne!(Some(first), second);
            addresses.picked(address(first), now);
            counts[usize::from(first)] += 1;
        }
        assert!(
            counts.iter().all(|count| (70..130).contains(count)),
            "{counts:?}"
        );
        // With two that work and one that the call has tried, it gets the last.
        for number in 2..100 {
            addresses.failed(address(number), now);
        }
        for _ in 0..100 {
            let candidates =
                addresses.candidates(&[address(0)], now, |below| random.usize(..below));
            let Candidates { first, second } = candidates.expect("there are some");
            assert_eq!((first, second), (1, None));
        }
    }

    #[test]
    fn what_fails_together_is_one_failure() {
        let start = Instant::now();
        let mut addresses = addresses(&[0, 1, 2], start);
        let mut now = start;
        for seconds in [1, 2, 4] {
            for _ in 0..20 {
                addresses.failed(address(1), now);
            }
            now += seconds * SECOND;
            assert_eq!(picks(&mut addresses, 100, now, |_| 0)[1], 1);
        }
    }

    #[test]
    fn where_all_have_failed_all_are_tried() {
        let now = Instant::now();
        let mut addresses = addresses(&[0, 1], now);
        addresses.failed(address(0), now);
        addresses.failed(address(1), now);
        let counts = picks(&mut addresses, 100, now, |_| 0);
        assert_eq!(counts[..2], [50, 50]);
    }

    #[test]
    fn a_call_goes_to_an_address_that_it_has_not_tried_first_of_all() {
        let now = Instant::now();
        let mut addresses = addresses(&[0, 1, 2], now);
        let first = |addresses: &Addresses<u8>, tried: &[u8]| {
            let tried: Vec<_> = tried.iter().map(|number| address(*number)).collect();
            let candidates = addresses.candidates(&tried, now, |_| 0);
            let Candidates { first, second } = candidates.expect("there are some");
            (first, second)
        };
        assert_eq!(first(&addresses, &[0, 1]), (2, None));
        addresses.failed(address(2), now);
        assert_eq!(first(&addresses, &[0, 1]), (2, None));
        assert_eq!(first(&addresses, &[0, 1, 2]), (0, Some(1)));
        assert!(Addresses::<u8>::new().candidates(&[], now, |_| 0).is_none());
    }

    #[test]
    fn one_lookup_runs_at_a_time_and_replaces_what_is_known() {
        let now = Instant::now();
        let mut addresses = addresses(&[0, 1], now);
        assert!(addresses.are_several());
        assert!(!addresses.begin_renewal(now));
        let due = now + SECOND;
        assert!(addresses.begin_renewal(due));
        assert!(!addresses.begin_renewal(due));
        addresses.renewal_ended(Some(due + SECOND));
        assert!(addresses.are_several());
        assert!(!addresses.begin_renewal(due));
        assert!(addresses.begin_renewal(due + SECOND));
        let renewed = renew(&mut addresses, &[1, 2], due + SECOND);
        assert_eq!((renewed.added, renewed.gone), (vec![2], vec![0]));
        assert!(!addresses.begin_renewal(due + SECOND));
    }
}
