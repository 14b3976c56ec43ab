//! The errors of a real HTTP/2 connection, over a pipe in memory.

use bytes::Bytes;
use h2::{Reason, client, server};
use http::Request;
use retry_layer::{Class, Processed, transport};
use tokio::io::duplex;

async fn reset_with(reason: Reason) -> Class {
    let (near, far) = duplex(4_096);
    tokio::spawn(async move {
        let mut connection = server::handshake(far).await.unwrap();
        while let Some(stream) = connection.accept().await {
            let (_, mut respond) = stream.unwrap();
            respond.send_reset(reason);
        }
    });
    let (mut sender, connection) = client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://peer/").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    transport::classify(&response.await.unwrap_err())
}

#[tokio::test]
async fn resets_say_what_was_processed() {
    for (reason, class) in [
        (Reason::REFUSED_STREAM, Class::Unprocessed),
        (Reason::INTERNAL_ERROR, Class::Ambiguous),
        (Reason::CANCEL, Class::Ambiguous),
        (
            Reason::ENHANCE_YOUR_CALM,
            Class::Throttled(Processed::Possibly),
        ),
        (Reason::HTTP_1_1_REQUIRED, Class::Ambiguous),
        (Reason::PROTOCOL_ERROR, Class::Permanent),
        (Reason::FRAME_SIZE_ERROR, Class::Permanent),
    ] {
        assert_eq!(reset_with(reason).await, class, "{reason:?}");
    }
}

/// A server that reads a request on stream 1, sends this frame, and waits.
async fn goes_away_with(last_stream: u8, code: u8) -> Class {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (near, mut far) = duplex(4_096);
    tokio::spawn(async move {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        far.write_all(&settings).await.unwrap();
        let mut seen = Vec::new();
        // The request is the first HEADERS frame (type 1) with END_STREAM and END_HEADERS.
        while !seen.windows(5).any(|bytes| bytes == [1, 5, 0, 0, 0]) {
            far.read_buf(&mut seen).await.unwrap();
        }
        let go_away = [
            0,
            0,
            8,
            7,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            last_stream,
            0,
            0,
            0,
            code,
        ];
        far.write_all(&go_away).await.unwrap();
        if last_stream == 0 {
            std::future::pending::<()>().await;
        }
    });
    let (mut sender, connection) = client::Builder::new()
        .handshake::<_, Bytes>(near)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://peer/").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    transport::classify(&response.await.unwrap_err())
}

#[tokio::test]
async fn a_goaway_frees_only_what_lies_above_it() {
    const NO_ERROR: u8 = 0;
    const ENHANCE_YOUR_CALM: u8 = 11;
    assert_eq!(goes_away_with(0, NO_ERROR).await, Class::Unprocessed);
    assert_eq!(
        goes_away_with(0, ENHANCE_YOUR_CALM).await,
        Class::Throttled(Processed::Never)
    );
    // Stream 1 may be processed; then the connection closes.
    assert_eq!(goes_away_with(1, NO_ERROR).await, Class::Ambiguous);
    assert_eq!(goes_away_with(1, ENHANCE_YOUR_CALM).await, Class::Ambiguous);
}
