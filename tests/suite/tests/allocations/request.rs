//! What a request allocates, beside the same request on bare hyper in the same run.

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use client::Client;
use http::Request;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use session_layer::{Connector, Session};
use test_support::{Server, always};
use tokio::{net::TcpStream, runtime::Runtime};
use tower::Service;

/// Runs these requests on warm connections, and returns what each allocated.
fn per_request(runtime: &Runtime, mut request: impl AsyncFnMut()) -> AllocationInfo {
    const REQUESTS: u64 = 100;
    runtime.block_on(async {
        for _ in 0..10 {
            request().await;
        }
    });
    let all = measure(|| {
        runtime.block_on(async {
            for _ in 0..REQUESTS {
                request().await;
            }
        });
    });
    AllocationInfo {
        count_total: all.count_total / REQUESTS,
        bytes_total: all.bytes_total / REQUESTS,
        ..all
    }
}

/// A GET as it goes over the wire, with the headers that the client adds by itself.
fn wire(server: &Server) -> Request<Empty<Bytes>> {
    Request::get("/")
        .header("host", server.addr().to_string())
        .header("user-agent", "hardy-http/0.1.0")
        .body(Empty::new())
        .expect("the request is valid")
}

#[test]
fn a_request_allocates_nothing_over_bare_hyper() {
    let peer = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = peer.block_on(Server::start(always(200, "hello, world!")));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();

    let mut sender = runtime.block_on(async {
        let stream = TcpStream::connect(server.addr()).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    });
    // Made beforehand, as the URL of the others: what it takes to write down is not compared.
    let template = wire(&server);
    let bare = per_request(&runtime, async || {
        sender.ready().await.unwrap();
        let response = sender.send_request(template.clone()).await.unwrap();
        assert_eq!(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .len(),
            13
        );
    });
    let cloned = measure(|| drop(template.clone()));

    let uri: http::Uri = server.url("/").parse().unwrap();
    let mut session = Session::<Empty<Bytes>>::new(Connector::new());
    let through_session = per_request(&runtime, async || {
        let request = Request::get(uri.clone()).body(Empty::new()).unwrap();
        let response = session.call(request).await.unwrap();
        assert_eq!(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .len(),
            13
        );
    });

    let mut client = Client::new();
    let through_client = per_request(&runtime, async || {
        let request = Request::get(uri.clone())
            .body(Full::<Bytes>::default())
            .unwrap();
        let response = client.call(request).await.unwrap();
        assert_eq!(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .len(),
            13
        );
    });

    println!("bare {bare:?}\nclone of its head {cloned:?}");
    println!("session {through_session:?}\nclient {through_client:?}");
    assert!(through_session.count_total <= bare.count_total);
    assert!(through_client.count_total <= bare.count_total);
    assert_eq!(server.log().accepted, 3);
}
