//! RFC 9110: HTTP semantics.

use client::Client;
use http::{Method, Request, header};
use http_body_util::Full;
use test_suite::fetch;
use test_support::{MemoryConnector, Reply, always, sequence};

use crate::session;

/// 7.6.1 and 10.1.4: fields about the connection.
mod section_7_6 {
    use super::{Client, MemoryConnector, always};

    #[tokio::test(start_paused = true)]
    async fn nothing_about_the_connection_is_sent_without_being_asked_for() {
        let connector = MemoryConnector::new(always(200, ""));
        let client = Client::builder().build_with_connector(connector.clone());
        client.unwrap().get("http://peer/").send().await.unwrap();
        let log = connector.log();
        for name in [
            "connection",
            "te",
            "keep-alive",
            "proxy-connection",
            "upgrade",
            "expect",
        ] {
            assert_eq!(log.requests[0].header(name), None, "{name}");
        }
    }
}

/// 9.3.8: TRACE.
mod section_9_3_8 {
    use super::{Full, MemoryConnector, Method, Request, always, fetch, header, session};

    #[tokio::test(start_paused = true)]
    async fn a_trace_has_no_content() {
        let connector = MemoryConnector::new(always(200, ""));
        let request = Request::builder().method(Method::TRACE).uri("http://peer/");
        let request = request.body(Full::default()).unwrap();
        fetch(&session(&connector), request).await.unwrap();
        let log = connector.log();
        assert!(!log.requests[0].headers.contains_key(header::CONTENT_LENGTH));
        assert!(
            !log.requests[0]
                .headers
                .contains_key(header::TRANSFER_ENCODING)
        );
    }
}

/// 10.1.3: `Referer`.
mod section_10_1_3 {
    use super::{Client, MemoryConnector, Reply, sequence};

    #[tokio::test(start_paused = true)]
    async fn no_referer_is_made_up_where_a_redirect_leads() {
        let connector = MemoryConnector::new(sequence([
            Reply::status(302).header("location", "http://other/"),
            Reply::status(200),
        ]));
        let client = Client::builder().build_with_connector(connector.clone());
        let answer = client.unwrap().get("http://me:secret@peer/a?b#c").send();
        answer.await.unwrap();
        let log = connector.log();
        assert_eq!(log.requests.len(), 2);
        assert!(
            log.requests
                .iter()
                .all(|request| request.header("referer").is_none())
        );
    }
}

/// 15: status codes.
mod section_15 {
    use super::{Client, MemoryConnector, always};

    #[tokio::test(start_paused = true)]
    async fn a_status_that_nobody_knows_counts_as_its_class() {
        for (status, fails) in [(299, false), (399, false), (499, true), (599, true)] {
            let connector = MemoryConnector::new(always(status, "odd"));
            let client = Client::builder().build_with_connector(connector).unwrap();
            let answer = client.get("http://peer/").no_retry().send().await.unwrap();
            assert_eq!(answer.status(), status);
            assert_eq!(answer.error_for_status().is_err(), fails, "{status}");
        }
    }
}
