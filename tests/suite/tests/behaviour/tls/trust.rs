//! TLS over real sockets: what is trusted, and what the errors say.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use session_layer::{Connector, PoolConfig, SessionLayer, Timeouts};
use test_suite::{BytesSession, fetch, get, send};
use test_support::{Ending, Server, always, tls};
use tower::Layer;

fn trusting(authority: &tls::Authority) -> BytesSession {
    trusting_with(authority, PoolConfig::default())
}

fn trusting_with(authority: &tls::Authority, pool: PoolConfig) -> BytesSession {
    let connector = Connector::new().tls_config(authority.client_config());
    SessionLayer::new(pool, Timeouts::default())
        .expect("the settings are valid")
        .layer(connector)
}

fn url(server: &Server, host: &str) -> String {
    format!("https://{host}:{}/", server.addr().port())
}

#[tokio::test]
async fn a_trusted_server_answers_and_its_connection_is_reused() {
    let authority = tls::Authority::new();
    let config = authority.server_config(tls::LOOPBACK);
    let server = Server::start_tls(always(200, "secret"), config).await;
    let session = trusting(&authority);
    for _ in 0..3 {
        let (status, body) = fetch(&session, get(&url(&server, "localhost")))
            .await
            .unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, &b"secret"[..]));
    }
    assert_eq!(server.log().accepted, 1);
    assert_eq!(server.log().requests[0].version, http::Version::HTTP_11);
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_a_tls_error_and_nothing_is_sent() {
    let (authority, other) = (tls::Authority::new(), tls::Authority::new());
    for (what, config) in [
        ("expired", authority.expired_server_config(tls::LOOPBACK)),
        ("another name", authority.server_config(&["example.com"])),
        ("unknown issuer", other.server_config(tls::LOOPBACK)),
        ("self-signed", tls::self_signed_server_config(tls::LOOPBACK)),
    ] {
        let server = Server::start_tls(always(200, "x"), config).await;
        let session = trusting(&authority);
        let error = fetch(&session, get(&url(&server, "localhost")))
            .await
            .unwrap_err();
        assert!(
            error.is_tls() && error.is_connect() && error.is_unsent(),
            "{what}: {error:?}"
        );
        assert!(server.log().requests.is_empty(), "{what}");
        assert_eq!(session.stats().open, 0, "{what}");
    }
}

#[tokio::test]
async fn a_host_is_matched_by_names_of_its_kind_and_never_the_common_name() {
    let authority = tls::Authority::new();
    let by_common_name = |name| authority.common_name_server_config(name, &["example.com"]);
    for (config, host, holds) in [
        (authority.server_config(&["127.0.0.1"]), "127.0.0.1", true),
        (authority.server_config(&["127.0.0.1"]), "localhost", false),
        (authority.server_config(&["localhost"]), "localhost", true),
        (authority.server_config(&["localhost"]), "127.0.0.1", false),
        (authority.server_config(&["127.0.0.2"]), "127.0.0.1", false),
        (by_common_name("localhost"), "localhost", false),
        (by_common_name("127.0.0.1"), "127.0.0.1", false),
    ] {
        let server = Server::start_tls(always(200, "x"), config).await;
        let answer = fetch(&trusting(&authority), get(&url(&server, host))).await;
        match answer {
            Ok(_) => assert!(holds, "{host}"),
            Err(error) => assert!(!holds && error.is_tls(), "{host}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn the_client_says_goodbye_before_it_closes() {
    let authority = tls::Authority::new();
    for what in [
        "the session ends",
        "it has been idle for long",
        "the server says close",
        "nobody reads the body",
    ] {
        let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |mut connection: test_support::Connection| {
            let ended = ended.clone();
            async move {
                connection.read_request().await.expect("a request");
                let field = match what {
                    "the server says close" => "Connection: close\r\nContent-Length: 2",
                    "nobody reads the body" => "Content-Length: 2000000",
                    _ => "Content-Length: 2",
                };
                let head = format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\nok");
                connection.write(head).await;
                connection.answered();
                let _ = ended.send(connection.stall_until_closed().await.ending);
            }
        };
        let server = Server::start_tls(handler, authority.server_config(tls::LOOPBACK)).await;
        let pool = match what {
            "it has been idle for long" => {
                PoolConfig::default().idle_timeout(Duration::from_millis(20))
            }
            _ => PoolConfig::default(),
        };
        let session = trusting_with(&authority, pool);
        let response = send(&session, get(&url(&server, "localhost"))).await;
        let response = response.unwrap();
        if what == "nobody reads the body" {
            drop(response);
        } else {
            response.into_body().collect().await.unwrap();
        }
        let kept = (what != "the session ends").then_some(session);
        assert_eq!(endings.recv().await, Some(Ending::Finished), "{what}");
        drop(kept);
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_an_error_and_never_plain() {
    let server = Server::start(|mut connection: test_support::Connection| async move {
        let bytes = connection.read_bytes().await.unwrap_or_default();
        assert_eq!(bytes.first(), Some(&0x16), "a TLS handshake, not a request");
        connection.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let session = trusting(&tls::Authority::new());
    let error = fetch(&session, get(&url(&server, "localhost")))
        .await
        .unwrap_err();
    assert!(error.is_tls() && error.is_unsent(), "{error:?}");
}

#[tokio::test]
async fn plain_and_tls_are_different_origins_of_one_session() {
    let authority = tls::Authority::new();
    let secure =
        Server::start_tls(always(200, "tls"), authority.server_config(tls::LOOPBACK)).await;
    let plain = Server::start(always(200, "plain")).await;
    let session = trusting(&authority);
    assert_eq!(
        fetch(&session, get(&url(&secure, "localhost")))
            .await
            .unwrap()
            .1,
        "tls"
    );
    assert_eq!(
        fetch(&session, get(&plain.url("/"))).await.unwrap().1,
        "plain"
    );
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_whole_only_if_tls_says_goodbye() {
    let authority = tls::Authority::new();
    let handler = |mut connection: test_support::Connection| async move {
        let request = connection.read_request().await.expect("a request");
        connection.write("HTTP/1.1 200 OK\r\n\r\nbody").await;
        if request.target == "/goodbye" {
            connection.close().await;
        }
        // Otherwise the socket is closed without `close_notify`, as whoever stands between could do.
    };
    let server = Server::start_tls(handler, authority.server_config(tls::LOOPBACK)).await;
    let session = trusting(&authority);
    let base = url(&server, "localhost");
    let (_, body) = fetch(&session, get(&format!("{base}goodbye")))
        .await
        .unwrap();
    assert_eq!(body, "body");
    let error = fetch(&session, get(&base)).await.unwrap_err();
    assert!(error.is_response_body(), "{error:?}");
    assert!(!error.is_unsent(), "{error:?}");
    assert_eq!(session.stats().open, 0);
}
