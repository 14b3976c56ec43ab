use std::time::Duration;

use http_body_util::BodyExt;
use session_layer::{ConnectionInfo, Phase, RequestOptions, Timeouts, TransferDirection};
use tokio::time::Instant;

use super::{
    BOTH, Protocol, SECOND, Script, assert_took, floor, get, patient, read, send, serving, with,
};

#[tokio::test(start_paused = true)]
async fn a_server_that_trickles_is_cut_after_one_window_and_the_error_tells_all() {
    for protocol in BOTH {
        let script = Script::steady(SECOND, 1, 10_000);
        let timeouts = Timeouts::default().download_floor(floor(100, 30));
        let session = serving(protocol, timeouts, script);
        let (error, took) = read(&session, get()).await;
        let error = error.unwrap_err();
        assert_took(took, 30 * SECOND, protocol);
        let slow = error.too_slow().unwrap();
        assert_eq!(slow.direction(), TransferDirection::Download);
        assert_eq!(slow.floor(), floor(100, 30));
        // It came at 1 B/s, of which a window has room for one more.
        assert_eq!(slow.bytes_per_second(), 1, "{protocol:?}");
        assert!(error.is_too_slow() && error.is_timeout() && error.is_response_body());
        assert_eq!(error.timeout_phase(), Some(Phase::Body));
        assert!(!error.is_unsent());
        assert_eq!(
            format!("{error:#}"),
            "the response body came at 1 B/s over 30s, less than the floor of 100 B/s"
        );
        assert_eq!(
            error.connection().map(ConnectionInfo::is_reused),
            Some(false)
        );
        tokio::time::sleep(SECOND).await;
        let stats = session.stats();
        // Its connection carries nothing more over HTTP/1; over HTTP/2 its stream is reset alone.
        let open = usize::from(protocol == Protocol::Http2);
        assert_eq!((stats.open, stats.streams), (open, 0), "{protocol:?}");
        assert_eq!(stats.closed.timeout, u64::from(protocol == Protocol::Http1));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_cut_that_is_not_below_its_floor() {
    for protocol in BOTH {
        for (pause, bytes) in [
            // Twice the floor.
            (SECOND, 200),
            (Duration::from_millis(10), 2),
            (7 * SECOND, 1400),
            // All bytes of a window at its beginning, and nothing more than the floor.
            (30 * SECOND, 3000),
        ] {
            let timeouts = patient().download_floor(floor(100, 30));
            let session = serving(protocol, timeouts, Script::steady(pause, bytes, 100));
            let (length, took) = read(&session, get()).await;
            assert_eq!(length.unwrap(), 100 * bytes, "{protocol:?}, {pause:?}");
            assert_took(took, 99 * pause, (protocol, pause));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_the_mean_over_the_last_window_that_counts() {
    for protocol in BOTH {
        // Ten thousand bytes at once do not hide what comes after them.
        let mut pieces = vec![(Duration::ZERO, 10_000)];
        pieces.extend(vec![(SECOND, 10); 1000]);
        let timeouts = patient().download_floor(floor(100, 8));
        let session = serving(protocol, timeouts, Script::of(&pieces));
        let (error, took) = read(&session, get()).await;
        let slow = error.unwrap_err().too_slow().unwrap();
        assert_took(took, 9 * SECOND, protocol);
        assert!((10..=11).contains(&slow.bytes_per_second()), "{slow}");
        // Nor does a pause that the rest of its window makes up for.
        let mut pieces = Vec::new();
        for _ in 0..50 {
            pieces.extend([(7 * SECOND, 400), (SECOND, 400)]);
        }
        let timeouts = patient().download_floor(floor(100, 8));
        let session = serving(protocol, timeouts, Script::of(&pieces));
        assert_eq!(read(&session, get()).await.0.unwrap(), 40_000);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_before_the_head_is_no_part_of_a_download() {
    for protocol in BOTH {
        let timeouts = patient().download_floor(floor(100, 5));
        let session = match protocol {
            Protocol::Http1 => super::over_http1(timeouts, move |mut connection| async move {
                while connection.read_request().await.is_some() {
                    tokio::time::sleep(3600 * SECOND).await;
                    connection.respond(200, vec![b'x'; 500]).await;
                }
            }),
            Protocol::Http2 => super::over_http2(timeouts, move |stream| async move {
                tokio::time::sleep(3600 * SECOND).await;
                stream.answer(200, vec![b'x'; 500]);
            }),
        };
        assert_eq!(read(&session, get()).await.0.unwrap(), 500, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_is_not_the_peers_fault() {
    for protocol in BOTH {
        // More than any buffer on the way holds.
        let script = Script::steady(SECOND, 1000, 600);
        let timeouts = Timeouts::default().download_floor(floor(500, 10));
        let session = serving(protocol, timeouts, script);
        let mut body = send(&session, get()).await.unwrap().into_body();
        let mut length = 0;
        for pause in [0, 600, 1, 0, 11, 3600].into_iter().cycle() {
            tokio::time::sleep(pause * SECOND).await;
            let Some(frame) = body.frame().await else {
                break;
            };
            length += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(length, 600_000, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_looks_and_goes_away_again_is_not_the_peers_fault() {
    for protocol in BOTH {
        let timeouts = Timeouts::default().download_floor(floor(100, 10));
        let script = Script::steady(SECOND, 150, 100);
        let session = serving(protocol, timeouts, script);
        let mut body = send(&session, get()).await.unwrap().into_body();
        let mut length = 0;
        loop {
            // It begins to wait, gives up, and does something else for long.
            let looked = tokio::time::timeout(SECOND / 10, body.frame()).await;
            match looked {
                Ok(None) => break,
                Ok(Some(frame)) => length += frame.unwrap().into_data().unwrap().len(),
                Err(_) => tokio::time::sleep(20 * SECOND).await,
            }
        }
        assert_eq!(length, 15_000, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_is_one_of_waiting_and_a_busy_reader_hides_no_trickle() {
    for protocol in BOTH {
        // The reader works for nine seconds after each byte, and waits for the next one for one.
        let script = Script::steady(10 * SECOND, 1, 1000);
        let timeouts = patient().download_floor(floor(100, 8));
        let session = serving(protocol, timeouts, script);
        let began = Instant::now();
        let mut body = send(&session, get()).await.unwrap().into_body();
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(_) => tokio::time::sleep(9 * SECOND).await,
                Err(error) => break error,
            }
        };
        assert!(error.is_too_slow(), "{error}");
        let took = began.elapsed();
        assert!(
            took >= 72 * SECOND && took <= 91 * SECOND,
            "{protocol:?}: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_idle_timeout_counts_beside_it_and_the_earlier_one_tells() {
    for protocol in BOTH {
        for (idle, window, slow) in [(30, 60, false), (60, 30, true)] {
            let timeouts = Timeouts::default()
                .body_idle(idle * SECOND)
                .download_floor(floor(100, window));
            let script = Script::steady(SECOND, 10, 1).then_stall();
            let session = serving(protocol, timeouts, script);
            let (error, took) = read(&session, get()).await;
            let error = error.unwrap_err();
            assert_eq!(error.is_too_slow(), slow, "{protocol:?}: {error}");
            assert_eq!(error.timeout_phase(), Some(Phase::Body));
            assert_took(took, 30 * SECOND, protocol);
        }
        // A deadline of the caller's own ends it without more ado.
        let timeouts = Timeouts::default().download_floor(floor(100, 30));
        let script = Script::steady(SECOND, 1, 100);
        let session = serving(protocol, timeouts, script);
        let within = tokio::time::timeout(20 * SECOND, read(&session, get())).await;
        assert!(within.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_floor_of_its_own_or_none() {
    for protocol in BOTH {
        let trickle = || Script::steady(SECOND, 10, 100);
        let own = |options: RequestOptions| with(get(), options);
        let options = RequestOptions::new();
        let with_floor = || patient().download_floor(floor(100, 8));

        let session = serving(protocol, patient(), trickle());
        assert_eq!(read(&session, get()).await.0.unwrap(), 1000);
        let asks = own(options.download_floor(floor(100, 8)));
        let (error, took) = read(&session, asks).await;
        assert!(error.unwrap_err().is_too_slow());
        assert_took(took, 8 * SECOND, protocol);
        assert_eq!(read(&session, get()).await.0.unwrap(), 1000);

        let session = serving(protocol, with_floor(), trickle());
        let lifts = own(options.download_floor(None));
        assert_eq!(read(&session, lifts).await.0.unwrap(), 1000);
        let lowers = own(options.download_floor(floor(5, 8)));
        assert_eq!(read(&session, lowers).await.0.unwrap(), 1000);
        assert!(read(&session, get()).await.0.unwrap_err().is_too_slow());
    }
}

#[tokio::test(start_paused = true)]
async fn a_default_floor_counts_where_nothing_was_set_by_hand() {
    for protocol in BOTH {
        for (timeouts, options, counts) in [
            (patient(), RequestOptions::new(), true),
            (patient().download_floor(None), RequestOptions::new(), false),
            (patient(), RequestOptions::new().download_floor(None), false),
            (
                patient().download_floor(floor(1, 8)),
                RequestOptions::new(),
                false,
            ),
        ] {
            let session = serving(protocol, timeouts, Script::steady(SECOND, 10, 100));
            let response = send(&session, with(get(), options)).await.unwrap();
            let mut body = response.into_body();
            body.hold_to_default_floor(floor(100, 8));
            let read = body.collect().await;
            assert_eq!(read.is_err(), counts, "{protocol:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_response_on_a_connection_is_measured_by_itself() {
    for protocol in BOTH {
        let timeouts = patient().download_floor(floor(100, 30));
        // Ten bytes a second for twenty seconds: too slow, if it went on for ten more.
        let session = serving(protocol, timeouts, Script::steady(SECOND, 10, 20));
        for _ in 0..10 {
            assert_eq!(read(&session, get()).await.0.unwrap(), 200, "{protocol:?}");
        }
        assert_eq!(session.stats().opened, 1);
    }
}
