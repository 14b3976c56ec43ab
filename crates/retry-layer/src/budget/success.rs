use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{
    Uri,
    uri::{Authority, Scheme},
};
use tokio::time::Instant;

use super::{Budget, Cost, MAX_PERCENT, PERCENT, TOKEN};
use crate::error::{BuildError, Problem};

/// A bucket for each origin that scales with the client's own successes: the default budget.
///
/// It holds what the client succeeded at in one second lately, and at least 5 tokens; it starts
/// full; a success adds a fifth of a token, and a retry takes one. So a busy client can ride out a
/// blip with a retry for each of its calls, while one that fails for longer soon sends hardly more
/// than its calls. One token in 30 seconds, up to two, comes by itself, so that a script which
/// calls once a minute is not left without retries for ever.
///
/// An origin without failures has no bucket and counts as full. A success costs one relaxed
/// atomic addition, and reads no clock, while there is no bucket at all. Buckets vanish when they
/// are full again, or when nothing asked for them in ten minutes.
pub struct SuccessBudget {
    deposit: u64,
    sharing: Sharing,
    /// Of all origins together: what a new bucket takes its size from.
    successes: AtomicU64,
    /// How many buckets there are.
    troubled: AtomicUsize,
    table: Mutex<Table>,
}

struct Table {
    buckets: HashMap<Origin, Bucket>,
    window: Window,
    sweep_at: usize,
    /// When the buckets were last looked through.
    swept: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Sharing {
    PerOrigin,
    Shared,
}

#[derive(Eq)]
struct Origin {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
}

impl SuccessBudget {
    const PERCENT: u16 = 20;

    /// A budget to which each success adds `percent` of a token; the default is 20.
    ///
    /// # Errors
    ///
    /// If `percent` is 0, or more than 1000.
    pub fn new(percent: u16) -> Result<Self, BuildError> {
        if percent == 0 || percent > MAX_PERCENT {
            return Err(
                Problem::Budget("a success earns from 1 to 1000 percent of a retry").into(),
            );
        }
        Ok(Self::with_percent(percent))
    }

    /// Has one bucket for all origins, in place of one for each: for endpoints that are one
    /// service, or that fail together.
    #[must_use]
    pub fn shared(self) -> Self {
        Self {
            sharing: Sharing::Shared,
            ..self
        }
    }

    fn with_percent(percent: u16) -> Self {
        Self {
            deposit: u64::from(percent) * PERCENT,
            sharing: Sharing::PerOrigin,
            successes: AtomicU64::new(0),
            troubled: AtomicUsize::new(0),
            table: Mutex::new(Table {
                buckets: HashMap::new(),
                window: Window {
                    start: Instant::now(),
                    count: 0,
                    known: None,
                },
                sweep_at: Table::SMALLEST_SWEEP,
                swept: Instant::now(),
            }),
        }
    }

    fn origin(&self, uri: &Uri) -> Origin {
        match self.sharing {
            Sharing::PerOrigin => Origin::of(uri),
            Sharing::Shared => Origin::ANY,
        }
    }

    // Only arithmetic runs under the lock: a panic cannot leave a balance half changed.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the window and the table up to date: else the rate would be that of all the time since
    /// somebody last asked, and an origin that nobody asks for any more would never be forgotten.
    #[cold]
    fn roll(&self, successes: u64) {
        let now = Instant::now();
        let mut table = self.table();
        let _ = table.window.rate(successes, now);
        table.sweep(now);
        self.troubled.store(table.buckets.len(), Ordering::Relaxed);
    }

    #[inline(never)]
    fn deposit_in_bucket(&self, uri: &Uri) {
        let mut table = self.table();
        let origin = table.key(self.origin(uri));
        let Some(bucket) = table.buckets.get_mut(&origin) else {
            return;
        };
        bucket.successes = bucket.successes.saturating_add(1);
        if bucket.add(self.deposit) {
            table.buckets.remove(&origin);
            self.troubled.store(table.buckets.len(), Ordering::Relaxed);
        }
    }
}

impl Default for SuccessBudget {
    fn default() -> Self {
        Self::with_percent(Self::PERCENT)
    }
}

impl Budget for SuccessBudget {
    fn deposit(&self, uri: &Uri) {
        let before = self.successes.fetch_add(1, Ordering::Relaxed);
        if before % Window::ROLLED_EVERY == Window::ROLLED_EVERY - 1 {
            self.roll(before);
        }
        // A bucket made this instant may miss this success; the next one counts.
        if self.troubled.load(Ordering::Relaxed) != 0 {
            self.deposit_in_bucket(uri);
        }
    }

