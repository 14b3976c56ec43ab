//! Who makes room for whom, and how many requests a connection is there for.

use super::*;

fn limited(waiting: usize, requests: u64) -> Ids {
    State::new(Limits {
        connections: 9,
        per_origin: 9,
        waiting,
        steal_after: STEAL_AFTER,
        multiplexing: Multiplexing::Negotiated,
        requests,
    })
}

/// Opens a connection of this origin for one request, which is under way from now on.
fn be_busy(state: &mut Ids, name: &str, id: u32, now: Instant) {
    assert!(matches!(
        ask(state, name, id, now),
        CheckoutAnswer::Connect(_)
    ));
    let returned = state.connected(&origin(name), id, now).0;
    assert!(matches!(returned, Returned::Serve(..)));
}

/// Opens a shared connection of this origin for so many requests, and begins one.
fn be_shared(state: &mut Ids, name: &str, id: u32, limit: usize, now: Instant) {
    let of = origin(name);
    assert!(matches!(
        ask(state, name, id, now),
        CheckoutAnswer::Connect(_)
    ));
    assert_eq!(served(&state.connected_shared(&of, id, limit, now)), [id]);
    let _ = state.set_limit(&of, id.into(), limit, now);
}

#[test]
fn a_full_queue_refuses_no_request_for_which_a_connection_is_opened() {
    let (mut state, now) = (limited(1, u64::MAX), Instant::now());
    for id in 1..=3 {
        assert!(matches!(
            ask(&mut state, "a", id, now),
            CheckoutAnswer::Connect(_)
        ));
    }
    ask_secure(&mut state, 0..3, now);
    assert_eq!(state.counts().waiting, 6);
    state.assert_consistent();
}

#[test]
fn one_connection_makes_room_for_one_waiter_of_another_origin() {
    let (mut state, now) = (state(2, 2), Instant::now());
    let a = origin("a");
    be_busy(&mut state, "a", 1, now);
    be_busy(&mut state, "a", 2, now);
    assert!(matches!(
        ask(&mut state, "b", 3, now),
        CheckoutAnswer::Queue(..)
    ));
    for waiter in [4, 5] {
        assert!(matches!(
            ask(&mut state, "a", waiter, now),
            CheckoutAnswer::Queue(..)
        ));
    }
    let later = now + STEAL_AFTER;
    assert!(matches!(state.release(&a, 1, later), Returned::Close(1)));
    assert!(matches!(state.release(&a, 2, later), Returned::Serve(4, 2)));
    state.assert_consistent();
}

#[test]
fn a_connection_that_was_opened_although_it_was_called_off_makes_room() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let a = origin("a");
    let CheckoutAnswer::Connect(place) = ask(&mut state, "a", 1, now) else {
        panic!("there is room");
    };
    assert_eq!(state.cancel(&a, place.arrival.ticket), Cancelled::Surplus);
    state.connect_cancelled(&a);
    let returned = state.connected_late(&a, 1, now);
    assert!(matches!(returned, Returned::Idle));
    assert!(matches!(
        ask(&mut state, "b", 2, now),
        CheckoutAnswer::Queue(_, Some(Checkout::Own(1)))
    ));
    state.assert_consistent();
}

#[test]
fn a_paused_connection_makes_room_as_soon_as_another_origin_alone_wants_it() {
    let (state, now) = (state(3, 2), Instant::now());
    let mut pool = Lending::new(state, false);
    let (s, q) = (origin("s"), origin("q"));
    let _ = pool.ask("s", 1, now, None);
    let effects = pool.about(&s).connected_shared(&s, 1, 2, now);
    assert_eq!(effects.serve.len(), 1);
    let _ = pool.stream_ended(&s, 1, false, now);
    let _ = pool.about(&s).pause(&s, 1, now);
    for id in [2, 3] {
        let _ = pool.ask("q", id, now, None);
        let _ = pool.about(&q).connected(&q, id, now);
    }
    // Its own paused connection makes no room for this one, and the next may open no third.
    let _ = pool.ask("s", 4, now, None);
    let _ = pool.ask("q", 5, now, None);
    assert!(pool.take_evicted().is_empty());
    let granted = pool.about(&q).closed(&q, 2);
    assert_eq!(granted, [(s, 4)]);
    assert!(matches!(pool.take_evicted()[..], [Checkout::Stream(1)]));
}

