//! RFC 9113, section 3: starting HTTP/2.

/// 3.4: the connection preface.
mod section_3_4 {
    use test_suite::{fetch, get};
    use test_support::frames::{self, Connector, flag, kind, setting};

    use crate::http2::conformance::scene;

    #[tokio::test(start_paused = true)]
    async fn the_first_frame_after_the_preface_is_the_clients_settings() {
        let connector = Connector::new(|_, mut peer| async move {
            let first = peer.next().await.expect("a frame follows the preface");
            assert_eq!((first.kind, first.flags), (kind::SETTINGS, 0));
            assert_eq!(first.stream, 0);
            peer.answer_all(b"fine").await;
        });
        let session = scene::session(connector);
        let (_, body) = fetch(&session, get("http://peer/")).await.unwrap();
        assert_eq!(body, "fine");
        scene::leaves_nothing(session).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_settings_are_taken_and_acknowledged() {
        let connector = Connector::new(|_, mut peer| async move {
            loop {
                let frame = peer.next().await.expect("the settings are acknowledged");
                if frame.kind == kind::SETTINGS && frame.has(flag::ACK) {
                    break;
                }
                if frame.kind == kind::HEADERS {
                    peer.write(&frames::answer(frame.stream, b"fine")).await;
                }
            }
            peer.answer_all(b"fine").await;
        });
        let session = scene::session(connector.settings(&[(setting::MAX_FRAME_SIZE, 32_768)]));
        for _ in 0..2 {
            let (_, body) = fetch(&session, get("http://peer/")).await.unwrap();
            assert_eq!(body, "fine");
        }
        scene::leaves_nothing(session).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_speaks_http1_is_an_error_of_its_kind() {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec();
        let connector = Connector::new(|_, peer| async move {
            peer.into_seen().await;
        });
        let session = scene::session(connector.begin_with(answer));
        let error = fetch(&session, get("http://peer/")).await.unwrap_err();
        assert!(
            error.is_protocol() || error.is_broken() || error.is_unsent(),
            "{error:?}"
        );
        scene::leaves_nothing(session).await;
    }
}
