//! The memory connector under a paused clock, driven by hyper's own HTTP/1 client.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use test_support::{Connect, Connection, MemoryConnector, Reply, always, sequence};
use tokio::time::{Instant, timeout};
use tower_service::Service as _;

const SECOND: Duration = Duration::from_secs(1);

async fn dial(connector: &MemoryConnector) -> io::Result<SendRequest<Empty<Bytes>>> {
    let uri = Uri::from_static("http://origin.test");
    let stream = connector.clone().call(uri).await?;
    let (sender, connection) = http1::handshake(stream)
        .await
        .expect("http1 cannot fail here");
    tokio::spawn(connection);
    Ok(sender)
}

fn get() -> Request<Empty<Bytes>> {
    Request::builder()
        .uri("/a")
        .header("host", "origin.test")
        .body(Empty::new())
        .expect("the parts are well formed")
}

#[tokio::test(start_paused = true)]
async fn carries_several_requests_over_one_connection() {
    let connector = MemoryConnector::new(always(200, "hello"));
    let mut sender = dial(&connector).await.unwrap();

    for _ in 0..3 {
        sender.ready().await.unwrap();
        let response = sender.send_request(get()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "hello");
    }

    let log = connector.log();
    assert_eq!((log.accepted, log.targets()), (1, vec!["/a"; 3]));
    assert_eq!(log.dialled, ["http://origin.test"]);
    drop(sender);
    connector.wait_for(|log| log.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn delays_pass_on_the_paused_clock() {
    let connector = MemoryConnector::new(sequence([Reply::status(200).delay(30 * SECOND)]));
    connector.delay(10 * SECOND);
    let start = Instant::now();

    let mut sender = dial(&connector).await.unwrap();
    assert_eq!(start.elapsed(), 10 * SECOND);
    sender.send_request(get()).await.unwrap();

    assert_eq!(start.elapsed(), 40 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn connects_follow_the_script() {
    let connector = MemoryConnector::new(always(200, ""));
    connector.script([Connect::Refuse, Connect::Accept, Connect::Hang]);

    let refused = dial(&connector).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    dial(&connector).await.unwrap();
    for _ in 0..2 {
        assert!(timeout(1000 * SECOND, dial(&connector)).await.is_err());
    }

    let log = connector.log();
    assert_eq!((log.dialled.len(), log.accepted), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_memory_is_seen_as_a_reset() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        connection.read_request().await;
        connection
            .drip(
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
                7,
                SECOND,
            )
            .await;
        connection.reset();
    });
    let mut sender = dial(&connector).await.unwrap();

    let response = sender.send_request(get()).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();

    let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    let kind = cause.map(io::Error::kind);
    assert_eq!(kind, Some(io::ErrorKind::ConnectionReset));
}
