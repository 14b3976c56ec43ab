//! What one request asks of the session.

use http::{Extensions, Uri, uri::Scheme};

use crate::{Timeouts, layer::Config};

/// A request extension: how a session treats this one request, where that differs from the
/// session's settings.
///
/// ```
/// use http::Request;
/// use session_layer::RequestOptions;
///
/// let mut request = Request::post("http://127.0.0.1:50051/svc/Watch").body(()).expect("it is valid");
/// request
///     .extensions_mut()
///     .insert(RequestOptions::new().only_chosen_timeouts());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use = "options do nothing until they are among a request's extensions"]
pub struct RequestOptions {
    prior_knowledge: bool,
    only_chosen_timeouts: bool,
}

impl RequestOptions {
    /// Starts with what the session's settings say.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends the request over HTTP/2 to an `http` peer too, which is known to speak it
    /// ([RFC 9113, section 3.3](https://www.rfc-editor.org/rfc/rfc9113#section-3.3)), although
    /// the session does not [assume it of all peers](crate::Http2::prior_knowledge). Such requests
    /// have connections of their own: other requests to the same origin go on over HTTP/1.1, and
    /// the limit per origin counts each kind by itself. Over `https` the handshake decides, as
    /// always.
    #[cfg(feature = "http2")]
    pub fn prior_knowledge(mut self) -> Self {
        self.prior_knowledge = true;
        self
    }

    /// Waits for the head, and for each piece of the body, for as long as it takes, unless the
    /// [head](Timeouts::head) or [body idle](Timeouts::body_idle) timeout was set by hand: their
    /// defaults do not count. For requests that have a deadline of their own, or that are answered
    /// by a stream which may be silent for long. A request body whose peer takes nothing of it is
    /// limited as always.
    pub fn only_chosen_timeouts(mut self) -> Self {
        self.only_chosen_timeouts = true;
        self
    }

    /// Whether a wait may be without a timeout of the session.
    #[must_use]
    pub fn may_wait_long(&self) -> bool {
        self.only_chosen_timeouts
    }

    /// The options of a request.
    #[inline]
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// Whether a request that is not for an upgrade needs a connection of its own kind.
    #[inline]
    pub(crate) fn is_by_http2(self, uri: &Uri, config: &Config) -> bool {
        #[cfg(feature = "http2")]
        let asked = self.prior_knowledge && !config.http2.prior_knowledge;
        #[cfg(not(feature = "http2"))]
        let (asked, _) = (self.prior_knowledge, config);
        asked && uri.scheme() == Some(&Scheme::HTTP)
    }

    /// Which of the session's timeouts do not count.
    #[inline]
    pub(crate) fn exempt(self, timeouts: &Timeouts) -> Exempt {
        let lifts = self.only_chosen_timeouts;
        Exempt {
            head: lifts && !timeouts.head_is_chosen,
            body_idle: lifts && !timeouts.body_idle_is_chosen,
        }
    }
}

/// Which timeouts do not count for an exchange.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Exempt {
    pub(crate) head: bool,
    pub(crate) body_idle: bool,
}