#[test]
fn what_comes_back_makes_room_at_once_where_its_own_origin_does_not_wait() {
    let (mut state, now) = (state(2, 2), Instant::now());
    let a = origin("a");
    be_busy(&mut state, "a", 1, now);
    be_busy(&mut state, "a", 2, now);
    assert!(matches!(
        ask(&mut state, "b", 3, now),
        CheckoutAnswer::Queue(..)
    ));
    assert!(matches!(state.release(&a, 1, now), Returned::Close(1)));
    assert!(matches!(state.release(&a, 2, now), Returned::Idle));
    assert!(matches!(*state.permit_freed(&a), [(_, 3)]));
    state.assert_consistent();
}

#[test]
fn a_long_wait_closes_no_connection_of_the_waiters_own_origin() {
    let (mut state, now) = (state(1, 2), Instant::now());
    let a = origin("a");
    be_busy(&mut state, "a", 1, now);
    assert!(matches!(
        ask(&mut state, "a", 2, now),
        CheckoutAnswer::Queue(..)
    ));
    let later = now + 2 * STEAL_AFTER;
    assert!(matches!(state.release(&a, 1, later), Returned::Serve(2, 1)));
}

#[test]
fn nothing_counts_as_making_room_without_a_waiter() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let (a, s) = (origin("a"), origin("s"));
    be_busy(&mut state, "a", 1, now);
    be_shared(&mut state, "s", 2, 10, now);
    assert!(state.stop_keeping().is_empty());
    assert!(matches!(state.release(&a, 1, now), Returned::Close(1)));
    assert_eq!(state.stream_ended(&s, 2, now).close, [2]);
    assert_eq!(state.evicting.len(), 0);
}

#[test]
fn a_shared_connection_that_carries_nothing_makes_room_at_once() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let s = origin("s");
    be_shared(&mut state, "s", 1, 10, now);
    assert!(matches!(
        ask(&mut state, "b", 2, now),
        CheckoutAnswer::Queue(..)
    ));
    assert_eq!(state.stream_ended(&s, 1, now).close, [1]);
    assert_eq!(state.evicting.len(), 1);
    assert!(matches!(*state.closed(&s, 1), [(_, 2)]));
    assert_eq!(state.evicting.len(), 0);
    state.assert_consistent();
}

#[test]
fn the_idle_shared_connection_used_longest_ago_makes_room() {
    let (mut state, now) = (state(2, 2), Instant::now());
    be_shared(&mut state, "s", 5, 10, now);
    be_shared(&mut state, "s2", 7, 10, now);
    for (name, id, at) in [("s2", 7, now), ("s", 5, now + STEAL_AFTER)] {
        assert!(state.stream_ended(&origin(name), id, at).close.is_empty());
    }
    assert!(matches!(
        ask(&mut state, "a", 8, now),
        CheckoutAnswer::Queue(_, Some(Checkout::Stream(7)))
    ));
    state.assert_consistent();
}

