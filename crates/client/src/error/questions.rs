//! The questions that an error answers with yes or no.

use std::error::Error as StdError;

use retry_layer::{breaker::CircuitOpen, pause::Paused, transport};

use super::{
    Error, ErrorKind, Kind, TimeoutPhase,
    chain::{causes, is_tls},
};

impl Error {
    /// Whether the request or the client was not valid, so that nothing was sent: a bad URL, a
    /// header with a line break, a setting out of its range.
    #[must_use]
    pub fn is_builder(&self) -> bool {
        matches!(self.0.kind, Kind::Builder(_) | Kind::NotForwarded(..))
            || self.session_is(session_layer::Error::is_uri)
            || self.session_is(session_layer::Error::is_headers)
    }

    /// Whether the last attempt got no connection. Errors of a service in place of the session are
    /// judged by their causes: an [`io::Error`](std::io::Error) of kind
    /// [`ConnectionRefused`](std::io::ErrorKind::ConnectionRefused), or a connect error of
    /// hyper-util's client.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.session_is(session_layer::Error::is_connect) || self.service_is(transport::is_connect)
    }

    /// Whether the host's name could not be resolved. If a proxy's name could not be,
    /// [`is_proxy`](Self::is_proxy) holds instead.
    #[must_use]
    pub fn is_dns(&self) -> bool {
        self.session_is(session_layer::Error::is_dns)
    }

    /// Whether TLS with the server failed: certificate, name, protocol version, an alert.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.session_is(session_layer::Error::is_tls) || self.service_is(is_tls)
    }

    /// Whether a proxy failed: it could not be reached or trusted, refused, or did not speak its
    /// protocol.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.session_is(session_layer::Error::is_proxy)
    }

    /// Whether the host refused the connection: nothing listens at its port, or a firewall refuses.
    #[must_use]
    pub fn is_connection_refused(&self) -> bool {
        self.kind() == ErrorKind::ConnectionRefused
    }

    /// Whether the connection pool had no room for the request: no connection became free in time,
    /// or the queue was full.
    #[must_use]
    pub fn is_queue(&self) -> bool {
        self.session_is(session_layer::Error::is_pool_timeout)
            || self.session_is(session_layer::Error::is_queue_full)
            || self.timeout_phase() == Some(TimeoutPhase::Queue)
    }

    /// Whether the [circuit breaker](crate::ClientBuilder::breaker), or one in a layer, did not let the
    /// request pass. Nothing of it was sent. [`circuit_open`](Self::circuit_open) tells of the circuit.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        self.kind() == ErrorKind::CircuitOpen
    }

    /// Returns what is known of the circuit that is open, if the request was refused because of that:
    /// whose it is, and after how long a request may pass.
    #[must_use]
    pub fn circuit_open(&self) -> Option<&CircuitOpen> {
        self.cause()
    }

    /// Whether the request was not sent because it could not wait for the end of a
    /// [pause](crate::ClientBuilder::pause) that the server has asked for. [`paused`](Self::paused)
    /// tells of it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.kind() == ErrorKind::Paused
    }

    /// Returns what is known of the pause, if the request could not wait for its end.
    #[must_use]
    pub fn paused(&self) -> Option<&Paused> {
        self.cause()
    }

    fn cause<T: StdError + 'static>(&self) -> Option<&T> {
        let source = self.0.source.as_deref()?;
        causes(source).find_map(|cause| cause.downcast_ref())
    }

    /// Whether a reused connection turned out to be closed before the first byte of a response.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.kind() == ErrorKind::Stale
    }

    /// Whether the connection broke after bytes of the request were written and before the head of
    /// its response was complete, so that the request may have been processed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.kind() == ErrorKind::Broken
    }

    /// Whether the server sent something that is not HTTP, or that HTTP's rules forbid to accept.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        self.kind() == ErrorKind::Protocol
    }

    /// Whether the server sent more than is allowed: a head, a body that was collected, a line or
    /// event of one, or a body that [decodes](crate::DecodeLimits) to too much.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.kind() == ErrorKind::TooLarge
    }

    /// Whether the request's own body failed, or was not as long as announced.
    #[must_use]
    pub fn is_request_body(&self) -> bool {
        self.kind() == ErrorKind::RequestBody
    }

    /// Whether no token could be fetched to authorize the request.
    #[must_use]
    pub fn is_token(&self) -> bool {
        matches!(self.0.kind, Kind::Token)
    }

    /// Whether the deadline of the whole call passed.
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self.0.kind, Kind::Deadline(_))
    }

    /// Whether the server proved that it has not processed the request, though it may have been
    /// sent: it refused the HTTP/2 stream, or its GOAWAY names a last stream below it. The request was retried for
    /// as long as the policy allowed. For a refused connection see
    /// [`is_connection_refused`](Self::is_connection_refused).
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        self.kind() == ErrorKind::Unprocessed
    }

    /// Whether the server reset the request's HTTP/2 stream. It may have processed the request.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.kind() == ErrorKind::Reset
    }

    /// Whether a time ran out. [`timeout_phase`](Self::timeout_phase) tells which, unless it was a
    /// timeout of the caller's layer or service.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.timeout_phase().is_some() || self.service_is(transport::is_timeout)
    }

    /// Whether bytes were received, or sent, more slowly than a [floor](crate::ThroughputFloor)
    /// allows.
    ///
    /// It is a [timeout](Self::is_timeout) too: for a response in the phase
    /// [`Body`](TimeoutPhase::Body), and then also an error of the [body](Self::is_body); for a
    /// request in the phase [`Head`](TimeoutPhase::Head), and then the request may have been
    /// processed.
    #[must_use]
    pub fn is_too_slow(&self) -> bool {
        self.too_slow().is_some()
    }

    /// Whether the error was made of a failed status, by
    /// [`error_for_status`](crate::Response::error_for_status).
    #[must_use]
    pub fn is_status(&self) -> bool {
        matches!(self.0.kind, Kind::Status)
    }

    /// Whether a body could not be read as JSON or text, or was not encoded as its
    /// `Content-Encoding` says: cut, corrupt, or with too many codings.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        matches!(
            self.0.kind,
            Kind::Decode(_) | Kind::Json(_) | Kind::Coding(_) | Kind::TooManyCodings(_)
        )
    }

    /// Whether a redirect broke the rules: one too many, to another scheme than `http` and `https`,
    /// from `https` to `http`, or to an invalid URL. See [`Redirects`](crate::Redirects).
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(self.0.kind, Kind::Redirect(_))
    }

    /// Whether a body failed: the response's body broke off, stood still, was larger than allowed,
    /// did not have the expected digest, or could not be written to its destination; or the
    /// request's body failed.
    #[must_use]
    pub fn is_body(&self) -> bool {
        #[cfg(feature = "fs")]
        if matches!(self.0.kind, Kind::SmallParts | Kind::Digest(_)) {
            return true;
        }
        matches!(
            self.0.kind,
            Kind::BodyTooLarge { .. }
                | Kind::TooLong { .. }
                | Kind::DecodesToTooMuch(_)
                | Kind::Silent { .. }
                | Kind::NoEvents(_)
                | Kind::Resume(_)
                | Kind::Write
        ) || self.session_is(session_layer::Error::is_response_body)
            || self.is_request_body()
    }

    /// Whether a body that was to be collected was larger than the client's limit.
    pub(crate) fn is_over_max_body(&self) -> bool {
        matches!(self.0.kind, Kind::BodyTooLarge { .. })
    }

    /// Whether the client was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.0.kind, Kind::Closed) || self.session_is(session_layer::Error::is_closed)
    }

    /// Asks the session's error, if there is one.
    pub(super) fn session_is(&self, question: fn(&session_layer::Error) -> bool) -> bool {
        self.session_error().is_some_and(question)
    }

    /// Asks the error of a service that stands in the session's place.
    fn service_is(&self, question: fn(&(dyn StdError + 'static)) -> bool) -> bool {
        match (&self.0.kind, &self.0.source) {
            (Kind::Service, Some(source)) => question(source.as_ref()),
            _ => false,
        }
    }
}
