//! Why a call failed, with the details.

use std::time::Duration;

use http::StatusCode;
use retry_layer::resume::ResumeError;

#[cfg(feature = "fs")]
use crate::download::DigestError;
use crate::{decode::DecodeLimit, json::NotJson};

#[derive(Debug)]
pub(crate) enum Kind {
    /// The request or the client is not valid.
    Builder(String),
    /// The session failed. The source of its error is this error's source.
    Session(session_layer::Error),
    /// Another service below failed; `source` is its error.
    Service,
    /// The breaker has refused the request; `source` tells of the circuit.
    CircuitOpen,
    /// The request could not wait for the end of a pause; `source` tells of it.
    Paused,
    Deadline(Duration),
    Closed,
    /// A gateway cannot pass on a request that it received, and answers it with this status.
    NotForwarded(StatusCode, &'static str),
    /// The response has a failed status, which the caller wanted as an error.
    Status,
    BodyTooLarge {
        limit: usize,
    },
    /// A line or an event of a body is larger than allowed.
    TooLong {
        what: &'static str,
        limit: usize,
    },
    /// The server sent nothing of this kind for too long, on an open stream.
    Silent {
        what: &'static str,
        limit: Duration,
    },
    /// A body broke, and what the server sent then does not continue it.
    Resume(ResumeError),
    /// This many connections of an event source in a row have brought no event.
    NoEvents(u32),
    /// The destination of the body failed.
    Write,
    /// The server sent the rest of a body in too many small parts.
    #[cfg(feature = "fs")]
    SmallParts,
    /// The body does not have the expected digest.
    #[cfg(feature = "fs")]
    Digest(DigestError),
    Decode(&'static str),
    /// The source of tokens failed; `source` is its error.
    Token,
    /// A redirect is not followed, for this reason.
    Redirect(String),
    /// The body cannot be read as JSON of the type that was asked for.
    Json(NotJson),
    /// The body is not encoded as its content coding of this name says.
    Coding(&'static str),
    TooManyCodings(usize),
    /// The body decodes to more than this limit allows.
    DecodesToTooMuch(DecodeLimit),
}
