//! How long an origin takes to answer: a quantile over the last half minute, without a lock.

use std::{
    array, fmt,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// How many answers took how long, in the last 30 seconds.
///
/// The window is six slices of five seconds, of which the newest is under way: so it is 25 to 30
/// seconds long. Each slice counts its answers by how long they took, in ranges of which each begins an
/// eighth of an octave above the one before; so it takes the same memory whatever comes (5 KiB), and
/// [`quantile`](Self::quantile) is at most an eighth above the true value, and never below it.
///
/// Time is a number: the milliseconds since any moment that all callers agree on. No order of the
/// calls is wrong; where two threads begin a slice at the same moment, a few answers of that moment may
/// be counted twice or not at all.
pub(crate) struct Latency {
    slices: [Slice; SLICES],
    /// The quantile that was worked out last, and when: see [`Memo`].
    memo: AtomicU64,
}

struct Slice {
    /// Which five seconds it counts, from 1; 0 for none.
    epoch: AtomicU64,
    counts: [AtomicU32; RANGES],
}

const SLICES: usize = 6;
/// In milliseconds.
const SLICE: u64 = 5_000;

/// Ranges in an octave.
const STEPS: usize = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// What takes longer than this, in microseconds, counts as this: 134 seconds.
const LONGEST: u64 = (1 << 27) - 1;
const RANGES: usize = range_of(LONGEST) + 1;

/// A quantile is worked out anew when it is so many milliseconds old.
const MEMO_AGE: u64 = 100;

/// Which range counts so many microseconds. Below [`STEPS`] each number has a range of its own.
#[expect(
    clippy::cast_possible_truncation,
    reason = "no more than `LONGEST`, which has 27 bits"
)]
const fn range_of(micros: u64) -> usize {
    let micros = if micros > LONGEST { LONGEST } else { micros };
    let octave = match micros.checked_ilog2() {
        Some(log) if log >= STEP_BITS => log - STEP_BITS,
        _ => return micros as usize,
    };
    (octave as usize + 1) * STEPS + ((micros >> octave) as usize & (STEPS - 1))
}

/// The longest that a range counts, in microseconds.
const fn end_of(range: usize) -> u64 {
    let (octave, step) = (range / STEPS, range % STEPS);
    if octave == 0 {
        return step as u64;
    }
    (((STEPS + step + 1) as u64) << (octave - 1)) - 1
}

/// What a partition's answers took in the last 30 seconds: the times within which so many percent came.
pub(crate) struct Quantiles<const N: usize> {
    pub(crate) answers: u64,
    pub(crate) within: [Duration; N],
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            slices: array::from_fn(|_| Slice {
                epoch: AtomicU64::new(0),
                counts: array::from_fn(|_| AtomicU32::new(0)),
            }),
            memo: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency").finish_non_exhaustive()
    }
}

