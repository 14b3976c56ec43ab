//! When a hedge is sent, and which attempt is the answer: pure, with time as a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// One attempt and its hedges.
///
/// Number 0 is the attempt that the retry layer made, and the others are its hedges in order.
#[derive(Debug)]
pub(super) struct Race {
    /// `None` while it is not known after how long a hedge would be sent.
    delay: Option<Duration>,
    /// How long a head waits for the first byte of its body.
    hold: Duration,
    /// Whether the time of the first byte is wanted also where no hedge can come of it.
    learns: bool,
    /// From when on no hedge is sent.
    deadline: Option<Instant>,
    hedges_left: u32,
    /// A hedge waits until the service takes it.
    preparing: bool,
    /// From when on the delay of the next hedge counts: when the last attempt was sent, or a hedge was put
    /// off.
    since: Instant,
    first: Standing,
    hedges: Vec<Standing>,
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Waiting,
    /// Its head came at this moment, and no byte of its body.
    HasHead(Instant),
    /// It failed.
    Out,
}

/// The rules of one race.
#[derive(Clone, Copy, Debug)]
pub(super) struct RaceRules {
    pub(super) delay: Option<Duration>,
    pub(super) hold: Duration,
    pub(super) learns: bool,
    pub(super) deadline: Option<Instant>,
    pub(super) max_hedges: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Move {
    /// Send a hedge, if body and budget allow it; then say what became of it.
    Hedge,
    /// End with this attempt, as far as it has come.
    Return(usize),
    /// Wait for what comes, and until this moment at most.
    Wait(Option<Instant>),
}

impl Race {
    #[inline]
    pub(super) fn new(rules: RaceRules, now: Instant) -> Self {
        Self {
            delay: rules.delay,
            hold: rules.hold,
            learns: rules.learns,
            deadline: rules.deadline,
            hedges_left: rules.max_hedges,
            preparing: false,
            since: now,
            first: Standing::Waiting,
            hedges: Vec::new(),
        }
    }

    /// A hedge is about to be sent, as soon as the service is ready for it.
    pub(super) fn prepare(&mut self) {
        self.preparing = true;
    }

    /// Whether the hedge that is about to be sent is still wanted.
    pub(super) fn is_preparing(&self, now: Instant) -> bool {
        self.preparing && self.deadline.is_none_or(|deadline| now < deadline)
    }

    /// Whether a hedge may still be sent, now or later.
    pub(super) fn may_hedge(&self) -> bool {
        self.hedges_left > 0
    }

    /// A hedge was sent.
    pub(super) fn hedged(&mut self, now: Instant) {
        self.preparing = false;
        self.hedges.push(Standing::Waiting);
        self.hedges_left = self.hedges_left.saturating_sub(1);
        self.since = now;
    }

    /// No hedge can be sent yet: it is due again after another delay, and after [`PAUSE`](Self::PAUSE) at
    /// least.
    pub(super) fn put_off(&mut self, now: Instant) {
        let rest = Self::PAUSE.saturating_sub(self.delay.unwrap_or_default());
        // Later than the clock can tell, it is never due again.
        match now.checked_add(rest) {
            Some(since) => self.since = since,
            None => self.stop(),
        }
    }

    /// Without it, a short delay would ask all the time whether a body was read, and a delay of zero would
    /// ask without an end.
    const PAUSE: Duration = Duration::from_millis(10);

    /// No further hedge is sent.
    pub(super) fn stop(&mut self) {
        self.hedges_left = 0;
        self.preparing = false;
    }

    /// The head of an attempt has come that would be the answer, and whose body has bytes to come.
    pub(super) fn head(&mut self, number: usize, now: Instant) {
        if let Some(standing) = self.standing(number) {
            *standing = Standing::HasHead(now);
        }
    }

    /// An attempt has failed. What follows a failure is for the retry layer to say: it knows how long to
    /// wait, and what the server asks for. So no further hedge is sent.
    pub(super) fn failed(&mut self, number: usize) {
        if let Some(standing) = self.standing(number) {
            *standing = Standing::Out;
        }
        self.stop();
    }

