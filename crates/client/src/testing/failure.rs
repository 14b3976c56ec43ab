use std::time::Duration;

use http::{Response, StatusCode};
use session_layer::{Phase, testing};

use crate::{Error, TimeoutPhase, error::Kind};

/// A failure, which becomes the [`Error`] that a client returns for it.
///
/// Converted by hand, the error names no method and no origin. As an [`Answer`](super::Answer) of a
/// [`Fake`](super::Fake) it gets those of the request, and the client's retries judge it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The name cannot be resolved: [`is_dns`](Error::is_dns) and [`is_connect`](Error::is_connect).
    Dns,
    /// The connection is refused: [`is_connect`](Error::is_connect).
    Connect,
    /// A proxy fails: [`is_proxy`](Error::is_proxy) and [`is_connect`](Error::is_connect).
    Proxy,
    /// The server's certificate is not trusted: [`is_tls`](Error::is_tls) and
    /// [`is_connect`](Error::is_connect).
    Tls,
    /// The default time for this phase ran out: [`is_timeout`](Error::is_timeout).
    Timeout(TimeoutPhase),
    /// The pool's queue has no room for one more request.
    QueueFull,
    /// The connection ended after the request was written and before the response came, so that
    /// the request may have been processed.
    Broken,
    /// The server refused the request unprocessed: [`is_unprocessed`](Error::is_unprocessed).
    Unprocessed,
    /// The server reset the request's HTTP/2 stream: [`is_reset`](Error::is_reset).
    Reset,
    /// The server sent something that is not HTTP.
    Protocol,
    /// The response broke off after its head: [`is_body`](Error::is_body).
    Body,
    /// The body is larger than the client's limit: [`is_body`](Error::is_body).
    TooLarge,
    /// The body cannot be decoded or read as JSON: [`is_decode`](Error::is_decode).
    Decode,
    /// A redirect is not followed: [`is_redirect`](Error::is_redirect).
    Redirect,
    /// A failed status was made an error: [`is_status`](Error::is_status).
    Status(StatusCode),
    /// No token could be fetched.
    Token,
    /// The request is not valid: [`is_builder`](Error::is_builder).
    Builder,
    /// The client is closed: [`is_closed`](Error::is_closed).
    Closed,
}

const MADE_FOR_A_TEST: &str = "made for a test";

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let session = |failure: testing::Failure| Self::from(session_layer::Error::from(failure));
        let timeout = |phase, seconds| {
            session(testing::Failure::Timeout(
                phase,
                Duration::from_secs(seconds),
            ))
        };
        match failure {
            Failure::Dns => session(testing::Failure::Dns),
            Failure::Connect => session(testing::Failure::Connect),
            Failure::Proxy => session(testing::Failure::Proxy),
            Failure::Tls => session(testing::Failure::Tls),
            Failure::Timeout(TimeoutPhase::Queue) => timeout(Phase::Queue, 10),
            Failure::Timeout(TimeoutPhase::Dns) => timeout(Phase::Dns, 10),
            Failure::Timeout(TimeoutPhase::Connect) => timeout(Phase::Connect, 10),
            Failure::Timeout(TimeoutPhase::Head) => timeout(Phase::Head, 30),
            Failure::Timeout(TimeoutPhase::Body) => timeout(Phase::Body, 30),
            Failure::Timeout(TimeoutPhase::Deadline) => {
                Self::new(Kind::Deadline(Duration::from_secs(300)))
            }
            Failure::QueueFull => session(testing::Failure::QueueFull),
            Failure::Broken => session(testing::Failure::Broken),
            Failure::Unprocessed => session(testing::Failure::Unprocessed),
            Failure::Reset => session(testing::Failure::Reset),
            Failure::Protocol => session(testing::Failure::Protocol),
            Failure::Body => session(testing::Failure::ResponseBody),
            Failure::TooLarge => {
                let limit = 64 * 1024 * 1024;
                answered(Kind::BodyTooLarge { limit }, StatusCode::OK)
            }
            Failure::Decode => Self::new(Kind::Decode("text")),
            Failure::Redirect => Self::new(Kind::Redirect(MADE_FOR_A_TEST.to_owned())),
            Failure::Status(status) => answered(Kind::Status, status),
            Failure::Token => Self::new(Kind::Token),
            Failure::Builder => Self::builder(MADE_FOR_A_TEST),
            Failure::Closed => Self::new(Kind::Closed),
        }
    }
}

/// An error that came after the head of a response.
fn answered(kind: Kind, status: StatusCode) -> Error {
    let mut response = Response::new(());
    *response.status_mut() = status;
    Error::new(kind).answered(&response, &[])
}
