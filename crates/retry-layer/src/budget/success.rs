use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hashbrown::{
    DefaultHashBuilder,
    hash_table::{HashTable, OccupiedEntry},
};
use http::Uri;
use tokio::time::Instant;

use super::{
    Budget, Cost, MAX_PERCENT, PERCENT, TOKEN,
    origin::{Origin, OwnedOrigin},
};
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
/// atomic addition, and takes no lock, unless its origin has a bucket. Buckets vanish when they are
/// full again, or when nothing asked for them in ten minutes.
pub struct SuccessBudget {
    deposit: u64,
    sharing: Sharing,
    /// Of all origins together: what a new bucket takes its size from.
    successes: AtomicU64,
    /// Those of all buckets: see [`Bucket::mark`].
    marks: AtomicU64,
    /// Hosts may be chosen by others.
    seed: DefaultHashBuilder,
    table: Mutex<Table>,
}

struct Table {
    buckets: HashTable<Bucket>,
    marks: u64,
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
            marks: AtomicU64::new(0),
            seed: DefaultHashBuilder::default(),
            table: Mutex::new(Table {
                buckets: HashTable::new(),
                marks: 0,
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

    fn origin<'a>(&self, uri: &'a Uri) -> Origin<'a> {
        match self.sharing {
            Sharing::PerOrigin => Origin::of(uri, &self.seed),
            Sharing::Shared => Origin::any(),
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
        self.tell(&table);
    }

    /// Tells those who do not take the lock what buckets there are.
    fn tell(&self, table: &Table) {
        self.marks.store(table.marks, Ordering::Relaxed);
    }

    #[inline(never)]
    fn deposit_if_marked(&self, uri: &Uri, marks: u64) {
        let origin = self.origin(uri);
        if marks & mark(origin.hash()) == 0 {
            return;
        }
        let mut table = self.table();
        let Some(mut entry) = table.find(origin) else {
            return;
        };
        let bucket = entry.get_mut();
        bucket.successes = bucket.successes.saturating_add(1);
        if bucket.add(self.deposit) {
            entry.remove();
            table.mark_anew();
            self.tell(&table);
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
        // Before the addition, which would hold it up. A bucket made this instant may miss this
        // success; the next one counts.
        let marks = self.marks.load(Ordering::Relaxed);
        let before = self.successes.fetch_add(1, Ordering::Relaxed);
        if before % Window::ROLLED_EVERY == Window::ROLLED_EVERY - 1 {
            self.roll(before);
        }
        if marks != 0 {
            self.deposit_if_marked(uri, marks);
        }
    }

    fn withdraw(&self, uri: &Uri, cost: Cost, now: Instant) -> bool {
        let successes = self.successes.load(Ordering::Relaxed);
        let origin = self.origin(uri);
        let mut table = self.table();
        let granted = table.bucket(origin, successes, now).withdraw(cost, now);
        self.tell(&table);
        granted
    }

    fn refund(&self, uri: &Uri, cost: Cost) {
        // A bucket that has vanished was full.
        if let Some(mut entry) = self.table().find(self.origin(uri)) {
            entry.get_mut().add(cost.millitokens());
        }
    }
}

// The origins are left out: an authority may hold a password.
impl fmt::Debug for SuccessBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuccessBudget")
            .field("deposit_millitokens", &self.deposit)
            .field("sharing", &self.sharing)
            .field("troubled_origins", &self.table().buckets.len())
            .finish_non_exhaustive()
    }
}

impl Table {
    const SMALLEST_SWEEP: usize = 128;
    const IDLE: Duration = Duration::from_secs(600);

    /// More origins in trouble than this share one bucket: who makes up hosts gets no fresh tokens
    /// for each, and no memory.
    const MOST: usize = 4_096;

    /// Whose bucket is that of this origin.
    fn owner<'a>(&self, origin: Origin<'a>) -> Origin<'a> {
        let has_room = self.buckets.len() < Self::MOST;
        if has_room
            || self
                .buckets
                .find(origin.hash(), |it| it.is_of(origin))
                .is_some()
        {
            origin
        } else {
            Origin::any()
        }
    }

    fn find(&mut self, origin: Origin<'_>) -> Option<OccupiedEntry<'_, Bucket>> {
        let owner = self.owner(origin);
        self.buckets
            .find_entry(owner.hash(), |it| it.is_of(owner))
            .ok()
    }

    fn mark_anew(&mut self) {
        self.marks = self
            .buckets
            .iter()
            .fold(0, |marks, bucket| marks | bucket.mark());
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
            .retain(|bucket| now.saturating_duration_since(bucket.asked) < Self::IDLE);
        let left = self.buckets.len();
        self.sweep_at = left.saturating_mul(2).max(Self::SMALLEST_SWEEP);
        self.buckets.shrink_to(self.sweep_at, Bucket::hash);
        self.mark_anew();
    }

    fn bucket(&mut self, origin: Origin<'_>, successes: u64, now: Instant) -> &mut Bucket {
        let owner = self.owner(origin);
        let rate = self.window.rate(successes, now);
        if self.buckets.len() >= self.sweep_at {
            self.sweep_all(now);
        }
        let marks = &mut self.marks;
        self.buckets
            .entry(owner.hash(), |it| it.is_of(owner), Bucket::hash)
            .or_insert_with(|| {
                let bucket = Bucket::full(owner, rate, now);
                *marks |= bucket.mark();
                bucket
            })
            .into_mut()
    }
}

