//! What becomes of connections that are idle, of those whose pool ends, and of who waits.

use super::*;

/// Opens so many connections of an origin, each for one request, which are idle from `now` on.
fn stand_idle(state: &mut Ids, name: &str, ids: std::ops::RangeInclusive<u32>, now: Instant) {
    let of = origin(name);
    for id in ids.clone() {
        assert!(matches!(
            ask(state, name, id, now),
            CheckoutAnswer::Connect(_)
        ));
    }
    for id in ids.clone() {
        assert!(matches!(
            state.connected(&of, id, now).0,
            Returned::Serve(..)
        ));
    }
    for id in ids {
        assert!(matches!(state.release(&of, id, now), Returned::Idle));
    }
}

/// Opens a shared connection of `s` for up to ten requests, which is idle from `now` on.
fn stand_idle_shared(state: &mut Ids, id: u32, now: Instant) {
    let s = origin("s");
    assert!(matches!(
        ask(state, "s", 0, now),
        CheckoutAnswer::Connect(_)
    ));
    let _ = state.connected_shared(&s, id, 10, now);
    let _ = state.set_limit(&s, id.into(), 10, now);
    let _ = state.stream_ended(&s, id.into(), now);
}

#[test]
fn an_idle_connection_expires_or_tells_when_it_came_back_since() {
    let (mut state, before) = (state(9, 9), Instant::now());
    let now = before + Duration::from_millis(1);
    let a = origin("a");
    stand_idle(&mut state, "a", 1..=2, now);
    assert!(state.expire(&a, 3, now).is_none(), "there is no third");
    assert!(matches!(state.expire(&a, 1, before), Some(Err(since)) if since == now));
    assert!(matches!(
        state.expire(&a, 1, now),
        Some(Ok(Checkout::Own(1)))
    ));
    assert!(state.expire(&a, 1, now).is_none());
    assert!(matches!(
        state.expire(&a, 2, now + Duration::from_millis(1)),
        Some(Ok(Checkout::Own(2)))
    ));
    assert_eq!(state.counts().idle, 0);
    state.assert_consistent();
}

#[test]
fn a_shared_connection_expires_only_while_it_carries_nothing() {
    let (mut state, before) = (state(9, 9), Instant::now());
    let now = before + Duration::from_millis(1);
    let s = origin("s");
    stand_idle_shared(&mut state, 1, now);
    assert!(matches!(state.expire(&s, 1, before), Some(Err(since)) if since == now));
    assert!(matches!(
        ask(&mut state, "s", 1, now),
        CheckoutAnswer::Ready(..)
    ));
    assert_eq!(state.counts().idle, 0);
    assert!(state.expire(&s, 1, now).is_none());
    assert!(state.remove(&s, 1).is_none());
    let _ = state.stream_ended(&s, 1, now);
    assert!(state.expire(&s, 2, now).is_none());
    assert!(matches!(
        state.expire(&s, 1, now),
        Some(Ok(Checkout::Stream(1)))
    ));
    assert_eq!(state.counts().idle, 0);
    state.assert_consistent();
}

#[test]
fn only_the_idle_connection_that_is_named_is_taken_out() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let (a, s) = (origin("a"), origin("s"));
    stand_idle(&mut state, "a", 1..=3, now);
    assert!(matches!(state.remove(&a, 2), Some(Checkout::Own(2))));
    assert!(state.remove(&a, 2).is_none());
    assert_eq!(state.counts().idle, 2);
    assert!(matches!(
        ask(&mut state, "a", 9, now),
        CheckoutAnswer::Ready(Checkout::Own(3), _)
    ));

    for id in [5, 6] {
        ask_secure(&mut state, 0..1, now);
        let _ = state.connected_shared(&s, id, 1, now);
        let _ = state.set_limit(&s, id.into(), 1, now);
    }
    for id in [5, 6] {
        let _ = state.stream_ended(&s, id, now);
    }
    assert!(matches!(state.remove(&s, 6), Some(Checkout::Stream(6))));
    assert!(matches!(
        ask(&mut state, "s", 9, now),
        CheckoutAnswer::Ready(Checkout::Stream(5), _)
    ));
    state.assert_consistent();
}