#[test]
fn an_idle_connection_in_doubt_makes_room_for_other_origins_only() {
    let (mut state, now) = (state(1, 2), Instant::now());
    let s = origin("s");
    be_shared(&mut state, "s", 1, 10, now);
    let _ = state.stream_ended(&s, 1, now);
    let _ = state.pause(&s, 1, now);
    assert!(matches!(
        ask(&mut state, "s", 2, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert!(matches!(
        ask(&mut state, "a", 3, now),
        CheckoutAnswer::Queue(_, Some(Checkout::Stream(1)))
    ));
    state.assert_consistent();
}

#[test]
fn a_shared_connection_carries_as_many_requests_in_its_life_as_it_may() {
    let (mut state, now) = (limited(9, 2), Instant::now());
    let s = origin("s");
    be_shared(&mut state, "s", 1, 10, now);
    assert!(matches!(
        ask(&mut state, "s", 2, now),
        CheckoutAnswer::Ready(..)
    ));
    assert!(matches!(
        ask(&mut state, "s", 3, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(state.stream_ended(&s, 1, now).close.is_empty());
    assert_eq!(state.stream_ended(&s, 1, now).close, [1]);
    assert_eq!(state.evicting.len(), 0);
    assert_eq!(state.counts().idle, 0);
    state.assert_consistent();
}

#[test]
fn a_connection_of_unknown_limit_covers_as_many_as_are_expected() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..25, now);
    let opened = state.connected_shared(&s, 1, 10, now);
    assert_eq!(served(&opened), [0]);
    // 9 of the 24 are covered, and 15 need two more.
    assert_eq!(opened.grant.len(), 2);
    state.assert_consistent();
}

#[test]
fn what_a_peer_said_last_is_expected_of_its_next_connection() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let s = origin("s");
    let expected = |state: &Ids| state.origins.values().next().unwrap().sharing;
    be_shared(&mut state, "s", 1, 3, now);
    assert_eq!(expected(&state), Sharing::Many(3));
    for waiter in [2, 3] {
        assert!(matches!(
            ask(&mut state, "s", waiter, now),
            CheckoutAnswer::Ready(..)
        ));
    }
    assert!(matches!(
        ask(&mut state, "s", 4, now),
        CheckoutAnswer::Connect(_)
    ));
    let _ = state.connected_shared(&s, 2, 100, now);
    assert_eq!(expected(&state), Sharing::Many(3));
    // What one that takes nothing says is no guide.
    let _ = state.set_limit(&s, 2, 0, now);
    assert_eq!(expected(&state), Sharing::Many(3));
    let _ = state.set_limit(&s, 2, 5, now);
    assert_eq!(expected(&state), Sharing::Many(5));
    state.assert_consistent();
}

#[test]
fn after_a_limit_of_0_the_next_connection_waits_for_its_limit() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..1, now);
    let _ = state.connected_shared(&s, 1, 10, now);
    let _ = state.set_limit(&s, 1, 0, now);
    assert!(matches!(
        ask(&mut state, "s", 1, now),
        CheckoutAnswer::Queue(..)
    ));
    let ended = state.drain(&s, 1, None);
    assert!(matches!(*ended.grant, [(_, 1)]));
    let opened = state.connected_shared(&s, 3, 10, now);
    assert!(opened.serve.is_empty());
    assert_eq!(served(&state.set_limit(&s, 3, 10, now)), [1]);
    state.assert_consistent();
}

#[test]
fn a_connection_that_ends_at_a_limit_of_0_fails_its_waiters() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..5, now);
    assert_eq!(
        served(&state.connected_shared(&s, 1, 10, now)),
        [0],
        "one goes first"
    );
    let _ = state.set_limit(&s, 1, 0, now);
    let ended = state.drain(&s, 1, Some(Failed::Broken));
    assert_eq!(ended.tell, [1, 2, 3, 4]);
    assert!(ended.grant.is_empty());
    state.assert_consistent();
}

#[test]
fn a_connection_that_ends_after_it_told_its_limit_fails_nobody() {
    let (mut state, now) = (state(9, 1), Instant::now());
    let s = origin("s");
    be_shared(&mut state, "s", 1, 1, now);
    assert!(matches!(
        ask(&mut state, "s", 2, now),
        CheckoutAnswer::Queue(..)
    ));
    let ended = state.drain(&s, 1, Some(Failed::Broken));
    assert!(ended.tell.is_empty());
    assert_eq!(ended.close, [1]);
    assert!(matches!(*state.permit_freed(&s), [(_, 2)]));
    state.assert_consistent();
}

#[test]
fn a_connection_that_was_to_make_room_is_forgotten_when_it_ends() {
    let now = Instant::now();
    let draining = || {
        let mut state = state(1, 1);
        be_shared(&mut state, "s", 1, 10, now);
        assert!(matches!(
            ask(&mut state, "s", 2, now),
            CheckoutAnswer::Ready(..)
        ));
        assert!(matches!(
            ask(&mut state, "b", 3, now),
            CheckoutAnswer::Queue(..)
        ));
        let later = now + STEAL_AFTER;
        assert!(state.stream_ended(&origin("s"), 1, later).close.is_empty());
        assert_eq!(state.draining, [(1, later)]);
        state
    };
    let mut state = draining();
    assert_eq!(state.stream_ended(&origin("s"), 1, now).close, [1]);
    assert_eq!(state.draining, []);
    let mut state = draining();
    assert_eq!(state.drain(&origin("s"), 1, None).close, [1]);
    assert_eq!(state.draining, []);
}

