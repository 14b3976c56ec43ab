//! How long an origin keeps its idle connections, learned from those that it closed. Pure: ages and
//! moments are parameters.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Closes of connections that were idle for less than this tell nothing: the peer closes after its
/// responses. So the limit never falls below nine tenths of this.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// How many fates are kept.
const MAX_FATES: usize = 16;

/// For how long a fate counts.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// Closes that come within this time of the first of them are one event, whatever their number: a
/// server that restarts closes all of its connections. What the event says is known when it is over.
const ONE_EVENT: Duration = Duration::from_secs(1);

/// How many closes have to agree on an age.
const LEAST_CLOSES: usize = 4;

/// Of the connections that came to an age, one in this many has to have been closed at about it. Where
/// connections are closed at random, far fewer are.
const ONE_IN: usize = 3;

/// For how long an age is taken as known at first; then it is tried again whether older connections
/// still live. Each time that it turns out to hold, it is taken as known for twice as long.
const FIRST_TERM: Duration = Duration::from_secs(10 * 60);

const LONGEST_TERM: Duration = Duration::from_secs(2 * 60 * 60);

/// What became of connections that stood idle, and what follows from that for the next.
///
/// A peer that closes at a certain age closes many connections at about that age, and none lives much
/// longer. So an age is *learned* when several closes agree on it, and when those that lived longer are not
/// many more: a restart is one event, and closes at random do not agree. A server whose timer looks once a
/// second closes later than it says, so the lowest of the ages that agree counts.
#[derive(Debug, Default)]
pub(super) struct IdleAges {
    /// The last ones, the oldest first.
    fates: VecDeque<Fate>,
    learned: Option<Learned>,
    /// Whether the limit has changed since that was asked last.
    is_news: bool,
}

#[derive(Clone, Copy, Debug)]
struct Fate {
    end: End,
    age: Duration,
    at: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The peer closed it at this age.
    Closed,
    /// It was open at this age, and nothing more is known.
    Lived,
}

/// The age at which the peer closes idle connections.
#[derive(Clone, Copy, Debug)]
struct Learned {
    age: Duration,
    /// Until when it is taken as known.
    until: Instant,
    term: Duration,
}

impl IdleAges {
    /// Takes note that the peer has closed a connection that had been idle for this long.
    pub(super) fn closed(&mut self, age: Duration, now: Instant) {
        if age < LEAST_AGE {
            return;
        }
        self.forget(now);
        let of_event = |fate: &&mut Fate| {
            fate.end == End::Closed && now.saturating_duration_since(fate.at) < ONE_EVENT
        };
        match self.fates.iter_mut().rev().find(of_event) {
            // Where a restart closes young and old ones, the oldest tells most.
            Some(first) => first.age = first.age.max(age),
            None => self.push(End::Closed, age, now),
        }
    }

    /// Takes note that a connection that had been idle for this long was still open.
    pub(super) fn lived(&mut self, age: Duration, now: Instant) {
        self.forget(now);
        // What is younger than all that were closed tells nothing of them.
        let learned = self.learned.map(|it| it.age);
        let least = self.closed_at().chain(learned).min();
        if least.is_some_and(|least| age >= least) {
            self.push(End::Lived, age, now);
        }
    }

    /// Learns from what was noted; returns from which age on a connection is not to be used any more.
    pub(super) fn limit(&mut self, now: Instant) -> Option<Duration> {
        self.learn(now);
        self.known_limit(now)
    }

    /// The limit, if it was learned or has fallen since this was asked last.
    pub(super) fn news(&mut self, now: Instant) -> Option<Duration> {
        std::mem::take(&mut self.is_news).then(|| self.known_limit(now))?
    }

    /// The limit that was learned before.
    fn known_limit(&self, now: Instant) -> Option<Duration> {
        let learned = self.learned.filter(|learned| now < learned.until)?;
        Some(learned.age.saturating_sub(margin(learned.age)))
    }

    /// From which age on connections are of interest: nothing need be asked or told of younger ones.
    pub(super) fn interest(&self) -> Option<Duration> {
        let learned = self.learned.map(|it| it.age);
        let least = self.closed_at().chain(learned).min()?;
        Some(least.saturating_sub(margin(least)))
    }

    /// The ages of all closes.
    fn closed_at(&self) -> impl Iterator<Item = Duration> {
        let closes = self.fates.iter().filter(|it| it.end == End::Closed);
        closes.map(|it| it.age)
    }

