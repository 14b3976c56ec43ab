//! When the next request of a paused partition may be sent: what decides, without a clock, a lock or a
//! timer.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::jitter;

/// The pace of one partition, from the response that paused it until requests pass freely again.
///
/// Nothing is released before the pause is over. Then one request is released, and each answer that is
/// not throttled lets one more be under way. The releases are spaced, too: at ten a second at first, and
/// more with each. If the last pause has shown how many requests a second the server admits, they reach
/// nine tenths of that with the eighth release at the latest, and then grow. A [`Limit`] says how fast.
/// Otherwise they double about every five releases.
#[derive(Debug)]
pub(super) struct Pace {
    /// Tells the releases of this pause from those of the one before. Never 0.
    number: u32,
    /// What the server has refused the request for.
    limit: Limit,
    /// When the response came that paused the partition.
    began: Instant,
    /// When the server asked to come back.
    until: Instant,
    /// What is added to that at random, so that the clients of a server do not come back together.
    stagger: Duration,
    /// Requests a second that the server admitted during the last pause and after it.
    admitted_rate: Option<f64>,
    released: u32,
    in_flight: u32,
    /// How many may be in flight.
    window: u32,
    admitted: u32,
    /// When the last one was released, and when the next one may be.
    last: Instant,
    next: Instant,
    /// When a request last had to wait for another one.
    crowded: Instant,
}

/// What a request that asks for its turn is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Release {
    /// It may be sent, with the number of the pause.
    Now { pause: u32 },
    /// It has to ask again then, or when a request of this partition was answered.
    At(Instant),
}

/// How a request that was released ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// With an answer that is not throttled.
    Admitted,
    /// It failed or was dropped, which says nothing about the server's limit.
    Unknown,
}

/// Why a server refuses a request, as its status says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Limit {
    /// 429: the sender has a quota, which stays what it is (RFC 6585, section 4). So the rate that was
    /// learned grows slowly, and few requests are refused before the quota is known again.
    Quota,
    /// 503: the server has too much to do, "which will likely be alleviated after some delay" (RFC
    /// 9110, section 15.6.4). The rate that was learned is that of a server in trouble, so it doubles
    /// with each second, and is forgotten after the pause. All clients of the server are refused at
    /// the same moment, so they are spread over a longer time than those of a quota.
    Overload,
}

/// The pause that a response asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) wait: Duration,
    pub(super) limit: Limit,
    /// The pause in which the request was released; 0 for one that passed freely.
    pub(super) released_in: u32,
    pub(super) now: Instant,
}

impl Pace {
    const SECOND: Duration = Duration::from_secs(1);
    /// Requests a second at first, unless fewer are known to be admitted.
    const FIRST_RATE: f64 = 10.0;
    const LONGEST_STAGGER: Duration = Duration::from_secs(5);
    /// With how many releases the rate that is known is reached.
    const RAMP: u32 = 8;
    /// A rate that has doubled so often limits nothing.
    const MOST_DOUBLINGS: f64 = 40.0;

    /// Begins a pause. The rate is what an earlier one has shown of how many requests a second the
    /// server admits.
    pub(super) fn begin(
        number: u32,
        asked: &Asked,
        admitted_rate: Option<f64>,
        random: &mut Rng,
    ) -> Self {
        let Asked {
            wait, limit, now, ..
        } = *asked;
        let until = later(now, wait);
        let stagger = match limit {
            Limit::Quota => wait / 10,
            Limit::Overload => wait / 4,
        };
        let stagger = stagger.min(Self::LONGEST_STAGGER);
        Self {
            number: number.max(1),
            limit,
            began: now,
            until,
            stagger: jitter::pick((Duration::ZERO, stagger), random),
            admitted_rate,
            released: 0,
            in_flight: 0,
            window: 1,
            admitted: 0,
            last: now,
            next: now,
            crowded: now,
        }
    }

