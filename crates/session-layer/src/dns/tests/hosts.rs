//! Hosts that are not looked up: overrides and addresses.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
};

use tower::Service;

use super::{super::Name, first, fixed, ip};

#[tokio::test(start_paused = true)]
async fn an_override_stands_in_place_of_dns_in_any_spelling_of_the_name() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    let resolver = resolver
        .override_host("API.example.", [ip("192.0.2.8"), ip("192.0.2.9")])
        .override_host(
            "ports.example",
            ["192.0.2.8:8080".parse::<SocketAddr>().unwrap()],
        )
        .override_host("nowhere.example", [] as [IpAddr; 0]);
    for name in ["api.example", "Api.Example", "api.example."] {
        // In their own order, each time.
        let addresses = resolver.resolve(name, 443).await.unwrap();
        let expected = ["192.0.2.8:443", "192.0.2.9:443"];
        assert_eq!(addresses, expected.map(|it| it.parse().unwrap()));
    }
    let addresses = resolver.resolve("ports.example", 443).await.unwrap();
    assert_eq!(addresses, ["192.0.2.8:8080".parse().unwrap()]);
    let error = resolver.resolve("nowhere.example", 443).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_refused());
    assert_eq!(seen.begun(), 0);
    first(&resolver).await;
    assert_eq!(seen.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_its_own_answer_with_and_without_brackets() {
    let (resolver, seen) = fixed(&["192.0.2.1"]);
    for (host, expected) in [
        ("192.0.2.5", "192.0.2.5:80"),
        ("[2001:DB8::5]", "[2001:db8::5]:80"),
        ("2001:db8::5", "[2001:db8::5]:80"),
        ("[::ffff:192.0.2.5]", "[::ffff:192.0.2.5]:80"),
    ] {
        let addresses = resolver.resolve(host, 80).await.unwrap();
        assert_eq!(addresses, [expected.parse().unwrap()], "{host}");
    }
    for host in ["[192.0.2.5]", "[peer]", "[]", "[v1.x]", "[fe80::1%25eth0]"] {
        let error = resolver.resolve(host, 80).await.unwrap_err();
        assert!(error.is_not_found(), "{host}");
    }
    assert_eq!(seen.begun(), 0);
}

#[tokio::test(start_paused = true)]
async fn as_a_service_it_gives_addresses_without_a_port() {
    let (mut resolver, _) = fixed(&["192.0.2.1"]);
    poll_fn(|cx| resolver.poll_ready(cx)).await.unwrap();
    let name: Name = "peer".parse().unwrap();
    let addresses: Vec<_> = resolver.call(name).await.unwrap().collect();
    assert_eq!(addresses, ["192.0.2.1:0".parse().unwrap()]);
}