/// The balance of one origin.
struct Bucket {
    origin: OwnedOrigin,
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

    fn full(origin: Origin<'_>, rate: u64, now: Instant) -> Self {
        let capacity = Self::capacity(rate);
        Self {
            origin: origin.to_owned(),
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

    fn hash(&self) -> u64 {
        self.origin.hash()
    }

    fn is_of(&self, origin: Origin<'_>) -> bool {
        origin.is(&self.origin)
    }

    /// One of 64 bits, so that most origins without a bucket can tell by a glance at those of all
    /// buckets together; all of them for the bucket that any origin may have.
    fn mark(&self) -> u64 {
        if self.origin.is_any() {
            u64::MAX
        } else {
            mark(self.hash())
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
        if passed < Self::TRICKLE {
            return;
        }
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

fn mark(hash: u64) -> u64 {
    1 << (hash % u64::from(u64::BITS))
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
        let gained = count.saturating_sub(self.count);
        let rate = per_second(gained, elapsed.max(Self::SECOND));
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
        self.known
            .map_or(rate, |known| known.max(per_second(gained, Self::LENGTH)))
    }
}

fn per_second(count: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    count.saturating_mul(1_000) / millis.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "http://peer/";

    fn uri(text: &'static str) -> Uri {
        Uri::from_static(text)
    }

    fn granted(budget: &SuccessBudget, uri: &Uri, now: Instant) -> usize {
        (0..5_000)
            .take_while(|_| budget.withdraw(uri, Cost::Retry, now))
            .count()
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
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
        assert_eq!(budget.table().buckets.len(), 0);
    }

    #[test]
    fn the_marks_are_those_of_the_buckets_that_are_left() {
        let budget = SuccessBudget::default();
        let start = Instant::now();
        let marks = || {
            let table = budget.table();
            let left = table.buckets.iter().map(Bucket::mark);
            let left = left.fold(0, |marks, mark| marks | mark);
            assert_eq!(budget.marks.load(Ordering::Relaxed), left);
            left
        };
        let uris: Vec<Uri> = (0..32)
            .map(|host| format!("http://host-{host}/").parse().unwrap())
            .collect();
        for uri in &uris {
            assert!(budget.withdraw(uri, Cost::Retry, start));
            marks();
        }
        for uri in &uris[1..] {
            (0..5).for_each(|_| budget.deposit(uri));
            marks();
        }
        assert_eq!(marks().count_ones(), 1);
        (0..5).for_each(|_| budget.deposit(&uris[0]));
        assert_eq!(marks(), 0);
        // Whoever has no host of its own shares a bucket with all who are too many.
        budget.withdraw(&uri("/relative"), Cost::Retry, start);
        assert_eq!(marks(), u64::MAX);
        (0..5).for_each(|_| budget.deposit(&uri("/elsewhere")));
        assert_eq!(marks(), 0);
    }

    #[test]
    fn no_success_is_missed_while_the_buckets_of_others_come_and_go() {
        let budget = SuccessBudget::default();
        let now = Instant::now();
        assert_eq!(granted(&budget, &uri(PEER), now), 5);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let budget = &budget;
                scope.spawn(move || {
                    let other: Uri = format!("http://other-{thread}/").parse().unwrap();
                    for _ in 0..6 {
                        assert!(budget.withdraw(&other, Cost::Retry, now));
                        budget.deposit(&uri(PEER));
                        (0..5).for_each(|_| budget.deposit(&other));
                    }
                });
            }
        });
        // 24 successes are 4.8 tokens.
        assert_eq!(granted(&budget, &uri(PEER), now), 4);
        assert_eq!(budget.table().buckets.len(), 1);
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
        assert_eq!(budget.table().buckets.len(), Table::MOST + 1);
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
        assert_eq!(budget.table().buckets.len(), 1);
        (0..5).for_each(|_| budget.deposit(&uri(PEER)));
        assert_eq!(budget.table().buckets.len(), 0);
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
        let mut bucket = Bucket::full(Origin::any(), 0, Instant::now());
        bucket.millitokens = 0;
        let start = bucket.trickled;
        (1..=30).for_each(|ms| bucket.trickle(start + Duration::from_millis(ms)));
        assert_eq!(bucket.millitokens, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_read_with_every_256th_success_only() {
        let budget = SuccessBudget::default();
        let start = budget.table().window.start;
        tokio::time::advance(Window::LENGTH).await;
        (0..255).for_each(|_| budget.deposit(&uri(PEER)));
        assert_eq!(budget.table().window.start, start);
        budget.deposit(&uri(PEER));
        assert_eq!(budget.table().window.start, start + Window::LENGTH);
    }

    #[test]
    fn a_mark_is_one_of_sixty_four_bits() {
        let marks = [0, 1, 63, 64].map(mark);
        assert_eq!(marks, [1, 1 << 1, 1 << 63, 1]);
    }

    #[test]
    fn its_debug_output_counts_origins_and_names_none() {
        let budget = SuccessBudget::default();
        budget.withdraw(
            &uri("http://user:secret@peer/"),
            Cost::Retry,
            Instant::now(),
        );
        let shown = format!("{budget:?}");
        assert!(shown.contains("deposit_millitokens: 200"), "{shown}");
        assert!(shown.contains("troubled_origins: 1"), "{shown}");
        assert!(!shown.contains("peer"), "{shown}");
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
        assert_eq!(budget.table().buckets.len(), 1);
    }
}
