//! Why a call failed, with what is known of it.

use std::time::Duration;

use http::StatusCode;
use retry_layer::resume::ResumeError;

#[cfg(feature = "fs")]
use crate::download::DigestError;
use crate::{decode::DecodeLimit, json::NotJson};

#[derive(Debug)]
pub(crate) enum Kind {
    /// The request, or the client, cannot be made as it was asked for.
    Builder(String),
    /// The session below failed; its cause is this error's cause too.
    Session(session_layer::Error),
    /// Another service below failed; `source` is its error.
    Service,
    Deadline(Duration),
    Closed,
    /// A request that a gateway received cannot be passed on; this status answers it.
    NotForwarded(StatusCode, &'static str),
    /// The response has a failed status, and the caller wanted an error then.
    Status,
    BodyTooLarge {
        limit: usize,
    },
    /// A part of a body is larger than allowed.
    TooLong {
        what: &'static str,
        limit: usize,
    },
    /// The server sent nothing of this for too long, on a stream that was open.
    Silent {
        what: &'static str,
        limit: Duration,
    },
    /// A body broke, and what came then is no continuation of it.
    Resume(ResumeError),
    /// So many connections of an event source in a row have brought no event.
    NoEvents(u32),
    /// What the body was to be written to failed.
    Write,
    /// The server gave the rest of a body in more parts than it is worth.
    #[cfg(feature = "fs")]
    SmallParts,
    /// The body is not the one of which a digest was given.
    #[cfg(feature = "fs")]
    Digest(DigestError),
    Decode(&'static str),
    /// The source of tokens failed; `source` is its error.
    Token,
    /// A redirect is not followed, and this is why.
    Redirect(String),
    /// The body cannot be read as JSON of the type that was asked for.
    Json(NotJson),
    /// The body is not what its content coding of this name says.
    Coding(&'static str),
    TooManyCodings(usize),
    /// The body decodes to more than this limit allows.
    DecodesToTooMuch(DecodeLimit),
}
