//! The gRPC status codes of a client's errors.

use std::{error::Error as StdError, iter, sync::Arc};

use retry_layer::{Class, transport};
use tonic::{Code, Status};

use crate::{Error, error::Kind};

/// Returns the status for this error, with the error as its source.
pub(super) fn of(error: Error) -> Status {
    let mut status = match cause::<Status>(&error) {
        // The status with which the caller's own stream of requests, or a layer of the caller's,
        // ended the call.
        Some(status) => status.clone(),
        None => Status::new(code(&error), error.to_string()),
    };
    status.set_source(Arc::new(error));
    status
}

fn code(error: &Error) -> Code {
    match error.reason() {
        Kind::Session(session) => session_code(session),
        Kind::Service => match error.session_error() {
            Some(session) => session_code(session),
            None => error.source().map_or(Code::Unknown, service_code),
        },
        Kind::Deadline(_) | Kind::Silent { .. } => Code::DeadlineExceeded,
        Kind::Closed | Kind::NoEvents(_) | Kind::CircuitOpen | Kind::Paused => Code::Unavailable,
        Kind::Token => Code::Unauthenticated,
        Kind::BodyTooLarge { .. } | Kind::TooLong { .. } | Kind::DecodesToTooMuch(_) => {
            Code::ResourceExhausted
        }
        Kind::Builder(_)
        | Kind::NotForwarded(..)
        | Kind::Decode(_)
        | Kind::Json(_)
        | Kind::Coding(_)
        | Kind::TooManyCodings(_) => Code::Internal,
        Kind::Status | Kind::Write | Kind::Redirect(_) | Kind::Resume(_) => Code::Unknown,
        #[cfg(feature = "fs")]
        Kind::SmallParts | Kind::Digest(_) => Code::Unknown,
    }
}

fn session_code(error: &session_layer::Error) -> Code {
    use session_layer::Phase;

    // An error of the whole connection has a reason that is not about this stream.
    let reset = cause::<h2::Error>(error).filter(|error| error.is_reset());
    match (error.timeout_phase(), reset.and_then(h2::Error::reason)) {
        (Some(Phase::Head | Phase::Body), _) => Code::DeadlineExceeded,
        (None, Some(reason)) => reason_code(reason),
        _ if error.is_protocol() || error.is_uri() || error.is_headers() => Code::Internal,
        _ if error.is_too_large() => Code::ResourceExhausted,
        _ if error.is_request_body() => Code::Unknown,
        _ => Code::Unavailable,
    }
}

/// By the table of [gRPC over HTTP/2][errors].
///
/// [errors]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors
fn reason_code(reason: h2::Reason) -> Code {
    use h2::Reason;

    match reason {
        Reason::NO_ERROR
        | Reason::PROTOCOL_ERROR
        | Reason::INTERNAL_ERROR
        | Reason::FLOW_CONTROL_ERROR
        | Reason::SETTINGS_TIMEOUT
        | Reason::FRAME_SIZE_ERROR
        | Reason::COMPRESSION_ERROR
        | Reason::CONNECT_ERROR => Code::Internal,
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Unknown,
    }
}

/// The code for an error of a service or layer of another crate, which can be judged only by its
/// causes.
fn service_code(source: &(dyn StdError + 'static)) -> Code {
    if transport::is_timeout(source) {
        return Code::DeadlineExceeded;
    }
    match transport::classify(source) {
        Class::NotSent | Class::Unprocessed | Class::Stale(_) | Class::Ambiguous => {
            Code::Unavailable
        }
        Class::Throttled(_) => Code::ResourceExhausted,
        _ if cause::<tower::load_shed::error::Overloaded>(source).is_some() => {
            Code::ResourceExhausted
        }
        _ => Code::Unknown,
    }
}

fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut causes = iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        (*error).source()
    });
    causes.find_map(|error| error.downcast_ref())
}