    pub(super) fn next(&self, now: Instant) -> Move {
        let mut under_way = self
            .all()
            .filter(|(_, standing)| *standing != Standing::Out);
        let Some((only, _)) = under_way.next() else {
            // The outcome of the attempt itself, and not of a hedge.
            return Move::Return(0);
        };
        let is_alone = under_way.next().is_none();
        let hedge_at = self.hedge_at();
        if hedge_at.is_some_and(|at| at <= now) {
            return Move::Hedge;
        }
        let given_up_at = self.deadline.filter(|_| self.preparing);
        let at = hedge_at.or(given_up_at);
        let Some((number, held_until)) = self.held() else {
            return Move::Wait(at);
        };
        let held_on = held_until.is_none_or(|until| now < until);
        // With a head, and with nobody who could overtake it: before its time with the head is over no
        // hedge will be sent.
        let is_decided = is_alone
            && !self.preparing
            && number == only
            && hedge_at.is_none_or(|at| held_until.is_some_and(|until| until <= at))
            && !(self.learns && (self.delay.is_none() || hedge_at.is_some()));
        if is_decided || !held_on {
            return Move::Return(number);
        }
        Move::Wait(at.into_iter().chain(held_until).min())
    }

    /// As how long an attempt counts that was sent then, and whose hedge is answered now: as twice the delay at
    /// least. How long it would have taken nobody knows; with the time it had, a delay that too many attempts
    /// exceed would hardly grow, since each of them is given up soon after it.
    pub(super) fn time_of_loser(&self, sent: Instant, now: Instant) -> Option<Duration> {
        let (age, delay) = (now.saturating_duration_since(sent), self.delay?);
        (age >= delay).then(|| age.max(delay.saturating_mul(2)))
    }

    /// As how long an attempt counts that was sent then and ends now without an answer: as long as the delay
    /// at least, for its answer would have come later still. `None` if it took less than half of the delay: so
    /// early comes a refusal, which says nothing of how long an answer takes.
    pub(super) fn time_of_unanswered(&self, sent: Instant, now: Instant) -> Option<Duration> {
        let (age, delay) = (now.saturating_duration_since(sent), self.delay?);
        (age >= delay / 2).then(|| age.max(delay))
    }

    /// Whether an attempt that was sent then, and has no byte of its answer, is worth noting: it has taken
    /// longer than the delay, or nothing is known of a delay.
    pub(super) fn has_lasted(&self, sent: Instant, now: Instant) -> bool {
        let age = now.saturating_duration_since(sent);
        self.delay.is_none_or(|delay| age >= delay)
    }

    /// When the next hedge is due.
    fn hedge_at(&self) -> Option<Instant> {
        let at = self.since.checked_add(self.delay?)?;
        let in_time = self.deadline.is_none_or(|deadline| at < deadline);
        let may_be_sent = self.hedges_left > 0 && !self.preparing;
        (may_be_sent && in_time).then_some(at)
    }

    /// The attempt whose head came first, and until when it waits for its first byte.
    fn held(&self) -> Option<(usize, Option<Instant>)> {
        let heads = self.all().filter_map(|(number, standing)| match standing {
            Standing::HasHead(since) => Some((number, since)),
            Standing::Waiting | Standing::Out => None,
        });
        let (number, since) = heads.min_by_key(|(_, since)| *since)?;
        Some((number, since.checked_add(self.hold)))
    }

    fn all(&self) -> impl Iterator<Item = (usize, Standing)> + '_ {
        let all = std::iter::once(&self.first).chain(&self.hedges);
        all.copied().enumerate()
    }

