use std::{error::Error, fmt, io, net::SocketAddr};

use http::Version;

use crate::{
    attempt_timeout::AttemptElapsed, breaker::CircuitOpen, causes::chain, line::Line,
    outcome::Outcome, pause::Paused, replay::ReplayBodyError, transport,
};

/// What kind of failure ended an attempt: one of few words, fit for a label of a metric.
///
/// The words here are those that the layer finds by itself, in the causes of an error. A classifier
/// that knows the errors of its transport gives words of its own: see
/// [`Classifier::describe`](crate::Classifier::describe).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FailureKind(&'static str);

impl FailureKind {
    /// The peer's host refused the connection.
    pub const CONNECTION_REFUSED: Self = Self("connection_refused");
    /// No connection came to be, for any other reason.
    pub const CONNECT: Self = Self("connect");
    /// TLS failed.
    pub const TLS: Self = Self("tls");
    /// A time ran out.
    pub const TIMEOUT: Self = Self("timeout");
    /// The call's deadline passed while the attempt was under way.
    pub const DEADLINE: Self = Self("deadline");
    /// A reused connection had been closed by the peer.
    pub const STALE: Self = Self("stale");
    /// The connection ended before the response was complete.
    pub const BROKEN: Self = Self("broken");
    /// The peer reset the request's stream.
    pub const RESET: Self = Self("reset");
    /// The peer stated that it did not process the request.
    pub const UNPROCESSED: Self = Self("unprocessed");
    /// What came is not HTTP, or breaks its rules.
    pub const PROTOCOL: Self = Self("protocol");
    /// The request's own body failed.
    pub const REQUEST_BODY: Self = Self("request_body");
    /// A service below shed the request, since it has too many.
    pub const OVERLOADED: Self = Self("overloaded");
    /// A [breaker](crate::breaker) below refused the request, since its circuit is open.
    pub const CIRCUIT_OPEN: Self = Self("circuit_open");
    /// A [pause](crate::pause) below did not send the request, since it could not wait for its turn.
    pub const PAUSED: Self = Self("paused");
    /// Nothing is known of the error.
    pub const OTHER: Self = Self("other");

    /// A kind of this name: lower case, words joined by `_`, and no part of it from a peer, a
    /// request or an error's text.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name, such as `connection_refused`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// What the causes of an error tell: the most exact of what is found.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut found = None;
        for cause in chain(error) {
            match kind_of(cause) {
                Some(Self::TLS) => return Self::TLS,
                Some(Self::CONNECTION_REFUSED) if transport::is_connect(error) => {
                    return Self::CONNECTION_REFUSED;
                }
                // TCP gives it for a connection that stood, too.
                Some(Self::CONNECTION_REFUSED) => found = found.or(Some(Self::BROKEN)),
                kind => found = found.or(kind),
            }
        }
        found.unwrap_or(Self::OTHER)
    }

    /// Whether the cause of such a failure adds nothing to its name.
    fn tells_all(self) -> bool {
        self.0.ends_with("timeout")
            || self == Self::CONNECTION_REFUSED
            || self == Self::DEADLINE
            || self == Self::STALE
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn kind_of(error: &(dyn Error + 'static)) -> Option<FailureKind> {
    if error.is::<ReplayBodyError>() {
        return Some(FailureKind::REQUEST_BODY);
    }
    if error.is::<CircuitOpen>() {
        return Some(FailureKind::CIRCUIT_OPEN);
    }
    if error.is::<Paused>() {
        return Some(FailureKind::PAUSED);
    }
    if error.is::<AttemptElapsed>() || error.is::<tokio::time::error::Elapsed>() {
        return Some(FailureKind::TIMEOUT);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return kind_of_io(error.kind());
    }
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return kind_of_hyper(error);
    }
    #[cfg(feature = "hyper-util")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then_some(FailureKind::CONNECT);
    }
    #[cfg(feature = "h2")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return kind_of_h2(error);
    }
    #[cfg(feature = "rustls")]
    if error.is::<rustls::Error>() || error.is::<rustls::pki_types::InvalidDnsNameError>() {
        return Some(FailureKind::TLS);
    }
    #[cfg(feature = "tower")]
    if error.is::<tower::load_shed::error::Overloaded>() {
        return Some(FailureKind::OVERLOADED);
    }
    #[cfg(feature = "tower")]
    if error.is::<tower::timeout::error::Elapsed>() {
        return Some(FailureKind::TIMEOUT);
    }
    None
}