    /// Forgets what does not count any more: where an age is tried again, all that came before.
    fn forget(&mut self, now: Instant) {
        let tried_since = self.learned.map(|it| it.until).filter(|it| *it <= now);
        self.fates.retain(|fate| {
            let is_fresh = now.saturating_duration_since(fate.at) < REMEMBERED;
            is_fresh && tried_since.is_none_or(|since| fate.at >= since)
        });
    }

    fn push(&mut self, end: End, age: Duration, at: Instant) {
        if self.fates.len() >= MAX_FATES {
            self.fates.pop_front();
        }
        self.fates.push_back(Fate { end, age, at });
    }

    fn learn(&mut self, now: Instant) {
        self.forget(now);
        if let Some(mut learned) = self.learned {
            let (closed, longer) = self.closed_and_longer(learned.age, now);
            if longer >= LEAST_CLOSES && !agree(closed, longer) {
                self.learned = None;
            } else if closed > 0 && agree(closed, longer) && now >= learned.until {
                learned.term = learned.term.saturating_mul(2).min(LONGEST_TERM);
                learned.until = now.checked_add(learned.term).unwrap_or(now);
                self.learned = Some(learned);
            }
        }
        let Some(age) = self.estimate(now) else {
            return;
        };
        match &mut self.learned {
            // It rises only when it is tried again: until then none gets older.
            Some(learned) if age < learned.age => {
                learned.age = age;
                self.is_news = true;
            }
            Some(_) => {}
            None => {
                self.is_news = true;
                self.learned = now.checked_add(FIRST_TERM).map(|until| Learned {
                    age,
                    until,
                    term: FIRST_TERM,
                });
            }
        }
    }

    /// The least age that enough closes agree on.
    fn estimate(&self, now: Instant) -> Option<Duration> {
        let is_learned = |age: &Duration| {
            let (closed, longer) = self.closed_and_longer(*age, now);
            closed >= LEAST_CLOSES && agree(closed, longer)
        };
        self.closes(now).filter(is_learned).min()
    }

    /// How many connections were closed at about this age, and how many lived longer.
    fn closed_and_longer(&self, age: Duration, now: Instant) -> (usize, usize) {
        let until = age.saturating_add(spread(age));
        let about = |closed: &Duration| (age..=until).contains(closed);
        let closed = self.closes(now).filter(about).count();
        let later = self.closes(now).filter(|it| *it > until).count();
        // One that was used at that age need not have lived through it, but may have.
        let lived = self.fates.iter();
        let lived = lived.filter(|it| it.end == End::Lived && it.age >= age);
        (closed, later.saturating_add(lived.count()))
    }

    /// The ages of the closes whose event is over.
    fn closes(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let is_over = move |fate: &&Fate| {
            fate.end == End::Closed && now.saturating_duration_since(fate.at) >= ONE_EVENT
        };
        self.fates.iter().filter(is_over).map(|fate| fate.age)
    }
}

/// Whether so many closes show that connections of this age are closed, where so many lived longer.
fn agree(closed: usize, longer: usize) -> bool {
    closed.saturating_mul(ONE_IN) >= closed.saturating_add(longer)
}

/// How much later than another a connection may be closed by the same timer: some look once a second.
fn spread(age: Duration) -> Duration {
    (age / 8).max(Duration::from_secs(1))
}

