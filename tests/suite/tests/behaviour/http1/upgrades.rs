//! What was upgraded, over real sockets: bytes that go both ways at once, and whoever reads them.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use session_layer::{Connector, PoolConfig, SessionLayer, Timeouts};
use test_suite::{BytesSession, get, send};
use test_support::tls;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf},
    net::TcpListener,
    sync::Mutex,
    time::timeout,
};
use tokio_test::{assert_pending, assert_ready, task};
use tower::Layer;

type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

const PATIENCE: Duration = Duration::from_secs(20);

/// Switches protocols, then sends back what comes, in pieces of any size, until the peer ends.
async fn echo(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await?);
    }
    let switched =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n";
    io.write_all(switched.as_bytes()).await?;
    io.flush().await?;
    let mut piece = vec![0; 70_000];
    loop {
        let room = fastrand::usize(1..piece.len());
        let came = io.read(&mut piece[..room]).await?;
        if came == 0 {
            return io.shutdown().await;
        }
        if fastrand::u8(..8) == 0 {
            tokio::task::yield_now().await;
        }
        io.write_all(&piece[..came]).await?;
        io.flush().await?;
    }
}

fn session(connector: Connector) -> BytesSession {
    SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .expect("the settings are valid")
        .layer(connector)
}

async fn upgraded(session: &BytesSession, url: &str) -> Upgraded {
    let mut request = get(url);
    let headers = request.headers_mut();
    headers.insert("upgrade", "echo".parse().unwrap());
    headers.insert("connection", "upgrade".parse().unwrap());
    let response = send(session, request).await.unwrap();
    assert_eq!(response.status(), 101);
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

async fn over_tcp() -> Upgraded {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { echo(listener.accept().await?.0).await });
    upgraded(&session(Connector::new()), &url).await
}

async fn over_tls() -> Upgraded {
    let authority = tls::Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    let acceptor =
        tokio_rustls::TlsAcceptor::from(Arc::new(authority.server_config(tls::LOOPBACK)));
    tokio::spawn(async move { echo(acceptor.accept(listener.accept().await?.0).await?).await });
    let connector = Connector::new().tls_config(authority.client_config());
    upgraded(&session(connector), &url).await
}

#[cfg(unix)]
async fn over_unix() -> Upgraded {
    let path = std::env::temp_dir().join(format!("upgrades-{:x}", fastrand::u64(..)));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { echo(listener.accept().await?.0).await });
    let io = upgraded(
        &session(Connector::new().unix_socket(&path)),
        "http://peer/",
    )
    .await;
    let _ = std::fs::remove_file(path);
    io
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|_| fastrand::u8(..)).collect()
}

async fn send_all(io: &mut (impl AsyncWrite + Unpin), mut bytes: Bytes) {
    while !bytes.is_empty() {
        let piece = bytes.split_to(fastrand::usize(1..=bytes.len().min(100_000)));
        io.write_all(&piece).await.unwrap();
        io.flush().await.unwrap();
        if fastrand::bool() {
            tokio::task::yield_now().await;
        }
    }
    io.shutdown().await.unwrap();
}

/// Reads a piece, and gives up now and then.
async fn read_some(io: &mut (impl AsyncRead + Unpin), piece: &mut [u8]) -> Option<usize> {
    let room = fastrand::usize(1..=piece.len());
    let mut reading = pin!(io.read(&mut piece[..room]));
    if fastrand::bool() {
        return Some(reading.await.unwrap());
    }
    tokio::select! {
        biased;
        came = &mut reading => Some(came.unwrap()),
        () = tokio::task::yield_now() => None,
    }
}

async fn two_tasks(io: Upgraded) {
    let sent = bytes(1 << 20);
    let (mut read, mut write) = tokio::io::split(io);
    let all = sent.clone();
    let writer = tokio::spawn(async move { send_all(&mut write, all).await });
    let mut came = Vec::new();
    read.read_to_end(&mut came).await.unwrap();
    assert!(came == sent, "{} bytes", came.len());
    writer.await.unwrap();
}

/// Reads byte by byte, until the runtime says that it is somebody else's turn.
async fn without_a_pause(io: Upgraded) {
    let sent = bytes(100_000);
    let (mut read, mut write) = tokio::io::split(io);
    let all = sent.clone();
    let writer = tokio::spawn(async move { send_all(&mut write, all).await });
    let mut came = Vec::new();
    while let Ok(byte) = read.read_u8().await {
        came.push(byte);
    }
    assert!(came == sent, "{} bytes", came.len());
    writer.await.unwrap();
}

