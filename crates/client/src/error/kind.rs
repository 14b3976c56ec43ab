//! One word for each kind of failure, wherever it is told.

use std::{error::Error as StdError, fmt, io};

use retry_layer::{AttemptPhase, FailureKind, transport};
use session_layer::Phase;

use super::{Error, Kind, causes};

/// What kind of failure an [`Error`] tells of.
///
/// Its [name](Self::as_str) is the same wherever a failure is told: `error.type` of spans and
/// metrics, the [records](crate::AttemptRecord::kind) of attempts and their events.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request or the client is not valid: [`is_builder`](Error::is_builder).
    Builder,
    /// The client is closed: [`is_closed`](Error::is_closed).
    Closed,
    /// No token could be fetched: [`is_token`](Error::is_token).
    Token,
    /// No connection of the pool became free in time: [`is_queue`](Error::is_queue).
    QueueTimeout,
    /// The pool's queue is full: [`is_queue`](Error::is_queue).
    QueueFull,
    /// The name cannot be resolved: [`is_dns`](Error::is_dns).
    Dns,
    /// The name was not resolved in time: [`is_dns`](Error::is_dns).
    DnsTimeout,
    /// The host refused the connection:
    /// [`is_connection_refused`](Error::is_connection_refused).
    ConnectionRefused,
    /// The connection was not set up in time: [`is_connect`](Error::is_connect).
    ConnectTimeout,
    /// The connection could not be set up for any other reason:
    /// [`is_connect`](Error::is_connect).
    Connect,
    /// A proxy stood in the way: [`is_proxy`](Error::is_proxy).
    Proxy,
    /// TLS failed: [`is_tls`](Error::is_tls).
    Tls,
    /// The connection ended before the request was sent.
    Unsent,
    /// A reused connection had been closed: [`is_stale`](Error::is_stale).
    Stale,
    /// The connection broke before the response came: [`is_broken`](Error::is_broken).
    Broken,
    /// The server reset the request's stream: [`is_reset`](Error::is_reset).
    Reset,
    /// The server proved that it did not process the request:
    /// [`is_unprocessed`](Error::is_unprocessed).
    Unprocessed,
    /// The head of the response did not come in time: [`is_timeout`](Error::is_timeout).
    HeadTimeout,
    /// The response is not valid HTTP: [`is_protocol`](Error::is_protocol).
    Protocol,
    /// More came than is allowed: [`is_too_large`](Error::is_too_large).
    TooLarge,
    /// The request's own body failed: [`is_request_body`](Error::is_request_body).
    RequestBody,
    /// The response broke off after its head: [`is_body`](Error::is_body).
    Body,
    /// The body of the response stood still: [`is_body`](Error::is_body).
    BodyTimeout,
    /// Bytes came, or were taken, more slowly than asked for: [`is_too_slow`](Error::is_too_slow).
    TooSlow,
    /// The response broke off, and what the server sent then is no continuation of it:
    /// [`is_body`](Error::is_body), and [`resume_error`](Error::resume_error) says why.
    Resume,
    /// The body could not be written to where it was to go: [`is_body`](Error::is_body).
    Write,
    /// The body has another digest than the one that was given: [`is_body`](Error::is_body).
    Digest,
    /// The body is not what it was read as: [`is_decode`](Error::is_decode).
    Decode,
    /// A redirect is against the rules: [`is_redirect`](Error::is_redirect).
    Redirect,
    /// The status is a failed one: [`is_status`](Error::is_status).
    Status,
    /// The deadline of the call passed: [`is_deadline`](Error::is_deadline).
    Deadline,
    /// A time of another layer or service ran out: [`is_timeout`](Error::is_timeout).
    Timeout,
    /// Another layer or service failed, and nothing more is known.
    Service,
}

impl ErrorKind {
    /// Every kind that this version knows, for a table or a set of counters.
    pub const ALL: &'static [Self] = &[
        Self::Builder,
        Self::Closed,
        Self::Token,
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