#[test]
fn a_shared_connection_released_before_a_stale_request_began_is_retired() {
    let (mut state, before) = (state(9, 9), Instant::now());
    let now = before + Duration::from_millis(1);
    let s = origin("s");
    stand_idle_shared(&mut state, 1, now);
    assert!(state.take_idle_before(&s, before).is_empty());
    assert_eq!(state.counts().idle, 1);
    assert!(matches!(
        *state.take_idle_before(&s, now),
        [Checkout::Stream(1)]
    ));
    assert_eq!(state.counts().idle, 0);
    state.assert_consistent();
}

#[test]
fn a_pool_without_a_session_serves_who_waits_and_keeps_nothing() {
    let (mut state, now) = (state(9, 2), Instant::now());
    let a = origin("a");
    stand_idle(&mut state, "a", 1..=2, now);
    assert!(matches!(
        ask(&mut state, "a", 3, now),
        CheckoutAnswer::Ready(..)
    ));
    assert!(matches!(
        ask(&mut state, "a", 4, now),
        CheckoutAnswer::Ready(..)
    ));
    assert!(matches!(
        ask(&mut state, "a", 5, now),
        CheckoutAnswer::Queue(..)
    ));
    stand_idle(&mut state, "b", 6..=6, now);
    stand_idle_shared(&mut state, 7, now);
    assert!(state.is_open() && !state.is_closed());

    let idle = state.stop_keeping();
    assert_eq!(idle.len(), 2, "{idle:?}");
    assert!(idle.iter().any(|it| matches!(it, Checkout::Own(6))));
    assert!(idle.iter().any(|it| matches!(it, Checkout::Stream(7))));
    assert_eq!(state.counts().idle, 0);
    assert!(!state.is_open() && !state.is_closed());
    assert!(matches!(state.release(&a, 2, now), Returned::Serve(5, 2)));
    assert!(matches!(state.release(&a, 2, now), Returned::Close(2)));
    state.assert_consistent();
}

#[test]
fn a_shared_connection_without_a_session_ends_with_its_last_request() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let s = origin("s");
    stand_idle_shared(&mut state, 1, now);
    for waiter in 1..=2 {
        assert!(matches!(
            ask(&mut state, "s", waiter, now),
            CheckoutAnswer::Ready(..)
        ));
    }
    assert!(state.stop_keeping().is_empty());
    assert!(state.stream_ended(&s, 1, now).close.is_empty());
    assert_eq!(state.stream_ended(&s, 1, now).close, [1]);
    state.assert_consistent();
}

#[test]
fn a_closed_pool_gives_back_all_it_had_and_refuses_everything() {
    let (mut state, now) = (state(9, 1), Instant::now());
    let (a, s) = (origin("a"), origin("s"));
    stand_idle(&mut state, "a", 1..=1, now);
    ask_secure(&mut state, 0..1, now);
    let _ = state.connected_shared(&s, 2, 1, now);
    let _ = state.set_limit(&s, 2, 1, now);
    assert!(matches!(
        ask(&mut state, "s", 3, now),
        CheckoutAnswer::Queue(..)
    ));
    assert!(matches!(
        ask(&mut state, "b", 4, now),
        CheckoutAnswer::Connect(_)
    ));

    let (idle, busy, mut waiters) = state.close();
    assert!(matches!(*idle, [Checkout::Own(1)]));
    assert_eq!(busy, [2]);
    waiters.sort_unstable();
    assert_eq!(waiters, [3, 4]);
    assert!(state.is_closed() && !state.is_open());
    let counts = state.counts();
    assert_eq!((counts.idle, counts.waiting), (0, 0));
    // The permits are taken until the sockets are closed.
    assert_eq!((counts.open, counts.connecting), (3, 1));

    assert!(matches!(
        ask(&mut state, "a", 5, now),
        CheckoutAnswer::Closed
    ));
    let late = state.connected_shared_late(&s, 6, 1, now);
    assert_eq!(late.close, [6]);
    assert!(late.serve.is_empty() && late.grant.is_empty());
    assert!(state.stop_keeping().is_empty());
    assert!(state.is_closed(), "once closed, it is not opened again");
    assert!(state.permit_freed(&a).is_empty());
    assert!(state.permit_freed(&s).is_empty());
    assert_eq!(state.counts().open, 1);
}

