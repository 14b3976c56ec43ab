use std::time::Duration;

use http::Uri;
use proptest::prelude::*;

use self::lending::Lending;
use super::*;
use crate::{config::Multiplexing, origin::RawOrigin};

mod addresses;
mod ending;
mod lending;
mod room;
mod threads;

type Ids = State<u32, u32, u32>;

impl Numbered for u32 {
    fn id(&self) -> u64 {
        (*self).into()
    }

    fn has_answered(&self) -> bool {
        // By number, so that tests can choose.
        self % 2 == 0
    }
}

const STEAL_AFTER: Duration = Duration::from_millis(100);

fn state(connections: usize, per_origin: usize) -> Ids {
    State::new(Limits {
        connections,
        per_origin,
        waiting: 100,
        steal_after: STEAL_AFTER,
        multiplexing: Multiplexing::Negotiated,
        requests: u64::MAX,
    })
}

fn uri(name: &str) -> Uri {
    let secure = if name.starts_with('s') { "s" } else { "" };
    format!("http{secure}://{name}").parse().unwrap()
}

fn origin(name: &str) -> Origin {
    RawOrigin::of(&uri(name))
        .unwrap()
        .read()
        .unwrap()
        .to_origin()
        .unwrap()
}

fn ask(state: &mut Ids, name: &str, waiter: u32, now: Instant) -> CheckoutAnswer<u32, u32, u32> {
    ask_again(state, name, waiter, now, None)
}

fn ask_again(
    state: &mut Ids,
    name: &str,
    waiter: u32,
    now: Instant,
    again: Option<Arrival>,
) -> CheckoutAnswer<u32, u32, u32> {
    let uri = uri(name);
    let spelled = RawOrigin::of(&uri).unwrap().read().unwrap();
    let asked = state.check_out(&spelled, now, again, || waiter, |_| {});
    asked.unwrap()
}

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    fn assert_consistent(&self) {
        let sum = |stream: fn(&PerOrigin<C, S, W>) -> usize| -> usize {
            self.origins.values().map(|entry| stream(entry)).sum()
        };
        assert_eq!(self.open, sum(|entry| entry.open));
        assert_eq!(self.connecting, sum(|entry| entry.connecting));
        assert_eq!(self.waiting, sum(|entry| entry.waiters.len()));
        assert_eq!(self.wanted, sum(|entry| entry.wanted));
        assert!(self.open <= self.limits.connections);
        for (Key(origin), entry) in &self.origins {
            assert!(entry.open <= self.limits.per_origin);
            assert!(entry.open > 0 || !entry.waiters.is_empty());
            if entry.is_lent {
                // Its connections are not here, and no request waits.
                continue;
            }
            assert!(entry.connecting + entry.idle().len() + entry.shared().len() <= entry.open);
            assert!(entry.idle().is_empty() || entry.waiters.is_empty());
            let has_room = entry.shared().iter().any(shared::Shared::has_room);
            assert!(!has_room || entry.waiters.is_empty());
            let uncovered = entry.waiters.len().saturating_sub(entry.covered());
            let could_open = entry.open < self.limits.per_origin && !entry.is_refused();
            assert_eq!(entry.starved.is_some(), uncovered > 0 && could_open);
            assert_eq!(entry.wanted > 0, entry.starved.is_some());
            if let Some(place) = entry.starved {
                assert_eq!(self.starved.get(&place), Some(origin));
            }
        }
        let starved = self.origins.values();
        let starved = starved.filter(|entry| entry.starved.is_some());
        assert_eq!(self.starved.len(), starved.count());
    }

    /// What is lent may be used without the state.
    fn assert_lends_in_calm_only(&self) {
        let entries = self.origins.values();
        let lent: Vec<_> = entries.filter(|entry| entry.is_lent).collect();
        assert_eq!(lent.len(), self.lent);
        assert!(lent.is_empty() || self.is_calm());
        for entry in lent {
            assert!(entry.waiters.is_empty() && !entry.retired);
            assert!(entry.ready.is_none());
        }
    }
}

#[test]
fn the_connection_used_last_is_reused_first() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let a = origin("a");
    for id in [1, 2] {
        assert!(matches!(
            ask(&mut state, "a", id, now),
            CheckoutAnswer::Connect(_)
        ));
    }
    for id in [1, 2] {
        assert!(
            matches!(state.connected(&a, id, now).0, Returned::Serve(waiter, _) if waiter == id)
        );
    }
    for id in [1, 2] {
        assert!(matches!(state.release(&a, id, now), Returned::Idle));
    }
    assert!(matches!(
        ask(&mut state, "a", 3, now),
        CheckoutAnswer::Ready(Checkout::Own(2), _)
    ));
}

