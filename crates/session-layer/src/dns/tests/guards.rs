//! What is refused, wherever it comes from.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
};

use super::{super::Resolver, fixed, ip};

#[tokio::test(start_paused = true)]
async fn what_is_set_on_a_clone_leaves_the_original_as_it_was() {
    let (resolver, _) = fixed(&["192.0.2.1"]);
    let guarded = resolver.clone().public_only();
    assert!(
        guarded
            .resolve("127.0.0.1", 80)
            .await
            .unwrap_err()
            .is_refused()
    );
    assert!(resolver.resolve("127.0.0.1", 80).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn only_what_passes_the_guard_is_given_out() {
    let (resolver, _) = fixed(&["127.0.0.1", "8.8.8.8", "10.0.0.1", "8.8.4.4"]);
    let resolver = resolver.public_only();
    for _ in 0..4 {
        let addresses = resolver.resolve("peer", 80).await.unwrap();
        let mut addresses: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
        addresses.sort();
        assert_eq!(addresses, ["8.8.4.4", "8.8.8.8"].map(ip));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_with_only_refused_addresses_is_refused_from_the_cache_too() {
    let (resolver, seen) = fixed(&["10.0.0.1", "::ffff:127.0.0.1"]);
    let resolver = resolver.public_only();
    for _ in 0..2 {
        let error = resolver.resolve("Inside.example.", 80).await.unwrap_err();
        assert!(error.is_refused() && !error.is_not_found());
        let text = r#"the address 10.0.0.1 of "inside.example." is refused"#;
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(seen.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_guard_sees_addresses_in_urls_and_overrides() {
    let (resolver, seen) = fixed(&["8.8.8.8"]);
    let resolver = resolver
        .public_only()
        .override_host("inside", [Ipv4Addr::LOCALHOST]);
    for host in [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "inside",
        "INSIDE.",
    ] {
        let error = resolver.resolve(host, 80).await.unwrap_err();
        assert!(error.is_refused(), "{host}");
    }
    assert_eq!(seen.begun(), 0);
    resolver.resolve("peer", 80).await.unwrap();
    resolver.resolve("8.8.8.8", 80).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_guard_is_told_the_plain_host_and_the_ipv4_address_of_a_mapped_one() {
    for (host, expected) in [
        ("Peer.Example.", "peer.example"),
        ("[::FFFF:192.0.2.1]", "::ffff:192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
    ] {
        let (resolver, _) = fixed(&["::ffff:192.0.2.1"]);
        let resolver =
            resolver.guard(move |host, address| host == expected && address == ip("192.0.2.1"));
        assert!(resolver.resolve(host, 80).await.is_ok(), "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_guards_have_to_agree() {
    let (resolver, _) = fixed(&["8.8.8.8"]);
    let resolver = resolver.public_only().guard(|host, _| host == "peer");
    assert!(resolver.resolve("peer", 80).await.is_ok());
    assert!(
        resolver
            .resolve("other", 80)
            .await
            .unwrap_err()
            .is_refused()
    );
    assert!(
        resolver
            .resolve("127.0.0.1", 80)
            .await
            .unwrap_err()
            .is_refused()
    );
}

#[tokio::test]
async fn getaddrinfo_knows_localhost_and_its_odd_spellings_do_not_pass_a_guard() {
    let resolver = Resolver::new();
    let addresses = resolver.resolve("localhost", 80).await.unwrap();
    assert!(
        addresses
            .iter()
            .all(|it| it.ip().is_loopback() && it.port() == 80)
    );

    let resolver = resolver.public_only();
    for host in [
        "localhost",
        "LOCALHOST",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
    ] {
        let error = resolver.resolve(host, 80).await.unwrap_err();
        // Systems differ in which of these they take for an address.
        assert!(
            error.is_refused() || error.source().is_some(),
            "{host}: {error}"
        );
    }
}
