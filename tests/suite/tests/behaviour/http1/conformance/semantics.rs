//! RFC 9110: HTTP semantics.

use client::{Body, Client, Jar, Token, token_fn};
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use test_suite::{fetch, get, send};
use test_support::{MemoryConnector, Reply, always, sequence};

use crate::http1::conformance::session;

/// 5.5: values of fields.
mod section_5_5 {
    use super::{MemoryConnector, Reply, get, send, sequence, session};

    #[tokio::test(start_paused = true)]
    async fn blanks_around_a_value_are_no_part_of_it() {
        for value in ["a b", " a b", "\ta b\t", "  a b \t "] {
            let raw = format!("HTTP/1.1 200 OK\r\nX-A:{value}\r\nContent-Length: 0\r\n\r\n");
            let connector = MemoryConnector::new(sequence([Reply::raw(raw)]));
            let response = send(&session(&connector), get("http://peer/")).await;
            let response = response.unwrap_or_else(|error| panic!("{value:?}: {error:?}"));
            assert_eq!(response.headers()["x-a"], "a b", "{value:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_end_or_a_zero_in_a_value_never_comes_through() {
        for value in ["a\0b", "a\rb", "a\u{1}b"] {
            let raw = format!("HTTP/1.1 200 OK\r\nX-A: {value}\r\nContent-Length: 0\r\n\r\n");
            let connector = MemoryConnector::new(sequence([Reply::raw(raw)]));
            let outcome = send(&session(&connector), get("http://peer/")).await;
            let error = outcome.expect_err(value);
            assert!(error.is_protocol(), "{value:?}: {error:?}");
        }
    }
}

/// 7.6.1 and 10.1.4: fields about the connection.
mod section_7_6 {
    use super::{Client, HeaderValue, MemoryConnector, always, fetch, get, header, session};

    #[tokio::test(start_paused = true)]
    async fn connection_names_te_and_upgrade_where_a_request_has_them() {
        for (fields, options) in [
            (&[("te", "trailers")][..], &["te"][..]),
            (&[("upgrade", "x")], &["upgrade"]),
            (&[("te", "trailers"), ("upgrade", "x")], &["te", "upgrade"]),
            (&[("te", "trailers"), ("connection", "TE")], &["te"]),
            (
                &[("upgrade", "x"), ("connection", "x-a, Upgrade")],
                &["x-a", "upgrade"],
            ),
            (
                &[("upgrade", "x"), ("connection", "x-upgrade")],
                &["x-upgrade", "upgrade"],
            ),
            (&[("connection", "close")], &["close"]),
            (&[], &[]),
        ] {
            let connector = MemoryConnector::new(always(200, ""));
            let mut request = get("http://peer/");
            for (name, value) in fields {
                let value = HeaderValue::from_static(value);
                request.headers_mut().insert(*name, value);
            }
            fetch(&session(&connector), request).await.unwrap();
            let log = connector.log();
            let named = log.requests[0].headers.get_all(header::CONNECTION);
            let named = named.iter().map(|value| value.to_str().unwrap());
            let named = named.collect::<Vec<_>>().join(",").to_lowercase();
            let named = named.split(',').map(str::trim).filter(|it| !it.is_empty());
            assert_eq!(named.collect::<Vec<_>>(), options, "{fields:?}");
        }
    }

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
    use super::{
        Body, Client, Full, Jar, MemoryConnector, Method, Reply, Request, Token, always, fetch,
        header, sequence, session, token_fn,
    };

    #[tokio::test(start_paused = true)]
    async fn a_trace_has_no_content() {
        let connector = MemoryConnector::new(always(200, ""));
        let trace = |body: &'static str| {
            let request = Request::builder().method(Method::TRACE).uri("http://peer/");
            request.body(Full::from(body)).unwrap()
        };
        fetch(&session(&connector), trace("")).await.unwrap();
        let error = fetch(&session(&connector), trace("body")).await;
        let error = error.expect_err("TRACE has no content");
        assert!(error.is_headers() && error.is_unsent(), "{error:?}");
        let log = connector.log();
        assert_eq!(log.requests.len(), 1);
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            assert!(!log.requests[0].headers.contains_key(name));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trace_carries_no_secret_that_the_client_keeps() {
        let secret =
            |name: &str| Reply::status(200).header("set-cookie", format!("{name}=c4n4ry; Path=/"));
        let connector = MemoryConnector::new(sequence([secret("a"), Reply::status(200)]));
        for builder in [
            Client::builder().bearer("c4n4ry"),
            Client::builder().basic("me", "c4n4ry"),
            Client::builder().auth(token_fn(|| async { Ok(Token::new("c4n4ry")) })),
            Client::builder().default_header("x-plain", "1"),
        ] {
            let builder = builder.cookies(Jar::new());
            let client = builder.build_with_connector(connector.clone()).unwrap();
            client.get("http://peer/").send().await.unwrap();
            let trace = client.request(Method::TRACE, "http://peer/");
            trace.body(Body::empty()).send().await.unwrap();
            let log = connector.log();
            let [.., get, trace] = &log.requests[..] else {
                panic!("two requests: {log:?}");
            };
            assert!(get.method == Method::GET && trace.method == Method::TRACE);
            for name in [header::AUTHORIZATION, header::COOKIE] {
                assert!(!trace.headers.contains_key(&name), "{name}");
            }
            let plain = |request: &test_support::Request| request.header("x-plain").is_some();
            assert_eq!(plain(get), plain(trace));
        }
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

/// 10.1.2, 10.1.5 and 12.5: what a client tells of itself and of its user.
mod section_10_1_5 {
    use super::{Client, MemoryConnector, always};

    #[tokio::test(start_paused = true)]
    async fn a_request_names_the_client_and_nothing_of_its_user() {
        let connector = MemoryConnector::new(always(200, ""));
        let client = Client::builder().build_with_connector(connector.clone());
        client.unwrap().get("http://peer/").send().await.unwrap();
        let log = connector.log();
        let agent = log.requests[0].header("user-agent").unwrap();
        let (product, version) = agent.split_once('/').unwrap();
        assert!(!product.contains(' ') && !version.contains(' '), "{agent}");
        let codings = log.requests[0].header("accept-encoding").unwrap();
        assert!(!codings.contains(';'), "no weights: {codings}");
        let mut names: Vec<_> = log.requests[0]
            .headers
            .keys()
            .map(http::HeaderName::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "host", "user-agent"]);
    }
}

/// 15: status codes.
mod section_15 {
    use super::{Client, MemoryConnector, always};

    #[tokio::test(start_paused = true)]
    async fn a_status_that_is_none_counts_as_a_failure_of_the_server() {
        for status in [600, 700, 999] {
            let connector = MemoryConnector::new(always(status, "odd"));
            let client = Client::builder().build_with_connector(connector.clone());
            let answer = client.unwrap().get("http://peer/").send().await.unwrap();
            assert_eq!(answer.status(), status);
            answer.error_for_status().expect_err("as if it were a 5xx");
            // As one of 500, which is not tried again either.
            assert_eq!(connector.log().requests.len(), 1, "{status}");
        }
    }

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
