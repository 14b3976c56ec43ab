//! The name of each kind of failure, which spans, metrics, reports and events share.

mod of_error;
#[cfg(test)]
mod tests;

use std::fmt;

use retry_layer::{AttemptPhase, FailureKind};

/// The kind of failure of an [`Error`](crate::Error).
///
/// Its [name](Self::as_str) is the same everywhere: `error.type` of spans and metrics, the
/// [records](crate::AttemptRecord::kind) of attempts, and their events.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request or the client is not valid: [`is_builder`](crate::Error::is_builder).
    Builder,
    /// The client is closed: [`is_closed`](crate::Error::is_closed).
    Closed,
    /// No token could be fetched: [`is_token`](crate::Error::is_token).
    Token,
    /// The circuit breaker did not let the request pass:
    /// [`is_circuit_open`](crate::Error::is_circuit_open).
    CircuitOpen,
    /// The server asks for a longer pause than the request may wait:
    /// [`is_paused`](crate::Error::is_paused).
    Paused,
    /// No connection of the pool became free in time: [`is_queue`](crate::Error::is_queue).
    QueueTimeout,
    /// The pool's queue is full: [`is_queue`](crate::Error::is_queue).
    QueueFull,
    /// The name cannot be resolved: [`is_dns`](crate::Error::is_dns).
    Dns,
    /// The name was not resolved in time: [`is_dns`](crate::Error::is_dns).
    DnsTimeout,
    /// The host refused the connection:
    /// [`is_connection_refused`](crate::Error::is_connection_refused).
    ConnectionRefused,
    /// The connection was not set up in time: [`is_connect`](crate::Error::is_connect).
    ConnectTimeout,
    /// The connection could not be set up for any other reason:
    /// [`is_connect`](crate::Error::is_connect).
    Connect,
    /// A proxy failed: [`is_proxy`](crate::Error::is_proxy).
    Proxy,
    /// TLS failed: [`is_tls`](crate::Error::is_tls).
    Tls,
    /// The connection ended before the request was sent.
    Unsent,
    /// A reused connection had been closed: [`is_stale`](crate::Error::is_stale).
    Stale,
    /// The connection broke before the response came: [`is_broken`](crate::Error::is_broken).
    Broken,
    /// The server reset the request's stream: [`is_reset`](crate::Error::is_reset).
    Reset,
    /// The server proved that it did not process the request:
    /// [`is_unprocessed`](crate::Error::is_unprocessed).
    Unprocessed,
    /// The head of the response did not come in time: [`is_timeout`](crate::Error::is_timeout).
    HeadTimeout,
    /// The response is not valid HTTP: [`is_protocol`](crate::Error::is_protocol).
    Protocol,
    /// A head or body was larger than allowed: [`is_too_large`](crate::Error::is_too_large).
    TooLarge,
    /// The request's own body failed: [`is_request_body`](crate::Error::is_request_body).
    RequestBody,
    /// The response broke off after its head: [`is_body`](crate::Error::is_body).
    Body,
    /// The body of the response stood still for too long: [`is_body`](crate::Error::is_body).
    BodyTimeout,
    /// Bytes were received, or sent, more slowly than a floor of throughput allows:
    /// [`is_too_slow`](crate::Error::is_too_slow).
    TooSlow,
    /// The response broke off, and what the server sent then does not continue it:
    /// [`is_body`](crate::Error::is_body), and [`resume_error`](crate::Error::resume_error) says
    /// why.
    Resume,
    /// The body could not be written to its destination: [`is_body`](crate::Error::is_body).
    Write,
    /// The body does not have the expected digest: [`is_body`](crate::Error::is_body).
    Digest,
    /// The body could not be decoded, or read as JSON or text:
    /// [`is_decode`](crate::Error::is_decode).
    Decode,
    /// A redirect broke the rules: [`is_redirect`](crate::Error::is_redirect).
    Redirect,
    /// The response has a failed status: [`is_status`](crate::Error::is_status).
    Status,
    /// The deadline of the call passed: [`is_deadline`](crate::Error::is_deadline).
    Deadline,
    /// A timeout of another layer or service: [`is_timeout`](crate::Error::is_timeout).
    Timeout,
    /// Another layer or service failed, and nothing more is known.
    Service,
}

impl ErrorKind {
    /// Every kind of this version, for a table or a set of counters.
    pub const ALL: &'static [Self] = &[
        Self::Builder,
        Self::Closed,
        Self::Token,
        Self::CircuitOpen,
        Self::Paused,
        Self::QueueTimeout,
        Self::QueueFull,
        Self::Dns,
        Self::DnsTimeout,
        Self::ConnectionRefused,
        Self::ConnectTimeout,
        Self::Connect,
        Self::Proxy,
        Self::Tls,
        Self::Unsent,
        Self::Stale,
        Self::Broken,
        Self::Reset,
        Self::Unprocessed,
        Self::HeadTimeout,
        Self::Protocol,
        Self::TooLarge,
        Self::RequestBody,
        Self::Body,
        Self::BodyTimeout,
        Self::TooSlow,
        Self::Resume,
        Self::Write,
        Self::Digest,
        Self::Decode,
        Self::Redirect,
        Self::Status,
        Self::Deadline,
        Self::Timeout,
        Self::Service,
    ];

    /// Returns the name, such as `connection_refused`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Closed => "closed",
            Self::Token => "token",
            Self::CircuitOpen => "circuit_open",
            Self::Paused => "paused",
            Self::QueueTimeout => "queue_timeout",
            Self::QueueFull => "queue_full",
            Self::Dns => "dns",
            Self::DnsTimeout => "dns_timeout",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Unsent => "unsent",
            Self::Stale => "stale",
            Self::Broken => "broken",
            Self::Reset => "reset",
            Self::Unprocessed => "unprocessed",
            Self::HeadTimeout => "head_timeout",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::RequestBody => "request_body",
            Self::Body => "body",
            Self::BodyTimeout => "body_timeout",
            Self::TooSlow => "too_slow",
            Self::Resume => "resume",
            Self::Write => "write",
            Self::Digest => "digest",
            Self::Decode => "decode",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Deadline => "deadline",
            Self::Timeout => "timeout",
            Self::Service => "service",
        }
    }

    /// How far a failed attempt had come, where the kind tells.
    pub(crate) fn phase(self) -> Option<AttemptPhase> {
        match self {
            Self::Builder | Self::Closed | Self::Token | Self::CircuitOpen | Self::Paused => {
                Some(AttemptPhase::Start)
            }
            Self::QueueTimeout | Self::QueueFull => Some(AttemptPhase::Queue),
            Self::Dns
            | Self::DnsTimeout
            | Self::ConnectionRefused
            | Self::ConnectTimeout
            | Self::Connect
            | Self::Proxy => Some(AttemptPhase::Connect),
            Self::Unsent
            | Self::Stale
            | Self::Broken
            | Self::Unprocessed
            | Self::HeadTimeout
            | Self::Protocol => Some(AttemptPhase::Head),
            Self::Body
            | Self::BodyTimeout
            | Self::Resume
            | Self::Write
            | Self::Digest
            | Self::Decode => Some(AttemptPhase::Body),
            // These may come in several phases: an alert in place of a response, a reset at any
            // time, a head or a body that is too large, a request or a response that is too slow.
            Self::Tls
            | Self::TooSlow
            | Self::Reset
            | Self::TooLarge
            | Self::RequestBody
            | Self::Redirect
            | Self::Status
            | Self::Deadline
            | Self::Timeout
            | Self::Service => None,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The records of attempts have the same name.
impl From<ErrorKind> for FailureKind {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind.as_str())
    }
}
