//! That no cookie is seen where it should not be.

use session_layer::{
    PoolConfig, Timeouts,
    cookies::{CookieLayer, Jar},
};
use test_suite::{Captured, get, in_memory};
use test_support::{MemoryConnector, Reply, sequence};
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn no_cookie_is_seen_in_logs_nor_in_debug() {
    let (captured, _guard) = Captured::start();
    let connector = MemoryConnector::new(sequence([Reply::status(200)
        .header("set-cookie", "id=canary")
        .header("set-cookie", "canary")
        .header("set-cookie", "id=canary; Domain=other.test")
        .header("set-cookie", "id=canary; Secure")]));
    let jar = Jar::new();
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let service = CookieLayer::new(jar.clone()).layer(session);
    for _ in 0..2 {
        let call = service.clone().oneshot(get("http://peer.test/"));
        assert!(!format!("{call:?}").contains("canary"));
        call.await.unwrap();
    }
    assert_eq!(
        connector.log().requests[1].header("cookie"),
        Some("id=canary")
    );
    let uri = "http://peer.test/".parse().unwrap();
    let error = jar.insert("canary; canary", &uri).unwrap_err();
    let seen = format!("{jar:?} {service:?} {:?} {error} {error:?}", jar.cookies());
    assert!(!seen.contains("canary"), "{seen}");
    let logged = captured.text();
    assert_eq!(logged.matches("cookie refused").count(), 6, "{logged}");
    assert!(!logged.contains("canary"), "{logged}");
}
