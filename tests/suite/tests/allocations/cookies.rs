//! What the cookie layer costs those who have no cookies.

use std::{convert::Infallible, future::ready};

use allocation_counter::measure;
use http::{Request, Response, Uri};
use session_layer::cookies::{Cookies, Jar};
use tower::{Service, service_fn};

#[test]
fn an_empty_jar_costs_a_request_no_allocation() {
    let uri: Uri = "http://peer.test/path".parse().unwrap();
    let inner = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(()))));
    let jar = Jar::new();
    let mut service = Cookies::new(inner, jar.clone());
    let mut allocations = |uri: &Uri| {
        let mut request = Request::new(());
        *request.uri_mut() = uri.clone();
        measure(|| {
            let mut call = std::pin::pin!(service.call(request));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(call.as_mut().poll(&mut cx).is_ready());
        })
        .count_total
    };
    assert_eq!(allocations(&uri), 0);

    // The measure itself counts.
    jar.insert("a=1", &uri).unwrap();
    assert!(allocations(&uri) > 0);
    jar.clear();
    assert_eq!(allocations(&uri), 0);
}
