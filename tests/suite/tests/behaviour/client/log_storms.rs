//! That no peer can fill a log: what it sends is told at DEBUG and below only.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use client::{Client, Jar};
use test_suite::Captured;
use test_support::{MemoryConnector, Reply, answer};

/// What a server may answer to annoy whoever reads the log.
fn hostile() -> Vec<Reply> {
    let mut cookies = Reply::status(200);
    for number in 0..90 {
        cookies = cookies
            .header("set-cookie", format!("a{number}=1; Domain=com"))
            .header("set-cookie", "=; Expires=never; Max-Age=x");
    }
    vec![
        cookies,
        Reply::raw("HTTP/1.1 nonsense\r\n\r\n"),
        Reply::raw("no answer at all"),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nmore than one"),
        Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"),
        Reply::raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
        Reply::truncated_body(9, "half"),
        Reply::reset(),
        Reply::close(),
        Reply::status(302).header("location", "http://["),
        Reply::status(302).header("location", "file:///etc/passwd"),
        Reply::status(302).header("location", "/again"),
        Reply::status(401).header("www-authenticate", "Digest nonsense=\"\\"),
        Reply::status(429).header("retry-after", "-1"),
        Reply::status(503).header("retry-after", "99999999999999999999"),
        Reply::status(200).header("keep-alive", "timeout=0, max=x"),
        Reply::status(200).header("content-type", "text/html; charset=\"\\"),
    ]
}

#[tokio::test(start_paused = true)]
async fn whatever_a_server_sends_is_told_at_debug_and_below() {
    let (captured, _guard) = Captured::start();
    let replies = hostile();
    let next = AtomicUsize::new(0);
    let connector = MemoryConnector::new(answer(move |_| {
        let next = next.fetch_add(1, Relaxed);
        replies[next % replies.len()].clone()
    }));
    let client = Client::builder()
        .cookies(Jar::new())
        .digest("me", "canary")
        .build_with_connector(connector)
        .unwrap();
    let mut failed = 0;
    for _ in 0..200 {
        let request = client.get("http://peer.test/");
        let fetched = request.fetch().await;
        failed += usize::from(fetched.is_err());
    }
    assert!(failed > 20, "only {failed} failed");
    let logged = captured.text();
    assert!(logged.contains("DEBUG"), "nothing was captured");
    let loud: Vec<_> = logged
        .lines()
        .filter(|line| {
            [" INFO ", " WARN ", "ERROR "]
                .iter()
                .any(|level| line.contains(level))
        })
        .collect();
    assert!(loud.is_empty(), "{loud:#?}");
}
