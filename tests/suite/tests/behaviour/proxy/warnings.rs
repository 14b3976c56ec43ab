//! That an exemption from a proxy that matches nothing does not stay unseen.

use session_layer::Proxy;
use test_suite::Captured;

#[test]
fn an_exemption_that_matches_nothing_is_warned_of_by_its_place() {
    let (captured, _guard) = Captured::start();
    let proxy = Proxy::all("http://proxy.test:3128").unwrap();
    let proxy = proxy.no_proxy("localhost 10.0.0.0/33, http://me:canary@inside.test");
    let logged = captured.text();
    assert_eq!(logged.matches("WARN").count(), 2, "{logged}");
    assert!(
        logged.contains("place=2") && logged.contains("place=3"),
        "{logged}"
    );
    assert!(!logged.contains("canary"), "{logged}");
    drop(proxy);
}
