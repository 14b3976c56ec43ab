//! Origins that are lent: their requests take connections and give them back without the state.

use std::{
    mem,
    ops::{Deref, DerefMut},
};

use super::*;
use crate::{origin::Lookup, pool::lent::Lent};

/// The state as the pool uses it, or without lending anything.
pub(super) struct Lending {
    state: Ids,
    lent: Option<Lent<u32, u32>>,
    /// What has to be closed to make room.
    evicted: Vec<Checkout<u32, u32>>,
}

/// The state for a question about one origin.
pub(super) struct About<'a>(&'a mut Lending, Origin);

impl Lending {
    pub(super) fn new(state: Ids, lends: bool) -> Self {
        let lent = lends.then(Lent::new);
        Self {
            state,
            lent,
            evicted: Vec::new(),
        }
    }

    /// Takes what has to be closed to make room.
    pub(super) fn take_evicted(&mut self) -> Vec<Checkout<u32, u32>> {
        mem::take(&mut self.evicted)
    }

    fn settle<Q: Lookup>(&mut self, origin: &Q) {
        let Self {
            state,
            lent,
            evicted,
        } = self;
        evicted.extend(match lent {
            Some(lent) => lent.settle(state, origin),
            None => state.make_room(origin),
        });
    }

    pub(super) fn about(&mut self, origin: &Origin) -> About<'_> {
        if let Some(lent) = &self.lent {
            lent.recall(&mut self.state, origin);
        }
        About(self, origin.clone())
    }

    pub(super) fn ask(
        &mut self,
        name: &str,
        waiter: u32,
        now: Instant,
        again: Option<Arrival>,
    ) -> CheckoutAnswer<u32, u32, u32> {
        let uri = uri(name);
        let spelled = RawOrigin::of(&uri).unwrap();
        if let Some(lent) = self.lent.as_ref().filter(|_| again.is_none()) {
            if let Some((given, ticket)) = lent.take(&spelled) {
                return CheckoutAnswer::Ready(given, ticket);
            }
        }
        let spelled = spelled.read().unwrap();
        let Self { state, lent, .. } = self;
        let answer = if let Some(lent) = lent {
            lent.recall(state, &spelled);
            let recall = |state: &mut _| lent.recall_all(state);
            let answer = state.check_out(&spelled, now, again, || waiter, recall);
            answer.unwrap()
        } else {
            ask_again(state, name, waiter, now, again)
        };
        self.settle(&spelled);
        answer
    }

    pub(super) fn release(&mut self, origin: &Origin, id: u32, now: Instant) -> Returned<u32, u32> {
        let lent = self.lent.as_ref();
        if lent.is_some_and(|lent| lent.put_back(origin, id, now).is_ok()) {
            return Returned::Idle;
        }
        self.about(origin).release(origin, id, now)
    }

    /// `is_last` as the pool asks it: a guess.
    pub(super) fn stream_ended(
        &mut self,
        origin: &Origin,
        id: u32,
        is_last: bool,
        now: Instant,
    ) -> Effects<u32, u32> {
        let now_if_last = is_last.then_some(now);
        let lent = self.lent.as_ref();
        let end = lent.map(|lent| lent.end_stream(origin, id.into(), now_if_last));
        if end == Some(StreamEnd::Noted) {
            return Effects::default();
        }
        self.about(origin).stream_ended(origin, id.into(), now)
    }

    /// Takes everything back, so that all of it can be looked at.
    pub(super) fn recall_all(&mut self) {
        if let Some(lent) = &self.lent {
            lent.recall_all(&mut self.state);
        }
    }
}

impl Deref for Lending {
    type Target = Ids;

    fn deref(&self) -> &Ids {
        &self.state
    }
}

impl Deref for About<'_> {
    type Target = Ids;

    fn deref(&self) -> &Ids {
        &self.0.state
    }
}

impl DerefMut for About<'_> {
    fn deref_mut(&mut self) -> &mut Ids {
        &mut self.0.state
    }
}

impl Drop for About<'_> {
    fn drop(&mut self) {
        let Self(pool, origin) = self;
        pool.settle(origin);
    }
}

/// A pool with one connection of each of these origins, which stands idle and is lent.
fn lends(connections: usize, names: &[&str], now: Instant) -> Lending {
    let mut pool = Lending::new(state(connections, connections), true);
    for (name, id) in names.iter().zip(1..) {
        let of = origin(name);
        let asked = pool.ask(name, id, now, None);
        assert!(matches!(asked, CheckoutAnswer::Connect(_)), "{asked:?}");
        let returned = pool.about(&of).connected(&of, id, now).0;
        assert!(matches!(returned, Returned::Serve(..)));
        assert!(matches!(pool.release(&of, id, now), Returned::Idle));
    }
    pool
}

impl Lending {
    fn lends(&self, name: &str) -> bool {
        let lent = self.lent.as_ref().unwrap();
        lent.take(&origin(name)).is_some()
    }
}

