//! RFC 9112: HTTP/1.1.

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use test_suite::{fetch, get, post, send};
use test_support::{Connection, MemoryConnector, Reply, always, sequence};

use crate::session;

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
    use super::{MemoryConnector, Version, always, fetch, post, session};

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

/// 6.3: where a message ends.
mod section_6_3 {
    use super::{Connection, MemoryConnector, Method, answered, fetch, get, session};

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
    use super::{Full, MemoryConnector, Request, always, fetch, get, header, session};

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
}
