//! Over real sockets: what the system and TLS say.

use std::{collections::BTreeSet, time::Duration};

use client::{Client, ClientBuilder, Exponential, Proxy, RetryPolicy, TlsOptions};
use test_support::{
    Connection, Port, Reply, Server, always, proxy, sequence,
    tls::{Authority, LOOPBACK, self_signed_server_config},
};

use super::{HOST, line};

/// A client that hardly waits: the clock here is real.
fn builder() -> ClientBuilder {
    let at_once = Exponential::new(Duration::from_millis(1)).cap(Duration::from_millis(1));
    Client::builder().retry(RetryPolicy::builder().backoff(at_once))
}

fn trusting(authority: &Authority) -> ClientBuilder {
    let tls = TlsOptions::new().add_roots_pem(authority.certificate_pem());
    builder().tls(tls.unwrap().only_added_roots()).unwrap()
}

/// Fetches the URL, and names its host as all errors here do.
async fn fetch(builder: ClientBuilder, url: &str) -> String {
    let client = builder.build().unwrap();
    let authority = url.split('/').nth(2).unwrap();
    let port = if url.starts_with("https") { 443 } else { 80 };
    line(client.get(url).fetch().await)
        .replace(authority, &format!("{HOST}:{port}"))
        .replace("127.0.0.1", HOST)
}

pub(super) async fn errors() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let port = Port::free();
    lines.insert(fetch(builder(), &port.url()).await);
    let resetting = Server::start(sequence(vec![Reply::reset(); 3])).await;
    lines.insert(fetch(builder(), &resetting.url("/")).await);
    lines.extend(certificates().await);
    lines.insert(super::without_roots());

    let refusing = Server::start(proxy::answering(
        "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
    ))
    .await;
    for proxy in [refusing.addr(), port.addr()] {
        let through = builder().proxy(Proxy::all(&format!("http://{proxy}")).unwrap());
        let client = through.build().unwrap();
        let line = line(client.get("https://api.example.com/").fetch().await);
        lines.insert(line.replace(&proxy.to_string(), "proxy.example.com:3128"));
    }
    lines
}

async fn certificates() -> Vec<String> {
    let authority = Authority::new();
    let start = async |config| Server::start_tls(always(200, ""), config).await;
    let trusted = start(authority.server_config(LOOPBACK)).await;
    let own = start(self_signed_server_config(LOOPBACK)).await;
    let expired = start(authority.expired_server_config(LOOPBACK)).await;
    let other = start(authority.server_config(&["other.example.com"])).await;
    let mutual = start(authority.mutual_server_config(LOOPBACK)).await;
    let plain = Server::start(|mut connection: Connection| async move {
        connection.read_bytes().await;
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        connection.write(refusal).await;
        connection.close().await;
    })
    .await;

    let expired = fetch(trusting(&authority), &expired.url("/")).await;
    // What follows are times.
    let (expired, _) = expired.split_once("expired: ").unwrap();
    let as_https = plain.url("/").replace("http:", "https:");
    let as_http = trusted.url("/").replace("https:", "http:");
    vec![
        format!("{expired}expired: …"),
        fetch(trusting(&Authority::new()), &trusted.url("/")).await,
        fetch(trusting(&authority), &own.url("/")).await,
        fetch(trusting(&authority), &other.url("/")).await,
        fetch(trusting(&authority), &mutual.url("/")).await,
        fetch(trusting(&authority), &as_https).await,
        fetch(builder(), &as_http).await,
    ]
}

/// For a process whose environment names no root certificates.
pub(super) async fn without_roots() -> String {
    let authority = Authority::new();
    let config = authority.server_config(LOOPBACK);
    let server = Server::start_tls(always(200, ""), config).await;
    fetch(builder(), &server.url("/")).await
}