impl Latency {
    /// A moment as a number, if this is the zero of all.
    pub(crate) fn time(start: Instant, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(start);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts an answer that took so long.
    pub(super) fn record(&self, now: u64, took: Duration) {
        let epoch = epoch_of(now);
        let Some(slice) = self.slice(epoch) else {
            return;
        };
        let before = slice.epoch.load(Ordering::Relaxed);
        if before > epoch {
            // It waited for so long on its way here that its slice counts another time.
            return;
        }
        if before < epoch {
            let taken =
                slice
                    .epoch
                    .compare_exchange(before, epoch, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() {
                for count in &slice.counts {
                    count.store(0, Ordering::Relaxed);
                }
            }
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = slice.counts.get(range_of(micros)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long so many percent of the answers took at most, or nothing until there are so many. It may be
    /// a tenth of a second old.
    pub(super) fn quantile(&self, now: u64, percent: u8, fewest: u32) -> Option<Duration> {
        let memo = Memo(self.memo.load(Ordering::Relaxed));
        if memo.is_of(now) {
            return memo.quantile();
        }
        let quantile = self.work_out(now, percent, fewest);
        let memo = Memo::new(now, quantile);
        self.memo.store(memo.0, Ordering::Relaxed);
        // As it will be remembered, so that the first call does not differ from the next.
        memo.quantile()
    }

    #[cold]
    fn work_out(&self, now: u64, percent: u8, fewest: u32) -> Option<Duration> {
        let quantiles = self.quantiles(now, [percent])?;
        let [within] = quantiles.within;
        Some(within).filter(|_| quantiles.answers >= u64::from(fewest))
    }

    /// How long so many percent of the answers took at most; nothing if there are none.
    pub(crate) fn quantiles<const N: usize>(
        &self,
        now: u64,
        percents: [u8; N],
    ) -> Option<Quantiles<N>> {
        let newest = epoch_of(now);
        let mut sums = [0_u64; RANGES];
        let mut all = 0_u64;
        for slice in &self.slices {
            let epoch = slice.epoch.load(Ordering::Relaxed);
            let is_recent = epoch != 0 && newest.saturating_sub(epoch) < SLICES as u64;
            for (sum, count) in sums.iter_mut().zip(&slice.counts).filter(|_| is_recent) {
                let count = u64::from(count.load(Ordering::Relaxed));
                *sum = sum.saturating_add(count);
                all = all.saturating_add(count);
            }
        }
        if all == 0 {
            return None;
        }
        let within = percents.map(|percent| {
            let wanted = all.saturating_mul(u64::from(percent)).div_ceil(100).max(1);
            let mut so_far = 0_u64;
            let range = sums.iter().position(|sum| {
                so_far = so_far.saturating_add(*sum);
                so_far >= wanted
            });
            Duration::from_micros(end_of(range.unwrap_or(RANGES - 1)))
        });
        Some(Quantiles {
            answers: all,
            within,
        })
    }

    fn slice(&self, epoch: u64) -> Option<&Slice> {
        let index = usize::try_from(epoch % SLICES as u64).ok()?;
        self.slices.get(index)
    }
}

/// From 1, so that 0 can stand for none.
fn epoch_of(now: u64) -> u64 {
    (now / SLICE).saturating_add(1)
}

/// A quantile, in the lower half in microseconds, and in the upper half when it was worked out, in units
/// of [`MEMO_AGE`] from 1. A quantile of 0 is none.
#[derive(Clone, Copy)]
struct Memo(u64);

impl Memo {
    fn new(now: u64, quantile: Option<Duration>) -> Self {
        let micros = quantile.map_or(0, |quantile| quantile.as_micros().max(1));
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        Self(Self::time(now) << 32 | u64::from(micros))
    }

    /// The lower 32 bits: it is 13 years until they come again.
    fn time(now: u64) -> u64 {
        (now / MEMO_AGE).wrapping_add(1) & u64::from(u32::MAX)
    }

    fn is_of(self, now: u64) -> bool {
        self.0 >> 32 == Self::time(now)
    }

    fn quantile(self) -> Option<Duration> {
        let micros = self.0 & u64::from(u32::MAX);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    const FEWEST: u32 = 100;

    fn p95(latency: &Latency, now: u64) -> Option<Duration> {
        latency.quantile(now, 95, FEWEST)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The exact quantile.
    fn exact(mut all: Vec<u64>, percent: usize) -> u64 {
        all.sort_unstable();
        all[(all.len() * percent).div_ceil(100).max(1) - 1]
    }

    #[test]
    fn the_ranges_lie_beside_each_other() {
        let mut last = 0;
        for micros in 0..100_000 {
            let range = range_of(micros);
            assert!(range == last || range == last + 1, "{micros}");
            assert!(end_of(range) >= micros, "{micros}");
            last = range;
        }
        for micros in (0..27).map(|bit| 1 << bit) {
            assert!(end_of(range_of(micros)) >= micros, "{micros}");
        }
        for micros in [LONGEST, LONGEST + 1, u64::MAX] {
            assert_eq!(range_of(micros), RANGES - 1);
        }
        assert_eq!(end_of(RANGES - 1), LONGEST);
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_an_eighth_too_long_and_never_too_short(
            all in proptest::collection::vec(1_u64..100_000_000, 100..400),
            percent in 1_usize..=99,
        ) {
            let latency = Latency::default();
            for micros in &all {
                latency.record(7, Duration::from_micros(*micros));
            }
            let found = latency.quantile(7, u8::try_from(percent).unwrap(), FEWEST);
            let found = u64::try_from(found.unwrap().as_micros()).unwrap();
            let exact = exact(all, percent);
            prop_assert!(found >= exact, "{found} < {exact}");
            prop_assert!(found <= exact + exact / 8 + 1, "{found} > {exact}");
        }
    }

    #[test]
    fn nothing_is_said_of_fewer_than_a_hundred() {
        let latency = Latency::default();
        for _ in 0..99 {
            latency.record(0, ms(10));
        }
        assert_eq!(p95(&latency, 0), None);
        latency.record(0, ms(10));
        assert_eq!(p95(&latency, 0), None, "remembered for a tenth of a second");
        let known = p95(&latency, 100).unwrap();
        assert!((ms(10)..=ms(12)).contains(&known), "{known:?}");
    }

    #[test]
    fn what_is_older_than_half_a_minute_is_forgotten_and_nothing_else() {
        let latency = Latency::default();
        for second in 0..25 {
            (0..100).for_each(|_| latency.record(second * 1_000, ms(500)));
        }
        assert!(p95(&latency, 29_999).unwrap() >= ms(500));
        // A last slice of the slow ones is left, beside as many fast ones.
        (0..2_000).for_each(|_| latency.record(45_000, ms(5)));
        assert!(p95(&latency, 49_999).unwrap() >= ms(500));
        assert!(p95(&latency, 50_000).unwrap() < ms(6));
        assert_eq!(p95(&latency, 75_000), None);
        // Hours later its slices count anew.
        (0..100).for_each(|_| latency.record(36_000_000, ms(40)));
        assert!(p95(&latency, 36_000_000).unwrap() >= ms(40));
    }

    #[test]
    fn an_answer_that_is_counted_late_spoils_no_newer_slice() {
        let latency = Latency::default();
        (0..100).for_each(|_| latency.record(30_000, ms(5)));
        (0..1_000).for_each(|_| latency.record(0, ms(900)));
        assert!(p95(&latency, 30_000).unwrap() < ms(6));
    }

    #[test]
    fn one_slow_answer_in_a_hundred_does_not_move_it() {
        let latency = Latency::default();
        let mut random = Rng::with_seed(16);
        for call in 0..3_000 {
            let took = if call % 100 == 0 {
                ms(1_000)
            } else {
                Duration::from_micros(random.u64(5_000..15_000))
            };
            latency.record(call * 10, took);
        }
        let p95 = p95(&latency, 30_000).unwrap();
        assert!((ms(14)..=ms(17)).contains(&p95), "{p95:?}");
    }

    #[test]
    fn threads_lose_nothing_within_a_slice() {
        let latency = Latency::default();
        latency.record(0, ms(1));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5_000).for_each(|_| latency.record(0, ms(1))));
            }
        });
        let count = |latency: &Latency| -> u32 {
            let counts = latency.slices.iter().flat_map(|slice| &slice.counts);
            counts.map(|count| count.load(Ordering::Relaxed)).sum()
        };
        assert_eq!(count(&latency), 20_001);
    }
}
