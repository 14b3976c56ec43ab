use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use session_layer::RequestOptions;
use tokio::sync::Notify;

use super::{
    BOTH, Protocol, SECOND, Script, floor, get, over_http1, over_http2, patient, read, request,
    send, serving, with,
};

fn strict() -> session_layer::Timeouts {
    let most = floor(1 << 20, 1);
    patient().download_floor(most).upload_floor(most)
}

#[tokio::test(start_paused = true)]
async fn what_has_no_body_is_not_measured() {
    for protocol in BOTH {
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("POST", 200)] {
            let wait = 100 * SECOND;
            let session = match protocol {
                Protocol::Http1 => over_http1(strict(), move |mut connection| async move {
                    while connection.read_request().await.is_some() {
                        tokio::time::sleep(wait).await;
                        // Its length is told, of a HEAD.
                        let body = if method == "HEAD" { "x" } else { "" };
                        connection.respond(status, body).await;
                    }
                }),
                Protocol::Http2 => over_http2(strict(), move |stream| async move {
                    tokio::time::sleep(wait).await;
                    let mut head = Response::new(());
                    *head.status_mut() = StatusCode::from_u16(status).unwrap();
                    stream.answer_head(head, true);
                }),
            };
            let mut body = send(&session, request(method, ""))
                .await
                .unwrap()
                .into_body();
            tokio::time::sleep(wait).await;
            // Asked again and again, as a body that has ended may be.
            for _ in 0..3 {
                assert!(body.frame().await.is_none(), "{protocol:?}, {method}");
                tokio::time::sleep(wait).await;
            }
            assert_eq!(session.stats().closed.timeout, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_ended_is_measured_no_more() {
    for protocol in BOTH {
        let session = serving(protocol, strict(), Script::steady(SECOND, 1 << 16, 1));
        let mut body = send(&session, get()).await.unwrap().into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().into_data().map_or(0, |data| data.len());
            tokio::time::sleep(10 * SECOND).await;
        }
        assert_eq!(length, 1 << 16);
        tokio::time::sleep(100 * SECOND).await;
        assert!(body.frame().await.is_none());
        assert_eq!(session.stats().closed.timeout, 0, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_is_silent_for_as_long_as_it_likes() {
    for protocol in BOTH {
        for content_type in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "application/grpc",
            "application/grpc+proto",
        ] {
            let script = Script {
                content_type,
                ..Script::steady(3600 * SECOND, 10, 5)
            };
            let session = serving(protocol, strict(), script);
            let (length, _) = read(&session, get()).await;
            assert_eq!(length.unwrap(), 50, "{protocol:?}, {content_type}");
            // Unless its request asks for something of its own.
            let own = RequestOptions::new().download_floor(floor(100, 8));
            let (error, took) = read(&session, with(get(), own)).await;
            assert!(error.unwrap_err().is_too_slow());
            assert!(took < 10 * SECOND);
        }
        for content_type in ["text/event-streams", "text/plain", "application/grpcx"] {
            let script = Script {
                content_type,
                ..Script::steady(3600 * SECOND, 10, 5)
            };
            let session = serving(protocol, strict(), script);
            assert!(read(&session, get()).await.0.is_err(), "{content_type}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_without_a_content_type_may_be_silent_where_their_reader_says_so() {
    for protocol in BOTH {
        for own in [false, true] {
            let session = serving(protocol, strict(), Script::steady(3600 * SECOND, 10, 3));
            let mut request = get();
            if own {
                let options = RequestOptions::new().download_floor(floor(100, 8));
                request = with(request, options);
            }
            let mut body = send(&session, request).await.unwrap().into_body();
            body.lift_default_idle_timeout();
            assert_eq!(body.collect().await.is_err(), own, "{protocol:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_upgraded_is_not_measured() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let session = over_http1(strict(), |mut connection| async move {
        let _ = connection.read_request().await;
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        connection.write(head).await;
        while let Some(bytes) = connection.read_bytes().await {
            tokio::time::sleep(3600 * SECOND).await;
            connection.write(bytes).await;
        }
    });
    let upgrade = Request::get("http://peer/")
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(super::Body::default())
        .unwrap();
    let mut response = send(&session, upgrade).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    assert!(response.into_body().frame().await.is_none());
    let mut io = hyper_util::rt::TokioIo::new(upgraded);
    for _ in 0..3 {
        io.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        io.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_begins_before_its_request_has_ended_may_depend_on_it() {
    use http_body_util::channel::Channel;

    for protocol in BOTH {
        // It tells what it has got.
        let session = match protocol {
            Protocol::Http1 => over_http1(strict(), |mut connection| async move {
                let _ = connection.read_head().await;
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                connection.write(head).await;
                while let Some(bytes) = connection.read_bytes().await {
                    let piece = b"2\r\nok\r\n".to_vec();
                    connection.write(piece).await;
                    if bytes.ends_with(b"0\r\n\r\n") {
                        connection.write("0\r\n\r\n").await;
                    }
                }
            }),
            Protocol::Http2 => over_http2(strict(), |stream| async move {
                let (mut send, mut request) = stream.begin(Response::new(()));
                while let Some(Ok(bytes)) = request.data().await {
                    let _ = request.flow_control().release_capacity(bytes.len());
                    let _ = send.send_data(Bytes::from_static(b"ok"), false);
                }
                let _ = send.send_data(Bytes::new(), true);
            }),
        };
        let (mut sender, body) = Channel::new(1);
        let asks = Arc::new(Notify::new());
        let asked = asks.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                asked.notified().await;
                tokio::time::sleep(60 * SECOND).await;
                sender.send_data(Bytes::from_static(b"ping")).await.unwrap();
            }
        });
        let echo = Request::post("http://peer/").body(body.boxed_unsync());
        let mut body = send(&session, echo.unwrap()).await.unwrap().into_body();
        let mut read = 0;
        asks.notify_one();
        while let Some(frame) = body.frame().await {
            let frame = frame.unwrap_or_else(|error| panic!("{protocol:?}: {error}"));
            read += frame.into_data().map_or(0, |data| data.len());
            asks.notify_one();
        }
        assert!(read >= 10, "{protocol:?}: {read}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_refuses_a_floor_of_nothing() {
    use session_layer::{PoolConfig, SessionLayer, ThroughputFloor};

    for nothing in [
        ThroughputFloor::new(0, SECOND),
        ThroughputFloor::new(1, Duration::ZERO),
    ] {
        for timeouts in [
            patient().download_floor(nothing),
            patient().upload_floor(nothing),
        ] {
            let refused = SessionLayer::<super::Body>::new(PoolConfig::default(), timeouts);
            let error = refused.map(|_| ()).unwrap_err();
            assert!(error.setting().ends_with("load floor"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_cut_while_others_that_nobody_reads_may_hold_it_up() {
    for adaptive in [false, true] {
        let script = Script::steady(SECOND / 10, 16_384, 200);
        let peer = super::scripted(script);
        let http2 = session_layer::Http2::default()
            .prior_knowledge(true)
            .stream_window(65_535)
            .connection_window(131_070)
            .adaptive_window(adaptive);
        let timeouts = patient().download_floor(floor(100, 8));
        let session = super::with_http2(timeouts, http2, &peer);
        let mut unread = Vec::new();
        for _ in 0..2 {
            unread.push(send(&session, get()).await.unwrap().into_body());
        }
        tokio::time::sleep(30 * SECOND).await;
        let read = async {
            send(&session, get())
                .await
                .unwrap()
                .into_body()
                .collect()
                .await
        };
        let pauses = async {
            tokio::time::sleep(600 * SECOND).await;
            drop(unread);
        };
        let (read, ()) = tokio::join!(read, pauses);
        let read = read.unwrap_or_else(|error| panic!("adaptive: {adaptive}: {error}"));
        assert_eq!(read.to_bytes().len(), 16_384 * 200);
        assert_eq!(session.stats().opened, 1);
    }
}
