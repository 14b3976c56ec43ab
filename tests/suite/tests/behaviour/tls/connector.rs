//! The connector's TLS: whom it trusts, what it shows, and that a refusal is final.

use std::{error::Error as StdError, iter, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use retry_layer::{Class, ReplayBody, RetryLayer, transport};
use session_layer::{Connector, Error, Session, SessionBody, SessionLayer, TlsOptions, TlsVersion};
use test_suite::{BytesSession, fetch, get, test_path};
use test_support::{
    Connection, Server, always,
    tls::{Chain, LOOPBACK},
};
use tower::{ServiceBuilder, ServiceExt};

/// Options that trust this chain alone.
fn trusting(chain: &Chain) -> TlsOptions {
    TlsOptions::new()
        .add_roots_pem(chain.root_pem())
        .expect("the root is a certificate")
        .only_added_roots()
}

fn connector(options: TlsOptions) -> Connector {
    Connector::new()
        .tls(options)
        .expect("the options are valid")
}

fn session(connector: Connector) -> BytesSession {
    Session::new(connector)
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}/", server.addr().port())
}

async fn ask(connector: Connector, server: &Server) -> Result<StatusCode, Error> {
    let (status, _) = fetch(&session(connector), get(&url(server))).await?;
    Ok(status)
}

/// The same through the retry layer, with its default policy.
async fn ask_again_and_again(
    connector: Connector,
    server: &Server,
) -> Result<Response<SessionBody>, Error> {
    let request = Request::get(url(server))
        .body(Full::default())
        .expect("the URL is valid");
    ServiceBuilder::new()
        .layer(RetryLayer::default())
        .layer(SessionLayer::<ReplayBody<Full<Bytes>>>::default())
        .service(connector)
        .oneshot(request)
        .await
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = String> + 'a {
    iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string)
}

/// Asserts that a connector refuses a server, or is refused, by TLS and for good.
async fn assert_final(what: &str, connector: Connector, server: &Server) {
    let answered_before = server.log().requests.len();
    let error = ask(connector.clone(), server).await.expect_err("TLS fails");
    assert!(
        error.is_tls() && error.is_connect() && error.is_unsent() && !error.is_proxy(),
        "{what}: {error:?}"
    );
    assert_eq!(
        transport::classify(&error),
        Class::Permanent,
        "{what}: {error:?}"
    );
    let before = server.log().accepted;
    let error = ask_again_and_again(connector, server)
        .await
        .expect_err("TLS fails again");
    assert!(error.is_tls(), "{what}: {error:?}");
    let log = server.log();
    assert_eq!(log.accepted, before + 1, "{what}");
    assert_eq!(log.requests.len(), answered_before, "{what}");
}

#[tokio::test]
async fn added_roots_are_trusted_as_text_and_as_bytes() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.server_config()).await;
    let der = TlsOptions::new().add_root_der(chain.root_der()).unwrap();
    for options in [
        trusting(&chain),
        der.clone().only_added_roots(),
        // Beside the platform's, and beside Mozilla's.
        der.clone(),
        der.webpki_roots(),
    ] {
        let what = format!("{options:?}");
        let answered = ask(connector(options), &server).await;
        assert_eq!(answered.unwrap(), StatusCode::OK, "{what}");
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_final() {
    let authority = test_support::tls::Authority::new();
    let stranger = Chain::new(LOOPBACK);
    let options = TlsOptions::new()
        .add_roots_pem(authority.certificate_pem())
        .unwrap();
    for (what, config) in [
        ("expired", authority.expired_server_config(LOOPBACK)),
        ("wrong host", authority.server_config(&["example.com"])),
        ("unknown root", stranger.server_config()),
        (
            "self-signed",
            test_support::tls::self_signed_server_config(LOOPBACK),
        ),
    ] {
        let server = Server::start_tls(always(200, "x"), config).await;
        assert_final(what, connector(options.clone()), &server).await;
        let webpki = options.clone().webpki_roots();
        assert_final(what, connector(webpki), &server).await;
    }
}

#[tokio::test]
async fn the_platforms_roots_are_not_trusted_where_they_are_not_wanted() {
    let (chain, other) = (Chain::new(LOOPBACK), Chain::new(LOOPBACK));
    let server = Server::start_tls(always(200, "x"), chain.server_config()).await;
    assert_final("another root", connector(trusting(&other)), &server).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.mutual_server_config()).await;
    let pem = trusting(&chain)
        .client_certificate_pem(chain.chain_pem(), chain.key_pem())
        .unwrap();
    let der = trusting(&chain)
        .client_certificate_der(chain.chain_der(), chain.key_der())
        .unwrap();
    for options in [pem, der] {
        let answered = ask(connector(options), &server).await;
        assert_eq!(answered.unwrap(), StatusCode::OK);
    }
}