    fn standing(&mut self, number: usize) -> Option<&mut Standing> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(hedge) => self.hedges.get_mut(hedge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(1);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn rules() -> RaceRules {
        RaceRules {
            delay: Some(ms(100)),
            hold: HOLD,
            learns: true,
            deadline: None,
            max_hedges: 1,
        }
    }

    /// A race that begins now, and a function from milliseconds to moments.
    fn race(rules: RaceRules) -> (Race, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (Race::new(rules, start), move |at| start + ms(at))
    }

    #[test]
    fn a_hedge_is_due_after_the_delay_and_the_next_one_after_another() {
        let (mut race, at) = race(RaceRules {
            max_hedges: 2,
            ..rules()
        });
        assert_eq!(race.next(at(0)), Move::Wait(Some(at(100))));
        assert_eq!(race.next(at(99)), Move::Wait(Some(at(100))));
        assert_eq!(race.next(at(103)), Move::Hedge);
        race.hedged(at(103));
        assert_eq!(race.next(at(103)), Move::Wait(Some(at(203))));
        assert_eq!(race.next(at(203)), Move::Hedge);
        race.hedged(at(203));
        assert_eq!(race.next(at(5_000)), Move::Wait(None));
    }

    #[test]
    fn without_a_delay_all_are_sent_at_once() {
        let (mut race, at) = race(RaceRules {
            delay: Some(Duration::ZERO),
            max_hedges: 3,
            ..rules()
        });
        for _ in 0..3 {
            assert_eq!(race.next(at(0)), Move::Hedge);
            race.hedged(at(0));
        }
        assert_eq!(race.next(at(0)), Move::Wait(None));
    }

    #[test]
    fn while_no_delay_is_known_nothing_is_hedged() {
        let (race, at) = race(RaceRules {
            delay: None,
            ..rules()
        });
        assert_eq!(race.next(at(60_000)), Move::Wait(None));
    }

    #[test]
    fn no_hedge_is_sent_at_the_deadline_nor_after_it() {
        for (deadline, hedges) in [(99, false), (100, false), (101, true)] {
            let start = Instant::now();
            let rules = RaceRules {
                deadline: Some(start + ms(deadline)),
                ..rules()
            };
            let race = Race::new(rules, start);
            let is_sent = race.next(start + ms(100)) == Move::Hedge;
            assert_eq!(is_sent, hedges, "{deadline}");
        }
    }

    #[test]
    fn a_head_without_a_byte_waits_for_the_hedge_that_may_bring_one_first() {
        let (mut race, at) = race(rules());
        race.head(0, at(10));
        assert_eq!(race.next(at(10)), Move::Wait(Some(at(100))));
        assert_eq!(race.next(at(100)), Move::Hedge);
        race.hedged(at(100));
        assert_eq!(race.next(at(100)), Move::Wait(Some(at(1_010))));
        race.head(1, at(120));
        assert_eq!(race.next(at(1_009)), Move::Wait(Some(at(1_010))));
        assert_eq!(race.next(at(1_010)), Move::Return(0), "its time is over");
    }

    #[test]
    fn a_head_is_not_held_back_where_nothing_can_come_of_it() {
        // No hedge is allowed.
        let (mut refused, at) = race(rules());
        refused.head(0, at(10));
        refused.stop();
        assert_eq!(refused.next(at(100)), Move::Return(0));
        // A hedge would come too late to be waited for.
        let (mut late, at) = race(RaceRules {
            delay: Some(ms(5_000)),
            learns: false,
            ..rules()
        });
        late.head(0, at(10));
        assert_eq!(late.next(at(10)), Move::Return(0));
        // The hedge has failed.
        let (mut failed, at) = race(rules());
        failed.head(0, at(10));
        failed.hedged(at(100));
        failed.failed(1);
        assert_eq!(failed.next(at(110)), Move::Return(0));
    }

    #[test]
    fn to_learn_a_head_waits_for_its_first_byte_and_no_longer_than_that() {
        for delay in [None, Some(ms(5_000))] {
            let (mut race, at) = race(RaceRules { delay, ..rules() });
            race.head(0, at(10));
            assert_eq!(race.next(at(10)), Move::Wait(Some(at(1_010))));
            assert_eq!(race.next(at(1_010)), Move::Return(0));
        }
    }

    #[test]
    fn a_failure_gives_way_to_what_is_under_way_and_ends_the_hedging() {
        let (mut race, at) = race(RaceRules {
            max_hedges: 3,
            ..rules()
        });
        race.hedged(at(100));
        race.failed(0);
        assert_eq!(race.next(at(300)), Move::Wait(None));
        race.head(1, at(310));
        assert_eq!(race.next(at(310)), Move::Return(1));
    }

    #[test]
    fn a_failure_alone_is_returned_at_once_and_where_all_fail_it_is_the_first() {
        let (mut alone, at) = race(rules());
        alone.failed(0);
        assert_eq!(alone.next(at(10)), Move::Return(0));
        let (mut both, at) = race(rules());
        both.hedged(at(100));
        both.failed(1);
        assert_eq!(both.next(at(110)), Move::Wait(None));
        both.failed(0);
        assert_eq!(both.next(at(120)), Move::Return(0));
    }

    #[test]
    fn a_hedge_that_is_put_off_is_due_after_another_delay() {
        let (mut race, at) = race(rules());
        assert_eq!(race.next(at(100)), Move::Hedge);
        race.put_off(at(100));
        assert_eq!(race.next(at(100)), Move::Wait(Some(at(200))));
        assert_eq!(race.next(at(200)), Move::Hedge);
    }

    #[test]
    fn a_head_waits_no_longer_for_a_hedge_that_the_service_is_not_ready_for() {
        let (mut race, at) = race(rules());
        race.head(0, at(10));
        assert_eq!(race.next(at(100)), Move::Hedge);
        race.prepare();
        assert_eq!(race.next(at(100)), Move::Wait(Some(at(1_010))));
        assert_eq!(race.next(at(1_010)), Move::Return(0));
        assert!(race.is_preparing(at(1_010)));
        race.failed(0);
        assert!(!race.is_preparing(at(1_010)), "a failure ends the hedging");
    }

    #[test]
    fn a_hedge_that_is_prepared_waits_for_the_service_until_the_deadline() {
        let start = Instant::now();
        let deadline = start + ms(150);
        let rules = RaceRules {
            deadline: Some(deadline),
            ..rules()
        };
        let mut race = Race::new(rules, start);
        race.prepare();
        assert_eq!(race.next(start + ms(100)), Move::Wait(Some(deadline)));
        assert!(race.is_preparing(start + ms(149)));
        assert!(!race.is_preparing(deadline));
        race.stop();
        assert_eq!(race.next(deadline), Move::Wait(None));
    }

    #[test]
    fn a_hedge_that_is_put_off_is_not_due_at_once_however_short_the_delay() {
        for (delay, due) in [(0, 10), (4, 10), (10, 10), (100, 100)] {
            let (mut race, at) = race(RaceRules {
                delay: Some(ms(delay)),
                ..rules()
            });
            race.put_off(at(0));
            assert_eq!(race.next(at(0)), Move::Wait(Some(at(due))), "{delay}");
            assert_eq!(race.next(at(due)), Move::Hedge);
        }
    }

    #[test]
    fn what_was_overtaken_counts_as_twice_the_delay_at_least() {
        let (race, at) = race(rules());
        assert_eq!(race.time_of_loser(at(0), at(99)), None);
        for (took, counts) in [(100, 200), (199, 200), (201, 201)] {
            assert_eq!(race.time_of_loser(at(0), at(took)), Some(ms(counts)));
        }
        assert!(!race.has_lasted(at(50), at(149)));
        assert!(race.has_lasted(at(50), at(150)));
    }

    #[test]
    fn what_ends_without_an_answer_counts_as_the_delay_at_least_and_a_refusal_not_at_all() {
        let (known, at) = race(rules());
        for (took, counts) in [
            (0, None),
            (49, None),
            (50, Some(100)),
            (100, Some(100)),
            (300, Some(300)),
        ] {
            assert_eq!(
                known.time_of_unanswered(at(0), at(took)),
                counts.map(ms),
                "{took}"
            );
        }
        let (unknown, at) = race(RaceRules {
            delay: None,
            ..rules()
        });
        assert_eq!(unknown.time_of_unanswered(at(0), at(9_000)), None);
    }
}
