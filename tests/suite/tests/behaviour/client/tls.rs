//! Whom a client trusts, and what it does where trust fails.

use client::{Client, TlsOptions};
use test_support::{Connection, Server, always, tls};

#[tokio::test]
async fn a_tls_handshake_that_breaks_is_tried_again_unless_trust_is_what_fails() {
    const INTERNAL_ERROR: u8 = 80;
    const HANDSHAKE_FAILURE: u8 = 40;
    const UNKNOWN_CA: u8 = 48;
    let end_of_file = Vec::new();
    let alert = |description| vec![0x15, 3, 3, 0, 2, 2, description];
    for (bytes, expected) in [
        (end_of_file, 3),
        (alert(INTERNAL_ERROR), 3),
        (alert(HANDSHAKE_FAILURE), 3),
        (alert(UNKNOWN_CA), 1),
    ] {
        let answer = bytes.clone();
        let server = Server::start(move |mut connection: Connection| {
            let answer = answer.clone();
            async move {
                let _ = connection.read_bytes().await;
                connection.write(answer).await;
                connection.close().await;
            }
        })
        .await;
        let client = trusting(&tls::Authority::new());
        let url = format!("https://localhost:{}/", server.addr().port());
        // Nothing of it was sent, so even a POST may be sent again.
        let error = client.post(url).fetch().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let attempts = error.retry_report().unwrap().attempts().len();
        assert_eq!(attempts, expected, "{bytes:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_asked_for_once() {
    let (authority, other) = (tls::Authority::new(), tls::Authority::new());
    for config in [
        authority.expired_server_config(tls::LOOPBACK),
        authority.server_config(&["example.com"]),
        other.server_config(tls::LOOPBACK),
    ] {
        let server = Server::start_tls(always(200, "x"), config).await;
        let url = format!("https://localhost:{}/", server.addr().port());
        let error = trusting(&authority).get(url).fetch().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert_eq!(error.retry_report().unwrap().attempts().len(), 1);
    }
}

#[tokio::test]
async fn tls_options_say_whom_a_client_trusts_and_what_it_shows() {
    let chain = tls::Chain::new(tls::LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.mutual_server_config()).await;
    let url = format!("https://localhost:{}/", server.addr().port());
    let options = TlsOptions::new().add_roots_pem(chain.root_pem()).unwrap();
    let known = options
        .clone()
        .client_certificate_pem(chain.chain_pem(), chain.key_pem())
        .unwrap();
    let client = Client::builder().tls(known).unwrap().build().unwrap();
    assert_eq!(client.get(&url).fetch().await.unwrap().status(), 200);

    let nobody = Client::builder().tls(options).unwrap().build().unwrap();
    assert!(nobody.get(&url).fetch().await.unwrap_err().is_tls());

    let untrusting = Client::builder().tls(TlsOptions::new().only_added_roots());
    assert!(untrusting.unwrap_err().is_builder());
}

fn trusting(authority: &tls::Authority) -> Client {
    Client::builder()
        .tls_config(authority.client_config())
        .build()
        .expect("the settings are valid")
}