#[test]
fn a_request_that_ends_beside_others_changes_nothing_else() {
    let (mut state, now) = (state(2, 1), Instant::now());
    let s = origin("s");
    assert!(state.stream_ended_quietly(&s, 1));
    be_shared(&mut state, "s", 1, 3, now);
    assert!(state.stream_ended_quietly(&s, 2), "there is no second");
    for waiter in [2, 3] {
        assert!(matches!(
            ask(&mut state, "s", waiter, now),
            CheckoutAnswer::Ready(..)
        ));
    }
    let streams = |state: &Ids| {
        let entry = state.origins.values().find(|it| !it.shared().is_empty());
        entry.unwrap().shared()[0].streams()
    };
    assert!(state.stream_ended_quietly(&s, 1));
    assert_eq!(streams(&state), 2);
    // Another origin waits for a permit.
    be_busy(&mut state, "a", 4, now);
    let CheckoutAnswer::Queue(place, None) = ask(&mut state, "b", 5, now) else {
        panic!("it waits");
    };
    assert!(!state.stream_ended_quietly(&s, 1));
    assert_eq!(streams(&state), 2);
    assert_ne!(
        state.cancel(&place.origin, place.arrival.ticket),
        Cancelled::NotQueued
    );
    assert!(state.stream_ended_quietly(&s, 1));
    assert_eq!(streams(&state), 1);
    // It carries nothing afterwards.
    assert!(!state.stream_ended_quietly(&s, 1));
    assert_eq!(streams(&state), 1);
}

#[test]
fn a_request_that_ends_where_others_wait_does_change_something() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let s = origin("s");
    be_shared(&mut state, "s", 1, 2, now);
    assert!(matches!(
        ask(&mut state, "s", 2, now),
        CheckoutAnswer::Ready(..)
    ));
    assert!(matches!(
        ask(&mut state, "s", 3, now),
        CheckoutAnswer::Queue(..)
    ));
    assert!(!state.stream_ended_quietly(&s, 1));
    assert_eq!(served(&state.stream_ended(&s, 1, now)), [3]);
    state.assert_consistent();
}

#[test]
fn a_connection_that_has_given_its_slot_back_makes_no_room_for_anybody() {
    let (mut state, now) = (state(2, 2), Instant::now());
    let (a, b) = (origin("a"), origin("b"));
    be_busy(&mut state, "a", 1, now);
    assert!(matches!(state.release(&a, 1, now), Returned::Idle));
    be_busy(&mut state, "b", 2, now);
    // Its socket is closed, and it stands among the idle ones still.
    assert!(state.closed(&a, 1).is_empty());
    assert!(matches!(
        ask(&mut state, "c", 3, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        ask(&mut state, "d", 4, now),
        CheckoutAnswer::Queue(_, None)
    ));
    assert!(state.remove(&a, 1).is_some());
    assert!(matches!(
        state.connected(&origin("c"), 3, now).0,
        Returned::Serve(..)
    ));
    assert!(matches!(*state.closed(&b, 2), [(_, 4)]));
    assert!(matches!(
        state.connected(&origin("d"), 4, now).0,
        Returned::Serve(..)
    ));
    assert!(matches!(
        state.release(&origin("c"), 3, now),
        Returned::Idle
    ));
    // The idle one goes for it.
    let queued = ask(&mut state, "e", 5, now);
    assert!(matches!(queued, CheckoutAnswer::Queue(_, Some(_))));
    state.assert_consistent();
}

#[test]
fn an_idle_connection_at_a_limit_of_0_makes_room_for_its_own_origin() {
    let (mut state, now) = (state(1, 2), Instant::now());
    let s = origin("s");
    be_shared(&mut state, "s", 2, 10, now);
    let _ = state.set_limit(&s, 2, 0, now);
    let _ = state.stream_ended(&s, 2, now);
    assert!(matches!(
        ask(&mut state, "s", 3, now),
        CheckoutAnswer::Queue(_, Some(Checkout::Stream(2)))
    ));
    state.assert_consistent();
}

#[test]
fn a_connection_has_a_successor_where_the_limits_leave_room() {
    let now = Instant::now();
    let s = origin("s");
    let may_replace = |connections, per_origin| {
        let mut state = state(connections, per_origin);
        be_shared(&mut state, "s", 1, 10, now);
        state.may_replace(&s, 1)
    };
    assert!(may_replace(2, 2));
    assert!(!may_replace(1, 2), "the pool is full");
    assert!(!may_replace(2, 1), "the origin has all it may have");
    assert!(!may_replace(1, 1));
}

#[test]
fn a_connection_that_carries_nothing_has_a_successor_in_its_own_place() {
    let (mut state, now) = (state(1, 1), Instant::now());
    let s = origin("s");
    be_shared(&mut state, "s", 1, 10, now);
    let _ = state.stream_ended(&s, 1, now);
    assert!(state.may_replace(&s, 1));
    assert!(!state.may_replace(&s, 2), "there is no second");
    assert!(!state.may_replace(&origin("a"), 1));
}
