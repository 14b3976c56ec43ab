use std::time::Duration;

use super::ThroughputFloor;

/// How many parts a window has. It moves on by one part at a time.
const SLOTS: usize = 8;

/// The shortest part: the timers of the runtime count in milliseconds.
const SHORTEST_SLOT: Duration = Duration::from_millis(1);

/// Compares bytes and time with a floor, over a window that slides.
///
/// It has no clock. Its time is the sum of what [`waited`](Self::waited) is given: the time in
/// which the peer was waited for. So a pause on this side does not move the window, and bytes that
/// come during it count as if they came at once.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    /// The length of a part of the window.
    slot: Duration,
    /// How many bytes a window must have.
    needed: u64,
    /// The bytes of the last full parts of the window.
    full: [u64; SLOTS],
    /// How many parts have been full since it began; not counted beyond one window.
    filled: usize,
    /// The bytes and the time of the part that is not full.
    bytes: u64,
    time: Duration,
}

impl Meter {
    pub(super) fn new(floor: ThroughputFloor) -> Self {
        let parts = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        let slot = (floor.window() / parts).max(SHORTEST_SLOT);
        let window = slot.saturating_mul(parts).as_nanos();
        let needed = window.saturating_mul(floor.bytes_per_second().into()) / NANOS;
        Self {
            slot,
            needed: u64::try_from(needed).unwrap_or(u64::MAX),
            full: [0; SLOTS],
            filled: 0,
            bytes: 0,
            time: Duration::ZERO,
        }
    }

    /// The length of a part of the window.
    pub(super) fn slot(&self) -> Duration {
        self.slot
    }

    /// Notes bytes.
    pub(super) fn passed(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Notes that the peer was waited for.
    pub(super) fn waited(&mut self, time: Duration) {
        self.time = self.time.saturating_add(time);
        // A wait that is longer than a window leaves no earlier part in it.
        for _ in 0..=SLOTS {
            let Some(rest) = self.time.checked_sub(self.slot) else {
                return;
            };
            self.time = rest;
            self.full.rotate_left(1);
            if let Some(last) = self.full.last_mut() {
                *last = std::mem::take(&mut self.bytes);
            }
            self.filled = self.filled.saturating_add(1).min(SLOTS);
        }
        self.time = Duration::ZERO;
    }

    /// How much longer the peer has to be waited for until the window moves on.
    pub(super) fn until_next(&self) -> Duration {
        self.slot.saturating_sub(self.time)
    }

    /// The bytes of the last window, and those since its last full part: they count for the peer.
    pub(super) fn bytes(&self) -> u64 {
        let full = self.full.iter().copied().fold(0, u64::saturating_add);
        full.saturating_add(self.bytes)
    }

    /// Returns the bytes per second of the last window if they are fewer than the floor asks for.
    /// Before a whole window is over, it returns `None`.
    pub(super) fn too_slow(&self) -> Option<u64> {
        self.too_slow_at(self.bytes())
    }

    /// The same, for a window that has had so many bytes.
    pub(super) fn too_slow_at(&self, bytes: u64) -> Option<u64> {
        if self.filled < SLOTS {
            return None;
        }
        if bytes >= self.needed {
            return None;
        }
        let parts = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        let time = self.slot.saturating_mul(parts).saturating_add(self.time);
        let rate = u128::from(bytes).saturating_mul(NANOS) / time.as_nanos().max(1);
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn meter(bytes_per_second: u64, window: Duration) -> Meter {
        Meter::new(ThroughputFloor::new(bytes_per_second, window))
    }

    /// Feeds it one piece after each pause; returns after which one it was too slow.
    fn feed(meter: &mut Meter, bytes: u64, pause: Duration, times: usize) -> Option<usize> {
        (0..times).find(|_| {
            meter.waited(pause);
            let slow = meter.too_slow().is_some();
            meter.passed(bytes);
            slow
        })
    }

    #[test]
    fn what_is_at_the_floor_is_never_too_slow_however_it_is_cut_into_pieces() {
        let window = 8 * SECOND;
        for (bytes, pause) in [
            (1, Duration::from_millis(10)),
            (100, SECOND),
            (200, 2 * SECOND),
            // All bytes of a window at once.
            (800, window),
        ] {
            let mut meter = meter(100, window);
            meter.passed(bytes);
            assert_eq!(feed(&mut meter, bytes, pause, 10_000), None, "{pause:?}");
        }
    }

    #[test]
    fn what_is_below_the_floor_is_too_slow_after_one_window_and_not_before() {
        for window in [SECOND, 10 * SECOND, 3600 * SECOND] {
            let mut meter = meter(100, window);
            meter.waited(window.saturating_sub(Duration::from_nanos(1)));
            assert_eq!(meter.too_slow(), None);
            meter.waited(Duration::from_nanos(1));
            assert_eq!(meter.too_slow(), Some(0));
        }
        let mut meter = meter(100, 8 * SECOND);
        meter.passed(99);
        assert_eq!(feed(&mut meter, 99, SECOND, 100), Some(7));
        assert_eq!(meter.too_slow(), None, "the next piece has come since");
        // Pieces that do not fit into a window need not be as many in each, but at twice the floor
        // there are enough.
        for millis in 1..=8000 {
            let mut meter = self::meter(100, 8 * SECOND);
            let pause = Duration::from_millis(millis);
            let bytes = millis.div_ceil(5);
            meter.passed(bytes);
            assert_eq!(feed(&mut meter, bytes, pause, 50), None, "{pause:?}");
        }
    }

    #[test]
    fn a_fast_beginning_does_not_hide_a_stall_for_longer_than_a_window() {
        let mut meter = meter(100, 8 * SECOND);
        meter.passed(1 << 40);
        assert_eq!(feed(&mut meter, 0, SECOND, 100), Some(8));
    }

    #[test]
    fn bytes_without_time_and_time_far_too_long_do_no_harm() {
        // A rate over no time is not too slow.
        let mut meter = meter(u64::MAX, 8 * SECOND);
        meter.passed(417_792);
        assert_eq!(meter.too_slow(), None);
        meter.waited(Duration::ZERO);
        assert_eq!(meter.too_slow(), None);
        meter.waited(Duration::MAX);
        assert_eq!(meter.too_slow(), Some(0));
        assert_eq!(meter.until_next(), SECOND);
        meter.passed(u64::MAX);
        meter.passed(u64::MAX);
        assert_eq!(meter.too_slow(), None);
    }

    #[test]
    fn a_window_of_no_length_is_a_short_one() {
        let mut meter = meter(1000, Duration::ZERO);
        meter.passed(1);
        assert_eq!(feed(&mut meter, 1, Duration::from_millis(1), 100), None);
        let mut other = self::meter(2000, Duration::ZERO);
        assert!(feed(&mut other, 1, Duration::from_millis(1), 100).is_some());
    }

    #[test]
    fn it_measures_what_it_tells() {
        let mut meter = meter(100, 10 * SECOND);
        for _ in 0..40 {
            meter.passed(10);
            meter.waited(SECOND);
        }
        assert_eq!(meter.too_slow(), Some(10));
        assert_eq!(meter.bytes(), 100);
        assert!(meter.too_slow_at(999).is_some());
        assert_eq!(meter.too_slow_at(1000), None);
    }
}
