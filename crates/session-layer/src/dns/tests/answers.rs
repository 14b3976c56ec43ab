//! What is kept of an answer, and in what order it is given out.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use tokio::time::advance;

use super::{SECOND, first, fixed, ip, slow};

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_time_to_the_millisecond() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    first(&resolver).await;
    advance(Duration::from_millis(9_999)).await;
    first(&resolver).await;
    assert_eq!(seen.begun(), 1);
    advance(Duration::from_millis(1)).await;
    first(&resolver).await;
    assert_eq!(seen.begun(), 2);

    let patient = resolver.clone().ttl(60 * SECOND);
    advance(59 * SECOND).await;
    first(&patient).await;
    assert_eq!(seen.begun(), 2, "a clone has the same cache");
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_each_asks_but_those_at_once_still_share() {
    for ttl in [None, Some(Duration::ZERO)] {
        let (resolver, seen) = fixed(&["192.0.2.1"]);
        let resolver = resolver.ttl(ttl);
        tokio::join!(first(&resolver), first(&resolver));
        assert_eq!(seen.begun(), 1);
        first(&resolver).await;
        assert_eq!(seen.begun(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_names_are_kept_than_allowed() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let resolver = resolver.capacity(2);
    for (name, begun) in [("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4)] {
        resolver.resolve(name, 80).await.unwrap();
        assert_eq!(seen.begun(), begun, "after {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_answer_starts_at_the_next_address_of_each_family() {
    let found = [
        "2001:db8::1",
        "192.0.2.1",
        "2001:db8::2",
        "192.0.2.2",
        "192.0.2.3",
    ];
    let (resolver, seen) = slow(move |_| Ok(found.map(ip).to_vec()));
    let mut answers = Vec::new();
    for _ in 0..7 {
        let addresses = resolver.resolve("peer", 80).await.unwrap();
        let families: Vec<_> = addresses.iter().map(SocketAddr::is_ipv6).collect();
        assert_eq!(families, [true, false, true, false, false]);
        let mut sorted: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
        answers.push((sorted[0].to_string(), sorted[1].to_string()));
        sorted.sort();
        assert_eq!(
            sorted,
            [
                "192.0.2.1",
                "192.0.2.2",
                "192.0.2.3",
                "2001:db8::1",
                "2001:db8::2"
            ]
            .map(ip)
        );
        // The turn goes on from one answer to the next.
        advance(4 * SECOND).await;
    }
    assert!(seen.begun() > 1);
    for (turn, answer) in answers.into_iter().enumerate() {
        let six = format!("2001:db8::{}", turn % 2 + 1);
        let four = format!("192.0.2.{}", turn % 3 + 1);
        assert_eq!(answer, (six, four), "turn {turn}");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_who_share_a_lookup_start_at_different_addresses() {
    let (resolver, seen) = fixed(&["192.0.2.1", "192.0.2.2"]);
    let (one, two) = tokio::join!(first(&resolver), first(&resolver));
    assert_ne!(one, two);
    assert_eq!(seen.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_who_waited_and_is_not_kept() {
    let (resolver, seen) = slow(|_| Err(io::Error::other("the zone is down")));
    let (one, two) = tokio::join!(resolver.resolve("Peer", 80), resolver.resolve("peer", 80));
    for error in [one, two].map(Result::unwrap_err) {
        assert_eq!(error.to_string(), r#"the name "peer" did not resolve"#);
        assert_eq!(error.source().unwrap().to_string(), "the zone is down");
        assert!(!error.is_refused() && !error.is_not_found());
    }
    assert_eq!(seen.begun(), 1);
    resolver.resolve("peer", 80).await.unwrap_err();
    assert_eq!(seen.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_an_error_and_is_not_kept() {
    let (resolver, seen) = fixed(&[]);
    for begun in 1..3 {
        let error = resolver.resolve("peer", 80).await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(seen.begun(), begun);
    }
}
