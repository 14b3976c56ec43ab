//! When a connection may serve another request, and when it must not.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, channel::Channel};
use session_layer::{Phase, PoolConfig, Session, Timeouts};
use test_suite::{fetch, get, in_memory, post, send};
use test_support::{Connection, MemoryConnector, Reply, answer, sequence};
use tower::{Service, ServiceExt};

/// Answers the first request with these bytes, and all later ones with a plain 200; tells how many
/// connections two requests in a row took.
async fn connections_after(raw: &'static str) -> (Result<StatusCode, session_layer::Error>, usize) {
    let connector = MemoryConnector::new(sequence([
        Reply::raw(raw),
        Reply::status(200).body("second"),
    ]));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let first = fetch(&session, get("http://peer/")).await;
    let second = fetch(&session, get("http://peer/")).await;
    let (_, second) = second.expect("the next request is served");
    assert_eq!(second, "second", "after {raw:?}");
    (first.map(|(status, _)| status), connector.log().accepted)
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_keeps_the_connection() {
    for raw in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-odd: \u{fc}\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (first, connections) = connections_after(raw).await;
        assert!(first.is_ok(), "{raw:?}: {first:?}");
        assert_eq!(connections, 1, "{raw:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unclean_end_closes_the_connection() {
    for raw in [
        // The server said so.
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        // Two lengths: one of them is for somebody else.
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        // More than the response.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        "HTTP/1.1 204 No Content\r\n\r\nstray",
    ] {
        let (first, connections) = connections_after(raw).await;
        assert!(first.is_ok(), "{raw:?}: {first:?}");
        assert_eq!(connections, 2, "{raw:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_valid_response_is_a_protocol_error() {
    for raw in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        let (first, _) = connections_after(raw).await;
        let error = first.expect_err(raw);
        assert!(error.is_protocol(), "{raw:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_length_beside_chunked_is_not_shown() {
    let connector = MemoryConnector::new(sequence([Reply::raw(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 99\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )]));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let response = send(&session, get("http://peer/")).await.unwrap();
    assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "ok"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_whole_upload_is_given_and_its_connection_closed() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_head().await;
        connection
            .write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
            .await;
        connection.stall_until_closed().await;
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let request = post("http://peer/", vec![b'x'; 4 << 20]);
    let (status, body) = fetch(&session, request).await.unwrap();
    assert_eq!(
        (status, &*body),
        (StatusCode::PAYLOAD_TOO_LARGE, &b"no"[..])
    );
    connector.wait_for(|log| log.open == 0).await;
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_an_announced_length_is_whole_without_its_end() {
    let connector = MemoryConnector::new(sequence([Reply::status(200), Reply::stall()]));
    let session: Session<_> = Session::new(connector.clone());
    let upload = || {
        let frames = (0..3).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"abc"))));
        Request::post("http://peer/")
            .header(header::CONTENT_LENGTH, 9)
            .body(StreamBody::new(tokio_stream::iter(frames)))
            .unwrap()
    };
    let response = session.clone().oneshot(upload()).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(session.stats().idle, 1, "nothing of it is under way");
    let error = session.oneshot(upload()).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Head));
}

