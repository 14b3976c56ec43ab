//! The connector's sockets: where they are bound, what they are set to, and what they tell.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::{StatusCode, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection as _};
use session_layer::{ConnectTimes, Connector, Resolver, Session};
use test_suite::{BytesSession, fetch, get};
use test_support::{
    Connection, Port, Server, always,
    tls::{Authority, LOOPBACK},
};
use tokio::net::TcpListener;
#[cfg(target_os = "linux")]
use tokio::net::{TcpSocket, TcpStream};
use tower::ServiceExt;

/// What a session learns of a connection to this URI.
async fn connected(connector: Connector, uri: &str) -> Connected {
    let uri: Uri = uri.parse().expect("the test's URI is valid");
    connector
        .oneshot(uri)
        .await
        .expect("the server accepts")
        .connected()
}

fn times(connected: &Connected) -> ConnectTimes {
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    *extras.get().expect("the connector tells its times")
}

#[tokio::test]
async fn the_server_sees_the_local_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let local = Ipv4Addr::new(127, 0, 0, 7);
    let connector = Connector::new().local_address(local);
    let connected = connected(connector, &uri).await;
    let (_, seen) = listener.accept().await.unwrap();
    assert_eq!(seen.ip(), local);
    assert_eq!(times(&connected).local, Some(seen));
}

