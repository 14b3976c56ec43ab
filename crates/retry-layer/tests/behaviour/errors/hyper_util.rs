//! The layer over hyper-util's legacy client, and that client's errors.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use retry_layer::{Class, ReplayBody, ResponseExt, Retry, RetryPolicy, transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::{ServiceExt, service_fn};

struct Pipe(TokioIo<DuplexStream>);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Pipe {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Pipe {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Refuses the first connection; on the second, answers 503 and then 200.
fn serve(connections: &AtomicUsize) -> io::Result<Pipe> {
    if connections.fetch_add(1, Ordering::Relaxed) == 0 {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (near, mut far) = duplex(4_096);
    tokio::spawn(async move {
        let mut request = Vec::new();
        for answer in [
            "503 Busy\r\ncontent-length: 4\r\n\r\nbusy",
            "200 OK\r\ncontent-length: 0\r\n\r\n",
        ] {
            while !request.ends_with(b"body") {
                if far.read_buf(&mut request).await.unwrap() == 0 {
                    return;
                }
            }
            request.clear();
            far.write_all(format!("HTTP/1.1 {answer}").as_bytes())
                .await
                .unwrap();
        }
    });
    Ok(Pipe(TokioIo::new(near)))
}

#[tokio::test(start_paused = true)]
async fn a_put_survives_a_refused_connection_and_a_503_on_one_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let connector = service_fn(move |_: Uri| std::future::ready(serve(&counter)));
    let client: Client<_, ReplayBody<Full<Bytes>>> =
        Client::builder(TokioExecutor::new()).build(connector);
    let retry = Retry::new(client, RetryPolicy::default());

    let request = Request::put("http://peer/")
        .body(Full::from("body"))
        .unwrap();
    let response = retry.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.retry_report().attempts().len(), 3);
    let made = connections.load(Ordering::Relaxed);
    assert_eq!(
        made, 2,
        "the refused response was drained, so its connection lived"
    );
}

async fn failing(error: impl Fn() -> io::Error + Clone + Send + Sync + 'static) -> Class {
    let connector = service_fn(move |_: Uri| std::future::ready(Err::<Pipe, _>(error())));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::get("http://peer/")
        .body(Full::<Bytes>::default())
        .unwrap();
    let error: Box<dyn Error> = client.request(request).await.unwrap_err().into();
    transport::classify(&*error)
}

#[tokio::test]
async fn an_error_while_connecting_is_not_sent() {
    assert_eq!(
        failing(|| io::ErrorKind::TimedOut.into()).await,
        Class::NotSent
    );
    assert_eq!(
        failing(|| io::Error::other("no such name")).await,
        Class::NotSent
    );
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn a_bad_certificate_while_connecting_is_permanent() {
    let expired = || {
        let error = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        io::Error::new(io::ErrorKind::InvalidData, error)
    };
    assert_eq!(failing(expired).await, Class::Permanent);
}
