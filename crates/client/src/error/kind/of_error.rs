//! The kind of an error.

use std::{error::Error as StdError, io};

use retry_layer::{FailureKind, transport};
use session_layer::Phase;

use crate::error::{
    Error, ErrorKind, Kind,
    chain::{causes, is_tls},
};

impl Error {
    /// Returns the kind of failure, for a program that counts or sorts failures. The questions,
    /// such as [`is_connect`](Self::is_connect), each cover several kinds.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        if let Some(error) = self.session_error() {
            return kind_of_session(error);
        }
        match &self.0.kind {
            Kind::Builder(_) | Kind::NotForwarded(..) => ErrorKind::Builder,
            Kind::Closed => ErrorKind::Closed,
            Kind::Token => ErrorKind::Token,
            Kind::CircuitOpen => ErrorKind::CircuitOpen,
            Kind::Paused => ErrorKind::Paused,
            Kind::BodyTooLarge { .. } | Kind::TooLong { .. } | Kind::DecodesToTooMuch(_) => {
                ErrorKind::TooLarge
            }
            Kind::Silent { .. } => ErrorKind::BodyTimeout,
            Kind::NoEvents(_) => ErrorKind::Body,
            Kind::Resume(_) => ErrorKind::Resume,
            Kind::Write => ErrorKind::Write,
            #[cfg(feature = "fs")]
            Kind::SmallParts => ErrorKind::Body,
            #[cfg(feature = "fs")]
            Kind::Digest(_) => ErrorKind::Digest,
            Kind::Decode(_) | Kind::Json(_) | Kind::Coding(_) | Kind::TooManyCodings(_) => {
                ErrorKind::Decode
            }
            Kind::Redirect(_) => ErrorKind::Redirect,
            Kind::Status => ErrorKind::Status,
            Kind::Deadline(_) => ErrorKind::Deadline,
            Kind::Session(error) => kind_of_session(error),
            Kind::Service => match self.0.source.as_deref() {
                Some(source) => kind_of_service(source),
                None => ErrorKind::Service,
            },
        }
    }
}

fn kind_of_session(error: &session_layer::Error) -> ErrorKind {
    if error.is_too_slow() {
        return ErrorKind::TooSlow;
    }
    match error.timeout_phase() {
        Some(Phase::Queue) => ErrorKind::QueueTimeout,
        Some(Phase::Dns) => ErrorKind::DnsTimeout,
        Some(Phase::Connect) => ErrorKind::ConnectTimeout,
        Some(Phase::Head) => ErrorKind::HeadTimeout,
        // `Phase` may grow; a phase that is added gets its own kind here.
        Some(_) => ErrorKind::BodyTimeout,
        None if error.is_queue_full() => ErrorKind::QueueFull,
        None if error.is_closed() => ErrorKind::Closed,
        None if error.is_uri() || error.is_headers() => ErrorKind::Builder,
        None if error.is_dns() => ErrorKind::Dns,
        None if error.is_proxy() => ErrorKind::Proxy,
        None if error.is_tls() => ErrorKind::Tls,
        None if error.is_connect() && is_refused_connection(error) => ErrorKind::ConnectionRefused,
        None if error.is_connect() => ErrorKind::Connect,
        None if error.is_stale() => ErrorKind::Stale,
        None if error.is_unsent() => ErrorKind::Unsent,
        None if error.is_unprocessed() => ErrorKind::Unprocessed,
        None if error.is_reset() => ErrorKind::Reset,
        None if error.is_protocol() => ErrorKind::Protocol,
        None if error.is_too_large() => ErrorKind::TooLarge,
        None if error.is_request_body() => ErrorKind::RequestBody,
        None if error.is_response_body() => ErrorKind::Body,
        // No other kind of session error is left.
        None => ErrorKind::Broken,
    }
}

fn kind_of_service(error: &(dyn StdError + 'static)) -> ErrorKind {
    let connects = transport::is_connect(error);
    if transport::is_timeout(error) {
        return if connects {
            ErrorKind::ConnectTimeout
        } else {
            ErrorKind::Timeout
        };
    }
    match FailureKind::of(error) {
        _ if is_tls(error) => ErrorKind::Tls,
        FailureKind::CONNECTION_REFUSED => ErrorKind::ConnectionRefused,
        _ if connects => ErrorKind::Connect,
        FailureKind::CIRCUIT_OPEN => ErrorKind::CircuitOpen,
        FailureKind::PAUSED => ErrorKind::Paused,
        FailureKind::STALE => ErrorKind::Stale,
        FailureKind::BROKEN => ErrorKind::Broken,
        FailureKind::RESET => ErrorKind::Reset,
        FailureKind::UNPROCESSED => ErrorKind::Unprocessed,
        FailureKind::PROTOCOL => ErrorKind::Protocol,
        FailureKind::REQUEST_BODY => ErrorKind::RequestBody,
        _ => ErrorKind::Service,
    }
}

fn is_refused_connection(error: &(dyn StdError + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}