    /// How far an attempt that failed so had come, where the kind tells.
    pub(crate) fn phase(self) -> Option<AttemptPhase> {
        match self {
            Self::Builder | Self::Closed | Self::Token => Some(AttemptPhase::Start),
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
            // An alert may come in place of a response, a stream may be reset at any time, a head may be
            // too large as well as a body, and a request too slow as well as a response.
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

/// The same word, as the records of attempts have it.
impl From<ErrorKind> for FailureKind {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind.as_str())
    }
}

impl Error {
    /// Returns what kind of failure it is: one of few words, for a program that counts or sorts
    /// failures. The questions, such as [`is_connect`](Self::is_connect), ask for several kinds at
    /// once.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        if let Some(error) = self.session_error() {
            return kind_of_session(error);
        }
        match &self.0.kind {
            Kind::Builder(_) | Kind::NotForwarded(..) => ErrorKind::Builder,
            Kind::Closed => ErrorKind::Closed,
            Kind::Token => ErrorKind::Token,
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
        // `Phase` may grow; what is added then comes with its own word here.
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
        // The only one that is left.
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
        _ if super::is_tls(error) => ErrorKind::Tls,
        FailureKind::CONNECTION_REFUSED => ErrorKind::ConnectionRefused,
        _ if connects => ErrorKind::Connect,
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

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use session_layer::testing::Failure;

    use super::*;
    use crate::{ThroughputFloor, TransferDirection, decode::DecodeLimit};

    type Question = fn(&Error) -> bool;

    const QUESTIONS: [(&str, Question); 21] = [
        ("builder", Error::is_builder),
        ("closed", Error::is_closed),
        ("token", Error::is_token),
        ("queue", Error::is_queue),
        ("dns", Error::is_dns),
        ("connect", Error::is_connect),
        ("connection_refused", Error::is_connection_refused),
        ("proxy", Error::is_proxy),
        ("tls", Error::is_tls),
        ("stale", Error::is_stale),
        ("broken", Error::is_broken),
        ("reset", Error::is_reset),
        ("unprocessed", Error::is_unprocessed),
        ("protocol", Error::is_protocol),
        ("too_slow", Error::is_too_slow),
        ("too_large", Error::is_too_large),
        ("request_body", Error::is_request_body),
        ("body", Error::is_body),
        ("decode", Error::is_decode),
        ("redirect", Error::is_redirect),
        ("timeout", Error::is_timeout),
    ];

    fn session(failure: Failure) -> Error {
        session_layer::Error::from(failure).into()
    }

    fn not_json() -> crate::json::NotJson {
        let read = crate::json::read::<()>(b"{", None);
        read.expect_err("it breaks off").0
    }

    fn timeout(phase: Phase) -> Error {
        session(Failure::Timeout(phase, Duration::from_secs(1)))
    }

    fn too_slow(direction: TransferDirection) -> Error {
        let floor = ThroughputFloor::new(100, Duration::from_secs(60));
        session(Failure::TooSlow(direction, floor))
    }

    fn silent() -> Error {
        let limit = Duration::from_secs(1);
        Error::new(Kind::Silent {
            what: "nothing",
            limit,
        })
    }

    fn service(kind: io::ErrorKind) -> Error {
        Error::from_below(io::Error::from(kind))
    }

    /// An error of each kind, its word, and the questions that it answers with yes.
    fn errors() -> Vec<(Error, &'static str, &'static str)> {
        let body = || Error::new(Kind::BodyTooLarge { limit: 1 });
        let part = || {
            Error::new(Kind::TooLong {
                what: "a line",
                limit: 1,
            })
        };
        vec![
            (Error::builder("no"), "builder", "builder"),
            (Error::new(Kind::Closed), "closed", "closed"),
            (session(Failure::Closed), "closed", "closed"),
            (Error::new(Kind::Token), "token", "token"),
            (timeout(Phase::Queue), "queue_timeout", "queue timeout"),
            (session(Failure::QueueFull), "queue_full", "queue"),
            (session(Failure::Dns), "dns", "dns connect"),
            (timeout(Phase::Dns), "dns_timeout", "dns connect timeout"),
            (
                session(Failure::Connect),
                "connection_refused",
                "connect connection_refused",
            ),
            (
                service(io::ErrorKind::ConnectionRefused),
                "connection_refused",
                "connect connection_refused",
            ),
            (
                timeout(Phase::Connect),
                "connect_timeout",
                "connect timeout",
            ),
            (
                service(io::ErrorKind::HostUnreachable),
                "connect",
                "connect",
            ),
            (session(Failure::Proxy), "proxy", "proxy connect"),
            #[cfg(feature = "tls")]
            (session(Failure::Tls), "tls", "tls connect"),
            (session(Failure::Stale), "stale", "stale"),
            (session(Failure::Broken), "broken", "broken"),
            (service(io::ErrorKind::ConnectionReset), "broken", "broken"),
            (session(Failure::Reset), "reset", "reset"),
            (session(Failure::Unprocessed), "unprocessed", "unprocessed"),
            (timeout(Phase::Head), "head_timeout", "timeout"),
            (session(Failure::Protocol), "protocol", "protocol"),
            (session(Failure::TooLarge), "too_large", "too_large"),
            (body(), "too_large", "too_large body"),
            (
                Error::new(Kind::DecodesToTooMuch(DecodeLimit::Ratio(200))),
                "too_large",
                "too_large body",
            ),
            (part(), "too_large", "too_large body"),
            (
                session(Failure::RequestBody),
                "request_body",
                "request_body body",
            ),
            (session(Failure::ResponseBody), "body", "body"),
            (timeout(Phase::Body), "body_timeout", "body timeout"),
            (silent(), "body_timeout", "body timeout"),
            (
                too_slow(TransferDirection::Download),
                "too_slow",
                "too_slow body timeout",
            ),
            (
                too_slow(TransferDirection::Upload),
                "too_slow",
                "too_slow timeout",
            ),
            (Error::new(Kind::Write), "write", "body"),
            (Error::new(Kind::Decode("text")), "decode", "decode"),
            (Error::new(Kind::Json(not_json())), "decode", "decode"),
            (Error::new(Kind::Coding("gzip")), "decode", "decode"),
            (Error::new(Kind::TooManyCodings(9)), "decode", "decode"),
            (
                Error::new(Kind::Redirect(String::new())),
                "redirect",
                "redirect",
            ),
            (Error::new(Kind::Status), "status", ""),
            (
                Error::new(Kind::Deadline(Duration::ZERO)),
                "deadline",
                "timeout",
            ),
            (service(io::ErrorKind::TimedOut), "timeout", "timeout"),
            (service(io::ErrorKind::Other), "service", ""),
        ]
    }

    #[test]
    fn kind_word_and_questions_of_every_error_agree() {
        for (error, word, answers) in errors() {
            assert_eq!(error.kind().as_str(), word, "{error:?}");
            assert_eq!(FailureKind::from(error.kind()).as_str(), word);
            let asked = QUESTIONS.iter().filter(|(_, question)| question(&error));
            let asked: HashSet<_> = asked.map(|(name, _)| *name).collect();
            assert_eq!(asked, answers.split_whitespace().collect(), "{error:?}");
            assert_eq!(error.is_status(), word == "status");
            assert_eq!(error.is_deadline(), word == "deadline");
            // What a layer has boxed keeps its kind.
            let boxed = Error::from_below(Box::new(error) as Box<dyn StdError + Send + Sync>);
            assert_eq!(boxed.kind().as_str(), word);
        }
    }

    #[test]
    fn all_kinds_are_listed() {
        let listed: HashSet<_> = ErrorKind::ALL.iter().copied().collect();
        assert_eq!(listed.len(), ErrorKind::ALL.len());
        let tried: HashSet<_> = errors().iter().map(|(error, ..)| error.kind()).collect();
        let missing: Vec<_> = tried.difference(&listed).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_words_of_both_layers_are_the_same() {
        for (error, ..) in errors() {
            let Kind::Service = error.0.kind else {
                continue;
            };
            let source = error.source().expect("a service's error has one");
            let kind = error.kind();
            if kind != ErrorKind::Service {
                assert_eq!(FailureKind::of(source).as_str(), kind.as_str());
            }
        }
    }
}
