//! Certificates are refused for the one reason that a test asks for.

use std::{io, sync::Arc};

use rustls::{CertificateError, ClientConfig, Error, ServerConfig, pki_types::ServerName};
use test_support::{
    Reply, Server, answer,
    tls::{Authority, LOOPBACK, self_signed_server_config},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

async fn exchange(server: ServerConfig, client: ClientConfig) -> (io::Result<String>, Server) {
    let server = Server::start_tls(answer(|_| Reply::status(200).and_close()), server).await;
    let stream = TcpStream::connect(server.addr()).await.expect("it listens");
    let name = ServerName::from(server.addr().ip());
    let response = async {
        let connector = TlsConnector::from(Arc::new(client));
        let mut stream = connector.connect(name, stream).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            .await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        Ok(response)
    };
    (response.await, server)
}

async fn refusal(server: ServerConfig, client: ClientConfig) -> CertificateError {
    let (response, server) = exchange(server, client).await;
    let error = response.expect_err("the certificate is bad");
    server.wait_for(|log| log.failed_handshakes == 1).await;
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(Error::InvalidCertificate(reason)) => reason.clone(),
        _ => panic!("not about the certificate: {error:?}"),
    }
}

#[tokio::test]
async fn a_client_of_the_authority_gets_in() {
    let authority = Authority::new();

    let (response, server) =
        exchange(authority.server_config(LOOPBACK), authority.client_config()).await;

    assert!(response.unwrap().starts_with("HTTP/1.1 200"));
    assert!(server.url("/a").starts_with("https://127.0.0.1:"));
}

#[tokio::test]
async fn bad_certificates_are_refused() {
    let authority = Authority::new();

    let expired = authority.expired_server_config(LOOPBACK);
    let expired = refusal(expired, authority.client_config()).await;
    let elsewhere = authority.server_config(&["elsewhere.test"]);
    let elsewhere = refusal(elsewhere, authority.client_config()).await;
    let stranger = Authority::new().server_config(LOOPBACK);
    let stranger = refusal(stranger, authority.client_config()).await;
    let itself = self_signed_server_config(LOOPBACK);
    let itself = refusal(itself, authority.client_config()).await;

    assert!(matches!(expired, CertificateError::ExpiredContext { .. }));
    assert!(matches!(
        elsewhere,
        CertificateError::NotValidForNameContext { .. }
    ));
    assert_eq!(stranger, CertificateError::UnknownIssuer);
    assert_eq!(itself, CertificateError::UnknownIssuer);
}

#[tokio::test]
async fn a_server_can_ask_for_a_client_certificate() {
    let authority = Authority::new();
    let server = || authority.mutual_server_config(LOOPBACK);

    let (with, _server) = exchange(server(), authority.mutual_client_config()).await;
    let (without, refusing) = exchange(server(), authority.client_config()).await;

    assert!(with.unwrap().starts_with("HTTP/1.1 200"));
    assert!(without.is_err());
    refusing.wait_for(|log| log.failed_handshakes == 1).await;
}