fn kind_of_io(kind: io::ErrorKind) -> Option<FailureKind> {
    use io::ErrorKind as Io;
    match kind {
        Io::ConnectionRefused => Some(FailureKind::CONNECTION_REFUSED),
        Io::AddrNotAvailable | Io::NetworkUnreachable | Io::HostUnreachable => {
            Some(FailureKind::CONNECT)
        }
        Io::TimedOut => Some(FailureKind::TIMEOUT),
        Io::NetworkDown
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::NotConnected
        | Io::BrokenPipe
        | Io::UnexpectedEof => Some(FailureKind::BROKEN),
        // `ErrorKind` belongs to std and may grow.
        _ => None,
    }
}

#[cfg(feature = "hyper")]
fn kind_of_hyper(error: &hyper::Error) -> Option<FailureKind> {
    if error.is_canceled() {
        Some(FailureKind::STALE)
    } else if error.is_user() {
        Some(FailureKind::REQUEST_BODY)
    } else if error.is_parse() {
        Some(FailureKind::PROTOCOL)
    } else if error.is_timeout() {
        Some(FailureKind::TIMEOUT)
    } else if error.is_incomplete_message() || error.is_closed() {
        Some(FailureKind::BROKEN)
    } else {
        None
    }
}

#[cfg(feature = "h2")]
fn kind_of_h2(error: &h2::Error) -> Option<FailureKind> {
    if error.is_io() {
        return Some(FailureKind::BROKEN);
    }
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if (error.is_go_away() || (error.is_reset() && refused)) && error.is_remote() {
        Some(FailureKind::UNPROCESSED)
    } else if error.is_reset() {
        Some(FailureKind::RESET)
    } else if error.is_go_away() {
        Some(FailureKind::BROKEN)
    } else {
        None
    }
}

/// How far an attempt had come when it failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AttemptPhase {
    /// It was not valid, or not begun.
    Start,
    /// It waited for a connection that is there to become free.
    Queue,
    /// It waited for a connection to be set up: name, TCP, a proxy, TLS.
    Connect,
    /// It was being sent, or waited for the head of its response.
    Head,
    /// The body of its response was being read.
    Body,
}

impl AttemptPhase {
    /// The name for logs and metrics, such as `connect`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

impl fmt::Display for AttemptPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of how an attempt ended, beside its status or class: what a classifier
/// [describes](crate::Classifier::describe), and an [`AttemptRecord`](crate::AttemptRecord) has.
///
/// ```
/// use retry_layer::{AttemptDetails, AttemptPhase, FailureKind};
///
/// let details = AttemptDetails::default()
///     .kind(FailureKind::TIMEOUT)
///     .phase(AttemptPhase::Head)
///     .cause("no response within 30s")
///     .reused(true);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AttemptDetails {
    pub(crate) kind: Option<FailureKind>,
    pub(crate) phase: Option<AttemptPhase>,
    pub(crate) cause: Option<Box<str>>,
    pub(crate) peer: Option<Box<str>>,
    pub(crate) reused: Option<bool>,
    pub(crate) connection: Option<Box<ConnectionDetails>>,
}

/// What is known only of an attempt that had a connection. Boxed, because most records have none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ConnectionDetails {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) version: Option<Version>,
    pub(crate) others: Option<u64>,
}