/// In TLS 1.3 the client has finished before the server looks at its certificate
/// (RFC 8446, section 2), so the refusal comes in place of the response.
#[tokio::test]
async fn a_client_certificate_that_is_missing_or_refused_is_told_by_the_alert() {
    let (chain, stranger) = (Chain::new(LOOPBACK), Chain::new(LOOPBACK));
    let server = Server::start_tls(always(200, "x"), chain.mutual_server_config()).await;
    let strange = trusting(&chain)
        .client_certificate_pem(stranger.chain_pem(), stranger.key_pem())
        .unwrap();
    for options in [trusting(&chain), strange] {
        let what = format!("{options:?}");
        let error = ask(connector(options.clone()), &server).await.unwrap_err();
        assert!(error.is_tls() && !error.is_connect(), "{what}: {error:?}");
        assert_eq!(transport::classify(&error), Class::Permanent, "{error:?}");
        let told = causes(&error).any(|cause| cause.contains("fatal alert"));
        assert!(told, "{what}: {error:?}");

        let before = server.log().accepted;
        ask_again_and_again(connector(options), &server)
            .await
            .unwrap_err();
        assert_eq!(server.log().accepted, before + 1, "{what}");
    }
    assert!(server.log().requests.is_empty());
}

#[tokio::test]
async fn a_pinned_key_may_be_anywhere_in_the_chain_that_holds() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.server_config()).await;
    for (pin, what) in chain.pins().into_iter().zip(["leaf", "issuer", "root"]) {
        let options = trusting(&chain).pin_spki([[0; 32], pin]);
        let answered = ask(connector(options), &server).await;
        assert_eq!(answered.unwrap(), StatusCode::OK, "{what}");
    }
}

#[tokio::test]
async fn a_chain_without_a_pinned_key_is_final() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.server_config()).await;
    let options = trusting(&chain).pin_spki([[7; 32]]);
    assert_final("no pin", connector(options), &server).await;
}

#[tokio::test]
async fn a_pinned_key_beside_the_chain_does_not_count() {
    let (chain, pinned) = (Chain::new(LOOPBACK), Chain::new(LOOPBACK));
    let config = chain.server_config_beside(&pinned);
    let server = Server::start_tls(always(200, "x"), config).await;
    let both = trusting(&chain).add_roots_pem(pinned.root_pem()).unwrap();
    assert!(ask(connector(both.clone()), &server).await.is_ok());
    let options = both.pin_spki(pinned.pins());
    assert_final("beside", connector(options), &server).await;
}

#[tokio::test]
async fn a_pin_replaces_no_verification() {
    let (chain, other) = (Chain::new(LOOPBACK), Chain::new(&["example.com"]));
    for (what, shown) in [("unknown root", &chain), ("wrong host", &other)] {
        let server = Server::start_tls(always(200, "x"), shown.server_config()).await;
        let options = trusting(&other).pin_spki(shown.pins());
        assert_final(what, connector(options), &server).await;
    }
}

#[tokio::test]
async fn a_server_name_of_ones_own_is_asked_for_and_verified() {
    let chain = Chain::new(&["service.internal"]);
    let server = Server::start_tls(always(200, "x"), chain.server_config()).await;
    let plain = connector(trusting(&chain));
    assert_final("the URI's host", plain.clone(), &server).await;
    let named = plain.clone().server_name("service.internal").unwrap();
    assert_eq!(ask(named, &server).await.unwrap(), StatusCode::OK);
    // The request itself still names the URI's host.
    let host = format!("localhost:{}", server.addr().port());
    assert_eq!(server.log().requests[0].header("host"), Some(&*host));
    let other = plain.server_name("other.internal").unwrap();
    let error = ask(other, &server).await.unwrap_err();
    assert!(error.is_tls(), "{error:?}");
}

#[tokio::test]
async fn a_version_below_the_least_is_not_spoken() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.server_config()).await;
    let options = trusting(&chain).min_version(TlsVersion::Tls13);
    assert!(ask(connector(options.clone()), &server).await.is_ok());
    let old = Server::start_tls(always(200, "x"), chain.tls12_server_config()).await;
    assert!(ask(connector(trusting(&chain)), &old).await.is_ok());
    let answered_before = old.log().requests.len();
    let error = ask(connector(options), &old).await.unwrap_err();
    assert!(error.is_tls(), "{error:?}");
    assert_eq!(transport::classify(&error), Class::Permanent);
    assert_eq!(old.log().requests.len(), answered_before);
}