/// What several tasks read of, one at a time.
struct Shared {
    io: ReadHalf<Upgraded>,
    came: Vec<u8>,
    ended: bool,
}

/// Several tasks read, each as long as it likes, and any of them may be the one that waits.
async fn taking_turns(io: Upgraded) {
    let sent = bytes(1 << 19);
    let (read, mut write) = tokio::io::split(io);
    let read = Arc::new(Mutex::new(Shared {
        io: read,
        came: Vec::new(),
        ended: false,
    }));
    let all = sent.clone();
    let writer = tokio::spawn(async move { send_all(&mut write, all).await });
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let read = read.clone();
            tokio::spawn(async move {
                let mut piece = vec![0; 20_000];
                loop {
                    {
                        let mut turn = read.lock().await;
                        let Shared { io, came, ended } = &mut *turn;
                        if *ended {
                            return;
                        }
                        match read_some(io, &mut piece).await {
                            Some(0) => *ended = true,
                            Some(bytes) => came.extend(&piece[..bytes]),
                            None => {}
                        }
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    writer.await.unwrap();
    let read = read.lock().await;
    assert!(read.came == sent, "{} bytes", read.came.len());
}

async fn in_a_set(io: Upgraded) {
    let sent = bytes(1 << 19);
    let (mut read, mut write) = tokio::io::split(io);
    let all = sent.clone();
    let mut tasks = tokio::task::LocalSet::new();
    let local = tasks.run_until(async move {
        let reader = tokio::task::spawn_local(async move {
            let mut came = Vec::new();
            read.read_to_end(&mut came).await.unwrap();
            came
        });
        send_all(&mut write, all).await;
        reader.await.unwrap()
    });
    let came = local.await;
    (&mut tasks).await;
    assert!(came == sent, "{} bytes", came.len());
}

async fn copied(io: Upgraded) {
    let sent = bytes(1 << 20);
    let (mut near, far) = tokio::io::duplex(3_000);
    let copying = async {
        let (mut io, mut far) = (io, far);
        tokio::io::copy_bidirectional(&mut io, &mut far).await
    };
    let all = sent.clone();
    let asking = async {
        let (mut read, mut write) = tokio::io::split(&mut near);
        let mut came = Vec::new();
        let (read, ()) = tokio::join!(read.read_to_end(&mut came), send_all(&mut write, all));
        read.unwrap();
        came
    };
    let (copied, came) = tokio::join!(copying, asking);
    copied.unwrap();
    assert!(came == sent, "{} bytes", came.len());
}

async fn each<F: Future<Output = ()>>(way: impl Fn(Upgraded) -> F) {
    for _ in 0..3 {
        for (what, io) in [
            ("tcp", over_tcp().await),
            ("tls", over_tls().await),
            #[cfg(unix)]
            ("unix", over_unix().await),
        ] {
            timeout(PATIENCE, way(io))
                .await
                .unwrap_or_else(|_| panic!("{what} hangs"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn two_tasks_share_what_was_upgraded() {
    each(two_tasks).await;
}

#[tokio::test]
async fn a_reader_that_never_pauses_uses_up_its_turn_and_goes_on() {
    each(without_a_pause).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn tasks_that_take_turns_to_read_miss_nothing() {
    each(taking_turns).await;
}

#[tokio::test]
async fn a_set_of_tasks_reads_and_writes() {
    each(in_a_set).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn it_is_copied_both_ways() {
    each(copied).await;
}

#[test]
fn a_reader_is_told_that_the_runtime_is_gone() {
    for is_tls in [false, true] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut io = runtime.block_on(async {
            if is_tls {
                over_tls().await
            } else {
                over_tcp().await
            }
        });
        let mut reading = task::spawn(async move { io.read_u8().await });
        assert_pending!(reading.poll());
        assert_pending!(reading.poll(), "nothing has come since");
        drop(runtime);
        assert!(reading.is_woken());
        assert!(assert_ready!(reading.poll()).is_err());
    }
}

#[tokio::test]
async fn an_upgrade_reports_a_failed_write() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut io, _) = listener.accept().await?;
        let mut head = [0; 1024];
        let _ = io.read(&mut head).await?;
        let switched =
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n";
        io.write_all(switched.as_bytes()).await
        // Closed with bytes unread: by RST.
    });
    let mut io = upgraded(&session(Connector::new()), &url).await;
    let writes = async {
        while io.write_all(&[0; 1024]).await.is_ok() && io.flush().await.is_ok() {
            tokio::task::yield_now().await;
        }
        io.write_all(b"more").await.unwrap_err();
    };
    timeout(PATIENCE, writes).await.expect("it fails");
}