    fn withdraw(&self, uri: &Uri, cost: Cost, now: Instant) -> bool {
        let successes = self.successes.load(Ordering::Relaxed);
        let mut table = self.table();
        let origin = table.key(self.origin(uri));
        let granted = table.bucket(origin, successes, now).withdraw(cost, now);
        self.troubled.store(table.buckets.len(), Ordering::Relaxed);
        granted
    }

    fn refund(&self, uri: &Uri, cost: Cost) {
        // A bucket that has vanished was full.
        let mut table = self.table();
        let origin = table.key(self.origin(uri));
        if let Some(bucket) = table.buckets.get_mut(&origin) {
            bucket.add(cost.millitokens());
        }
    }
}

// The origins are left out: an authority may hold a password.
impl fmt::Debug for SuccessBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuccessBudget")
            .field("deposit_millitokens", &self.deposit)
            .field("sharing", &self.sharing)
            .field("troubled_origins", &self.troubled.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

impl Origin {
    const ANY: Self = Self {
        scheme: None,
        authority: None,
    };

    fn text(&self) -> &str {
        self.authority.as_ref().map_or("", Authority::as_str)
    }

    fn of(uri: &Uri) -> Self {
        Self {
            scheme: uri.scheme().cloned(),
            authority: uri.authority().cloned(),
        }
    }
}

// By hand: `Authority` is hashed and compared byte by byte, with regard to case, and most are the same
// to the letter.
impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && (self.text() == other.text() || self.authority == other.authority)
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(u8::from(self.scheme.as_ref() == Some(&Scheme::HTTPS)));
        let text = self.text();
        let upper = |found: bool, byte: &u8| found | byte.is_ascii_uppercase();
        if text.as_bytes().iter().fold(false, upper) {
            text.to_ascii_lowercase().hash(state);
        } else {
            text.hash(state);
        }
    }
}

impl Table {
    const SMALLEST_SWEEP: usize = 128;
    const IDLE: Duration = Duration::from_secs(600);

    /// More origins in trouble than this share one bucket: who makes up hosts gets no fresh tokens
    /// for each, and no memory.
    const MOST: usize = 4_096;

    fn key(&self, origin: Origin) -> Origin {
        if self.buckets.len() < Self::MOST || self.buckets.contains_key(&origin) {
            origin
        } else {
            Origin::ANY
        }
    }

    /// Forgets origins that nobody has asked for in a long time.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= Self::IDLE {
            self.sweep_all(now);
        }
    }

    fn sweep_all(&mut self, now: Instant) {
        self.swept = now;
        self.buckets
            .retain(|_, bucket| now.saturating_duration_since(bucket.asked) < Self::IDLE);
        let left = self.buckets.len();
        self.sweep_at = left.saturating_mul(2).max(Self::SMALLEST_SWEEP);
        self.buckets.shrink_to(self.sweep_at);
    }

    fn bucket(&mut self, origin: Origin, successes: u64, now: Instant) -> &mut Bucket {
        let rate = self.window.rate(successes, now);
        if self.buckets.len() >= self.sweep_at {
            self.sweep_all(now);
        }
        self.buckets
            .entry(origin)
            .or_insert_with(|| Bucket::full(rate, now))
    }
}

/// The balance of one origin.
struct Bucket {
    millitokens: u64,
    capacity: u64,
    successes: u64,
    window: Window,
    /// Up to when the trickle is paid out.
    trickled: Instant,
    asked: Instant,
}

impl Bucket {
    const FLOOR: u64 = 5 * TOKEN;
    const TRICKLE_LIMIT: u64 = 2 * TOKEN;
    /// One token in 30 seconds.
    const TRICKLE: Duration = Duration::from_millis(30);

    fn full(rate: u64, now: Instant) -> Self {
        let capacity = Self::capacity(rate);
        Self {
            millitokens: capacity,
            capacity,
            successes: 0,
            // Until ten seconds have told the rate of this origin, it is taken to be the client's.
            window: Window {
                start: now,
                count: 0,
                known: Some(rate),
            },
            trickled: now,
            asked: now,
        }
    }

    fn capacity(rate: u64) -> u64 {
        rate.saturating_mul(TOKEN).max(Self::FLOOR)
    }

