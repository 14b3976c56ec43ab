//! Origins that are addresses: how loaded each is, and what becomes of one that is gone.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;

fn address(number: u8) -> Origin {
    let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 80));
    origin("a").with_address(address)
}

fn check_out(
    state: &mut Ids,
    origin: &Origin,
    waiter: u32,
    now: Instant,
) -> CheckoutAnswer<u32, u32, u32> {
    let asked = state.check_out(&origin.here(), now, None, || waiter, |_| {});
    asked.expect("its name is valid")
}

/// Opens a connection of its own for one request, which is under way from now on.
fn be_busy(state: &mut Ids, origin: &Origin, id: u32, now: Instant) {
    assert!(matches!(
        check_out(state, origin, id, now),
        CheckoutAnswer::Connect(_)
    ));
    let returned = state.connected(origin, id, now).0;
    assert!(matches!(returned, Returned::Serve(..)));
}

#[test]
fn each_address_has_connections_of_its_own() {
    let (mut state, now) = (state(9, 1), Instant::now());
    let (one, other) = (address(1), address(2));
    be_busy(&mut state, &one, 1, now);
    assert!(matches!(state.release(&one, 1, now), Returned::Idle));
    assert!(matches!(
        check_out(&mut state, &other, 2, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        ask(&mut state, "a", 3, now),
        CheckoutAnswer::Connect(_)
    ));
    assert!(matches!(
        check_out(&mut state, &one, 4, now),
        CheckoutAnswer::Ready(Checkout::Own(1), _)
    ));
    state.assert_consistent();
}

#[test]
fn the_load_counts_requests_under_way_and_those_that_wait() {
    let (mut state, now) = (state(9, 2), Instant::now());
    let one = address(1);
    assert_eq!(state.load(&one), 0);
    be_busy(&mut state, &one, 1, now);
    assert_eq!(state.load(&one), 1);
    let _ = check_out(&mut state, &one, 2, now);
    assert_eq!(state.load(&one), 2, "one waits for its connection");
    let _ = check_out(&mut state, &one, 3, now);
    assert_eq!(state.load(&one), 3, "one waits at the limit");
    let returned = state.connected(&one, 2, now).0;
    assert!(matches!(returned, Returned::Serve(2, 2)));
    assert!(matches!(state.release(&one, 1, now), Returned::Serve(3, 1)));
    assert_eq!(state.load(&one), 2);
    let _ = state.release(&one, 1, now);
    let _ = state.release(&one, 2, now);
    assert_eq!(state.load(&one), 0);
    assert_eq!(state.load(&address(2)), 0);
}

#[test]
fn the_load_counts_the_streams_of_shared_connections() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let one = origin("s").with_address(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    for waiter in 1..=3 {
        let _ = check_out(&mut state, &one, waiter, now);
    }
    assert_eq!(state.load(&one), 3);
    let effects = state.connected_shared(&one, 2, 100, now);
    assert_eq!(effects.serve.len(), 1);
    assert_eq!(state.load(&one), 3);
    let _ = state.set_limit(&one, 2, 100, now);
    assert_eq!(state.load(&one), 3);
    assert!(state.stream_ended_quietly(&one, 2));
    assert_eq!(state.load(&one), 2);
}

#[test]
fn nothing_is_kept_for_an_address_that_is_gone_until_it_comes_back() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let (one, other) = (address(1), address(2));
    for (origin, id) in [(&one, 1), (&one, 2), (&other, 3)] {
        be_busy(&mut state, origin, id, now);
    }
    for (origin, id) in [(&one, 1), (&other, 3)] {
        assert!(matches!(state.release(origin, id, now), Returned::Idle));
    }
    let (idle, busy) = state.retire(&one);
    assert!(matches!(idle[..], [Checkout::Own(1)]) && busy.is_empty());
    assert!(state.is_retired(&one) && !state.is_retired(&other));
    assert!(matches!(state.release(&one, 2, now), Returned::Close(2)));
    state.assert_consistent();
    be_busy(&mut state, &one, 4, now);
    state.take_up(&one);
    assert!(matches!(state.release(&one, 4, now), Returned::Idle));
    for id in [1, 2] {
        assert!(state.closed(&one, id).is_empty());
    }
    state.assert_consistent();
    // One that has no connections has nothing to retire.
    let (idle, busy) = state.retire(&address(3));
    assert!(idle.is_empty() && busy.is_empty());
}

#[test]
fn what_comes_back_as_its_address_goes_is_not_kept() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let one = address(1);
    be_busy(&mut state, &one, 1, now);
    // On another thread, which has read the clock later.
    let later = now + Duration::from_millis(1);
    assert!(matches!(state.release(&one, 1, later), Returned::Idle));
    let (idle, busy) = state.retire(&one);
    assert!(matches!(idle[..], [Checkout::Own(1)]) && busy.is_empty());
    assert_eq!(state.counts().idle, 0);
    state.assert_consistent();
}

#[test]
fn whoever_waits_for_an_address_that_is_gone_is_served_and_then_it_closes() {
    let (mut state, now) = (state(9, 9), Instant::now());
    let secure = origin("s").with_address(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let _ = check_out(&mut state, &secure, 1, now);
    let (idle, busy) = state.retire(&secure);
    assert!(idle.is_empty() && busy.is_empty());
    let effects = state.connected_shared(&secure, 2, 100, now);
    assert_eq!(effects.serve.len(), 1);
    let (idle, busy) = state.retire(&secure);
    assert!(idle.is_empty());
    assert_eq!(busy, [2]);
    let effects = state.stream_ended(&secure, 2, now);
    assert_eq!(effects.close, [2]);
    state.assert_consistent();
}
