//! Servers that fail, each in its own way. They live until the runtime ends.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Runs this for each connection.
pub(crate) async fn listen<F, T>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback is there");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    addr
}

/// Answers each request on each connection with these bytes.
pub(crate) async fn answering(answer: &'static str) -> SocketAddr {
    listen(move |mut stream| async move {
        while read_head(&mut stream).await? {
            stream.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    })
    .await
}

/// Answers the first `requests` of each connection, the next with `rest`, and closes it then.
pub(crate) async fn closing(requests: usize, rest: &'static str) -> SocketAddr {
    listen(move |mut stream| async move {
        for _ in 0..requests {
            read_head(&mut stream).await?;
            stream.write_all(OK.as_bytes()).await?;
        }
        read_head(&mut stream).await?;
        stream.write_all(rest.as_bytes()).await
    })
    .await
}

/// Answers each request with these bytes, and then keeps silent.
pub(crate) async fn stalling(answer: &'static str) -> SocketAddr {
    listen(move |mut stream| async move {
        read_head(&mut stream).await?;
        stream.write_all(answer.as_bytes()).await?;
        sleep(Duration::from_secs(60)).await;
        Ok(())
    })
    .await
}

/// Breaks off within the head on its first connection, keeps silent on the second, and breaks off
/// within the body on each further one.
pub(crate) async fn by_turns() -> SocketAddr {
    let connections = AtomicUsize::new(0);
    listen(move |mut stream| {
        let number = connections.fetch_add(1, Relaxed);
        async move {
            read_head(&mut stream).await?;
            match number {
                0 => stream.write_all(b"HTTP/1.1 2").await,
                1 => {
                    sleep(Duration::from_secs(60)).await;
                    Ok(())
                }
                _ => stream.write_all(HALF.as_bytes()).await,
            }
        }
    })
    .await
}

/// Accepts connections, and reads and says nothing.
pub(crate) async fn silent() -> SocketAddr {
    listen(|stream| async move {
        sleep(Duration::from_secs(60)).await;
        drop(stream);
        Ok(())
    })
    .await
}

/// Speaks HTTP/2, and resets each stream with this code
/// ([RFC 9113, section 7](https://www.rfc-editor.org/rfc/rfc9113#section-7)).
pub(crate) async fn resetting(code: u32) -> SocketAddr {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const RST_STREAM: [u8; 5] = [0, 0, 4, 3, 0];
    const HEADERS: u8 = 1;
    listen(move |mut stream| async move {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await?;
        stream.write_all(&SETTINGS).await?;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let [a, b, c, kind, _, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload).await?;
            if kind == HEADERS {
                let reset = [&RST_STREAM[..], &id, &code.to_be_bytes()].concat();
                stream.write_all(&reset).await?;
            }
        }
    })
    .await
}

/// A connection that the peer has closed by the time that it is given out.
pub(crate) async fn closed_connection(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.peek(&mut [0]).await?;
    Ok(stream)
}

/// Closes each connection at once.
pub(crate) async fn hanging_up() -> SocketAddr {
    listen(|_| async { Ok(()) }).await
}

/// A response of whose body a part is missing.
pub(crate) const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Reads to the end of a request without a body; says whether there was one.
async fn read_head(stream: &mut TcpStream) -> io::Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}