#[test]
fn a_connection_that_is_opened_when_the_pool_is_closed_is_closed() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let b = origin("b");
    assert!(matches!(
        ask(&mut state, "b", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    let (_, _, waiters) = state.close();
    assert_eq!(waiters, [1]);
    assert!(matches!(state.connected(&b, 1, now).0, Returned::Close(1)));
    assert_eq!(state.counts().connecting, 0);
}

#[test]
fn a_waiter_that_leaves_tells_whether_too_many_are_being_opened() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let (a, s) = (origin("a"), origin("s"));
    let mut tickets = Vec::new();
    for waiter in 1..=2 {
        let CheckoutAnswer::Connect(place) = ask(&mut state, "a", waiter, now) else {
            panic!("it may connect");
        };
        tickets.push(place.arrival.ticket);
    }
    assert_eq!(state.cancel(&a, tickets[0]), Cancelled::Surplus);
    assert_eq!(state.cancel(&a, tickets[0]), Cancelled::NotQueued);
    state.connect_cancelled(&a);
    assert_eq!(state.counts().connecting, 1);
    assert_eq!(state.counts().waiting, 1);
    assert!(state.permit_freed(&a).is_empty());
    assert_eq!(state.cancel(&a, tickets[1]), Cancelled::Surplus);

    // One connect is for all, so it is too many only when the last has left.
    let tickets = ask_secure(&mut state, 0..2, now);
    assert_eq!(state.cancel(&s, tickets[0]), Cancelled::Removed);
    assert_eq!(state.cancel(&s, tickets[1]), Cancelled::Surplus);
    assert_eq!(state.cancel(&origin("c"), tickets[1]), Cancelled::NotQueued);
    state.assert_consistent();
}

#[test]
fn a_connect_that_is_dropped_leaves_its_waiter_uncovered() {
    let (mut state, now) = (state(9, 1), Instant::now());
    let a = origin("a");
    let CheckoutAnswer::Connect(place) = ask(&mut state, "a", 1, now) else {
        panic!("it may connect");
    };
    let ticket = place.arrival.ticket;
    assert!(state.is_covered(&a, ticket));
    state.connect_cancelled(&a);
    assert!(!state.is_covered(&a, ticket));
    state.assert_consistent();
    assert!(matches!(*state.permit_freed(&a), [(_, 1)]));
    assert!(state.is_covered(&a, ticket));
    state.assert_consistent();
}

#[test]
fn a_request_is_covered_only_if_enough_connections_are_being_opened() {
    let (mut state, now) = (state(9, 1), Instant::now());
    let a = origin("a");
    let CheckoutAnswer::Connect(first) = ask(&mut state, "a", 1, now) else {
        panic!("it may connect");
    };
    let CheckoutAnswer::Queue(second, None) = ask(&mut state, "a", 2, now) else {
        panic!("it waits");
    };
    assert!(state.is_covered(&a, first.arrival.ticket));
    assert!(!state.is_covered(&a, second.arrival.ticket));
    assert!(!state.is_covered(&origin("b"), first.arrival.ticket));
}

#[test]
fn an_origin_is_refused_while_all_its_connections_allow_nothing() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let s = origin("s");
    assert!(!state.is_refused(&s));
    ask_secure(&mut state, 0..1, now);
    assert!(!state.is_refused(&s));
    // By its number, it has not answered.
    let _ = state.connected_shared(&s, 1, 10, now);
    assert!(!state.is_refused(&s));
    let _ = state.set_limit(&s, 1, 0, now);
    assert!(state.is_refused(&s));
    let _ = state.set_limit(&s, 1, 1, now);
    assert!(!state.is_refused(&s));
    state.assert_consistent();
}

