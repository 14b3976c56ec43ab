//! Errors made without a network, for tests of code that acts upon them.
//!
//! ```
//! use session_layer::{Error, testing::Failure};
//!
//! let error = Error::from(Failure::Connect);
//! assert!(error.is_connect() && error.is_unsent());
//! ```

use std::{io, time::Duration};

use crate::{
    Error, Phase, ThroughputFloor, TooSlow, TransferDirection,
    box_error::BoxError,
    error::{Kind, Sent},
};

/// A failure, which becomes the [`Error`] that a session returns for it, without an origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The name cannot be resolved.
    Dns,
    /// The connection is refused.
    Connect,
    /// A proxy fails.
    Proxy,
    /// The server's certificate is not trusted.
    Tls,
    /// A timeout ran out.
    Timeout(Phase, Duration),
    /// Bytes were transferred in this direction more slowly than this floor asks for: none at all.
    TooSlow(TransferDirection, ThroughputFloor),
    /// The pool's queue has no room for one more request.
    QueueFull,
    /// The session is closed.
    Closed,
    /// A reused connection had been closed; none of the request was written.
    Stale,
    /// The connection ended after the request was written and before the response came.
    Broken,
    /// The peer refused an HTTP/2 stream, and has not processed the request.
    Unprocessed,
    /// The peer reset an HTTP/2 stream.
    Reset,
    /// The peer sent bytes that are not HTTP.
    Protocol,
    /// The head of the response is larger than allowed.
    TooLarge,
    /// The request body failed.
    RequestBody,
    /// The response broke off after its head.
    ResponseBody,
}

impl Failure {
    /// Makes the error with a cause that the test chooses.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Error {
        Error::new(self.kind()).with(source)
    }

    fn kind(self) -> Kind {
        match self {
            Self::Dns => Kind::Dns,
            Self::Connect => Kind::Connect,
            Self::Proxy => Kind::Proxy,
            Self::Tls => Kind::Tls,
            Self::Timeout(Phase::Queue, after) => Kind::PoolTimeout(after),
            Self::Timeout(phase, after) => Kind::Timeout(phase, after),
            Self::TooSlow(direction, floor) => Kind::TooSlow(TooSlow {
                direction,
                measured: 0,
                floor,
            }),
            Self::QueueFull => Kind::QueueFull(0),
            Self::Closed => Kind::Closed,
            Self::Stale => Kind::Stale(Sent::Nothing),
            Self::Broken => Kind::Broken,
            Self::Unprocessed => Kind::Unprocessed,
            Self::Reset => Kind::Reset,
            Self::Protocol => Kind::Protocol("made for a test"),
            Self::TooLarge => Kind::TooLarge("made for a test"),
            Self::RequestBody => Kind::RequestBody,
            Self::ResponseBody => Kind::ResponseBody,
        }
    }
}

/// The error, with the cause that it usually has.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let io = |kind: io::ErrorKind| failure.with_source(io::Error::from(kind));
        match failure {
            Failure::Connect => io(io::ErrorKind::ConnectionRefused),
            Failure::Broken => io(io::ErrorKind::ConnectionReset),
            Failure::ResponseBody => io(io::ErrorKind::UnexpectedEof),
            #[cfg(feature = "tls")]
            Failure::Tls => failure.with_source(rustls::Error::InvalidCertificate(
                rustls::CertificateError::UnknownIssuer,
            )),
            other => Self::new(other.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Question = fn(&Error) -> bool;

    #[test]
    fn each_failure_answers_the_question_about_it() {
        let second = Duration::from_secs(1);
        let floor = ThroughputFloor::new(1, second);
        let cases: [(Failure, Question); 17] = [
            (Failure::Dns, Error::is_dns),
            (Failure::Connect, Error::is_connect),
            (Failure::Proxy, Error::is_proxy),
            (Failure::Tls, Error::is_tls),
            (Failure::Timeout(Phase::Head, second), Error::is_timeout),
            (
                Failure::Timeout(Phase::Queue, second),
                Error::is_pool_timeout,
            ),
            (
                Failure::TooSlow(TransferDirection::Download, floor),
                Error::is_response_body,
            ),
            (
                Failure::TooSlow(TransferDirection::Upload, floor),
                Error::is_too_slow,
            ),
            (Failure::QueueFull, Error::is_queue_full),
            (Failure::Closed, Error::is_closed),
            (Failure::Stale, Error::is_stale),
            (Failure::Broken, Error::is_broken),
            (Failure::Unprocessed, Error::is_unprocessed),
            (Failure::Reset, Error::is_reset),
            (Failure::Protocol, Error::is_protocol),
            (Failure::RequestBody, Error::is_request_body),
            (Failure::ResponseBody, Error::is_response_body),
        ];
        for (failure, question) in cases {
            assert!(question(&failure.into()), "{failure:?}");
        }
    }
}
