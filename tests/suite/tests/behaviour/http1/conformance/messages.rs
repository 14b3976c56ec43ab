//! RFC 9112: HTTP/1.1.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use session_layer::{PoolConfig, Timeouts};
use test_suite::{fetch, get, in_memory, post, send};
use test_support::{Closed, Connection, Ending, MemoryConnector, Reply, always, sequence};

use crate::http1::conformance::session;

/// Gives these bytes as the first answer and a plain one to the next request; returns the first answer and how many
/// connections both took.
async fn answered(
    method: Method,
    raw: impl Into<Bytes>,
) -> (Result<(StatusCode, Bytes), session_layer::Error>, usize) {
    let connector = MemoryConnector::new(sequence([
        Reply::raw(raw),
        Reply::status(200).body("second"),
    ]));
    let session = session(&connector);
    let mut request = get("http://peer/");
    *request.method_mut() = method;
    let first = fetch(&session, request).await;
    let (_, second) = fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(second, "second");
    (first, connector.log().accepted)
}

/// 2: messages.
mod section_2 {
    use super::{
        Connection, MemoryConnector, Method, Mutex, Reply, Version, always, answered, fetch, get,
        post, sequence, session,
    };

    #[tokio::test(start_paused = true)]
    async fn a_head_is_sent_with_whole_line_ends_and_no_blank_before_a_colon() {
        let connector = MemoryConnector::new(always(200, ""));
        fetch(&session(&connector), post("http://peer/path", "body"))
            .await
            .unwrap();
        let log = connector.log();
        let head = &log.requests[0].raw_head;
        let text = std::str::from_utf8(head).unwrap();
        assert!(text.ends_with("\r\n\r\n"));
        let lines: Vec<_> = text.trim_end().split("\r\n").collect();
        assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
        assert_eq!(lines[0], "POST /path HTTP/1.1");
        for field in &lines[1..] {
            let (name, _) = field.split_once(':').unwrap();
            assert!(!name.is_empty() && !name.contains([' ', '\t']), "{field:?}");
        }
        assert_eq!(log.requests[0].version, Version::HTTP_11);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_before_or_behind_a_request() {
        static BEHIND: Mutex<Option<usize>> = Mutex::new(None);
        let connector = MemoryConnector::new(|mut connection: Connection| async move {
            for _ in 0..3 {
                connection.read_request().await.unwrap();
                connection.respond(200, "").await;
            }
            *BEHIND.lock().unwrap() = Some(connection.stall_until_closed().await.discarded);
        });
        let session = session(&connector);
        for body in ["body", "", "another"] {
            fetch(&session, post("http://peer/", body)).await.unwrap();
        }
        drop(session);
        let log = connector.wait_for(|log| log.open == 0).await;
        assert_eq!(log.accepted, 1);
        for request in &log.requests {
            assert!(request.raw_head.starts_with(b"POST / HTTP/1.1\r\n"));
        }
        assert_eq!(*BEHIND.lock().unwrap(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bare_cr_ends_no_line_and_is_refused() {
        for raw in [
            "HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: a\rX-B: b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: a\r\rContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX\r-A: a\r\nContent-Length: 0\r\n\r\n",
        ] {
            let (first, connections) = answered(Method::GET, raw).await;
            let error = first.expect_err(raw);
            assert!(error.is_protocol(), "{raw:?}: {error:?}");
            assert_eq!(connections, 2, "{raw:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_blank_before_the_first_field_is_refused() {
        for blank in [" ", "\t", " \t "] {
            let raw = format!("HTTP/1.1 200 OK\r\n{blank}X-A: 1\r\nContent-Length: 0\r\n\r\n");
            let (first, connections) = answered(Method::GET, raw).await;
            let error = first.expect_err("it is invalid");
            assert!(error.is_protocol(), "{blank:?}: {error:?}");
            assert_eq!(connections, 2, "{blank:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_minor_version_above_1_1_is_refused_and_says_so() {
        for version in ["HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/0.9"] {
            let raw = format!("{version} 200 OK\r\nContent-Length: 0\r\n\r\n");
            let connector = MemoryConnector::new(sequence([Reply::raw(raw)]));
            let error = fetch(&session(&connector), get("http://peer/")).await;
            let error = error.expect_err(version);
            assert!(error.is_protocol(), "{version}: {error:?}");
        }
    }
}

/// 3: the line of a request, and 4: that of a status.
mod section_3_and_4 {
    use super::{MemoryConnector, Method, always, answered, fetch, get, session};

    #[tokio::test(start_paused = true)]
    async fn a_target_may_have_8000_bytes() {
        let connector = MemoryConnector::new(always(200, ""));
        let target = format!("/{}?{}", "a".repeat(4000), "b".repeat(5000));
        fetch(&session(&connector), get(&format!("http://peer{target}")))
            .await
            .unwrap();
        assert_eq!(connector.log().requests[0].target, target);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_means_nothing() {
        for reason in [
            "",
            " ",
            " OK",
            " 404 Not Found",
            " HTTP/1.1 500",
            " \u{fc}\u{2713}",
        ] {
            let raw = format!("HTTP/1.1 200{reason}\r\nContent-Length: 2\r\n\r\nok");
            let (first, connections) = answered(Method::GET, raw).await;
            let (status, body) = first.unwrap_or_else(|error| panic!("{reason:?}: {error:?}"));
            assert_eq!((status.as_u16(), body.as_ref()), (200, b"ok".as_slice()));
            assert_eq!(connections, 1, "{reason:?}");
        }
    }
}

/// 3.2: the target of a request, and `Host`.
mod section_3_2 {
    use super::{MemoryConnector, always, fetch, get, session};

    #[tokio::test(start_paused = true)]
    async fn a_request_has_one_host_which_is_its_authority_without_userinfo() {
        let connector = MemoryConnector::new(always(200, ""));
        let session = session(&connector);
        for (url, host) in [
            ("http://peer/", "peer"),
            ("http://peer:80/", "peer"),
            ("http://peer:8080/", "peer:8080"),
            ("http://me:secret@peer/", "peer"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            fetch(&session, get(url)).await.unwrap();
            let log = connector.log();
            let request = log.requests.last().unwrap();
            let hosts: Vec<_> = request.headers.get_all("host").iter().collect();
            assert_eq!(hosts, [host], "{url}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_is_asked_for_a_path_and_never_for_a_fragment() {
        let connector = MemoryConnector::new(always(200, ""));
        let session = session(&connector);
        for (url, target) in [
            ("http://peer", "/"),
            ("http://peer?q=1", "/?q=1"),
            ("http://peer/a?b=c", "/a?b=c"),
            ("http://peer/a#part", "/a"),
        ] {
            fetch(&session, get(url)).await.unwrap();
            let log = connector.log();
            assert_eq!(log.requests.last().unwrap().target, target, "{url}");
        }
    }
}

/// 5.2: lines that are folded.
mod section_5_2 {
    use super::{MemoryConnector, Reply, get, send, sequence, session};

    #[tokio::test(start_paused = true)]
    async fn a_folded_value_is_read_as_one_line() {
        for fold in ["\r\n folded", "\r\n\tfolded", "\r\n   folded"] {
            let raw = format!("HTTP/1.1 200 OK\r\nX-A: a{fold}\r\nContent-Length: 0\r\n\r\n");
            let connector = MemoryConnector::new(sequence([Reply::raw(raw)]));
            let response = send(&session(&connector), get("http://peer/")).await;
            let response = response.unwrap_or_else(|error| panic!("{fold:?}: {error:?}"));
            let value = response.headers()["x-a"].to_str().unwrap().to_owned();
            let words: Vec<_> = value.split_whitespace().collect();
            assert_eq!(words, ["a", "folded"], "{value:?}");
            assert!(!value.contains(['\r', '\n']));
        }
    }
}

/// 6.1: codings of transfer, and their names (7).
mod section_6_1 {
    use super::{Method, answered};

    #[tokio::test(start_paused = true)]
    async fn the_name_of_a_coding_may_be_in_any_case_and_has_no_parameters() {
        let chunked = |coding: &str| {
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        };
        for coding in ["chunked", "Chunked", "CHUNKED"] {
            let (first, connections) = answered(Method::GET, chunked(coding)).await;
            assert_eq!(first.expect(coding).1, "ok");
            assert_eq!(connections, 1, "{coding}");
        }
        for coding in ["chunked;a=b", "chunked; q=1", "\"chunked\"", "chunked,"] {
            let (first, connections) = answered(Method::GET, chunked(coding)).await;
            let error = first.expect_err(coding);
            assert!(error.is_protocol(), "{coding}: {error:?}");
            assert_eq!(connections, 2, "{coding}");
        }
    }
}

/// 6.3: where a message ends.
mod section_6_3 {
    use super::{Connection, MemoryConnector, Method, answered, fetch, get, session};

    #[tokio::test(start_paused = true)]
    async fn lengths_in_a_list_count_only_if_they_are_one_and_the_same() {
        for (length, is_one) in [
            ("2, 2", true),
            ("2,2,2", true),
            ("2, 3", false),
            ("2, x", false),
            ("2, -2", false),
        ] {
            let raw = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nok");
            let (first, connections) = answered(Method::GET, raw).await;
            // One that is the same may be read or refused (RFC 9110, section 8.6).
            match first {
                Ok((_, body)) => assert!(is_one && body == "ok", "{length}: {body:?}"),
                Err(error) => assert!(error.is_protocol() && connections == 2, "{error:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_without_a_body_ends_with_its_head_whatever_its_fields_say() {
        for (method, status) in [
            (Method::HEAD, "200 OK"),
            (Method::HEAD, "500 Oh"),
            (Method::GET, "204 No Content"),
            (Method::GET, "304 Not Modified"),
        ] {
            for framing in ["Content-Length: 5", "Transfer-Encoding: chunked", "X-A: 1"] {
                let raw = format!("HTTP/1.1 {status}\r\n{framing}\r\n\r\n");
                let (first, connections) = answered(method.clone(), raw).await;
                let (_, body) =
                    first.unwrap_or_else(|error| panic!("{status}, {framing}: {error:?}"));
                assert!(body.is_empty());
                assert_eq!(connections, 1, "{status}, {framing}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_a_length_ends_with_its_connection() {
        let raw = "HTTP/1.1 200 OK\r\n\r\nup to the end";
        let connector = MemoryConnector::new(move |mut connection: Connection| async move {
            connection.read_request().await;
            if connection.number() == 0 {
                connection.write(raw).await;
                return connection.close().await;
            }
            connection.respond(200, "second").await;
            connection.stall().await;
        });
        let session = session(&connector);
        let (_, body) = fetch(&session, get("http://peer/")).await.unwrap();
        assert_eq!(body, "up to the end");
        let (_, body) = fetch(&session, get("http://peer/")).await.unwrap();
        assert_eq!(
            (body.as_ref(), connector.log().accepted),
            (b"second".as_slice(), 2)
        );
    }
}

/// 7.1: chunks.
mod section_7_1 {
    use super::{BodyExt, MemoryConnector, Method, Reply, answered, get, send, sequence, session};

    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn extensions_of_chunks_are_ignored() {
        for extension in [";a", ";a=b", ";a=\"b;c\"", ";a=b;c=d", " ;a = b"] {
            let raw = format!("{HEAD}4{extension}\r\nbody\r\n0{extension}\r\n\r\n");
            let (first, connections) = answered(Method::GET, raw).await;
            let (_, body) = first.unwrap_or_else(|error| panic!("{extension:?}: {error:?}"));
            assert_eq!((body.as_ref(), connections), (b"body".as_slice(), 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sizes_are_hexadecimal_of_any_case_and_never_overflow() {
        let (first, _) = answered(Method::GET, format!("{HEAD}A\r\n0123456789\r\n0\r\n\r\n")).await;
        assert_eq!(first.unwrap().1, "0123456789");
        for size in [
            "10000000000000004",
            "ffffffffffffffffff",
            "-4",
            "+4",
            "0x4",
            "",
        ] {
            let raw = format!("{HEAD}{size}\r\nbody\r\n0\r\n\r\n");
            let (first, connections) = answered(Method::GET, raw).await;
            first.expect_err(size);
            assert_eq!(connections, 2, "{size:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fields_of_framing_in_a_trailer_change_nothing() {
        let raw = format!("{HEAD}4\r\nbody\r\n0\r\nContent-Length: 9\r\nX-Sum: 1\r\n\r\n");
        let (first, connections) = answered(Method::GET, raw.clone()).await;
        assert_eq!(
            (first.unwrap().1.as_ref(), connections),
            (b"body".as_slice(), 1)
        );
        // Trailers stay apart from the fields of the head.
        let connector = MemoryConnector::new(sequence([Reply::raw(raw)]));
        let response = send(&session(&connector), get("http://peer/"))
            .await
            .unwrap();
        assert!(!response.headers().contains_key("x-sum"));
        let whole = response.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["x-sum"], "1");
    }
}

/// 9: connections.
mod section_9 {
    use super::{
        Closed, Connection, Duration, Ending, Full, MemoryConnector, Method, Mutex, PoolConfig,
        Request, Timeouts, always, answered, fetch, get, header, in_memory, session,
    };

    #[tokio::test(start_paused = true)]
    async fn a_request_that_says_close_is_the_last_one_on_its_connection() {
        let connector = MemoryConnector::new(always(200, "fine"));
        let session = session(&connector);
        let last = Request::get("http://peer/").header(header::CONNECTION, "close");
        fetch(&session, last.body(Full::default()).unwrap())
            .await
            .unwrap();
        fetch(&session, get("http://peer/")).await.unwrap();
        let log = connector.log();
        assert_eq!(log.accepted, 2);
        assert_eq!(log.requests[0].header("connection"), Some("close"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_of_either_side_closes_the_connection_after_the_response() {
        // The server says so, and leaves it to the client.
        for said in [
            "close",
            "Close",
            "keep-alive, CLOSE",
            ",, close ,",
            "x-a,close",
        ] {
            closes_after(Some(said), None).await;
        }
        closes_after(None, Some("close")).await;
        closes_after(None, Some("x-a, Close")).await;
    }

    async fn closes_after(said: Option<&'static str>, says: Option<&'static str>) {
        static CLOSED: Mutex<Option<Closed>> = Mutex::new(None);
        let connector = MemoryConnector::new(move |mut connection: Connection| async move {
            connection.read_request().await.unwrap();
            let field = said.map(|said| format!("Connection: {said}\r\n"));
            let field = field.unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 2\r\n\r\nok");
            connection.write(head).await;
            connection.answered();
            *CLOSED.lock().unwrap() = Some(connection.stall_until_closed().await);
        });
        let session = session(&connector);
        let mut request = get("http://peer/");
        if let Some(says) = says {
            let value = says.parse().unwrap();
            request.headers_mut().insert(header::CONNECTION, value);
        }
        let (_, body) = fetch(&session, request).await.unwrap();
        assert_eq!(body, "ok");
        connector.wait_for(|log| log.open == 0).await;
        let closed = CLOSED.lock().unwrap().take();
        let expected = Closed {
            ending: Ending::Finished,
            discarded: 0,
        };
        assert_eq!(closed, Some(expected), "{said:?}, {says:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_http_1_0_goes_on_only_if_it_says_so() {
        for (said, connections) in [("Keep-Alive", 1), ("close", 2), ("x-a", 2)] {
            let raw =
                format!("HTTP/1.0 200 OK\r\nConnection: {said}\r\nContent-Length: 2\r\n\r\nok");
            let (first, taken) = answered(Method::GET, raw).await;
            assert_eq!(first.expect(said).1, "ok");
            assert_eq!(taken, connections, "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_carries_one_request_at_a_time() {
        static EARLY: Mutex<usize> = Mutex::new(0);
        let connector = MemoryConnector::new(|mut connection: Connection| async move {
            while connection.read_request().await.is_some() {
                let more = connection.read_bytes();
                if tokio::time::timeout(Duration::from_secs(1), more)
                    .await
                    .is_ok()
                {
                    *EARLY.lock().unwrap() += 1;
                }
                connection.respond(200, "").await;
            }
        });
        let pool = PoolConfig::default().max_connections_per_origin(1);
        let session = in_memory(pool, Timeouts::default(), &connector);
        let calls = (0..5).map(|_| {
            let session = session.clone();
            tokio::spawn(async move { fetch(&session, get("http://peer/")).await.unwrap() })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        let log = connector.log();
        assert_eq!((log.accepted, log.requests.len()), (1, 5));
        assert_eq!(*EARLY.lock().unwrap(), 0);
    }
}