    fn withdraw(&mut self, cost: Cost, now: Instant) -> bool {
        self.asked = now;
        self.capacity = Self::capacity(self.window.rate(self.successes, now));
        self.millitokens = self.millitokens.min(self.capacity);
        self.trickle(now);
        match self.millitokens.checked_sub(cost.millitokens()) {
            Some(rest) => {
                self.millitokens = rest;
                true
            }
            None => false,
        }
    }

    fn trickle(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.trickled);
        let drops = passed.as_millis() / Self::TRICKLE.as_millis();
        if self.millitokens < Self::TRICKLE_LIMIT {
            let earned = u64::try_from(drops).unwrap_or(u64::MAX);
            self.millitokens = self
                .millitokens
                .saturating_add(earned)
                .min(Self::TRICKLE_LIMIT);
        }
        // What is not worth a whole drop yet stays to be paid out.
        let paid = u32::try_from(drops).map_or(passed, |drops| Self::TRICKLE.saturating_mul(drops));
        self.trickled = self.trickled.checked_add(paid).unwrap_or(now);
    }

    /// Adds, and tells whether the bucket is full now.
    fn add(&mut self, amount: u64) -> bool {
        self.millitokens = self.millitokens.saturating_add(amount).min(self.capacity);
        self.millitokens == self.capacity
    }
}

/// Successes per second over about ten seconds, worked out from counts when somebody asks.
struct Window {
    start: Instant,
    /// The count at the start.
    count: u64,
    /// The rate before the start.
    known: Option<u64>,
}

impl Window {
    const LENGTH: Duration = Duration::from_secs(10);
    /// After how many successes the clock is read without anybody asking.
    const ROLLED_EVERY: u64 = 256;
    const SECOND: Duration = Duration::from_secs(1);