    /// What the next pause may go by.
    pub(super) fn lasting_rate(&self) -> Option<f64> {
        self.admitted_rate.filter(|_| self.limit == Limit::Quota)
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Before this moment nothing is released.
    pub(super) fn until(&self) -> Instant {
        later(self.until, self.stagger)
    }

    /// A response asks for a pause. The end of a pause moves forward only. Returns whether the server
    /// refuses what was released after the last pause: then another one begins.
    pub(super) fn throttle(&mut self, asked: &Asked, random: &mut Rng) -> bool {
        let until = later(asked.now, asked.wait).max(self.until);
        if asked.released_in != self.number {
            // It was sent before this pause. The server may still know better when to come back.
            self.until = until;
            return false;
        }
        let rate = self.measure(asked.now);
        let number = self.number.wrapping_add(1);
        *self = Self::begin(number, asked, rate, random);
        self.until = until;
        true
    }

    /// How many requests a second the server has admitted, as far as this pause has shown.
    fn measure(&self, now: Instant) -> Option<f64> {
        let elapsed = now.saturating_duration_since(self.began).as_secs_f64();
        if self.admitted == 0 || elapsed <= 0.0 {
            // Not even the first one was admitted: it was too early, which says nothing of a rate.
            return self.admitted_rate;
        }
        // One refusal lowers what is known by three tenths at most: the shorter the time since the last
        // one, the more of it was the pause.
        let known = self.admitted_rate.unwrap_or_default();
        Some((f64::from(self.admitted) / elapsed).max(known * 0.7))
    }

    /// How many requests a second are released at this moment.
    fn rate(&self, now: Instant) -> f64 {
        let Some(admitted) = self.admitted_rate else {
            const MOST: u32 = 80;
            let grown = self.released.min(MOST);
            return Self::FIRST_RATE
                * (8.0_f64 / 7.0).powi(i32::try_from(grown).unwrap_or_default());
        };
        let seconds = now.saturating_duration_since(self.until()).as_secs_f64();
        let grown = match self.limit {
            Limit::Quota => 1.0 + seconds / 100.0 + (seconds / 20.0).powi(3),
            Limit::Overload => seconds.min(Self::MOST_DOUBLINGS).exp2(),
        };
        let full = admitted * 0.9 * grown;
        let ramp = self.released.saturating_add(1).min(Self::RAMP);
        let ramped = full * f64::from(ramp) / f64::from(Self::RAMP);
        full.min(ramped.max(Self::FIRST_RATE))
    }

    /// Releases a request, if its turn has come.
    pub(super) fn release(&mut self, now: Instant, random: &mut Rng) -> Release {
        let until = self.until();
        if now < until {
            return Release::At(until);
        }
        // One that takes long, such as a long poll, does not hold up the others for ever.
        let overdue = later(self.last, Self::SECOND);
        if self.in_flight >= self.window && now < overdue {
            return Release::At(overdue);
        }
        if now < self.next {
            return Release::At(self.next);
        }
        self.in_flight = self.in_flight.saturating_add(1);
        let interval = interval(self.rate(now));
        self.released = self.released.saturating_add(1);
        self.last = now;
        // A timer is late by up to a millisecond, and what it is late by is not lost.
        let due = self.next.max(now.checked_sub(LATE).unwrap_or(now));
        let jitter = jitter::pick((interval / 4 * 3, interval / 4 * 5), random);
        self.next = later(due, jitter);
        Release::Now { pause: self.number }
    }

    /// A request that was released in the pause of this number is over.
    pub(super) fn ended(&mut self, pause: u32, ended: Ended) {
        if pause != self.number {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if ended == Ended::Admitted {
            self.admitted = self.admitted.saturating_add(1);
            self.window = self.window.saturating_add(1);
        }
    }

    /// Requests wait in the line.
    pub(super) fn crowd(&mut self, now: Instant) {
        self.crowded = now;
    }

    /// Whether all requests have passed at once for a second, so that there is no reason to hold back
    /// any.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= later(self.until().max(self.crowded), Self::SECOND)
    }

    /// How long a request will wait behind so many others, as far as that is known: at the rate of this moment,
    /// also after an overload. There it doubles with each second, but only if the server refuses nothing more,
    /// and a server in trouble mostly does: with the doubled rates, more calls waited, and fewer succeeded.
    pub(super) fn expected(&self, ahead: usize, now: Instant) -> Duration {
        let pause = self.until().saturating_duration_since(now);
        let Some(known) = self.admitted_rate else {
            return pause;
        };
        let rate = known.max(self.rate(now));
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        pause.saturating_add(interval(rate).saturating_mul(ahead))
    }
}

const LATE: Duration = Duration::from_millis(10);

fn interval(rate: f64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(3_600);
    Duration::try_from_secs_f64(rate.recip()).map_or(LONGEST, |it| it.min(LONGEST))
}

/// So much later than a moment, or in a year if the clock cannot express that.
pub(super) fn later(moment: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365);
    moment
        .checked_add(wait)
        .or_else(|| moment.checked_add(FAR))
        .unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A pause that a quota asks for.
    fn asked(seconds: u64, released_in: u32, now: Instant) -> Asked {
        Asked {
            wait: SECOND.saturating_mul(u32::try_from(seconds).unwrap()),
            limit: Limit::Quota,
            released_in,
            now,
        }
    }

    /// A pace over a server that admits so many requests a second, and a tenth of that at once, and
    /// answers at once, for a minute. Returns how many were admitted and how many refused.
    fn minute(pace: &mut Pace, per_second: u32, start: Instant, random: &mut Rng) -> (u32, u32) {
        let (mut now, mut tokens) = (start, 0.0_f64);
        let (mut admitted, mut refused) = (0, 0);
        while now < start + 60 * SECOND {
            match pace.release(now, random) {
                Release::Now { pause } if tokens >= 1.0 => {
                    tokens -= 1.0;
                    admitted += 1;
                    pace.ended(pause, Ended::Admitted);
                }
                Release::Now { pause } => {
                    refused += 1;
                    pace.throttle(&asked(1, pause, now), random);
                }
                Release::At(_) => {}
            }
            now += SECOND / 1_000;
            let burst = f64::from(per_second / 10).max(2.0);
            tokens = (tokens + f64::from(per_second) / 1_000.0).min(burst);
        }
        (admitted, refused)
    }