#[test]
fn an_answered_connection_that_allows_nothing_may_have_a_successor() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let s = origin("s");
    ask_secure(&mut state, 0..1, now);
    let _ = state.connected_shared(&s, 2, 10, now);
    let _ = state.set_limit(&s, 2, 0, now);
    assert!(!state.is_refused(&s));
    assert!(matches!(
        ask(&mut state, "s", 1, now),
        CheckoutAnswer::Connect(_)
    ));
    state.assert_consistent();
}

#[test]
fn protocol_and_scheme_say_which_origins_may_share_connections() {
    use Multiplexing::{Always, Negotiated, Never};
    let read = |spelled: RawOrigin<'_>| spelled.read().unwrap().to_origin().unwrap();
    for (name, never, negotiated) in [("s", false, true), ("a", false, false)] {
        let uri = uri(name);
        let any = read(RawOrigin::of(&uri).unwrap());
        let of_any = [Never, Negotiated, Always].map(|it| it.is_possible(&any));
        assert_eq!(of_any, [never, negotiated, true], "{name}");
        let http1 = read(RawOrigin::of(&uri).unwrap().http1_only());
        let http2 = read(RawOrigin::of(&uri).unwrap().http2_only());
        for it in [Never, Negotiated, Always] {
            assert!(!it.is_possible(&http1), "{name} {it:?}");
            assert!(it.is_possible(&http2), "{name} {it:?}");
        }
    }
}

#[test]
fn an_origin_that_needs_one_place_has_room_for_one() {
    let (mut state, now) = (state(9, 9), Instant::now());
    stand_idle(&mut state, "a", 1..=1, now);
    let entry = state.origins.values().next().unwrap();
    assert_eq!(entry.ready.as_ref().unwrap().idle.capacity(), 1);
    assert_eq!(entry.waiters.capacity(), 1);
}

#[test]
fn an_idle_connection_of_the_same_runtime_makes_room_first() {
    let (mut state, now) = (state(2, 2), Instant::now());
    let runtime = || tokio::runtime::Builder::new_current_thread().build();
    let (here, there) = (runtime().unwrap(), runtime().unwrap());
    let (here, there) = (here.handle().id(), there.handle().id());
    let ask_on = |state: &mut Ids, name, on, waiter| {
        let uri = uri(name);
        let spelled = RawOrigin::of(&uri).unwrap().on(Some(on)).read().unwrap();
        let of = spelled.to_origin().unwrap();
        let answer = state.check_out(&spelled, now, None, || waiter, |_| {});
        (answer.unwrap(), of)
    };
    for (id, on) in [(1, there), (2, here)] {
        let (asked, of) = ask_on(&mut state, "a", on, id);
        assert!(matches!(asked, CheckoutAnswer::Connect(_)));
        assert!(matches!(
            state.connected(&of, id, now).0,
            Returned::Serve(..)
        ));
        assert!(matches!(state.release(&of, id, now), Returned::Idle));
    }
    let (asked, _) = ask_on(&mut state, "b", here, 3);
    assert!(matches!(
        asked,
        CheckoutAnswer::Queue(_, Some(Checkout::Own(2)))
    ));
    // Its permit comes back for sure, so no other is closed for the same wish.
    assert_eq!(state.evicting.len(), 1);
    let (asked, _) = ask_on(&mut state, "c", here, 4);
    assert!(matches!(
        asked,
        CheckoutAnswer::Queue(_, Some(Checkout::Own(1)))
    ));
    // That of the other runtime may take its time.
    assert_eq!(state.evicting.len(), 1);
}
