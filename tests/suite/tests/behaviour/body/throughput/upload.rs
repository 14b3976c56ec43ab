use std::{convert::Infallible, future, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, channel::Channel};
use session_layer::{Phase, RequestOptions, Timeouts, TransferDirection};

use super::{
    AnySession, BOTH, Protocol, SECOND, assert_took, floor, over_http1, over_http2, patient, read,
    request, taking, with,
};

const ZERO: Duration = Duration::ZERO;

fn upload(bytes: usize) -> Request<super::Body> {
    request("POST", vec![b'x'; bytes])
}

/// A session whose server takes a request, but nothing of its body, and never answers.
fn deaf(protocol: Protocol, timeouts: Timeouts) -> AnySession {
    match protocol {
        Protocol::Http1 => over_http1(timeouts, |mut connection| async move {
            let _ = connection.read_head().await;
            connection.stall().await;
        }),
        Protocol::Http2 => over_http2(timeouts, |stream| async move {
            let _stream = stream;
            future::pending::<()>().await;
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_a_request_too_slowly_is_cut_and_the_error_tells_all() {
    for protocol in BOTH {
        let timeouts = Timeouts::default().upload_floor(floor(1000, 20));
        let session = taking(protocol, timeouts, SECOND, 100, ZERO);
        let (error, took) = read(&session, upload(1 << 20)).await;
        let error = error.unwrap_err();
        let slow = error.too_slow().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(slow.direction(), TransferDirection::Upload);
        assert_eq!(slow.floor(), floor(1000, 20));
        let rate = slow.bytes_per_second();
        // What fits into the buffers on the way is taken at once.
        assert!((50..1000).contains(&rate), "{protocol:?}: {rate}");
        assert!(
            took >= 20 * SECOND && took <= 45 * SECOND,
            "{protocol:?}: {took:?}"
        );
        // It may have been processed.
        assert!(error.is_too_slow() && error.is_timeout());
        assert!(!error.is_unsent() && !error.is_response_body() && !error.is_request_body());
        assert_eq!(error.timeout_phase(), Some(Phase::Head));
        assert_eq!(
            format!("{error:#}"),
            format!(
                "the peer took the request at {rate} B/s over 20s, less than the floor of 1000 B/s"
            )
        );
        tokio::time::sleep(SECOND).await;
        let stats = session.stats();
        let open = usize::from(protocol == Protocol::Http2);
        assert_eq!((stats.open, stats.streams), (open, 0), "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_cut_after_one_window() {
    for protocol in BOTH {
        // Fewer bytes than hyper takes at once, and more.
        for bytes in [20_000, 4 << 20] {
            for rate in [10, 1000] {
                let timeouts = Timeouts::default().upload_floor(floor(rate, 10));
                let session = deaf(protocol, timeouts);
                let (error, took) = read(&session, upload(bytes)).await;
                let error = error.unwrap_err();
                assert!(
                    error.is_too_slow(),
                    "{protocol:?}, {bytes}, {rate}: {error}"
                );
                // What has left at the beginning may count for a window of its own.
                assert!(
                    took >= 10 * SECOND && took <= 13 * SECOND,
                    "{protocol:?}, {bytes}, {rate}: {took:?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_peer_is_cut_that_takes_a_request_at_its_floor() {
    for protocol in BOTH {
        for (pause, bytes) in [
            (SECOND, 2000),
            (SECOND / 10, 200),
            (5 * SECOND, 10_000),
            (SECOND, 1100),
        ] {
            let timeouts = patient().upload_floor(floor(1000, 20));
            let session = taking(protocol, timeouts, pause, bytes, ZERO);
            let (length, took) = read(&session, upload(300_000)).await;
            let case = (protocol, pause, bytes, took);
            assert_eq!(length.ok(), Some(2), "{case:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_request_that_was_taken_whole_may_take_its_time() {
    for protocol in BOTH {
        for bytes in [1, 500, 20_000] {
            let timeouts = patient().upload_floor(floor(1000, 10));
            let session = taking(protocol, timeouts, ZERO, 10_000, 3600 * SECOND);
            let (length, took) = read(&session, upload(bytes)).await;
            assert_eq!(length.unwrap(), 2, "{protocol:?}, {bytes}");
            assert_took(took, 3600 * SECOND, protocol);
        }
    }
}

/// A request whose body gives so many bytes after each pause.
fn slow_body(pause: Duration, bytes: usize, times: usize) -> Request<super::Body> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        for _ in 0..times {
            tokio::time::sleep(pause).await;
            if sender.send_data(vec![b'x'; bytes].into()).await.is_err() {
                return;
            }
        }
    });
    Request::post("http://peer/")
        .header("content-length", bytes * times)
        .body(body.boxed_unsync())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_gives_nothing_for_a_while_is_not_the_peers_fault() {
    for protocol in BOTH {
        let timeouts = patient().upload_floor(floor(1000, 10));
        let session = taking(protocol, timeouts, ZERO, 1 << 20, ZERO);
        for (pause, bytes) in [(SECOND, 1), (600 * SECOND, 5000)] {
            let (length, _) = read(&session, slow_body(pause, bytes, 50)).await;
            assert_eq!(length.unwrap(), 2, "{protocol:?}, {pause:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_slow_does_not_hide_a_peer_that_takes_nothing() {
    for protocol in BOTH {
        let timeouts = patient().upload_floor(floor(1000, 10));
        let session = deaf(protocol, timeouts);
        let (error, took) = read(&session, slow_body(SECOND, 1000, 1000)).await;
        let error = error.unwrap_err();
        assert!(error.is_too_slow(), "{protocol:?}: {error}");
        assert!(took < 30 * SECOND, "{protocol:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_for_its_peer_to_ask_is_not_measured_meanwhile() {
    // A server that knows nothing of the expectation: the body is held back for this time.
    let timeouts = || {
        patient()
            .expect_continue(60 * SECOND)
            .upload_floor(floor(1 << 20, 1))
    };
    for protocol in BOTH {
        let session = taking(protocol, timeouts(), ZERO, 1 << 20, ZERO);
        let mut request = upload(500);
        request
            .headers_mut()
            .insert("expect", "100-continue".parse().unwrap());
        request.headers_mut().insert("content-length", 500.into());
        let (length, _) = read(&session, request).await;
        assert_eq!(length.unwrap(), 2, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_floor_of_its_own_or_none() {
    for protocol in BOTH {
        let own = |options: RequestOptions| with(upload(50_000), options);
        let options = RequestOptions::new();

        let session = taking(protocol, patient(), SECOND, 500, ZERO);
        let asks = own(options.upload_floor(floor(1000, 10)));
        assert!(read(&session, asks).await.0.unwrap_err().is_too_slow());
        assert_eq!(read(&session, upload(50_000)).await.0.unwrap(), 2);

        let timeouts = patient().upload_floor(floor(1000, 10));
        let session = taking(protocol, timeouts, SECOND, 500, ZERO);
        let lifts = own(options.upload_floor(None));
        assert_eq!(read(&session, lifts).await.0.unwrap(), 2, "{protocol:?}");
        let lowers = own(options.upload_floor(floor(100, 10)));
        assert_eq!(read(&session, lowers).await.0.unwrap(), 2, "{protocol:?}");
        assert!(
            read(&session, upload(50_000))
                .await
                .0
                .unwrap_err()
                .is_too_slow()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_head_timeout_counts_beside_it_and_the_earlier_one_tells() {
    for protocol in BOTH {
        for (head, window, slow) in [(5, 60, false), (60, 5, true)] {
            let timeouts = Timeouts::default()
                .head(head * SECOND)
                .upload_floor(floor(100, window));
            let session = deaf(protocol, timeouts);
            let (error, took) = read(&session, upload(1 << 20)).await;
            let error = error.unwrap_err();
            assert_eq!(error.is_too_slow(), slow, "{protocol:?}: {error}");
            assert_eq!(error.timeout_phase(), Some(Phase::Head));
            assert!(took >= 5 * SECOND && took <= 7 * SECOND, "{took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_on_a_connection_is_measured_by_itself() {
    for protocol in BOTH {
        let timeouts = patient().upload_floor(floor(1000, 30));
        // Five hundred bytes a second for less than a window.
        let session = taking(protocol, timeouts, SECOND, 500, ZERO);
        for _ in 0..10 {
            let (length, took) = read(&session, upload(10_000)).await;
            assert_eq!(length.unwrap(), 2, "{protocol:?}");
            assert!(took > 10 * SECOND);
        }
        assert_eq!(session.stats().opened, 1);
    }
}