impl AttemptDetails {
    /// What the causes of an outcome's error tell, as far as the layer knows them. Of a response
    /// they tell nothing.
    #[must_use]
    pub fn of(outcome: &Outcome<'_>) -> Self {
        let Some(error) = outcome.error() else {
            return Self::default();
        };
        let kind = FailureKind::of(error);
        let mut details = Self::default().kind(kind);
        let phase = match kind {
            FailureKind::CONNECTION_REFUSED | FailureKind::CONNECT => Some(AttemptPhase::Connect),
            FailureKind::OVERLOADED | FailureKind::CIRCUIT_OPEN | FailureKind::PAUSED => {
                Some(AttemptPhase::Start)
            }
            _ => None,
        };
        if let Some(phase) = phase {
            details = details.phase(phase);
        }
        if kind == FailureKind::STALE {
            details = details.reused(true);
        }
        let uri = outcome.uri();
        if let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) {
            details = match uri.port() {
                Some(port) => details.peer(format_args!("{scheme}://{host}:{port}")),
                None => details.peer(format_args!("{scheme}://{host}")),
            };
        }
        // The outer ones say where it happened, the last one what.
        match chain(error).last() {
            Some(cause) => details.cause(cause),
            None => details,
        }
    }

    /// Says what kind of failure it was.
    #[must_use]
    pub fn kind(self, kind: FailureKind) -> Self {
        let kind = Some(kind);
        Self { kind, ..self }
    }

    /// Says how far the attempt had come.
    #[must_use]
    pub fn phase(self, phase: AttemptPhase) -> Self {
        let phase = Some(phase);
        Self { phase, ..self }
    }

    /// Says why, in words. Kept are the first 200 bytes, in one line. Where a URL stands in them, its
    /// userinfo, path and query are left out.
    #[must_use]
    pub fn cause(self, cause: impl fmt::Display) -> Self {
        let cause = Some(Line::of(cause));
        Self { cause, ..self }
    }

    /// Says to whom the request went: an origin, as `scheme://host:port`, or an address. What is
    /// no part of an origin is left out, as it is of a [cause](Self::cause).
    #[must_use]
    pub fn peer(self, peer: impl fmt::Display) -> Self {
        let peer = Some(Line::of(peer));
        Self { peer, ..self }
    }

    /// Says whether its connection had carried another request before.
    #[must_use]
    pub fn reused(self, reused: bool) -> Self {
        let reused = Some(reused);
        Self { reused, ..self }
    }

    /// Says which address its connection leads to: the peer's, or a proxy's.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.connection.get_or_insert_default().address = Some(address);
        self
    }

    /// Says which version of HTTP its connection speaks.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.connection.get_or_insert_default().version = Some(version);
        self
    }

    /// Says how many other requests its connection had been given.
    #[must_use]
    pub fn other_requests(mut self, others: u64) -> Self {
        self.connection.get_or_insert_default().others = Some(others);
        self
    }

    /// The cause, unless it adds nothing to the kind.
    pub(crate) fn further_cause(&self) -> Option<&str> {
        let told = self.kind.is_some_and(FailureKind::tells_all);
        self.cause.as_deref().filter(|_| !told)
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the outer one")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_causes_of_an_error_tell_its_kind() {
        use io::ErrorKind as Io;
        for (kind, expected) in [
            (Io::ConnectionRefused, "connection_refused"),
            (Io::HostUnreachable, "connect"),
            (Io::TimedOut, "timeout"),
            (Io::ConnectionReset, "broken"),
            (Io::UnexpectedEof, "broken"),
            (Io::Other, "other"),
        ] {
            let error = Outer(kind.into());
            assert_eq!(FailureKind::of(&error).as_str(), expected, "{kind:?}");
        }
        assert_eq!(FailureKind::of(&fmt::Error), FailureKind::OTHER);
    }

    #[test]
    fn an_error_is_described_by_its_last_cause_and_the_origin() {
        let error = Outer(io::Error::other(
            "for http://user:secret@a:1/secret?secret it broke",
        ));
        let uri = Uri::from_static("https://user:secret@b:8443/secret?token=secret");
        let details = AttemptDetails::of(&Outcome::from_error(&Method::GET, &uri, &error));
        assert_eq!(details.peer.as_deref(), Some("https://b:8443"));
        let cause = details.cause.as_deref();
        assert_eq!(cause, Some("for http://a:1/… it broke"));
    }
}