    fn rate(&mut self, count: u64, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start);
        let gained = u128::from(count.saturating_sub(self.count));
        let rate = gained * 1_000 / elapsed.max(Self::SECOND).as_millis().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if elapsed >= Self::LENGTH {
            *self = Self {
                start: now,
                count,
                known: Some(rate),
            };
            return rate;
        }
        // What came before counts for as much of the ten seconds as is not told yet, but never
        // hides that there is more now.
        self.known.map_or(rate, |known| {
            let told = u64::try_from(gained * 1_000 / Self::LENGTH.as_millis()).unwrap_or(u64::MAX);
            known.max(told)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "http://peer/";

    fn uri(text: &'static str) -> Uri {
        Uri::from_static(text)
    }

    fn granted(budget: &SuccessBudget, uri: &Uri, now: Instant) -> usize {
        (0..100_000)
            .take_while(|_| budget.withdraw(uri, Cost::Retry, now))
            .count()
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_case_of_a_host_makes_no_other_origin() {
        let hash = |origin: &Origin| {
            let mut hasher = std::hash::DefaultHasher::new();
            origin.hash(&mut hasher);
            hasher.finish()
        };
        let origin = |text| Origin::of(&uri(text));
        let (one, same) = (origin("http://Peer:80/a"), origin("http://pEER:80/b"));
        assert!(one == same && hash(&one) == hash(&same));
        assert!(one != origin("https://peer:80/a") && one != origin("http://peer:81/a"));
        assert!(one != Origin::ANY);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_ten_seconds_however_long_nobody_asked() {
        let uri = uri(PEER);
        let budget = SuccessBudget::default();
        let second = Duration::from_secs(1);
        let busy = async |seconds: u32| {
            for _ in 0..seconds {
                for _ in 0..1_000 {
                    budget.deposit(&uri);
                }
                tokio::time::advance(second).await;
            }
        };
        tokio::time::advance(6 * 3_600 * second).await;
        busy(11).await;
        let tokens = granted(&budget, &uri, Instant::now());
        assert!((900..=1_100).contains(&tokens), "{tokens}");

        let budget = SuccessBudget::default();
        for _ in 0..3_600 {
            for _ in 0..1_000 {
                budget.deposit(&uri);
            }
            tokio::time::advance(second).await;
        }
        tokio::time::advance(3_600 * second).await;
        assert_eq!(granted(&budget, &uri, Instant::now()), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_in_trouble_is_forgotten_when_nobody_asks_for_it_any_more() {
        let budget = SuccessBudget::default();
        assert!(budget.withdraw(&uri("http://dead/"), Cost::Retry, Instant::now()));
        tokio::time::advance(Table::IDLE).await;
        for _ in 0..Window::ROLLED_EVERY {
            budget.deposit(&uri(PEER));
        }
        assert_eq!(budget.troubled.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_hosts_share_one_bucket_beyond_a_bound() {
        let budget = SuccessBudget::default();
        let now = Instant::now();
        let mut granted = 0;
        for host in 0..20_000 {
            let uri: Uri = format!("http://host-{host}/").parse().unwrap();
            granted += usize::from(budget.withdraw(&uri, Cost::Retry, now));
        }
        assert_eq!(budget.troubled.load(Ordering::Relaxed), Table::MOST + 1);
        assert_eq!(granted, Table::MOST + 5);
    }

    #[test]
    fn a_quiet_client_starts_with_five_tokens() {
        let budget = SuccessBudget::default();
        assert_eq!(granted(&budget, &uri(PEER), Instant::now()), 5);
    }

    #[test]
    fn a_busy_client_starts_with_a_second_of_its_successes() {
        let budget = SuccessBudget::default();
        let start = Instant::now();
        (0..20_000).for_each(|_| budget.deposit(&uri(PEER)));
        let tokens = granted(&budget, &uri(PEER), after(start, 20));
        assert!((999..=1_000).contains(&tokens), "{tokens}");
    }

    #[test]
    fn a_fifth_of_the_successes_may_be_retried() {
        let budget = SuccessBudget::default();
        let now = Instant::now();
        granted(&budget, &uri(PEER), now);
        (0..20).for_each(|_| budget.deposit(&uri(PEER)));
        assert_eq!(granted(&budget, &uri(PEER), now), 4);
    }

    #[test]
    fn a_bucket_vanishes_when_it_is_full() {
        let budget = SuccessBudget::default();
        assert!(budget.withdraw(&uri(PEER), Cost::Retry, Instant::now()));
        assert_eq!(budget.troubled.load(Ordering::Relaxed), 1);
        (0..5).for_each(|_| budget.deposit(&uri(PEER)));
        assert_eq!(budget.troubled.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn origins_do_not_share_a_bucket() {
        let budget = SuccessBudget::default();
        let now = Instant::now();
        assert_eq!(granted(&budget, &uri(PEER), now), 5);
        assert_eq!(granted(&budget, &uri("http://PEER/elsewhere"), now), 0);
        assert_eq!(granted(&budget, &uri("http://peer:81/"), now), 5);
    }

    #[test]
    fn a_shared_budget_has_one_bucket_for_all_origins() {
        let budget = SuccessBudget::default().shared();
        let now = Instant::now();
        assert_eq!(granted(&budget, &uri(PEER), now), 5);
        assert_eq!(granted(&budget, &uri("http://other/"), now), 0);
        (0..5).for_each(|_| budget.deposit(&uri("http://third/")));
        assert_eq!(granted(&budget, &uri(PEER), now), 1);
        budget.refund(&uri("http://third/"), Cost::Retry);
        assert_eq!(granted(&budget, &uri(PEER), now), 1);
    }

    #[test]
    fn a_token_comes_by_itself_in_thirty_seconds_and_two_at_most() {
        let budget = SuccessBudget::default();
        let start = Instant::now();
        granted(&budget, &uri(PEER), start);
        assert_eq!(granted(&budget, &uri(PEER), after(start, 29)), 0);
        assert_eq!(granted(&budget, &uri(PEER), after(start, 30)), 1);
        assert_eq!(granted(&budget, &uri(PEER), after(start, 3_600)), 2);
    }

    #[test]
    fn the_trickle_keeps_what_is_less_than_a_drop() {
        let mut bucket = Bucket::full(0, Instant::now());
        bucket.millitokens = 0;
        let start = bucket.trickled;
        (1..=30).for_each(|ms| bucket.trickle(start + Duration::from_millis(ms)));
        assert_eq!(bucket.millitokens, 1);
    }

    #[test]
    fn a_refund_restores_the_balance() {
        let budget = SuccessBudget::default();
        let now = Instant::now();
        assert_eq!(granted(&budget, &uri(PEER), now), 5);
        budget.refund(&uri(PEER), Cost::Throttled);
        assert!(!budget.withdraw(&uri(PEER), Cost::Retry, now));
        assert!(budget.withdraw(&uri(PEER), Cost::Throttled, now));
    }

    #[test]
    fn origins_nobody_asks_for_are_forgotten() {
        let budget = SuccessBudget::default();
        let start = Instant::now();
        for n in 0..128 {
            let uri: Uri = format!("http://host-{n}/").parse().unwrap();
            budget.withdraw(&uri, Cost::Retry, start);
        }
        budget.withdraw(&uri(PEER), Cost::Retry, after(start, 601));
        assert_eq!(budget.troubled.load(Ordering::Relaxed), 1);
    }
}