/// How much earlier than it is closed a connection is not used any more: a request has to arrive
/// before. Where that is too little, it fails at an age that counts as another close.
fn margin(age: Duration) -> Duration {
    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(1);
    (age / 10).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Ages of one origin, and the time, which goes on by a minute with each thing noted.
    struct Origin {
        ages: IdleAges,
        now: Instant,
    }

    impl Origin {
        fn new() -> Self {
            Self {
                ages: IdleAges::default(),
                now: Instant::now(),
            }
        }

        fn closed(&mut self, ages: &[u64]) {
            for age in ages {
                self.now += 60 * SECOND;
                self.ages.closed(millis(*age), self.now);
            }
        }

        fn lived(&mut self, ages: &[u64]) {
            for age in ages {
                self.now += 60 * SECOND;
                self.ages.lived(millis(*age), self.now);
            }
        }

        fn limit(&mut self) -> Option<Duration> {
            self.now += ONE_EVENT;
            self.ages.limit(self.now)
        }
    }

    #[test]
    fn an_age_is_learned_when_four_closes_agree_and_a_margin_is_left() {
        let mut origin = Origin::new();
        origin.closed(&[5020, 5000, 5300]);
        assert_eq!(origin.limit(), None);
        origin.closed(&[5900]);
        assert_eq!(origin.limit(), Some(millis(4500)));
        assert_eq!(origin.ages.news(origin.now), Some(millis(4500)));
        assert_eq!(origin.ages.news(origin.now), None);
        let mut quick = Origin::new();
        quick.closed(&[1000; 4]);
        assert_eq!(quick.limit(), Some(millis(900)));
        let mut slow = Origin::new();
        slow.closed(&[40_000, 44_000, 41_000, 40_000]);
        assert_eq!(slow.limit(), Some(millis(39_000)));
    }

    #[test]
    fn closes_right_after_a_response_disable_no_reuse() {
        let mut origin = Origin::new();
        origin.closed(&[0, 10, 999, 500, 1, 2, 3, 4]);
        assert_eq!(origin.ages.interest(), None);
    }

    #[test]
    fn a_restart_is_one_event_whatever_it_closes() {
        let mut origin = Origin::new();
        for restart in 0..4 {
            origin.now += 60 * SECOND;
            for age in 0..50_u32 {
                let at = origin.now + millis((10 * age).into());
                origin.ages.closed((age + restart) * SECOND, at);
            }
        }
        // Of each restart the oldest counts.
        assert!(origin.limit().is_none_or(|limit| limit > 45 * SECOND));
    }

    #[test]
    fn closes_at_random_hardly_ever_set_a_low_limit() {
        let mut low = 0;
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut origin = Origin::new();
            for _ in 0..200 {
                // Half of the connections are used again before, at an age that does not matter.
                let age = random.u64(0..30_000);
                if random.bool() {
                    origin.closed(&[age]);
                } else {
                    origin.lived(&[age]);
                }
                let is_low = |limit| limit < 6 * SECOND;
                low += usize::from(origin.limit().is_some_and(is_low));
            }
        }
        assert!(low < 400, "{low} of 40,000");
    }

    #[test]
    fn what_hardly_any_connection_meets_sets_no_limit() {
        let mut origin = Origin::new();
        for _ in 0..50 {
            origin.closed(&[2000]);
            origin.lived(&[30_000; 5]);
        }
        assert_eq!(origin.limit(), None);
    }

    #[test]
    fn the_shorter_time_of_two_servers_behind_a_name_counts() {
        let mut origin = Origin::new();
        for _ in 0..6 {
            origin.closed(&[2000]);
            origin.lived(&[50_000]);
        }
        assert_eq!(origin.limit(), Some(millis(1800)));
    }

    #[test]
    fn a_request_that_failed_below_the_limit_lowers_it() {
        let mut origin = Origin::new();
        origin.closed(&[2000; 4]);
        assert_eq!(origin.limit(), Some(millis(1800)));
        origin.closed(&[1790]);
        assert_eq!(origin.limit(), Some(millis(1611)));
    }

    #[test]
    fn a_limit_is_tried_again_and_held_for_longer_each_time_that_it_is_right() {
        let mut origin = Origin::new();
        origin.closed(&[5000; 4]);
        let mut held = Vec::new();
        for _ in 0..6 {
            assert!(origin.limit().is_some());
            let began = origin.now;
            while origin.limit().is_some() {
                assert!(origin.now - began <= LONGEST_TERM, "it never ends");
            }
            held.push((origin.now - began).as_secs() / 60);
            origin.ages.closed(5 * SECOND, origin.now);
        }
        assert_eq!(held, [10, 20, 40, 80, 120, 120]);
    }

    #[test]
    fn a_limit_is_given_up_when_connections_live_longer() {
        let mut origin = Origin::new();
        origin.closed(&[5000; 4]);
        assert!(origin.limit().is_some());
        origin.now += FIRST_TERM;
        assert_eq!(origin.limit(), None);
        origin.lived(&[20_000; 3]);
        assert_eq!(origin.limit(), None);
        assert!(origin.ages.learned.is_some());
        origin.lived(&[20_000]);
        assert_eq!(origin.limit(), None);
        assert!(origin.ages.learned.is_none());
        origin.closed(&[40_000; 4]);
        // Longer than it was, since none had been closed earlier.
        assert_eq!(origin.limit(), Some(39 * SECOND));
    }

    #[test]
    fn a_limit_falls_when_the_peer_closes_earlier() {
        let mut origin = Origin::new();
        origin.closed(&[30_000; 6]);
        assert_eq!(origin.limit(), Some(29 * SECOND));
        origin.closed(&[3000; 4]);
        assert_eq!(origin.limit(), Some(millis(2700)));
    }

    #[test]
    fn old_closes_are_forgotten() {
        let mut origin = Origin::new();
        origin.closed(&[5000; 3]);
        origin.now += REMEMBERED;
        origin.closed(&[5000]);
        assert_eq!(origin.limit(), None);
    }
}
