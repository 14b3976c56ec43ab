//! The errors of a real hyper connection, over a pipe in memory.

use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, StreamBody};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use retry_layer::{Class, Processed, transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

async fn connect<B>() -> (SendRequest<B>, DuplexStream)
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<retry_layer::BoxError>,
{
    let (client, server) = duplex(1_024);
    let (sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    (sender, server)
}

async fn answered_with(answer: &'static [u8]) -> Class {
    let (mut sender, mut server) = connect().await;
    tokio::spawn(async move {
        let mut request = [0; 512];
        let _ = server.read(&mut request).await;
        server.write_all(answer).await.unwrap();
    });
    let error = sender
        .send_request(Request::new(Empty::<Bytes>::new()))
        .await
        .unwrap_err();
    transport::classify(&error)
}

#[tokio::test]
async fn a_connection_closed_before_the_answer_is_ambiguous() {
    assert_eq!(answered_with(b"").await, Class::Ambiguous);
    assert_eq!(
        answered_with(b"HTTP/1.1 200 OK\r\n").await,
        Class::Ambiguous
    );
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_permanent() {
    assert_eq!(
        answered_with(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await,
        Class::Permanent
    );
}

#[tokio::test]
async fn a_request_that_never_reached_its_connection_met_a_stale_one() {
    let (mut sender, server) = connect().await;
    drop(server);
    tokio::task::yield_now().await;
    let error = sender
        .send_request(Request::new(Empty::<Bytes>::new()))
        .await
        .unwrap_err();
    assert!(error.is_canceled());
    assert_eq!(transport::classify(&error), Class::Stale(Processed::Never));
}

#[tokio::test]
async fn a_connection_that_is_refused_after_it_stood_proves_nothing() {
    let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let broken = tokio_test::io::Builder::new()
        .write(b"GET / HTTP/1.1\r\n\r\n")
        .read_error(refused())
        .build();
    let (mut sender, connection) = http1::handshake(TokioIo::new(broken)).await.unwrap();
    tokio::spawn(connection);
    let error = sender
        .send_request(Request::new(Empty::<Bytes>::new()))
        .await
        .unwrap_err();
    assert_eq!(transport::classify(&error), Class::Ambiguous);
    assert_eq!(transport::classify(&refused()), Class::NotSent);
}

#[tokio::test]
async fn a_request_body_that_fails_is_permanent() {
    struct Broken;
    impl futures_core::Stream for Broken {
        type Item = Result<http_body::Frame<Bytes>, std::io::Error>;
        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            // A kind that would be retried, had it come from the connection.
            std::task::Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())))
        }
    }
    let (mut sender, _server) = connect().await;
    let request = Request::post("/").body(StreamBody::new(Broken)).unwrap();
    let error = sender.send_request(request).await.unwrap_err();
    assert_eq!(transport::classify(&error), Class::Permanent);
}
