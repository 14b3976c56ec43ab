//! Requests that are passed on for another client: what a gateway or reverse proxy does
//! ([RFC 9110, section 7.6](https://www.rfc-editor.org/rfc/rfc9110#section-7.6)).
//!
//! ```
//! use client::{Client, ResponseBody, http::{Request, Response}, testing::Fake};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), client::Error> {
//! # let fake = Fake::new([200]);
//! # let upstream = Client::builder().base_url("http://10.0.0.7:8080/")?.build_with_fake(&fake)?;
//! // A handler of a server; of axum's it takes an `axum::extract::Request`, and gives
//! // `response.map(axum::body::Body::new)`.
//! async fn handle(upstream: &Client, request: Request<String>) -> Response<ResponseBody> {
//!     let forwarded = upstream.forward(request).via("edge").forwarded();
//!     forwarded.send().await.unwrap_or_else(|error| {
//!         let mut response = Response::new(ResponseBody::default());
//!         *response.status_mut() = error.gateway_status();
//!         response
//!     })
//! }
//!
//! let request = Request::get("/orders?page=2")
//!     .header("host", "shop.example")
//!     .header("connection", "x-hop")
//!     .header("x-hop", "1");
//! let request = request.body(String::new()).expect("it is valid");
//! assert_eq!(handle(&upstream, request).await.status(), 200);
//! # let request = fake.requests().remove(0);
//! // What the upstream sees:
//! assert_eq!(request.uri(), "http://10.0.0.7:8080/orders?page=2");
//! assert!(!request.headers().contains_key("x-hop"));
//! assert_eq!(request.headers()["via"], "1.1 edge");
//! assert_eq!(request.headers()["forwarded"], "for=unknown;host=shop.example;proto=http");
//! # Ok(())
//! # }
//! ```
//!
//! | | what becomes of it |
//! |---|---|
//! | target | scheme and authority of the client's [base URL](crate::ClientBuilder::base_url) or of [`Forward::to`], never those of the request; its path and query as they are |
//! | body, both ways | streams, with its trailers; nothing is decoded |
//! | `Connection`, what it names, and what is known to be for one connection | removed, both ways |
//! | `TE: trailers` | said anew, since trailers are passed on |
//! | `Upgrade`, if the server that took the request can upgrade | passed on, and after a 101 all bytes both ways |
//! | `Host` | the upstream's, or [as it was](Forward::preserve_host); where the target of the request names a host, that one counts and not `Host` |
//! | `Cookie` on several lines, as HTTP/2 splits it | joined on one |
//! | `Date` of a response | added where there is none |
//! | `Forwarded`, `X-Forwarded-*`, `Via` | passed on; added to by [choice](Forward) |
//! | `Max-Forwards` of OPTIONS and TRACE | counted down; at 0 answered here |
//! | `Expect: 100-continue` | passed on; the server asks its caller for the body when it is first read |
//! | redirects, cookies | those of the caller: not followed, not kept |
//! | `User-Agent`, `Accept-Encoding`, default headers, credentials of the client | not added |
//! | ids of [calls](crate::ClientBuilder::request_id) and [attempts](crate::ClientBuilder::attempt_id) | added, if the client is set to do so |
//! | retries, deadline, timeouts | those of the client; what was read of a body is kept for another attempt within the policy's limit |
//! | a failed status | a response |
//!
//! A request that cannot be passed on is an error, with the [status](crate::Error::gateway_status)
//! for its caller: 501 for `CONNECT`, which asks for a tunnel and not for a resource, and for a
//! transfer coding other than `chunked`; 400 for a target that its method cannot have.

mod builder;
mod forwarded;
mod headers;
mod max_forwards;
mod upgrade;

pub use self::builder::Forward;

/// A request extension: the client adds no headers or credentials to the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsItIs;

impl AsItIs {
    /// Whether a request is forwarded for another client.
    #[inline]
    pub(crate) fn is<B>(request: &http::Request<B>) -> bool {
        request.extensions().get::<Self>().is_some()
    }
}
