use std::{error::Error as StdError, fmt, io, iter, sync::Arc, time::Duration};

use http::StatusCode;

use crate::{
    ConnectError, ConnectionInfo, DnsError, Origin, Step, TooSlow, TransferDirection,
    box_error::BoxError, connector::Stage, origin::InvalidUri,
};

/// What went wrong between a request and the end of its response.
///
/// An error says *what happened*, never what to do about it: whether a request may be sent again is
/// for a retry layer to decide, and it finds the facts here. [`is_unsent`](Error::is_unsent) is the
/// most useful of them: not a byte of the request left this process.
///
/// [`Display`](fmt::Display) tells this level only, in one line, with the origin; its alternate
/// form, `{:#}`, leaves the origin out. The cause is in [`source`](StdError::source). Neither holds
/// userinfo, headers or a path.
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    origin: Option<Origin>,
    /// The step of a connect whose time ran out, where it is known.
    step: Option<Step>,
    connection: Option<FailedOn>,
    /// Shared by the requests that waited for the same connection.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The connection that a request failed on.
#[derive(Clone)]
struct FailedOn {
    info: ConnectionInfo,
    /// How many other requests it had been given.
    others: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Uri(&'static str),
    Headers(&'static str),
    Dns,
    Connect,
    Proxy,
    Tls,
    PoolTimeout(Duration),
    QueueFull(usize),
    Closed,
    Aborted,
    Unsent,
    Stale(Sent),
    Broken,
    Unprocessed,
    Reset,
    Timeout(Phase, Duration),
    TooSlow(TooSlow),
    Protocol(&'static str),
    TooLarge(&'static str),
    RequestBody,
    ResponseBody,
}

/// How much of a request was written to its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sent {
    Nothing,
    /// A part of it, or all.
    Something,
}

/// What a request was waiting for when its time ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// A free place in the pool, or on its HTTP/2 connection, which has not sent it.
    Queue,
    /// The addresses of the name. Of a connector that is not this crate's, `Connect` has it.
    Dns,
    /// The connection: TCP, a proxy, TLS.
    Connect,
    /// The head of the response, or the peer's taking of the request body before it.
    Head,
    /// The next bytes of the response body.
    Body,
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        // In words that every stack knows: a retry layer that knows nothing of this crate finds it.
        let source = match kind {
            Kind::Timeout(..) | Kind::TooSlow(_) => {
                Some(Arc::new(io::Error::from(io::ErrorKind::TimedOut)) as _)
            }
            _ => None,
        };
        Self(Box::new(Inner {
            kind,
            origin: None,
            step: None,
            connection: None,
            source,
        }))
    }

    pub(crate) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// The same, for another request.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    /// Says that the time for a connect ran out at this step.
    pub(crate) fn connect_timeout(step: Step, after: Duration) -> Self {
        let phase = match step {
            Step::Dns => Phase::Dns,
            _ => Phase::Connect,
        };
        let mut error = Self::new(Kind::Timeout(phase, after));
        error.0.step = Some(step);
        error
    }

    /// Names the connection that the request was on, and how many `others` that had been given.
    pub(crate) fn on(mut self, info: ConnectionInfo, others: u64) -> Self {
        self.0.connection = Some(FailedOn { info, others });
        self
    }

    pub(crate) fn at(mut self, origin: &Origin) -> Self {
        self.0.origin = Some(origin.clone());
        self
    }

    /// Names what a connector's error was about: the name, a proxy, the TLS session, or the rest.
    pub(crate) fn from_connector(source: BoxError, timeout: Option<Duration>) -> Self {
        // This crate's own connector adds nothing to its cause that is not said here.
        let (stage, source) = match source.downcast::<ConnectError>() {
            Ok(error) => {
                let (stage, source) = error.into_parts();
                (Some(stage), source)
            }
            Err(source) => (None, source),
        };
        let timed_out = || {
            causes(source.as_ref()).any(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
        };
        let proxied = is_proxy(source.as_ref());
        let unresolved = !proxied && causes::<DnsError>(source.as_ref()).next().is_some();
        let kind = if unresolved && timed_out() {
            // The name servers' own time, which is not known here.
            Kind::Timeout(Phase::Dns, Duration::ZERO)
        } else if unresolved {
            Kind::Dns
        } else if !proxied && stage == Some(Stage::Resolve) && timed_out() {
            Kind::Timeout(Phase::Dns, timeout.unwrap_or_default())
        } else if timed_out() {
            Kind::Timeout(Phase::Connect, timeout.unwrap_or_default())
        } else if proxied {
            Kind::Proxy
        } else if stage == Some(Stage::Tls) || is_tls(source.as_ref()) {
            Kind::Tls
        } else {
            Kind::Connect
        };
        let mut error = Self::new(kind).with(source);
        if let Kind::Timeout(Phase::Connect, _) = kind {
            error.0.step = match stage {
                _ if proxied => Some(Step::Proxy),
                Some(Stage::Tls) => Some(Step::Tls),
                _ => None,
            };
        }
        error
    }

    /// Returns the origin that the request was for, where there was one.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// Returns the connection that the request was on: its peer's address, its version, whether it
    /// was reused. `None` where the request failed before it was given one; over HTTP/2 it may be one that it
    /// waited to share.
    #[must_use]
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.0.connection.as_ref().map(|it| &it.info)
    }

    /// Returns how many other requests the [`connection`](Self::connection) had been given when this
    /// one failed: over HTTP/1 those before it, over HTTP/2 those that came later too.
    #[must_use]
    pub fn other_requests(&self) -> Option<u64> {
        self.0.connection.as_ref().map(|it| it.others)
    }

    /// Whether the URI cannot be sent: relative, without host, with an invalid port, or neither
    /// `http` nor `https`.
    #[must_use]
    pub fn is_uri(&self) -> bool {
        matches!(self.0.kind, Kind::Uri(_))
    }

    /// Whether the request's headers contradict each other or its body, so that it cannot be sent:
    /// a `Content-Length` that is not the body's, two `Host`s.
    #[must_use]
    pub fn is_headers(&self) -> bool {
        matches!(self.0.kind, Kind::Headers(_))
    }

    /// Whether not one byte of the request was written to a connection.
    ///
    /// True for everything that fails before a connection is there, for a request that hyper
    /// handed back, and for a connection that ended with none of the request's bytes written.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        match self.0.kind {
            Kind::Uri(_)
            | Kind::Headers(_)
            | Kind::Dns
            | Kind::Connect
            | Kind::Proxy
            | Kind::Tls
            | Kind::PoolTimeout(_)
            | Kind::QueueFull(_)
            | Kind::Closed
            | Kind::Unsent
            | Kind::Stale(Sent::Nothing)
            | Kind::Timeout(Phase::Queue | Phase::Dns | Phase::Connect, _) => true,
            Kind::Aborted
            | Kind::Stale(Sent::Something)
            | Kind::Broken
            | Kind::Unprocessed
            | Kind::Reset
            | Kind::Timeout(Phase::Head | Phase::Body, _)
            | Kind::TooSlow(_)
            | Kind::Protocol(_)
            | Kind::TooLarge(_)
            | Kind::RequestBody
            | Kind::ResponseBody => false,
        }
    }

    /// Whether no connection came to be: name, TCP, proxy, TLS, or the time for them ran out.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.kind,
            Kind::Dns
                | Kind::Connect
                | Kind::Proxy
                | Kind::Tls
                | Kind::Timeout(Phase::Dns | Phase::Connect, _)
        )
    }

    /// Whether the host's name could not be resolved. That of a proxy is a matter of the proxy.
    #[must_use]
    pub fn is_dns(&self) -> bool {
        matches!(self.0.kind, Kind::Dns | Kind::Timeout(Phase::Dns, _))
    }

    /// Whether a guard of the [`Resolver`](crate::Resolver) refused all addresses of the host.
    ///
    /// It will refuse them again, so there is no use in another attempt.
    #[must_use]
    pub fn is_address_refused(&self) -> bool {
        causes(self).any(DnsError::is_refused)
    }

    /// Whether it is certain that the host's name has no address: see
    /// [`DnsError::is_not_found`].
    #[must_use]
    pub fn is_host_not_found(&self) -> bool {
        causes(self).any(DnsError::is_not_found)
    }

    /// Whether a proxy stood in the way: it could not be reached or trusted, refused, or did not
    /// speak its protocol. With the feature `proxy` a `ProxyError` among the causes tells which
    /// proxy and why.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.0.kind == Kind::Proxy || is_proxy(self)
    }

    /// Returns the status by which an HTTP proxy refused to open a tunnel: 407 if it wants other
    /// credentials.
    #[must_use]
    pub fn proxy_status(&self) -> Option<StatusCode> {
        proxy_status(self)
    }

    /// Whether TLS with the origin failed: certificate, name, protocol version, an alert.
    ///
    /// An alert may come later than the handshake. In TLS 1.3 a server tells in place of a response
    /// that it wants another client certificate; then [`is_connect`](Self::is_connect) does not
    /// hold, though no request was read.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.kind == Kind::Tls || (is_tls(self) && !self.is_proxy())
    }

    /// Whether a reused connection turned out to be closed before the first byte of a response.
    ///
    /// [`is_unsent`](Self::is_unsent) tells whether any of the request had been written by then.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self.0.kind, Kind::Stale(_))
    }

    /// Whether the connection ended after bytes of the request were written and before the head of
    /// its response was complete. A stale connection is told apart: see
    /// [`is_stale`](Self::is_stale).
    ///
    /// True also of each of several requests on an HTTP/2 connection whose peer broke the rules:
    /// nobody knows whose response was at fault.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.kind == Kind::Broken
    }

    /// Whether the peer proved that it has not processed the request: it refused the HTTP/2 stream
    /// ([RFC 9113, section 8.7](https://www.rfc-editor.org/rfc/rfc9113#section-8.7)), or went away
    /// with a GOAWAY that excludes it. The request may have been sent all the same.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        self.0.kind == Kind::Unprocessed
    }

    /// Whether the peer reset the request's HTTP/2 stream, for a reason that proves nothing. The
    /// connection goes on.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.0.kind == Kind::Reset
    }

    /// Whether the time to wait for a place in the pool ran out.
    #[must_use]
    pub fn is_pool_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::PoolTimeout(_))
    }

    /// Whether the pool's queue had no room for one more request.
    #[must_use]
    pub fn is_queue_full(&self) -> bool {
        matches!(self.0.kind, Kind::QueueFull(_))
    }

    /// Whether the session was closed: the request was refused, or cut off at the deadline of
    /// `close`.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.0.kind, Kind::Closed | Kind::Aborted)
    }

    /// Whether a timeout ran out; [`timeout_phase`](Self::timeout_phase) tells which.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.timeout_phase().is_some()
    }

    /// Whether bytes came, or were taken, more slowly than a [floor](crate::ThroughputFloor) asks for.
    ///
    /// It is a [timeout](Self::is_timeout) too: of a download in the phase [`Body`](Phase::Body), of an
    /// upload in the phase [`Head`](Phase::Head), after which the request may have been processed.
    #[must_use]
    pub fn is_too_slow(&self) -> bool {
        self.too_slow().is_some()
    }

    /// Returns by how much it was [too slow](Self::is_too_slow), and which way.
    #[must_use]
    pub fn too_slow(&self) -> Option<TooSlow> {
        match self.0.kind {
            Kind::TooSlow(slow) => Some(slow),
            _ => None,
        }
    }

    /// Returns what the request was waiting for when its time ran out.
    #[must_use]
    pub fn timeout_phase(&self) -> Option<Phase> {
        match self.0.kind {
            Kind::Timeout(phase, _) => Some(phase),
            Kind::PoolTimeout(_) => Some(Phase::Queue),
            Kind::TooSlow(slow) => Some(match slow.direction {
                TransferDirection::Download => Phase::Body,
                TransferDirection::Upload => Phase::Head,
            }),
            _ => None,
        }
    }

    /// Whether the peer sent what is not HTTP, or a response that RFC 9112 or 9113 forbids to trust.
    ///
    /// A response of HTTP/1.0 with `Transfer-Encoding` is one: its framing is faulty
    /// ([RFC 9112, section 6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1)), and hyper does
    /// not read it.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(self.0.kind, Kind::Protocol(_))
    }

    /// Whether the peer sent more than the limits allow.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.0.kind, Kind::TooLarge(_))
    }

    /// Whether the request's own body gave the error, or turned out not to be as long as announced.
    ///
    /// The peer never got the whole of such a request.
    #[must_use]
    pub fn is_request_body(&self) -> bool {
        self.0.kind == Kind::RequestBody
    }

    /// Whether the response broke off, or went wrong, after its head had been given out.
    #[must_use]
    pub fn is_response_body(&self) -> bool {
        matches!(
            self.0.kind,
            Kind::ResponseBody
                | Kind::Timeout(Phase::Body, _)
                | Kind::TooSlow(TooSlow {
                    direction: TransferDirection::Download,
                    ..
                })
        )
    }
}