#[tokio::test(start_paused = true)]
async fn a_refused_upload_costs_its_connection_only_when_it_is_large() {
    // The peer answers without reading; all that was sent lies in the stream's buffer.
    for (size, connections) in [(16 * 1024, 1), (16 * 1024 + 1, 2)] {
        let connector = MemoryConnector::with_buffer(sequence([Reply::status(503)]), 1 << 20);
        let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
        for _ in 0..2 {
            let request = post("http://peer/", vec![b'x'; size]);
            assert_eq!(
                fetch(&session, request).await.unwrap().0,
                StatusCode::SERVICE_UNAVAILABLE
            );
        }
        assert_eq!(connector.log().accepted, connections, "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_request_is_written_costs_its_connection() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        if connection.number() == 0 {
            let _ = connection.read_head().await;
            connection
                .write("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n")
                .await;
            connection.stall_until_closed().await;
        } else {
            let _ = connection.read_request().await;
            connection.respond(200, "x").await;
        }
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let request = post("http://peer/", vec![b'x'; 4 << 20]);
    assert_eq!(fetch(&session, request).await.unwrap().0, StatusCode::FOUND);
    let (status, _) = fetch(&session, get("http://peer/login")).await.unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_success_before_the_end_of_the_upload_costs_its_connection() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        while connection.read_head().await.is_some() {
            connection
                .write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
            let mut upload = Vec::new();
            while !upload.ends_with(b"0\r\n\r\n") {
                let Some(bytes) = connection.read_bytes().await else {
                    return;
                };
                upload.extend_from_slice(&bytes);
            }
        }
    });
    let session: Session<_> = Session::new(connector.clone());
    for _ in 0..2 {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let request = Request::post("http://peer/").body(body).unwrap();
        let response = session.clone().oneshot(request).await.unwrap();
        // The end of the upload is taken only now, after the head of the answer.
        sender.send_data(Bytes::from_static(b"late")).await.unwrap();
        drop(sender);
        tokio::time::sleep(Duration::from_millis(1)).await;
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(connector.log().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_request_says_of_its_length_is_what_is_sent() {
    let connector = MemoryConnector::new(answer(|request| {
        Reply::status(200).body(
            request
                .header("content-length")
                .unwrap_or("none")
                .to_owned(),
        )
    }));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let with = |mut request: Request<_>, name: &'static str, value: &str| {
        request.headers_mut().append(name, value.parse().unwrap());
        request
    };
    for (request, seen) in [
        (with(get("http://peer/"), "content-length", "0"), "none"),
        (with(post("http://peer/", ""), "content-length", "0"), "0"),
        (post("http://peer/", ""), "0"),
        (
            with(post("http://peer/", "abc"), "content-length", "3"),
            "3",
        ),
    ] {
        assert_eq!(fetch(&session, request).await.unwrap().1, seen);
    }
    let length = |length| with(post("http://peer/", "abcdef"), "content-length", length);
    let hosts = with(with(get("http://peer/"), "host", "a"), "host", "b");
    for request in [
        length("3"),
        length("7"),
        length("six"),
        with(get("http://peer/"), "content-length", "5"),
        with(post("http://peer/", ""), "content-length", "5"),
        with(length("6"), "content-length", "6"),
        with(length("6"), "transfer-encoding", "chunked"),
        hosts,
        Request::connect("http://peer/")
            .body(Full::default())
            .unwrap(),
    ] {
        let error = fetch(&session, request).await.unwrap_err();
        assert!(error.is_headers() && error.is_unsent(), "{error:?}");
    }
    assert_eq!(connector.log().requests.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stream_longer_than_announced_is_cut_off_and_never_a_success() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)]));
    let session: Session<_> = Session::new(connector.clone());
    let frames = (0..3).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"abc"))));
    let request = Request::post("http://peer/")
        .header(header::CONTENT_LENGTH, 8)
        .body(StreamBody::new(tokio_stream::iter(frames)))
        .unwrap();
    let error = session.oneshot(request).await.unwrap_err();
    assert!(error.is_request_body(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_whatever_the_method_and_version() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)]));
    let session: Session<_> = Session::new(connector.clone());
    for version in [
        http::Version::HTTP_10,
        http::Version::HTTP_11,
        http::Version::HTTP_3,
    ] {
        for method in [Method::GET, Method::POST] {
            let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"abc")))];
            let request = Request::builder()
                .method(method)
                .version(version)
                .uri("http://peer/")
                .body(StreamBody::new(tokio_stream::iter(frames)))
                .unwrap();
            session.clone().oneshot(request).await.unwrap();
        }
    }
    let log = connector.log();
    assert_eq!(log.requests.len(), 6);
    assert!(log.requests.iter().all(|request| request.body == "abc"));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_informational_responses_ends() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        while connection
            .write("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
            .await
        {}
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let flood = fetch(&session, get("http://peer/"));
    let ended = tokio::time::timeout(Duration::from_secs(3600), flood).await;
    let error = ended.expect("it ends").unwrap_err();
    assert!(error.is_too_large(), "{error:?}");
    connector.wait_for(|log| log.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_ends() {
    let endless = |line: &'static str| {
        MemoryConnector::new(move |mut connection: Connection| async move {
            let _ = connection.read_request().await;
            connection.write("HTTP/1.1 200 OK\r\n").await;
            while connection.write(line).await {}
        })
    };
    for connector in [endless("x: 0123456789\r\n"), endless("0123456789")] {
        let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
        let error = fetch(&session, get("http://peer/")).await.unwrap_err();
        assert!(error.is_too_large() || error.is_protocol(), "{error:?}");
        connector.wait_for(|log| log.open == 0).await;
    }
}

/// The head of a response that is so many bytes long.
fn head_of(bytes: usize) -> String {
    let (begins, ends) = ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: ", "\r\n\r\n");
    let filler = "a".repeat(bytes - begins.len() - ends.len());
    format!("{begins}{filler}{ends}")
}

#[tokio::test(start_paused = true)]
async fn a_head_has_to_fit_in_the_buffer_that_was_asked_for() {
    for size in [512, 4096] {
        let connector = MemoryConnector::new(sequence([
            Reply::raw(head_of(size)),
            Reply::raw(head_of(size + 1)),
            Reply::status(200),
        ]));
        let pool = PoolConfig::default().http1_read_buffer(size);
        let session = in_memory(pool, Timeouts::default(), &connector);
        fetch(&session, get("http://peer/")).await.unwrap();
        let error = fetch(&session, get("http://peer/")).await.unwrap_err();
        assert!(error.is_too_large(), "{error:?}");
        // What is left of that head is nobody's answer.
        fetch(&session, get("http://peer/")).await.unwrap();
        assert_eq!(connector.log().accepted, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn informational_heads_have_to_fit_in_the_buffer_one_by_one() {
    let hint = |bytes: usize| {
        head_of(bytes)
            .replace("200 OK", "103 Ok")
            .replace("content-length: 0", "content-note: any")
    };
    for (hints, fits) in [
        (vec![512], true),
        (vec![300; 20], true),
        (vec![300, 513], false),
    ] {
        let mut heads: String = hints.iter().map(|bytes| hint(*bytes)).collect();
        heads.push_str(&head_of(512));
        let connector = MemoryConnector::new(sequence([Reply::raw(heads)]));
        let pool = PoolConfig::default().http1_read_buffer(512);
        let session = in_memory(pool, Timeouts::default(), &connector);
        match fetch(&session, get("http://peer/")).await {
            Ok((status, _)) => assert!(fits && status == 200, "{hints:?}: {status}"),
            Err(error) => assert!(!fits && error.is_too_large(), "{hints:?}: {error:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_longer_than_the_buffer_comes_whole_and_keeps_its_connection() {
    let body: Bytes = (0..=u8::MAX).cycle().take(100_000).collect();
    let mut chunked = Vec::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in body.chunks(3_000) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\nx-trailer: 1\r\n\r\n");
    let connector = MemoryConnector::new(sequence([
        Reply::status(200).body(body.clone()),
        Reply::raw(chunked),
        Reply::status(200).body(body.clone()),
    ]));
    let pool = PoolConfig::default().http1_read_buffer(512);
    let session = in_memory(pool, Timeouts::default(), &connector);
    for _ in 0..3 {
        let (_, came) = fetch(&session, get("http://peer/")).await.unwrap();
        assert!(came == body, "{} bytes", came.len());
    }
    assert_eq!(connector.log().accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_nobody_asked_for_on_an_idle_connection_are_never_an_answer() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "first").await;
        if connection.number() == 0 {
            connection
                .write("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
                .await;
        }
        let _ = connection.read_request().await;
        connection.respond(200, "second").await;
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    tokio::task::yield_now().await;
    let (_, body) = fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(body, "first", "of a new connection");
    assert_eq!(connector.log().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn a_response_cut_anywhere_is_never_a_short_success() {
    let whole = [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello, world"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n",
    ];
    for (response, broken) in whole
        .into_iter()
        .flat_map(|whole| [(whole, false), (whole, true)])
    {
        for cut in 0..response.len() {
            let connector = MemoryConnector::new(move |mut connection: Connection| async move {
                let _ = connection.read_request().await;
                connection.write(&response[..cut]).await;
                if broken {
                    connection.reset();
                } else {
                    connection.close().await;
                }
            });
            let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
            let outcome = fetch(&session, get("http://peer/")).await;
            assert!(outcome.is_err(), "cut after byte {cut}: {outcome:?}");
            tokio::task::yield_now().await;
            assert_eq!(session.stats().open, 0, "cut after byte {cut}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_closed_before_its_request_was_polled_is_replaced() {
    // As a server does that waits for a first request for five seconds.
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let waits = Duration::from_secs(5);
        let head = tokio::time::timeout(waits, connection.read_request());
        if let Ok(Some(_)) = head.await {
            connection.respond(200, "ok").await;
        }
    });
    let mut session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let mut call = tokio_test::task::spawn(session.call(post("http://peer/", "order")));
    assert!(call.poll().is_pending());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(connector.log().open, 0);
    assert_eq!(call.await.unwrap().status(), 200);
    assert_eq!(connector.log().accepted, 2);
}