#[test]
fn a_returned_connection_serves_who_came_first_and_the_new_one_is_kept() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let a = origin("a");
    assert!(matches!(
        ask(&mut state, "a", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        state.connected(&a, 1, now).0,
        Returned::Serve(1, 1)
    ));
    assert!(matches!(
        ask(&mut state, "a", 2, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(state.release(&a, 1, now), Returned::Serve(2, 1)));
    assert!(matches!(state.connected(&a, 2, now).0, Returned::Idle));
    assert_eq!(state.counts().idle, 1);
}

#[test]
fn a_failed_connect_fails_one_waiter_and_frees_its_slot_for_the_next() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let a = origin("a");
    assert!(matches!(
        ask(&mut state, "a", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        ask(&mut state, "a", 2, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert_eq!(state.connect_failed(&a, Failure::Passing), [1]);
    assert!(matches!(*state.permit_freed(&a), [(_, 2)]));
    state.assert_consistent();
}

#[test]
fn a_failed_connect_without_waiters_fails_no_request() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let a = origin("a");
    assert!(matches!(
        ask(&mut state, "a", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        state.connected(&a, 1, now).0,
        Returned::Serve(1, 1)
    ));
    assert!(matches!(
        ask(&mut state, "a", 2, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        ask(&mut state, "a", 3, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(state.release(&a, 1, now), Returned::Serve(2, 1)));
    assert!(state.connect_failed(&a, Failure::Passing).is_empty());
    assert_eq!(state.connect_failed(&a, Failure::Passing), [3]);
}

#[test]
fn an_idle_connection_of_another_origin_makes_room_at_the_total_limit() {
    let (mut state, now) = (state(2, 2), Instant::now());
    let a = origin("a");
    for id in [1, 2] {
        assert!(matches!(
            ask(&mut state, "a", id, now),
            CheckoutAnswer::Connect(_)
        ));
        assert!(matches!(
            state.connected(&a, id, now).0,
            Returned::Serve(_, _)
        ));
        assert!(matches!(state.release(&a, id, now), Returned::Idle));
        assert!(matches!(
            ask(&mut state, "a", 0, now),
            CheckoutAnswer::Ready(..)
        ));
    }
    for id in [1, 2] {
        assert!(matches!(state.release(&a, id, now), Returned::Idle));
    }
    // The one that has stood longest, and one only for each that waits.
    assert!(matches!(
        ask(&mut state, "b", 7, now),
        CheckoutAnswer::Queue(_, Some(Checkout::Own(1)))
    ));
    assert!(matches!(
        ask(&mut state, "b", 8, now),
        CheckoutAnswer::Queue(_, Some(Checkout::Own(2)))
    ));
    assert!(matches!(
        ask(&mut state, "b", 9, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert!(matches!(*state.closed(&a, 1), [(_, 7)]));
    assert!(matches!(*state.closed(&a, 2), [(_, 8)]));
    state.assert_consistent();
}

#[test]
fn one_that_closes_by_itself_is_not_the_one_that_was_evicted() {
    let (mut state, now) = (state(3, 3), Instant::now());
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, id)| {
        assert!(matches!(
            ask(&mut state, name, id, now),
            CheckoutAnswer::Connect(_)
        ));
        let of = origin(name);
        let returned = state.connected(&of, id, now).0;
        assert!(matches!(returned, Returned::Serve(..)));
        of
    });
    for (of, id) in [(&a, 1), (&b, 2)] {
        assert!(matches!(state.release(of, id, now), Returned::Idle));
    }
    assert!(matches!(
        ask(&mut state, "d", 7, now),
        CheckoutAnswer::Queue(_, Some(Checkout::Own(1)))
    ));
    assert!(matches!(*state.closed(&c, 3), [(_, 7)]));
    // The first is still about to close, so that the next needs no other.
    assert!(matches!(
        ask(&mut state, "e", 8, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert!(matches!(*state.closed(&a, 1), [(_, 8)]));
    assert_eq!(state.counts().idle, 1);
    assert!(state.evicting.is_empty());
    state.assert_consistent();
}

#[test]
fn a_busy_origin_keeps_its_connection_until_another_has_waited_too_long() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let (a, b) = (origin("a"), origin("b"));
    assert!(matches!(
        ask(&mut state, "a", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        state.connected(&a, 1, now).0,
        Returned::Serve(1, 1)
    ));
    assert!(matches!(
        ask(&mut state, "b", 2, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert!(matches!(
        ask(&mut state, "a", 3, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert!(matches!(
        ask(&mut state, "a", 4, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert!(matches!(state.release(&a, 1, now), Returned::Serve(3, 1)));
    let later = now + STEAL_AFTER;
    assert!(matches!(state.release(&a, 1, later), Returned::Close(1)));
    let granted = state.closed(&a, 1);
    assert!(matches!(&*granted, [(origin, 2)] if *origin == b));
    state.assert_consistent();
}

#[test]
fn no_newcomer_overtakes_a_waiter() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let a = origin("a");
    assert!(matches!(
        ask(&mut state, "a", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        state.connected(&a, 1, now).0,
        Returned::Serve(1, 1)
    ));
    assert!(matches!(
        ask(&mut state, "a", 2, now),
        CheckoutAnswer::Queue(..)
    ));
    assert!(matches!(state.release(&a, 1, now), Returned::Serve(2, 1)));
    assert!(matches!(
        ask(&mut state, "a", 3, now),
        CheckoutAnswer::Queue(..)
    ));
}

#[test]
fn a_full_queue_refuses_and_forgets() {
    let now = Instant::now();
    let mut state: Ids = State::new(Limits {
        connections: 1,
        per_origin: 1,
        waiting: 1,
        steal_after: STEAL_AFTER,
        multiplexing: Multiplexing::Negotiated,
        requests: u64::MAX,
    });
    assert!(matches!(
        ask(&mut state, "a", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        ask(&mut state, "b", 2, now),
        CheckoutAnswer::Full(_)
    ));
    assert_eq!(state.origins.len(), 1);
    state.assert_consistent();
}

#[test]
fn what_came_back_before_a_stale_request_began_is_retired() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let a = origin("a");
    for id in [1, 2] {
        assert!(matches!(
            ask(&mut state, "a", id, now),
            CheckoutAnswer::Connect(_)
        ));
        assert!(matches!(
            state.connected(&a, id, now).0,
            Returned::Serve(..)
        ));
    }
    let later = now + Duration::from_secs(1);
    assert!(matches!(state.release(&a, 1, now), Returned::Idle));
    assert!(matches!(state.release(&a, 2, later), Returned::Idle));
    assert!(matches!(
        *state.take_idle_before(&a, now),
        [Checkout::Own(1)]
    ));
    assert_eq!(state.counts().idle, 1);
}

/// Lets `waiters` ask at once for a connection to an origin that may negotiate HTTP/2.
fn ask_secure(state: &mut Ids, waiters: std::ops::Range<u32>, now: Instant) -> Vec<Ticket> {
    waiters
        .map(|waiter| match ask(state, "s", waiter, now) {
            CheckoutAnswer::Connect(place) if waiter == 0 => place.arrival.ticket,
            CheckoutAnswer::Covered(place) if waiter > 0 => place.arrival.ticket,
            other => panic!("waiter {waiter}: {other:?}"),
        })
        .collect()
}

fn served(effects: &Effects<u32, u32>) -> Vec<u32> {
    effects.serve.iter().map(|(waiter, _)| *waiter).collect()
}

#[test]
fn one_connection_goes_first_while_the_protocol_is_unknown() {
    let (mut state, now) = (state(99, 99), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..25, now);
    let first = state.connected_shared(&s, 1, 100, now);
    assert_eq!(served(&first), [0]);
    assert!(first.grant.is_empty(), "its limit is not known yet");
    let settled = state.set_limit(&s, 1, 10, now);
    assert_eq!(served(&settled), (1..10).collect::<Vec<_>>());
    // 15 are left, for two connections of 10.
    assert_eq!(settled.grant.len(), 2);
    state.assert_consistent();
}

#[test]
fn others_fan_out_once_the_first_turns_out_to_be_exclusive() {
    let (mut state, now) = (state(99, 5), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..9, now);
    let (returned, granted) = state.connected(&s, 1, now);
    assert!(matches!(returned, Returned::Serve(0, 1)));
    assert_eq!(granted.len(), 4);
    state.assert_consistent();
}

#[test]
fn a_failed_shared_connect_fails_one_waiter_and_the_third_fails_all() {
    let (mut state, now) = (state(99, 99), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..9, now);
    for first in 0..2 {
        assert_eq!(state.connect_failed(&s, Failure::Passing), [first]);
        assert!(matches!(*state.permit_freed(&s), [(_, next)] if next == first + 1));
        state.assert_consistent();
    }
    // Who comes now has waited for one only.
    assert!(matches!(
        ask(&mut state, "s", 9, now),
        CheckoutAnswer::Covered(_)
    ));
    let told = state.connect_failed(&s, Failure::Passing);
    assert_eq!(told, (2..9).collect::<Vec<_>>());
    assert!(matches!(*state.permit_freed(&s), [(_, 9)]));
    assert_eq!(state.connect_failed(&s, Failure::Passing), [9]);
    assert!(state.permit_freed(&s).is_empty());
    assert!(state.origins.is_empty());
}

#[test]
fn a_connect_that_took_all_its_time_fails_all_who_came_before_it_began() {
    let (mut state, now) = (state(99, 99), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..5, now);
    let began = state.next_ticket();
    ask_secure(&mut state, 5..9, now);
    let told = state.connect_failed(&s, Failure::TimedOut(began));
    assert_eq!(told, (0..5).collect::<Vec<_>>());
    assert!(matches!(*state.permit_freed(&s), [(_, 5)]));
    state.assert_consistent();
}

#[test]
fn a_connect_that_will_fail_again_fails_all_who_waited() {
    let (mut state, now) = (state(99, 99), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..9, now);
    assert_eq!(state.connect_failed(&s, Failure::Lasting).len(), 9);
    assert!(state.permit_freed(&s).is_empty());
    assert!(state.origins.is_empty());
}

#[test]
fn a_connection_that_ends_before_it_is_settled_fails_as_a_connect_does() {
    let (mut state, now) = (state(99, 99), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..9, now);
    let opened = state.connected_shared(&s, 1, 100, now);
    assert_eq!(served(&opened), [0]);
    let ended = state.drain(&s, 1, Some(Failed::Broken));
    assert_eq!(ended.tell, [1]);
    assert!(matches!(*ended.grant, [(_, 2)]));

    let opened = state.connected_shared(&s, 2, 100, now);
    assert_eq!(served(&opened), [2]);
    ask_secure(&mut state, 9..10, now);
    let ended = state.drain(&s, 2, Some(Failed::TimedOut));
    assert_eq!(ended.tell, (3..9).collect::<Vec<_>>());
    assert!(matches!(*ended.grant, [(_, 9)]));
    state.assert_consistent();
}

#[test]
fn a_request_whose_connection_takes_none_waits_again_where_it_was() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let a = origin("a");
    let CheckoutAnswer::Connect(first) = ask(&mut state, "a", 1, now) else {
        panic!("it may connect");
    };
    for waiter in 2..5 {
        assert!(matches!(
            ask(&mut state, "a", waiter, now),
            CheckoutAnswer::Queue(_, None)
        ));
    }
    assert!(matches!(
        state.connected(&a, 1, now).0,
        Returned::Serve(1, 1)
    ));
    let later = now + Duration::from_secs(1);
    let again = ask_again(&mut state, "a", 1, later, Some(first.arrival));
    let CheckoutAnswer::Queue(place, None) = again else {
        panic!("{again:?}");
    };
    assert_eq!(place.arrival.ticket, first.arrival.ticket);
    assert_eq!(place.arrival.since, now);
    state.assert_consistent();
    assert!(matches!(*state.permit_freed(&a), [(_, 1)]));
    assert!(matches!(
        state.connected(&a, 2, later).0,
        Returned::Serve(1, 2)
    ));
}

#[test]
fn a_request_that_was_let_in_finds_no_queue_full() {
    let now = Instant::now();
    let mut state: Ids = State::new(Limits {
        connections: 1,
        per_origin: 1,
        waiting: 1,
        steal_after: STEAL_AFTER,
        multiplexing: Multiplexing::Negotiated,
        requests: u64::MAX,
    });
    let a = origin("a");
    let CheckoutAnswer::Connect(first) = ask(&mut state, "a", 1, now) else {
        panic!("it may connect");
    };
    assert!(matches!(
        state.connected(&a, 1, now).0,
        Returned::Serve(1, 1)
    ));
    assert!(matches!(
        ask(&mut state, "a", 2, now),
        CheckoutAnswer::Queue(..)
    ));
    assert!(matches!(
        ask(&mut state, "a", 3, now),
        CheckoutAnswer::Full(_)
    ));
    let again = ask_again(&mut state, "a", 1, now, Some(first.arrival));
    assert!(matches!(again, CheckoutAnswer::Queue(..)), "{again:?}");
    state.assert_consistent();
}

#[test]
fn a_peer_that_allows_no_stream_gets_one_connection_and_no_more() {
    let (mut state, now) = (state(99, 99), Instant::now());
    let s = origin("s");
    let tickets = ask_secure(&mut state, 0..9, now);
    let _ = state.connected_shared(&s, 1, 100, now);
    let settled = state.set_limit(&s, 1, 0, now);
    assert!(settled.serve.is_empty() && settled.grant.is_empty());
    assert!(
        !state.is_covered(&s, tickets[1]),
        "so its time in the queue runs"
    );
    assert!(matches!(
        ask(&mut state, "s", 9, now),
        CheckoutAnswer::Queue(_, None)
    ));
    // It changes its mind.
    let settled = state.set_limit(&s, 1, 3, now);
    assert_eq!(served(&settled), [1, 2]);
    assert_eq!(settled.grant.len(), 3);
    state.assert_consistent();
}

#[test]
fn a_paused_connection_is_left_and_comes_back() {
    let (mut state, now) = (state(99, 99), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..1, now);
    let _ = state.connected_shared(&s, 1, 100, now);
    let _ = state.set_limit(&s, 1, 100, now);
    let _ = state.pause(&s, 1, now);
    assert!(matches!(
        ask(&mut state, "s", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    assert_eq!(served(&state.resume(&s, 1, now)), [1]);
    assert!(matches!(
        ask(&mut state, "s", 2, now),
        CheckoutAnswer::Ready(Checkout::Stream(1), _)
    ));
    state.assert_consistent();
}

#[test]
fn a_busy_shared_connection_drains_when_another_origin_waited_too_long() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..1, now);
    let _ = state.connected_shared(&s, 1, 100, now);
    let _ = state.set_limit(&s, 1, 100, now);
    assert!(matches!(
        ask(&mut state, "s", 1, now),
        CheckoutAnswer::Ready(..)
    ));
    assert!(matches!(
        ask(&mut state, "b", 2, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert!(state.stream_ended(&s, 1, now).close.is_empty());
    assert!(matches!(
        ask(&mut state, "s", 3, now),
        CheckoutAnswer::Ready(..)
    ));
    let later = now + STEAL_AFTER;
    assert!(
        state.stream_ended(&s, 1, later).close.is_empty(),
        "one is under way"
    );
    assert!(matches!(
        ask(&mut state, "s", 4, later),
        CheckoutAnswer::Queue(_, None)
    ));
    assert_eq!(state.stream_ended(&s, 1, later).close, [1]);
    assert!(matches!(*state.permit_freed(&s), [(_, 2)]));
    state.assert_consistent();
}

#[test]
fn a_connection_that_drains_for_long_keeps_no_other_from_making_room() {
    let (mut state, now) = (state(2, 1), Instant::now());
    let (s, a, b) = (origin("s"), origin("a"), origin("b"));
    ask_secure(&mut state, 0..1, now);
    let _ = state.connected_shared(&s, 1, 100, now);
    let _ = state.set_limit(&s, 1, 100, now);
    assert!(matches!(
        ask(&mut state, "s", 1, now),
        CheckoutAnswer::Ready(..)
    ));
    assert!(matches!(
        ask(&mut state, "a", 2, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        state.connected(&a, 2, now).0,
        Returned::Serve(2, 2)
    ));
    assert!(matches!(
        ask(&mut state, "b", 3, now),
        CheckoutAnswer::Queue(..)
    ));
    let later = now + STEAL_AFTER;
    // Chosen to make room, but one of its streams goes on.
    assert!(state.stream_ended(&s, 1, later).close.is_empty());
    assert!(matches!(
        ask(&mut state, "a", 4, later),
        CheckoutAnswer::Queue(..)
    ));
    // It may end soon, so for a while no other makes room too.
    assert!(matches!(state.release(&a, 2, later), Returned::Serve(4, 2)));
    assert!(matches!(
        ask(&mut state, "a", 5, later),
        CheckoutAnswer::Queue(..)
    ));
    let later = later + STEAL_AFTER;
    assert!(matches!(state.release(&a, 2, later), Returned::Close(2)));
    let granted = state.closed(&a, 2);
    assert!(matches!(&*granted, [(origin, 3)] if *origin == b));
    state.assert_consistent();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(u8),
    Connected(u8),
    ConnectedShared(u8),
    ConnectFailed(u8, u8),
    PutBack(u8),
    /// A connection that was given takes no request, which asks again.
    Dead(u8),
    Settled(u8, usize),
    Pause(u8),
    Resume(u8),
    PartEnded(u8),
    Withdrawn(u8, u8),
    Closed(u8),
    /// An idle connection ends.
    Removed(u8),
    /// The idle connections of an origin are closed.
    Suspected(u8),
    /// A name has an address no more, or has it again.
    Retired(u8),
    TakenUp(u8),
    Leave(u8),
    Wait,
}

const NAMES: [&str; 4] = ["a", "b", "s", "s2"];

fn origin_at(at: u8) -> Origin {
    origin(NAMES[usize::from(at) % NAMES.len()])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..4_u8).prop_map(Step::Ask),
        2 => any::<u8>().prop_map(Step::Connected),
        2 => any::<u8>().prop_map(Step::ConnectedShared),
        1 => (any::<u8>(), 0..3_u8).prop_map(|(at, how)| Step::ConnectFailed(at, how)),
        3 => any::<u8>().prop_map(Step::PutBack),
        1 => any::<u8>().prop_map(Step::Dead),
        2 => (any::<u8>(), 0..4_usize).prop_map(|(at, limit)| Step::Settled(at, limit)),
        1 => any::<u8>().prop_map(Step::Pause),
        1 => any::<u8>().prop_map(Step::Resume),
        3 => any::<u8>().prop_map(Step::PartEnded),
        1 => (any::<u8>(), 0..3_u8).prop_map(|(at, how)| Step::Withdrawn(at, how)),
        2 => any::<u8>().prop_map(Step::Closed),
        1 => any::<u8>().prop_map(Step::Removed),
        1 => any::<u8>().prop_map(Step::Suspected),
        1 => any::<u8>().prop_map(Step::Retired),
        1 => any::<u8>().prop_map(Step::TakenUp),
        1 => any::<u8>().prop_map(Step::Leave),
        1 => Just(Step::Wait),
    ]
}

/// A shared connection as its own task knows it.
struct Open {
    origin: Origin,
    id: u32,
    streams: usize,
    /// The state has let go of it.
    draining: bool,
}

/// The world around the state: what the shell would hold in its hands.
#[derive(Default)]
struct World {
    connecting: Vec<Origin>,
    /// The connections that serve one request at a time, also those that are gone.
    opened: HashMap<u32, Origin>,
    in_use: Vec<(Origin, u32, Arrival)>,
    shared: Vec<Open>,
    streams: Vec<u32>,
    closing: Vec<(Origin, u32)>,
    waiting: Vec<(Origin, Arrival, u32)>,
    served: usize,
    failed: usize,
    left: usize,
    asked: usize,
}

impl World {
    /// Which requests have which connections, and what is opened, closed and waited for.
    fn outline(&self) -> String {
        let in_use = self.in_use.iter().map(|(of, id, _)| (of, id));
        let waiting = self.waiting.iter().map(|(of, _, id)| (of, id));
        let shared = self.shared.iter();
        let shared = shared.map(|it| (it.id, it.streams, it.draining));
        format!(
            "connecting {:?}, in use {:?}, shared {:?}, closing {:?}, waiting {:?}, {} served, {} failed",
            self.connecting,
            in_use.collect::<Vec<_>>(),
            shared.collect::<Vec<_>>(),
            self.closing,
            waiting.collect::<Vec<_>>(),
            self.served,
            self.failed,
        )
    }

    /// The origin that a connection was opened for.
    fn origin_of(&self, id: u32) -> Origin {
        self.opened.get(&id).expect("it was opened").clone()
    }

    /// First come, first served, among the origin's own.
    fn serve_first(&mut self, origin: &Origin, waiter: u32) -> Arrival {
        let first = self.waiting.iter().position(|(of, _, _)| of == origin);
        let (_, arrival, first) = self.waiting.remove(first.expect("somebody waits"));
        assert_eq!(first, waiter);
        self.served += 1;
        arrival
    }

    fn returned(&mut self, origin: &Origin, returned: &Returned<u32, u32>) {
        match *returned {
            Returned::Idle => {}
            Returned::Close(id) => self.closing.push((origin.clone(), id)),
            Returned::Serve(waiter, id) => {
                let arrival = self.serve_first(origin, waiter);
                self.in_use.push((origin.clone(), id, arrival));
            }
        }
    }

    fn granted(&mut self, granted: Vec<(Origin, u32)>) {
        for (origin, waiter) in granted {
            assert!(self.waiting.iter().any(|(_, _, id)| *id == waiter));
            self.connecting.push(origin);
        }
    }

    fn failed(&mut self, told: &[u32]) {
        self.waiting.retain(|(_, _, id)| !told.contains(id));
        self.failed += told.len();
    }

    fn take_part(&mut self, id: u32) {
        let open = self.shared.iter_mut().find(|open| open.id == id);
        let open = open.expect("it is open");
        assert!(!open.draining);
        open.streams += 1;
        self.streams.push(id);
    }

    fn leave(&mut self, id: u32) {
        let open = self.shared.iter_mut().find(|open| open.id == id);
        open.expect("it is open").draining = true;
        self.sweep();
    }

    /// Closes an idle connection that was taken out.
    fn evicted(&mut self, evicted: &Checkout<u32, u32>) {
        match *evicted {
            Checkout::Own(id) => self.closing.push((self.origin_of(id), id)),
            Checkout::Stream(id) => self.leave(id),
        }
    }

    /// Closes what carries nothing and gets nothing more.
    fn sweep(&mut self) {
        let closing = &mut self.closing;
        self.shared.retain(|open| {
            let goes = open.draining && open.streams == 0;
            if goes {
                closing.push((open.origin.clone(), open.id));
            }
            !goes
        });
    }

    fn follow(&mut self, origin: &Origin, effects: Effects<u32, u32>) {
        self.failed(&effects.tell);
        for (waiter, id) in effects.serve {
            self.serve_first(origin, waiter);
            self.take_part(id);
        }
        self.granted(effects.grant);
        for id in effects.close {
            self.leave(id);
        }
    }

    fn open_at(&self, at: u8) -> Option<(Origin, u32)> {
        let open: Vec<_> = self.shared.iter().filter(|open| !open.draining).collect();
        let open = open.get(usize::from(at).checked_rem(open.len())?)?;
        Some((open.origin.clone(), open.id))
    }
}

fn pick<T>(from: &mut Vec<T>, at: u8) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(usize::from(at) % from.len()))
}

struct Run {
    state: Lending,
    world: World,
    now: Instant,
    next: u32,
}

impl Run {
    fn ask(&mut self, name: &str, id: u32, again: Option<Arrival>) {
        let Self {
            state, world, now, ..
        } = self;
        world.asked += 1;
        match state.ask(name, id, *now, again) {
            CheckoutAnswer::Ready(given, ticket) => {
                assert!(!world.waiting.iter().any(|(of, _, _)| *of == origin(name)));
                world.served += 1;
                let since = again.map_or(*now, |arrival| arrival.since);
                let arrival = Arrival { ticket, since };
                match given {
                    Checkout::Own(pooled) => world.in_use.push((origin(name), pooled, arrival)),
                    Checkout::Stream(id) => world.take_part(id),
                }
            }
            CheckoutAnswer::Connect(place) => {
                world.connecting.push(place.origin.clone());
                world.waiting.push((place.origin, place.arrival, id));
            }
            CheckoutAnswer::Queue(place, evicted) => {
                world.waiting.push((place.origin, place.arrival, id));
                if let Some(evicted) = evicted {
                    world.evicted(&evicted);
                }
            }
            CheckoutAnswer::Covered(place) => {
                world.waiting.push((place.origin, place.arrival, id));
            }
            CheckoutAnswer::Full(_) | CheckoutAnswer::Closed => {
                assert!(again.is_none(), "it was let in");
                world.failed += 1;
            }
        }
    }

    /// A connection that was given takes no request, and closes; the request asks again.
    fn dead(&mut self, at: u8, id: u32) {
        let world = &mut self.world;
        if let Some((of, pooled, arrival)) = pick(&mut world.in_use, at) {
            world.closing.push((of.clone(), pooled));
            world.served -= 1;
            world.asked -= 1;
            let name = of.host().to_owned();
            self.ask(&name, id, Some(arrival));
        }
    }

    fn connect_failed(&mut self, at: u8, how: u8) {
        let Self { state, world, .. } = self;
        if let Some(of) = pick(&mut world.connecting, at) {
            let failure = match how {
                0 => Failure::Passing,
                1 => Failure::TimedOut(state.next_ticket()),
                _ => Failure::Lasting,
            };
            let told = state.about(&of).connect_failed(&of, failure);
            world.failed(&told);
            world.granted(state.about(&of).permit_freed(&of));
        }
    }

    fn step(&mut self, step: Step) {
        let Self {
            state, world, now, ..
        } = self;
        // No two events are at the same moment.
        *now += Duration::from_micros(1);
        let now_is = *now;
        self.next += 1;
        let id = self.next;
        match step {
            Step::Ask(name) => self.ask(NAMES[usize::from(name)], id, None),
            Step::Connected(at) => {
                if let Some(of) = pick(&mut world.connecting, at) {
                    world.opened.insert(id, of.clone());
                    let (returned, granted) = state.about(&of).connected(&of, id, now_is);
                    world.returned(&of, &returned);
                    world.granted(granted);
                }
            }
            Step::ConnectedShared(at) => {
                let secure = |of: &Origin| of.scheme() == "https";
                let found = world.connecting.iter().position(secure).filter(|_| at > 0);
                if let Some(of) = found.map(|at| world.connecting.swap_remove(at)) {
                    world.shared.push(Open {
                        origin: of.clone(),
                        id,
                        streams: 0,
                        draining: false,
                    });
                    let effects = state.about(&of).connected_shared(&of, id, 4, now_is);
                    world.follow(&of, effects);
                }
            }
            Step::ConnectFailed(at, how) => self.connect_failed(at, how),
            Step::PutBack(at) => {
                if let Some((of, pooled, _)) = pick(&mut world.in_use, at) {
                    let returned = state.release(&of, pooled, now_is);
                    world.returned(&of, &returned);
                }
            }
            Step::Dead(at) => self.dead(at, id),
            Step::Settled(at, limit) => {
                if let Some((of, id)) = world.open_at(at) {
                    let effects = state.about(&of).set_limit(&of, id.into(), limit, now_is);
                    world.follow(&of, effects);
                }
            }
            Step::Pause(at) => {
                if let Some((of, id)) = world.open_at(at) {
                    let effects = state.about(&of).pause(&of, id.into(), now_is);
                    world.follow(&of, effects);
                }
            }
            Step::Resume(at) => {
                if let Some((of, id)) = world.open_at(at) {
                    let effects = state.about(&of).resume(&of, id.into(), now_is);
                    world.follow(&of, effects);
                }
            }
            Step::PartEnded(at) => {
                if let Some(id) = pick(&mut world.streams, at) {
                    let open = world.shared.iter_mut().find(|open| open.id == id);
                    let open = open.expect("what carries something is open");
                    open.streams -= 1;
                    let of = open.origin.clone();
                    world.sweep();
                    let effects = state.stream_ended(&of, id, at % 2 == 0, now_is);
                    world.follow(&of, effects);
                }
            }
            Step::Withdrawn(at, how) => {
                if let Some((of, id)) = world.open_at(at) {
                    let failed = match how {
                        0 => None,
                        1 => Some(Failed::Broken),
                        _ => Some(Failed::TimedOut),
                    };
                    let effects = state.about(&of).drain(&of, id.into(), failed);
                    assert_eq!(effects.close, [id]);
                    world.follow(&of, effects);
                }
            }
            Step::Closed(at) => {
                if let Some((of, id)) = pick(&mut world.closing, at) {
                    world.granted(state.about(&of).closed(&of, id.into()));
                }
            }
            Step::Removed(_) | Step::Suspected(_) | Step::Retired(_) | Step::TakenUp(_) => {
                self.take_out(step);
            }
            Step::Leave(at) => {
                if let Some((of, arrival, _)) = pick(&mut world.waiting, at) {
                    assert_ne!(
                        state.about(&of).cancel(&of, arrival.ticket),
                        Cancelled::NotQueued
                    );
                    world.left += 1;
                }
            }
            Step::Wait => *now += STEAL_AFTER,
        }
        self.check();
    }

    /// Idle connections are closed, whether requests wait for room or not.
    fn take_out(&mut self, step: Step) {
        let Self {
            state, world, now, ..
        } = self;
        let taken = match step {
            Step::Removed(at) => {
                let all = world.opened.iter().map(|(id, of)| (*id, of.clone()));
                let shared = world
                    .shared
                    .iter()
                    .map(|open| (open.id, open.origin.clone()));
                let mut all: Vec<_> = all.chain(shared).collect();
                all.sort_by_key(|(id, _)| *id);
                let Some((id, of)) = pick(&mut all, at) else {
                    return;
                };
                let removed = state.about(&of).remove(&of, id.into());
                removed.into_iter().collect()
            }
            Step::Suspected(at) => {
                let of = origin_at(at);
                state.about(&of).take_idle_before(&of, *now)
            }
            Step::Retired(at) => {
                let of = origin_at(at);
                let (idle, busy) = state.about(&of).retire(&of);
                for id in busy {
                    let effects = state.about(&of).drain(&of, id.into(), None);
                    world.follow(&of, effects);
                }
                idle
            }
            Step::TakenUp(at) => {
                let of = origin_at(at);
                state.about(&of).take_up(&of);
                Vec::new()
            }
            _ => Vec::new(),
        };
        for idle in taken {
            world.evicted(&idle);
        }
    }

    /// Checks what holds after each step.
    fn check(&mut self) {
        for evicted in self.state.take_evicted() {
            self.world.evicted(&evicted);
        }
        self.world
            .waiting
            .sort_by_key(|(_, arrival, _)| (arrival.since, arrival.ticket));
        self.state.assert_consistent();
        self.state.assert_lends_in_calm_only();
        self.assert_room_is_made();
    }

    /// What is closed for others is closing, and no one waits for room while there is some.
    fn assert_room_is_made(&self) {
        let World {
            closing, shared, ..
        } = &self.world;
        for evicting in &self.state.evicting {
            let closing = closing.iter().map(|(_, id)| *id);
            let draining = shared.iter().filter(|open| open.draining);
            let mut closing = closing.chain(draining.map(|open| open.id));
            assert!(closing.any(|id| u64::from(id) == *evicting));
        }
        let closes = !closing.is_empty() || shared.iter().any(|open| open.draining);
        let full = self.state.open == self.state.limits.connections;
        assert!(self.state.starved.is_empty() || full || closes);
        self.assert_none_is_idle_for_nothing();
    }

    /// No request waits for room while a connection is idle that could make room, unless enough
    /// others are about to close.
    fn assert_none_is_idle_for_nothing(&self) {
        let closing = self.world.closing.iter().map(|(_, id)| u64::from(*id));
        let going: HashSet<_> = closing.chain(self.state.evicting.iter().copied()).collect();
        if self.state.wanted > going.len() {
            for origin in self.state.starved.values() {
                assert_eq!(self.state.evictable(origin), None, "for {origin:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_events_keeps_the_limits_and_serves_all_waiters(
        steps in proptest::collection::vec(step(), 0..400),
        connections in 1..5_usize,
        per_origin in 1..4_usize,
    ) {
        let began = Instant::now();
        let run = |lends| Run {
            state: Lending::new(state(connections, per_origin), lends),
            world: World::default(),
            now: began,
            next: 0,
        };
        let (mut run, mut plain) = (run(true), run(false));
        for step in steps {
            run.step(step);
            plain.step(step);
            // Whatever is lent, the same requests get the same connections.
            prop_assert_eq!(run.world.outline(), plain.world.outline());
        }
        run.state.recall_all();
        run.state.assert_consistent();
        prop_assert_eq!(run.state.counts(), plain.state.counts());
        // When all connections and connects end, no waiter is left.
        for round in 0..10_000_u32 {
            let at = u8::try_from(round % 7).unwrap();
            for step in [
                Step::Connected(0),
                Step::PutBack(0),
                Step::Settled(at, 2),
                Step::Resume(at),
                Step::PartEnded(0),
                Step::Closed(0),
            ] {
                run.step(step);
            }
            let World { waiting, in_use, streams, .. } = &run.world;
            if waiting.is_empty() && in_use.is_empty() && streams.is_empty() {
                break;
            }
        }
        prop_assert_eq!(run.state.counts().waiting, 0);
        let World { asked, served, failed, left, .. } = run.world;
        prop_assert_eq!(asked, served + failed + left);
    }
}