impl From<InvalidUri> for Error {
    fn from(InvalidUri(why): InvalidUri) -> Self {
        Self::new(Kind::Uri(why))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            Kind::Uri(why) => write!(f, "cannot send to this URI: {why}")?,
            Kind::Headers(why) => write!(f, "cannot send these headers: {why}")?,
            Kind::Dns => f.write_str("cannot resolve the name")?,
            Kind::Connect => f.write_str("cannot connect")?,
            Kind::Proxy => f.write_str("cannot go through the proxy")?,
            Kind::Tls => f.write_str("cannot set up TLS")?,
            Kind::PoolTimeout(after) => write!(f, "no connection became free within {after:?}")?,
            Kind::QueueFull(limit) => write!(f, "the pool's queue is full ({limit} waiting)")?,
            Kind::Closed => f.write_str("the session is closed")?,
            Kind::Aborted => f.write_str("cut off when the session closed")?,
            Kind::Unsent => f.write_str("the connection ended before the request was sent")?,
            Kind::Stale(_) => f.write_str("the reused connection had been closed")?,
            Kind::Unprocessed => f.write_str("the peer refused the request unprocessed")?,
            Kind::Reset => f.write_str("the peer reset the request's stream")?,
            Kind::Broken => f.write_str("the connection broke before the response came")?,
            Kind::Timeout(Phase::Queue, after) => {
                write!(f, "its connection has not sent it within {after:?}")?;
            }
            Kind::Timeout(Phase::Dns, Duration::ZERO) => {
                f.write_str("the name servers did not answer in time")?;
            }
            Kind::Timeout(Phase::Dns, after) => write!(f, "no address within {after:?}")?,
            Kind::Timeout(Phase::Connect, Duration::ZERO) => {
                f.write_str("the system gave up connecting")?;
            }
            Kind::Timeout(Phase::Connect, after) => {
                write!(f, "no connection within {after:?}")?;
                match self.0.step {
                    Some(Step::Proxy) => f.write_str(", at the proxy")?,
                    Some(Step::Tls) => f.write_str(", in the TLS handshake")?,
                    _ => {}
                }
            }
            Kind::Timeout(Phase::Head, after) => write!(f, "no response within {after:?}")?,
            Kind::Timeout(Phase::Body, after) => {
                write!(f, "the response body stood still for {after:?}")?;
            }
            Kind::TooSlow(slow) => write!(f, "{slow}")?,
            Kind::Protocol(why) => write!(f, "the response is not valid: {why}")?,
            Kind::TooLarge(what) => write!(f, "the response is too large: {what}")?,
            Kind::RequestBody => f.write_str("the request body failed")?,
            Kind::ResponseBody => f.write_str("the response body broke off")?,
        }
        match &self.0.origin {
            Some(origin) if !f.alternate() => write!(f, " ({origin})"),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind);
        if let Some(origin) = &self.0.origin {
            out.field("origin", origin);
        }
        if let Some(FailedOn { info, others }) = &self.0.connection {
            out.field("connection", info).field("others", others);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

/// How many causes are looked at: a chain that leads back to itself must end too.
const MAX_CAUSES: usize = 32;

/// All causes of type `T`, from the outside in. It looks into [`io::Error`]s too: their `source`
/// leaves out the very error that they wrap.
fn causes<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a T> {
    iter::successors(Some(error), |error| cause(*error))
        .take(MAX_CAUSES)
        .filter_map(|error| error.downcast_ref())
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(feature = "proxy")]
fn is_proxy(error: &(dyn StdError + 'static)) -> bool {
    causes::<crate::ProxyError>(error).next().is_some()
}

#[cfg(not(feature = "proxy"))]
fn is_proxy(_: &(dyn StdError + 'static)) -> bool {
    false
}

#[cfg(feature = "proxy")]
fn proxy_status(error: &(dyn StdError + 'static)) -> Option<StatusCode> {
    causes(error).find_map(crate::ProxyError::status)
}

#[cfg(not(feature = "proxy"))]
fn proxy_status(_: &(dyn StdError + 'static)) -> Option<StatusCode> {
    None
}

#[cfg(feature = "tls")]
fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    causes::<rustls::Error>(error).next().is_some()
}

#[cfg(not(feature = "tls"))]
fn is_tls(_: &(dyn StdError + 'static)) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_inside_an_io_error_is_found() {
        let inner = DnsError::new(io::Error::other("no such host"));
        let error = Error::from_connector(io::Error::other(inner).into(), None);
        assert!(error.is_dns() && error.is_connect() && error.is_unsent());
    }

    #[test]
    fn a_chain_without_end_is_given_up() {
        #[derive(Debug)]
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("endless")
            }
        }
        impl StdError for Endless {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(self)
            }
        }
        assert_eq!(causes::<Endless>(&Endless).count(), MAX_CAUSES);
    }
}