#[tokio::test]
async fn http_2_alone_is_never_guessed() {
    let chain = Chain::new(LOOPBACK);
    // One without ALPN, and one that wants HTTP/1.1.
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = chain.server_config();
        config.alpn_protocols = protocols;
        let server = Server::start_tls(always(200, "x"), config).await;
        let only = connector(trusting(&chain)).http2_only();
        assert_final("no HTTP/2", only, &server).await;
        let first = connector(trusting(&chain)).http1_only();
        assert_eq!(ask(first, &server).await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_handshake_that_breaks_off_is_an_error_of_tls() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start(|mut connection: Connection| async move {
        connection.read_bytes().await;
        connection.close().await;
    })
    .await;
    let error = ask(connector(trusting(&chain)), &server).await.unwrap_err();
    assert!(error.is_tls() && error.is_unsent(), "{error:?}");
    // It may pass: another handshake can be tried.
    assert_ne!(transport::classify(&error), Class::Permanent);
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_at_the_connect_timeout() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start(|mut connection: Connection| async move {
        connection.stall_until_closed().await;
    })
    .await;
    let short = Duration::from_millis(200);
    let connector = connector(trusting(&chain)).connect_timeout(short);
    let error = ask(connector, &server).await.unwrap_err();
    assert!(error.is_timeout() && error.is_connect(), "{error:?}");
    assert!(error.is_unsent(), "{error:?}");
}

#[cfg(feature = "aws-lc")]
#[tokio::test]
async fn aws_lc_takes_the_place_of_ring_and_nothing_is_installed() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.mutual_server_config()).await;
    let options = trusting(&chain)
        .client_certificate_pem(chain.chain_pem(), chain.key_pem())
        .unwrap()
        .pin_spki(chain.pins())
        .aws_lc();
    assert!(ask(connector(options), &server).await.is_ok());
    let stranger = Chain::new(LOOPBACK);
    let strange = Server::start_tls(always(200, "x"), stranger.server_config()).await;
    assert_final("aws-lc", connector(trusting(&chain).aws_lc()), &strange).await;
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

#[test]
fn settings_that_cannot_hold_are_refused_by_type_and_in_words() {
    let (chain, other) = (Chain::new(LOOPBACK), Chain::new(LOOPBACK));
    let told = |tls: Result<TlsOptions, session_layer::TlsConfigError>| {
        let error = tls.and_then(|tls| Connector::new().tls(tls)).unwrap_err();
        error.to_string()
    };
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let identity = |certificate: &str, key: &str| {
        told(TlsOptions::new().client_certificate_pem(certificate, key))
    };
    let roots = |pem: &[u8]| told(TlsOptions::new().add_roots_pem(pem));
    let (certificate, key) = (chain.chain_pem(), chain.key_pem());
    for (told, words) in [
        (roots(b"garbage"), "no line `-----BEGIN CERTIFICATE-----`"),
        (roots(b""), "it is empty"),
        (roots(&chain.root_der()), "it is DER"),
        (roots(cut.as_bytes()), "cut off"),
        (roots(broken.as_bytes()), "something else"),
        (
            told(TlsOptions::new().add_root_der([1, 2, 3])),
            "something else",
        ),
        (
            told(Ok(TlsOptions::new().only_added_roots())),
            "`add_roots_pem`",
        ),
        (identity(&certificate, ""), "-----BEGIN PRIVATE KEY-----"),
        (identity(&certificate, &certificate), "no private key"),
        (identity("", &key), "certificate: it is empty"),
        (
            identity("garbage", &key),
            "no line `-----BEGIN CERTIFICATE-----`",
        ),
        (identity(&certificate, &other.key_pem()), "cannot be used"),
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let mixed = TlsOptions::new()
        .client_certificate_pem(chain.chain_pem(), other.key_pem())
        .unwrap();
    let error = Connector::new().tls(mixed).unwrap_err();
    assert!(error.source().is_some(), "{error:?}");
    assert!(Connector::new().server_name("not a name").is_err());
}

/// Set for the copy of this program whose platform has no root certificates.
#[cfg(unix)]
const WITHOUT_ROOTS: &str = "TEST_WITHOUT_ROOTS";

#[cfg(unix)]
#[tokio::test]
async fn a_platform_without_root_certificates_is_named_and_what_to_do() {
    const NAME: &str = "a_platform_without_root_certificates_is_named_and_what_to_do";
    if std::env::var_os(WITHOUT_ROOTS).is_none() {
        // The environment of a process can only be set from outside.
        let copy = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test_path(module_path!(), NAME)])
            .env("SSL_CERT_FILE", "/dev/null")
            .env_remove("SSL_CERT_DIR")
            .env(WITHOUT_ROOTS, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&copy.stdout);
        assert!(copy.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let chain = Chain::new(LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.server_config()).await;
    let error = ask(Connector::new(), &server).await.unwrap_err();
    assert!(error.is_tls(), "{error:?}");
    let told = causes(&error).collect::<Vec<_>>().join(": ");
    for words in [
        "no root certificates were found",
        "SSL_CERT_FILE",
        "add_roots_pem",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // Where roots are added, those of the platform are not missed.
    let added = TlsOptions::new().add_roots_pem(chain.root_pem()).unwrap();
    ask(connector(added), &server).await.unwrap();
}

#[test]
fn no_debug_shows_a_key() {
    let chain = Chain::new(LOOPBACK);
    let options = trusting(&chain)
        .client_certificate_pem(chain.chain_pem(), chain.key_pem())
        .unwrap();
    let shown = format!("{options:?} {:?}", connector(options.clone()));
    let key = chain.key_pem();
    let canary = key.lines().nth(1).expect("a key has lines");
    assert!(
        !shown.contains(canary) && !shown.contains("48, "),
        "{shown}"
    );
}
