//! The program is suspended, or its runtime blocked: time goes by, and nothing is polled.

use http_body_util::BodyExt;
use session_layer::Timeouts;

use super::{
    BOTH, Duration, SECOND, Script, floor, get, patient, read, request, send, serving, taking,
};

#[tokio::test(start_paused = true)]
async fn a_download_goes_on_after_the_program_stood_still() {
    for protocol in BOTH {
        for stop_after in [0, 1, 5, 9] {
            let timeouts = patient().download_floor(floor(100, 10));
            let session = serving(protocol, timeouts, Script::steady(SECOND, 150, 60));
            let stops = async {
                for pause in [600, 11, 4, 86_400] {
                    tokio::time::sleep(stop_after * SECOND + SECOND / 2).await;
                    tokio::time::advance(pause * SECOND).await;
                }
            };
            let ((length, _), ()) = tokio::join!(read(&session, get()), stops);
            assert_eq!(length.unwrap(), 9000, "{protocol:?}, {stop_after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_standstill_what_came_is_read_before_the_floor_is_judged() {
    for protocol in BOTH {
        let timeouts = patient().download_floor(floor(100, 8));
        let script = Script::of(&[(Duration::ZERO, 1), (8 * SECOND, 10_000)]);
        let session = serving(protocol, timeouts, script);
        // The bytes of a whole window come at the moment at which it is over, and everything is late by
        // as much as is still taken for live.
        let stops = async {
            tokio::time::sleep(7 * SECOND + SECOND / 2).await;
            tokio::time::advance(SECOND).await;
        };
        let ((length, _), ()) = tokio::join!(read(&session, get()), stops);
        assert_eq!(length.unwrap(), 10_001, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_cut_all_the_same_when_the_program_has_gone_on() {
    for protocol in BOTH {
        let timeouts = Timeouts::default().download_floor(floor(100, 10));
        let session = serving(protocol, timeouts, Script::steady(SECOND, 1, 10_000));
        let mut body = send(&session, get()).await.unwrap().into_body();
        let _ = body.frame().await.unwrap().unwrap();
        let (read, ()) = tokio::join!(body.collect(), async {
            tokio::time::sleep(5 * SECOND).await;
            tokio::time::advance(600 * SECOND).await;
        });
        assert!(read.unwrap_err().is_too_slow(), "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_after_the_program_stood_still() {
    for protocol in BOTH {
        let timeouts = patient().upload_floor(floor(100, 10));
        let session = taking(protocol, timeouts, 5 * SECOND, 1000, Duration::ZERO);
        let stops = async {
            for pause in [600, 11, 86_400] {
                tokio::time::sleep(7 * SECOND + SECOND / 2).await;
                tokio::time::advance(pause * SECOND).await;
            }
        };
        let upload = request("POST", vec![b'x'; 20_000]);
        let ((length, _), ()) = tokio::join!(read(&session, upload), stops);
        assert_eq!(length.unwrap(), 2, "{protocol:?}");
    }
}
