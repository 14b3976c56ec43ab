//! Continues the body of a response where it breaks.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Empty};
//! use retry_layer::{RetryLayer, RetryPolicy, resume::ResumeLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use http_body::{Body, Frame, SizeHint};
//! # use std::{collections::VecDeque, io, pin::Pin, task::{Context, Poll}};
//! # struct Pieces(VecDeque<io::Result<&'static str>>);
//! # impl Body for Pieces {
//! #     type Data = Bytes;
//! #     type Error = io::Error;
//! #     fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
//! #         Poll::Ready(self.0.pop_front().map(|it| it.map(|it| Frame::data(it.into()))))
//! #     }
//! # }
//! # let server = service_fn(async |request: Request<retry_layer::ReplayBody<Empty<Bytes>>>| {
//! #     let response = Response::builder().header("etag", "\"v1\"");
//! #     Ok::<_, std::convert::Infallible>(match request.headers().get("range") {
//! #         None => {
//! #             let broken = io::Error::from(io::ErrorKind::ConnectionReset);
//! #             let pieces = [Ok("half "), Err(broken)].into();
//! #             response.header("content-length", "10").body(Pieces(pieces)).unwrap()
//! #         }
//! #         Some(range) => {
//! #             assert_eq!(range, "bytes=5-9");
//! #             let response = response.status(206).header("content-range", "bytes 5-9/10");
//! #             response.body(Pieces([Ok("a loaf")].into_iter().map(|it| it.map(|_| "whole")).collect())).unwrap()
//! #         }
//! #     })
//! # });
//! // A server that breaks off behind "half ", and serves ranges.
//! let policy = RetryPolicy::default();
//! let service = ServiceBuilder::new()
//!     .layer(ResumeLayer::new(policy.clone()))
//!     .layer(RetryLayer::new(policy))
//!     .service(server);
//!
//! let response = service.oneshot(Request::new(Empty::new())).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! assert_eq!(body, "half whole");
//! # Ok(())
//! # }
//! ```
//!
//! # How it behaves
//!
//! The retry layer is done when the head of a response has come. If the body breaks after that,
//! this layer requests the rest, by `Range`, and returns it as if the body had not broken. It does
//! so only if the rest certainly belongs to the received bytes:
//!
//! - the request is a GET without a body, and the response a 200, or a 206 of one part that the caller
//!   has asked for; then the rest of that part is asked for;
//! - the response has a strong validator: an entity tag that is not weak, or where there is no entity tag,
//!   a `Last-Modified` at least a second older than its `Date`
//!   ([RFC 9110, sections 13.1.5 and 8.8.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5));
//! - the server did not say `Accept-Ranges: none`.
//!
//! The request is the same as before, with `Range`, with `If-Range` for the validator, and with an
//! `Accept-Encoding` that names only the coding of the response: offsets are those of the encoded
//! bytes, so this layer has to be below one that decodes. If nothing was received of a whole, the
//! whole is asked for.
//!
//! | answer | |
//! |---|---|
//! | 206, same validator, coding and total, covers the next byte | goes on; what was received already is left out, and if it ends early, the rest is asked for |
//! | 206 otherwise, several parts | [`ContentRangeMismatch`](ResumeErrorKind::ContentRangeMismatch), [`ValidatorChanged`](ResumeErrorKind::ValidatorChanged), [`EncodingChanged`](ResumeErrorKind::EncodingChanged) |
//! | 206 that begins with the first byte, though another was asked for | `ContentRangeMismatch`: the range was not understood |
//! | 200, nothing was received | begins anew, if coding and length are those of the head |
//! | 200 otherwise, 304, 412 | `ValidatorChanged` |
//! | 416, the total is what was received | the body is complete |
//! | 416 otherwise | [`RangeNotSatisfiable`](ResumeErrorKind::RangeNotSatisfiable) |
//! | more or fewer bytes than announced | [`LengthMismatch`](ResumeErrorKind::LengthMismatch), or for fewer the rest is asked for |
//! | any other status, an error | the error that broke the body, as it was |
//!
//! A body whose announced length was read is complete, even if its end is missing. A body that
//! cannot be continued ends with its own error, unchanged.
//!
//! **Under the same policy.** A body that breaks is an attempt that failed: the class of its error
//! decides whether there is another one, after the next wait of the backoff, within the same number
//! of attempts, paid for from the same budget. The retry layer below continues this count, so that
//! a 503 to the request for the rest is retried as often as attempts are left. The count begins
//! again whenever bytes of the body have come. A request for the rest that has brought 4 KiB or
//! more, or the end, gives its token back. So the budget does not limit a long download over a bad
//! line, but it does limit a server that breaks off again and again at once.
//!
//! No deadline holds for a body that is being read. So the policy's deadline counts from the moment
//! at which the body broke, until bytes come again. A [`Deadline`](crate::Deadline) of the request
//! holds as it is, and nothing is requested after it.
//!
//! **What is reported.** [`ResumeBody::report`] has each exchange, with the offset that it asked
//! for ([`resumed_at`](crate::AttemptRecord::resumed_at)); an error gets the report as one of a
//! call does. A [`RetryObserver`](crate::RetryObserver) is also told of each break. Services below
//! see a [`Resumption`](crate::Resumption) in the extensions of the request.
//!
//! # Where it goes
//!
//! It belongs above the retry layer, which retries the request for the rest; without one, that is
//! sent once. It belongs above redirects, so that the first URL is requested again: the URL that a
//! redirect leads to may be signed for a short time. It belongs below decoding. The body of a
//! request with a [`NoResume`] in its extensions, or of one that its policy sends only once, is not
//! continued.
//!
//! The error of the body has to be an [`Error`](std::error::Error): a body whose error is boxed needs a
//! `map_err` below this layer. The requests for the rest have the body `B::default()`, so `B` is a type whose
//! default is empty, as those of `http-body-util` are.

mod ask;
mod body;
mod checkpoint;
mod content_range;
mod error;
mod future;
mod layer;
mod progress;
mod resumable;
mod service;
mod tracked;
mod validator;

pub use self::{
    ask::Ask,
    body::ResumeBody,
    checkpoint::{Checkpoint, Rest},
    error::{ResumeBodyError, ResumeError, ResumeErrorKind},
    future::ResumeFuture,
    layer::ResumeLayer,
    resumable::NotResumable,
    service::{NoResume, Resume},
};
