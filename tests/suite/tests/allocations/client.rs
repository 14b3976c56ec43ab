//! What the parts of a client allocate, each beside a client without it, in the same run.

use allocation_counter::measure;
use bytes::Bytes;
use client::{Client, ClientBuilder, Redirects};
use http::Request;
use http_body_util::{BodyExt, Full};
use test_support::{Server, always};
use tokio::runtime::{Builder, Runtime};
use tower::Service;

/// Allocations of one request on a warm connection.
fn per_request(runtime: &Runtime, builder: ClientBuilder, url: &str, headers: usize) -> u64 {
    const REQUESTS: u64 = 100;
    let names = ["accept", "x-own"];
    let mut client = builder.build().expect("the settings are valid");
    let uri: http::Uri = url.parse().expect("it is a URL");
    let mut request = async || {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = uri.clone();
        for name in names.iter().take(headers) {
            let value = http::HeaderValue::from_static("1");
            request.headers_mut().insert(*name, value);
        }
        let response = client.call(request).await.expect("the peer answers");
        let body = response.into_body().collect().await.expect("it is whole");
        assert_eq!(body.to_bytes().len(), 13);
    };
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
    all.count_total / REQUESTS
}

#[test]
fn redirects_cost_nothing_while_there_are_none() {
    let peer = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = peer.block_on(Server::start(always(200, "hello, world!")));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let url = server.url("/");
    let default = Client::builder;
    let without = || default().redirects(Redirects::none());
    let cost = |builder, headers| per_request(&runtime, builder, &url, headers);
    assert_eq!(cost(default(), 0), cost(without(), 0));
    // What the retry layer keeps of a request serves them too.
    assert_eq!(cost(default(), 2), cost(without(), 2));
    // The headers that are added per attempt are not copied by anybody.
    let added = default()
        .default_header("accept", "1")
        .default_header("x-own", "1");
    assert!(cost(added, 0) <= cost(without(), 2));
}