#[tokio::test]
async fn a_local_address_of_the_other_family_connects_nowhere() {
    let server = Server::start(always(200, "x")).await;
    for delay in [Some(Duration::from_millis(300)), None] {
        let connector = Connector::new()
            .local_address(std::net::Ipv6Addr::LOCALHOST)
            .happy_eyeballs_delay(delay);
        let session: BytesSession = Session::new(connector);
        let error = fetch(&session, get(&server.url("/"))).await.unwrap_err();
        assert!(error.is_connect() && error.is_unsent(), "{error:?}");
    }
    assert_eq!(server.log().accepted, 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_interface_that_does_not_exist_is_an_error_of_the_connect() {
    let server = Server::start(always(200, "x")).await;
    for name in ["none-such", "nul\0"] {
        let session: BytesSession = Session::new(Connector::new().interface(name));
        let error = fetch(&session, get(&server.url("/"))).await.unwrap_err();
        assert!(error.is_connect() && error.is_unsent(), "{error:?}");
    }
    assert_eq!(server.log().accepted, 0);
}

#[tokio::test]
async fn every_socket_option_is_taken() {
    let server = Server::start(always(200, "x")).await;
    let connector = Connector::new()
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_keepalive_interval(Duration::from_secs(5))
        .tcp_keepalive_retries(3)
        .tcp_nodelay(false)
        .send_buffer_size(64 * 1024)
        .recv_buffer_size(64 * 1024)
        .happy_eyeballs_delay(Duration::from_millis(50));
    #[cfg(target_os = "linux")]
    let connector = connector
        .tcp_user_timeout(Duration::from_secs(20))
        .interface("lo");
    let session: BytesSession = Session::new(connector);
    let (status, _) = fetch(&session, get(&server.url("/"))).await.unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn each_step_is_timed_and_the_peer_is_named() {
    let authority = Authority::new();
    let config = authority.server_config(LOOPBACK);
    let secure = Server::start_tls(always(200, "x"), config).await;
    let connector = Connector::new().tls_config(authority.client_config());
    let uri = format!("https://localhost:{}/", secure.addr().port());
    let connected = connected(connector, &uri).await;
    let times = times(&connected);
    assert!(times.dns.is_some() && times.tcp.is_some(), "{times:?}");
    assert!(times.tls.is_some_and(|tls| !tls.is_zero()), "{times:?}");
    assert_eq!(times.proxy, None);
    assert_eq!(times.peer, Some(secure.addr()));
}

#[tokio::test]
async fn plain_http_has_no_time_of_tls() {
    let server = Server::start(always(200, "x")).await;
    let connected = connected(Connector::new(), &server.origin()).await;
    let times = times(&connected);
    assert!(times.tcp.is_some() && times.tls.is_none(), "{times:?}");
    assert_eq!(times.peer, Some(server.addr()));
}

#[tokio::test]
async fn a_connection_is_refused_at_once_and_by_type() {
    let server = Server::start(always(200, "x")).await;
    server.stop_accepting().await;
    let session: BytesSession = Session::new(Connector::new());
    let error = fetch(&session, get(&server.url("/"))).await.unwrap_err();
    assert!(error.is_connect() && error.is_unsent(), "{error:?}");
    assert!(!error.is_dns() && !error.is_tls() && !error.is_timeout());
}

/// A name with these addresses, in this order.
fn named(addresses: &[SocketAddr]) -> Connector {
    let addresses = addresses.iter().copied();
    Connector::new().resolver(Resolver::new().override_host("peer.test", addresses))
}

/// An address where a connect neither succeeds nor fails: the queue of its listener is full, and the
/// system drops what comes beyond that.
#[cfg(target_os = "linux")]
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

#[cfg(target_os = "linux")]
impl BlackHole {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("there is IPv4");
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        socket.bind(any).expect("a port is free");
        let listener = socket.listen(1).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let mut queued = Vec::new();
        // A queue of one takes a second connection, and the next one waits.
        for _ in 0..2 {
            let stream = TcpStream::connect(address).await;
            queued.push(stream.expect("the queue has room"));
        }
        Self {
            address,
            _listener: listener,
            _queued: queued,
        }
    }
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over_at_once() {
    let server = Server::start(always(200, "x")).await;
    let nobody = [(); 3].map(|()| Port::free());
    let dead = nobody.each_ref().map(Port::addr);
    let connector = named(&[dead[0], dead[1], dead[2], server.addr()])
        // The next attempt waits for the failure, and for nothing else.
        .happy_eyeballs_delay(Duration::from_secs(3_600))
        .connect_timeout(None);
    let connected = connected(connector, "http://peer.test/").await;
    assert_eq!(times(&connected).peer, Some(server.addr()));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_of_the_same_family_that_does_not_answer_is_passed_over() {
    let server = Server::start(always(200, "x")).await;
    let dead = [BlackHole::new().await, BlackHole::new().await];
    let connector = named(&[dead[0].address, dead[1].address, server.addr()])
        .connect_timeout(Duration::from_secs(60));
    let first = times(&connected(connector.clone(), "http://peer.test/").await);
    assert_eq!(first.peer, Some(server.addr()));
    let took = first.tcp.expect("TCP is timed");
    // Two delays of 250 ms, and not two thirds of a minute.
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");

    // Both are known by now, so the address that answers is tried before them.
    let again = times(&connected(connector, "http://peer.test/").await);
    assert_eq!(again.peer, Some(server.addr()));
    let took = again.tcp.expect("TCP is timed");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connect_that_runs_out_of_time_tells_how_many_addresses_it_tried() {
    let dead = [BlackHole::new().await, BlackHole::new().await];
    let nobody = Port::free();
    let connector = named(&[nobody.addr(), dead[0].address, dead[1].address])
        .connect_timeout(Duration::from_millis(150));
    let session: BytesSession = Session::new(connector);
    let error = fetch(&session, get("http://peer.test/")).await.unwrap_err();
    assert!(error.is_timeout() && error.is_unsent(), "{error:?}");
    let causes = causes(&error);
    assert!(causes.contains("none of 2 addresses"), "{causes}");
}

#[tokio::test]
async fn addresses_that_all_refuse_fail_at_once_and_tell_how_many_they_are() {
    let nobody = [Port::free(), Port::free()];
    let connector = named(&nobody.each_ref().map(Port::addr))
        .happy_eyeballs_delay(Duration::from_secs(3_600))
        .connect_timeout(None);
    let session: BytesSession = Session::new(connector);
    let error = fetch(&session, get("http://peer.test/")).await.unwrap_err();
    assert!(error.is_connect() && !error.is_timeout(), "{error:?}");
    let causes = causes(&error);
    assert!(causes.contains("none of 2 addresses"), "{causes}");
    assert!(causes.to_lowercase().contains("refused"), "{causes}");
}

/// The messages of an error and of all its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_an_error_of_the_name() {
    let session: BytesSession = Session::new(Connector::new());
    let error = fetch(&session, get("http://none-such.invalid/"))
        .await
        .unwrap_err();
    assert!(error.is_dns() && error.is_unsent(), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_is_reset_at_once_is_not_taken_for_a_response() {
    let server = Server::start(|connection: Connection| async move { connection.reset() }).await;
    let session: BytesSession = Session::new(Connector::new());
    let error = fetch(&session, get(&server.url("/"))).await.unwrap_err();
    assert!(error.is_unsent() || error.is_broken(), "{error:?}");
}

#[cfg(unix)]
mod unix {
    use std::path::PathBuf;

    use tokio::{
        io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
        net::UnixListener,
        task::JoinHandle,
    };

    use super::*;

    /// A path that ends with the test.
    struct Socket(PathBuf);

    impl Socket {
        fn new(name: &str) -> Self {
            let name = format!("session-layer-{name}-{}.sock", std::process::id());
            let path = std::env::temp_dir().join(name);
            _ = std::fs::remove_file(&path);
            Self(path)
        }

        fn listen(&self) -> UnixListener {
            UnixListener::bind(&self.0).expect("the path is free")
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            _ = std::fs::remove_file(&self.0);
        }
    }

    /// Answers one request, and returns its head.
    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = stream.read_buf(&mut head).await.expect("a head comes");
            assert_ne!(read, 0, "a whole head");
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        stream.write_all(answer).await.expect("the client reads");
        stream.flush().await.expect("the client reads");
        // Until the client has read it.
        _ = stream.read_u8().await;
        String::from_utf8(head).expect("a head is text")
    }

    #[tokio::test]
    async fn requests_go_to_the_socket_whatever_their_host() {
        let socket = Socket::new("plain");
        let listener = socket.listen();
        let server: JoinHandle<String> =
            tokio::spawn(async move { answer(listener.accept().await.unwrap().0).await });
        let session: BytesSession = Session::new(Connector::new().unix_socket(&socket.0));
        let (status, body) = fetch(&session, get("http://docker.invalid/v1/info"))
            .await
            .unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, &b"hi"[..]));
        drop(session);
        let head = server.await.unwrap();
        assert!(head.starts_with("GET /v1/info HTTP/1.1\r\n"), "{head}");
        assert!(
            head.to_lowercase().contains("host: docker.invalid\r\n"),
            "{head}"
        );
    }

    #[tokio::test]
    async fn tls_runs_over_the_socket_for_the_uris_host() {
        let authority = Authority::new();
        let socket = Socket::new("tls");
        let listener = socket.listen();
        let config = authority.server_config(&["service.internal"]);
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        let server = tokio::spawn(async move {
            let stream = listener.accept().await.unwrap().0;
            answer(acceptor.accept(stream).await.unwrap()).await
        });
        let connector = Connector::new()
            .tls_config(authority.client_config())
            .unix_socket(&socket.0);
        let session: BytesSession = Session::new(connector);
        let (status, _) = fetch(&session, get("https://service.internal/"))
            .await
            .unwrap();
        assert_eq!(status, StatusCode::OK);
        drop(session);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_an_error_of_the_connect() {
        let socket = Socket::new("absent");
        let session: BytesSession = Session::new(Connector::new().unix_socket(&socket.0));
        let error = fetch(&session, get("http://a/")).await.unwrap_err();
        assert!(error.is_connect() && error.is_unsent(), "{error:?}");
    }
}