    #[test]
    fn the_rate_of_a_server_is_learned() {
        for per_second in [2, 50, 500] {
            let mut random = Rng::with_seed(1);
            let start = Instant::now();
            let mut pace = Pace::begin(1, &asked(1, 0, start), None, &mut random);
            minute(&mut pace, per_second, start, &mut random);
            let next = start + 60 * SECOND;
            let (admitted, refused) = minute(&mut pace, per_second, next, &mut random);
            assert!(refused * 10 <= admitted.max(60), "{admitted} {refused}");
            assert!(admitted >= per_second * 30, "{admitted} of {per_second}");
        }
    }

    /// How many requests a second are released so long after a pause, if two a second were admitted.
    fn rate_after(limit: Limit, seconds: u64) -> f64 {
        let (mut random, start) = (Rng::with_seed(1), Instant::now());
        let asked = Asked {
            limit,
            ..asked(2, 0, start)
        };
        let mut pace = Pace::begin(1, &asked, Some(2.0), &mut random);
        pace.released = 100;
        pace.rate(pace.until() + Duration::from_secs(seconds))
    }

    #[test]
    fn a_server_in_trouble_gets_all_requests_again_within_seconds() {
        assert!(rate_after(Limit::Overload, 0) < 2.0);
        assert!(rate_after(Limit::Overload, 4) > 20.0);
        assert!(rate_after(Limit::Quota, 4) < 2.0);
        // It neither overflows nor becomes no number.
        assert!(rate_after(Limit::Overload, 86_400) > 1e9);
    }

    #[test]
    fn what_a_server_in_trouble_has_admitted_says_nothing_of_the_next_pause() {
        let (mut random, start) = (Rng::with_seed(1), Instant::now());
        let [quota, overload] = [Limit::Quota, Limit::Overload].map(|limit| {
            let asked = Asked {
                limit,
                ..asked(1, 0, start)
            };
            Pace::begin(1, &asked, Some(3.0), &mut random).lasting_rate()
        });
        assert_eq!((quota, overload), (Some(3.0), None));
    }

    #[test]
    fn only_a_refusal_of_what_was_released_begins_another_pause() {
        let (mut random, now) = (Rng::with_seed(1), Instant::now());
        let mut pace = Pace::begin(1, &asked(1, 0, now), None, &mut random);
        assert!(!pace.throttle(&asked(2, 0, now), &mut random));
        assert_eq!(pace.number(), 1);
        assert!(pace.throttle(&asked(2, 1, now + 3 * SECOND), &mut random));
        assert_eq!(pace.number(), 2);
        // One of the pause before says nothing new.
        assert!(!pace.throttle(&asked(2, 1, now + 3 * SECOND), &mut random));
        assert_eq!(pace.number(), 2);
    }

    #[test]
    fn a_request_that_takes_long_holds_up_the_next_for_a_second() {
        let (mut random, now) = (Rng::with_seed(1), Instant::now());
        let mut pace = Pace::begin(1, &asked(0, 0, now), None, &mut random);
        assert_eq!(pace.release(now, &mut random), Release::Now { pause: 1 });
        let at = Release::At(now + SECOND);
        assert_eq!(pace.release(now + SECOND / 2, &mut random), at);
        let later = now + SECOND;
        assert_eq!(pace.release(later, &mut random), Release::Now { pause: 1 });
    }

    #[test]
    fn a_time_that_the_clock_cannot_express_is_far_away() {
        let now = Instant::now();
        assert!(later(now, Duration::MAX) > now + Duration::from_secs(86_400));
    }

    proptest! {
        #[test]
        fn nothing_is_released_during_a_pause_and_its_end_moves_forward_only(
            acts in prop::collection::vec((0_u64..3_000, 0_u64..5, 0_u32..3), 1..60),
            seed in any::<u64>(),
        ) {
            let (mut random, mut now) = (Rng::with_seed(seed), Instant::now());
            let mut pace = Pace::begin(1, &asked(1, 0, now), None, &mut random);
            let mut end = now + SECOND;
            for (millis, seconds, act) in acts {
                now += Duration::from_millis(millis);
                let number = pace.number();
                match act {
                    0 => {
                        pace.throttle(&asked(seconds, number, now), &mut random);
                        end = end.max(now + Duration::from_secs(seconds));
                    }
                    1 => {
                        pace.throttle(&asked(seconds, 0, now), &mut random);
                        end = end.max(now + Duration::from_secs(seconds));
                    }
                    _ => match pace.release(now, &mut random) {
                        Release::Now { .. } => prop_assert!(now >= end),
                        Release::At(at) => prop_assert!(at > now),
                    },
                }
                prop_assert!(pace.until() >= end);
            }
        }
    }
}
