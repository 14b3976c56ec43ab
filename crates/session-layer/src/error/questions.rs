//! What a caller can ask of an error.

use http::StatusCode;

use super::{
    Error, Kind, Phase, Sent,
    causes::{self, causes},
};
use crate::{DnsError, TooSlow, TransferDirection};

impl Error {
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
    /// True for each failure before a connection was open, for a request that hyper handed back,
    /// and for a connection that ended before any byte of the request was written.
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

    /// Whether no connection could be opened: name resolution, TCP, the proxy or TLS failed, or
    /// took too long.
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

    /// Whether the host's name could not be resolved. A failure to resolve a proxy's name counts as
    /// one of the proxy.
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

    /// Whether a proxy failed: it could not be reached or trusted, refused, or did not speak its
    /// protocol. With the feature `proxy` a `ProxyError` among the causes tells which proxy and
    /// why.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.0.kind == Kind::Proxy || causes::is_proxy(self)
    }

    /// Returns the status by which an HTTP proxy refused to open a tunnel: 407 if it wants other
    /// credentials.
    #[must_use]
    pub fn proxy_status(&self) -> Option<StatusCode> {
        causes::proxy_status(self)
    }

    /// Whether TLS with the origin failed: certificate, name, protocol version, an alert.
    ///
    /// An alert may come later than the handshake. In TLS 1.3 a server may refuse a client
    /// certificate only in place of a response; then [`is_connect`](Self::is_connect) does not
    /// hold, though no request was read.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.kind == Kind::Tls || (causes::is_tls(self) && !self.is_proxy())
    }

    /// Whether a reused connection turned out to be closed before the first byte of a response.
    ///
    /// [`is_unsent`](Self::is_unsent) tells whether any of the request had been written by then.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self.0.kind, Kind::Stale(_))
    }

    /// Whether the connection ended after bytes of the request were written and before the head of
    /// its response was complete. A stale connection is not counted: see
    /// [`is_stale`](Self::is_stale).
    ///
    /// Also true of each request on an HTTP/2 connection whose peer broke the rules, if there were
    /// several: it is not known whose response was at fault.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.kind == Kind::Broken
    }

    /// Whether the peer proved that it has not processed the request: it refused the HTTP/2 stream
    /// ([RFC 9113, section 8.7](https://www.rfc-editor.org/rfc/rfc9113#section-8.7)), or sent a
    /// GOAWAY that excludes it. The request may have been sent nevertheless.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        self.0.kind == Kind::Unprocessed
    }

    /// Whether the peer reset the request's HTTP/2 stream, for a reason that does not tell whether
    /// it was processed. The connection goes on.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.0.kind == Kind::Reset
    }

    /// Whether the queue's timeout ran out: the request got no place in the pool.
    #[must_use]
    pub fn is_pool_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::PoolTimeout(_))
    }

    /// Whether the pool's queue had no room for one more request.
    #[must_use]
    pub fn is_queue_full(&self) -> bool {
        matches!(self.0.kind, Kind::QueueFull(_))
    }

    /// Whether the session was closed: the request was refused, or aborted at the deadline of
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

    /// Returns by how much it was [too slow](Self::is_too_slow), and in which direction.
    #[must_use]
    pub fn too_slow(&self) -> Option<TooSlow> {
        match self.0.kind {
            Kind::TooSlow(slow) => Some(slow),
            _ => None,
        }
    }

    /// Returns what the request was waiting for when a timeout ran out.
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

    /// Whether the peer sent bytes that are not HTTP, or a response that breaks RFC 9112 or 9113.
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

    /// Whether the request body gave an error, or was not as long as announced.
    ///
    /// The peer never got the whole of such a request.
    #[must_use]
    pub fn is_request_body(&self) -> bool {
        self.0.kind == Kind::RequestBody
    }

    /// Whether the response failed after its head had been returned.
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