#[test]
fn a_request_that_is_given_a_connection_at_once_comes_after_all_before_it() {
    let (mut pool, now) = (lends(1, &["a"], Instant::now()), Instant::now());
    let a = origin("a");
    let CheckoutAnswer::Ready(_, first) = pool.ask("a", 1, now, None) else {
        panic!("it is idle");
    };
    let CheckoutAnswer::Queue(second, _) = pool.ask("a", 2, now, None) else {
        panic!("there is no other");
    };
    assert!(first < second.arrival.ticket);
    // The connection was dead: the request waits again, before the other.
    let arrival = Arrival {
        ticket: first,
        since: now,
    };
    let again = pool.ask("a", 1, now, Some(arrival));
    assert!(matches!(again, CheckoutAnswer::Queue(..)), "{again:?}");
    let granted = pool.about(&a).closed(&a, 1);
    assert!(matches!(&*granted, [(_, 1)]), "{granted:?}");
}

#[test]
fn nothing_is_lent_while_an_origin_waits_for_room() {
    let now = Instant::now();
    let mut pool = lends(2, &["a", "b"], now);
    assert!(pool.lends("a"), "and is in use from now on");
    let asked = pool.ask("c", 3, now, None);
    let CheckoutAnswer::Queue(_, Some(Checkout::Own(2))) = asked else {
        panic!("the idle connection makes room: {asked:?}");
    };
    // What comes back now is not kept without the state: a second request may wait for room.
    let asked = pool.ask("d", 4, now, None);
    assert!(matches!(asked, CheckoutAnswer::Queue(_, None)), "{asked:?}");
    let returned = pool.release(&origin("a"), 1, now);
    assert!(matches!(returned, Returned::Close(1)), "{returned:?}");
}

#[test]
fn an_origin_is_lent_again_when_no_request_waits() {
    let now = Instant::now();
    let mut pool = lends(1, &["a"], now);
    let a = origin("a");
    assert!(matches!(
        pool.ask("a", 2, now, None),
        CheckoutAnswer::Ready(..)
    ));
    assert!(matches!(
        pool.ask("a", 3, now, None),
        CheckoutAnswer::Queue(..)
    ));
    assert!(matches!(pool.release(&a, 1, now), Returned::Serve(3, 1)));
    assert!(matches!(pool.release(&a, 1, now), Returned::Idle));
    assert!(pool.lends("a"));
}

#[test]
fn what_is_lent_comes_back_when_the_session_closes_and_is_not_lent_again() {
    let now = Instant::now();
    let mut pool = lends(2, &["a", "b"], now);
    pool.recall_all();
    assert_eq!(pool.state.stop_keeping().len(), 2);
    let asked = pool.ask("a", 3, now, None);
    assert!(matches!(asked, CheckoutAnswer::Queue(..)), "{asked:?}");
    assert!(!pool.lends("a") && !pool.lends("b"));
}

#[test]
fn a_lent_origin_without_tickets_is_lent_anew() {
    let now = Instant::now();
    let mut pool = lends(1, &["a"], now);
    let a = origin("a");
    let mut last = None;
    for _ in 0..200_000 {
        let CheckoutAnswer::Ready(_, ticket) = pool.ask("a", 2, now, None) else {
            panic!("it is idle");
        };
        assert!(last < Some(ticket));
        last = Some(ticket);
        assert!(matches!(pool.release(&a, 1, now), Returned::Idle));
    }
}

#[test]
fn a_lent_origin_tells_whether_its_connections_carry_several_requests() {
    let now = Instant::now();
    let pool = lends(1, &["a"], now);
    assert!(!pool.lent.as_ref().unwrap().shares(&origin("a")));
    let mut pool = Lending::new(state(9, 9), true);
    let s = origin("s");
    let _ = pool.ask("s", 1, now, None);
    assert!(
        !pool.lent.as_ref().unwrap().shares(&s),
        "it is not lent yet"
    );
    let _ = pool.about(&s).connected_shared(&s, 1, 2, now);
    let _ = pool.about(&s).set_limit(&s, 1, 2, now);
    assert!(pool.lent.as_ref().unwrap().shares(&s));
}

#[test]
fn a_shared_connection_is_taken_and_left_without_the_state_until_it_is_spent() {
    let now = Instant::now();
    let mut pool = Lending::new(state(9, 9), true);
    let s = origin("s");
    let _ = pool.ask("s", 1, now, None);
    let _ = pool.about(&s).connected_shared(&s, 1, 2, now);
    let _ = pool.about(&s).set_limit(&s, 1, 2, now);
    let lent = pool.lent.as_ref().unwrap();
    assert!(lent.take(&s).is_some() && lent.take(&s).is_none());
    assert_eq!(lent.end_stream(&s, 1, None), StreamEnd::Noted);
    // The last one only where the moment is known from which it is idle.
    assert_eq!(lent.end_stream(&s, 1, None), StreamEnd::Open);
    assert_eq!(lent.end_stream(&s, 1, Some(now)), StreamEnd::Noted);
    assert_eq!(lent.count_idle(), 1);
    // Drained: the state has let go of it.
    let drained = pool.about(&s).drain(&s, 1, None);
    assert_eq!(drained.close, [1]);
    let lent = pool.lent.as_ref().unwrap();
    assert!(lent.take(&s).is_none());
}
