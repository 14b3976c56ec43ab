//! The socket server does what its handlers say, and counts truthfully.

use std::{io, time::Duration};

use test_support::{Ending, Reply, Server, always, answer, sequence};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n";

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.addr()).await.expect("it listens")
}

/// Writes a request, and reads until the peer ends its direction.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<String> {
    stream.write_all(request).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

#[tokio::test]
async fn answers_and_logs_a_request_with_its_body() {
    let server = Server::start(answer(|request| {
        Reply::status(201).body(request.body.clone()).and_close()
    }))
    .await;
    let request = b"PUT /a?b HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";

    let response = exchange(&mut connect(&server).await, request)
        .await
        .unwrap();

    assert_eq!(
        response,
        "HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
    );
    let log = server.wait_for(|log| log.open == 0).await;
    let [request] = &log.requests[..] else {
        panic!("one request: {log:?}");
    };
    assert_eq!((request.path(), &request.body[..]), ("/a", &b"hello"[..]));
    assert_eq!(request.trailers["x-sum"], "1");
    assert!(request.complete);
    assert_eq!(
        (
            log.accepted,
            log.peak_open,
            log.in_flight,
            log.peak_in_flight
        ),
        (1, 1, 0, 1)
    );
}

#[tokio::test]
async fn a_reset_is_seen_as_a_reset() {
    let server = Server::start(sequence([Reply::reset()])).await;

    let error = exchange(&mut connect(&server).await, GET)
        .await
        .unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_sequence_spans_connections_and_repeats_its_end() {
    let replies = [
        Reply::close(),
        Reply::truncated_body(9, "half"),
        Reply::status(204).and_close(),
    ];
    let server = Server::start(sequence(replies)).await;

    let mut responses = Vec::new();
    for _ in 0..4 {
        responses.push(exchange(&mut connect(&server).await, GET).await.unwrap());
    }

    let last = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    assert_eq!(responses, ["", half, last, last]);
}

#[tokio::test]
async fn notices_how_a_client_ends_its_connection() {
    let (endings, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut connection| {
        let endings = endings.clone();
        async move {
            connection.read_head().await;
            endings.send(connection.stall_until_closed().await).unwrap();
        }
    })
    .await;

    let mut stream = connect(&server).await;
    stream.write_all(GET).await.unwrap();
    stream.write_all(b"more").await.unwrap();
    drop(stream);
    let ended = seen.recv().await.unwrap();
    assert_eq!((ended.ending, ended.discarded), (Ending::Finished, 4));

    let mut stream = connect(&server).await;
    stream.write_all(GET).await.unwrap();
    server.wait_for(|log| log.requests.len() == 2).await;
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    assert_eq!(seen.recv().await.unwrap().ending, Ending::Broken);
}

#[tokio::test]
async fn keeps_connections_open_while_it_does_not_accept() {
    let server = Server::start(answer(|_| Reply::status(200).and_close())).await;
    let mut early = connect(&server).await;
    server.wait_for(|log| log.accepted == 1).await;

    server.stop_accepting().await;
    let refused = TcpStream::connect(server.addr()).await.unwrap_err();

    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert!(
        exchange(&mut early, GET)
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn comes_back_on_the_same_port() {
    let server = Server::start(answer(|_| Reply::status(200).and_close())).await;
    let mut early = connect(&server).await;
    server.wait_for(|log| log.open == 1).await;

    server.restart().await;

    assert_eq!(server.log().open, 0);
    assert_eq!(early.read(&mut [0]).await.unwrap(), 0);
    let response = exchange(&mut connect(&server).await, GET).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn counts_requests_in_flight_until_they_are_answered() {
    let server = Server::start(|mut connection| async move {
        connection.read_request().await;
        connection.stall_until_closed().await;
    })
    .await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&server).await;
        stream.write_all(GET).await.unwrap();
        streams.push(stream);
    }
    server.wait_for(|log| log.in_flight == 3).await;

    drop(streams);

    let log = server.wait_for(|log| log.open == 0).await;
    assert_eq!(
        (log.in_flight, log.peak_in_flight, log.peak_open),
        (0, 3, 3)
    );
}

#[tokio::test]
#[should_panic(expected = "a handler panicked")]
async fn a_panic_in_a_handler_fails_the_test() {
    let server = Server::start(always(200, "")).await;

    _ = exchange(&mut connect(&server).await, b"hello\r\n\r\n").await;

    server.wait_for(|log| log.open == 0).await;
}
