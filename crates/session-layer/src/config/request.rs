//! The options of one request.

use std::{num::NonZeroU8, time::Duration};

use http::{Extensions, Uri, uri::Scheme};

use super::{Config, Floors, OwnFloor, OwnTimeout, OwnTimes, Timeouts};
use crate::ThroughputFloor;

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
    group: u8,
    only_chosen_timeouts: bool,
    only_chosen_head: bool,
    connect: OwnTimeout,
    head: OwnTimeout,
    body_idle: OwnTimeout,
    upload_floor: OwnFloor,
    download_floor: OwnFloor,
}

impl RequestOptions {
    /// Starts with the session's settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends the request over HTTP/2 also to an `http` peer, which is known to speak it ([RFC 9113,
    /// section 3.3](https://www.rfc-editor.org/rfc/rfc9113#section-3.3)), although the session does
    /// not [assume it of all peers](crate::Http2::prior_knowledge). Such requests have connections
    /// of their own: other requests to the same origin go on over HTTP/1.1, and the limit per
    /// origin counts each kind by itself. Over `https` the handshake decides, as always.
    #[cfg(feature = "http2")]
    pub fn prior_knowledge(mut self) -> Self {
        self.prior_knowledge = true;
        self
    }

    /// Keeps the request off the HTTP/2 connections that requests of other groups use: so what has come to
    /// a standstill on one of those, such as a lost packet or a peer that serves its streams one after the
    /// other, does not hold it up. For a request that is sent beside another, as a hedge is, or that must
    /// not wait behind long ones. Over HTTP/1 each request has its connection to itself anyway, so it
    /// changes nothing there.
    ///
    /// Each group has connections of its own, which stay for its next requests, and the limit per origin
    /// counts for each; all other limits count for all groups together. Default: 0, the group of all
    /// requests that do not say otherwise.
    ///
    /// See [`beside`](Self::beside) for a request that is sent beside another one.
    pub fn connection_group(mut self, group: u8) -> Self {
        self.group = group;
        self
    }

    /// The options of a copy that is sent beside the request that has these ones: it is kept off the HTTP/2
    /// connections of the request itself, and of its other copies. `number` counts them from 1, to 128. Its
    /// [group](Self::connection_group) follows from that of the request: of 0, the groups from 128 on.
    pub fn beside(mut self, number: NonZeroU8) -> Self {
        let following = (self.group ^ 0x80).wrapping_add(number.get() - 1);
        self.group = if following == self.group {
            following.wrapping_add(1)
        } else {
            following
        };
        self
    }

    /// Waits for the head, and for each piece of the body, for as long as it takes, unless the
    /// [head](Timeouts::head) or [body idle](Timeouts::body_idle) timeout was set explicitly: their
    /// defaults do not count. For requests that have a deadline of their own, or that are answered
    /// by a stream which may be silent for long. A request body whose peer takes nothing of it is
    /// limited as always.
    pub fn only_chosen_timeouts(mut self) -> Self {
        self.only_chosen_timeouts = true;
        self
    }

    /// Waits for the head for as long as it takes, unless the [head timeout](Timeouts::head) was
    /// set explicitly: its default does not count. For requests that have a longer deadline of
    /// their own.
    pub fn only_chosen_head_timeout(mut self) -> Self {
        self.only_chosen_head = true;
        self
    }

    /// Limits this request's wait for connections to be opened, where that is less than the
    /// session's [connect timeout](Timeouts::connect): a connection is opened for whichever request
    /// comes first, and goes on when this one has given up. Rounded up to a millisecond, like the
    /// other two. Default: the session's.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect = OwnTimeout::new(Some(timeout));
        self
    }

    /// Takes the place of the session's [head timeout](Timeouts::head). `None` waits for ever;
    /// while the peer takes nothing of a request body, the session's holds even then.
    ///
    /// The request's future and its body keep this and the next one. So one that is shorter than
    /// the session's runs out only while they are polled, and may be noticed up to a second late if
    /// one wait follows another.
    pub fn head_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.head = OwnTimeout::new(timeout.into());
        self
    }

    /// Takes the place of the session's [body idle timeout](Timeouts::body_idle). `None` waits for
    /// ever.
    pub fn body_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.body_idle = OwnTimeout::new(timeout.into());
        self
    }

    /// Takes the place of the session's [floor of downloads](Timeouts::download_floor), and holds
    /// for a stream of events too. `None` asks for nothing. The window is rounded up to a
    /// millisecond, and the most that can be asked for are 4 GiB per second.
    ///
    /// The response body keeps it: it has no effect while that is not polled.
    pub fn download_floor(mut self, floor: impl Into<Option<ThroughputFloor>>) -> Self {
        self.download_floor = OwnFloor::new(floor.into());
        self
    }

    /// Takes the place of the session's [floor of uploads](Timeouts::upload_floor). `None` asks for
    /// nothing.
    ///
    /// The request's future keeps it: it has no effect while that is not polled.
    pub fn upload_floor(mut self, floor: impl Into<Option<ThroughputFloor>>) -> Self {
        self.upload_floor = OwnFloor::new(floor.into());
        self
    }

    /// Removes the option that holds for one peer only: that it is [known to speak
    /// HTTP/2](Self::prior_knowledge). For a request that goes to another peer, as after a
    /// redirect.
    pub fn for_another_peer(mut self) -> Self {
        self.prior_knowledge = false;
        self
    }

    /// Returns the head timeout that holds for such a request in a session with these timeouts, for
    /// a service that replaces a session.
    #[must_use]
    pub fn head_timeout_with(&self, timeouts: &Timeouts) -> Option<Duration> {
        self.times(timeouts).head.or(timeouts.head)
    }

    /// Returns the body idle timeout that holds for such a request in a session with these
    /// timeouts.
    #[must_use]
    pub fn body_idle_timeout_with(&self, timeouts: &Timeouts) -> Option<Duration> {
        self.times(timeouts).body_idle.or(timeouts.body_idle)
    }

    /// Returns the connect timeout that counts for such a request in a session with these timeouts.
    #[must_use]
    pub fn connect_timeout_with(&self, timeouts: &Timeouts) -> Option<Duration> {
        let own = self.connect.finite().into_iter();
        own.chain(timeouts.connect).min()
    }

    /// Returns the floor of downloads that counts for such a request in a session with these timeouts.
    #[must_use]
    pub fn download_floor_with(&self, timeouts: &Timeouts) -> Option<ThroughputFloor> {
        self.download_floor.or(timeouts.download_floor)
    }

    /// Returns the floor of uploads that counts for such a request in a session with these timeouts.
    #[must_use]
    pub fn upload_floor_with(&self, timeouts: &Timeouts) -> Option<ThroughputFloor> {
        self.upload_floor.or(timeouts.upload_floor)
    }

    /// Returns whether the request goes over HTTP/2 to an `http` peer too.
    #[must_use]
    pub fn has_prior_knowledge(&self) -> bool {
        self.prior_knowledge
    }

    /// Whether a wait of such a request may be without a timeout.
    #[must_use]
    pub fn may_wait_long(&self) -> bool {
        self.only_chosen_timeouts
            || self.only_chosen_head
            || self.head.is_set()
            || self.body_idle.is_set()
    }

    /// The options of a request.
    #[inline]
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn group(self) -> u8 {
        self.group
    }

    /// Whether a request that is not for an upgrade needs a connection of its own kind.
    #[inline]
    pub(crate) fn is_http2_only(self, uri: &Uri, config: &Config) -> bool {
        #[cfg(feature = "http2")]
        let asked = self.prior_knowledge && !config.http2.prior_knowledge;
        #[cfg(not(feature = "http2"))]
        let (asked, _) = (self.prior_knowledge, config);
        asked && uri.scheme() == Some(&Scheme::HTTP)
    }

    /// The timeouts that hold in place of the session's.
    #[inline]
    pub(crate) fn times(self, timeouts: &Timeouts) -> OwnTimes {
        let lift = |own: OwnTimeout, lifts: bool, is_chosen: bool| {
            if lifts && !is_chosen && !own.is_set() {
                OwnTimeout::NONE
            } else {
                own
            }
        };
        OwnTimes {
            head: lift(
                self.head,
                self.only_chosen_timeouts || self.only_chosen_head,
                timeouts.head_is_chosen,
            ),
            body_idle: lift(
                self.body_idle,
                self.only_chosen_timeouts,
                timeouts.body_idle_is_chosen,
            ),
        }
    }

    /// The floors that hold for the request, if it or the session has any.
    #[inline]
    pub(crate) fn floors(self, timeouts: &Timeouts) -> Option<Floors> {
        Floors::of(self.upload_floor, self.download_floor, timeouts)
    }

    /// The connect timeout of the request itself, if it has one.
    pub(crate) fn connect(self) -> Option<Duration> {
        self.connect.finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lifted_is_a_default_and_what_a_request_says_comes_first() {
        let secs = Duration::from_secs;
        let default = Timeouts::default();
        let chosen = Timeouts::default().head(secs(5)).body_idle(secs(5));
        let options = RequestOptions::new();
        for (options, head, body_idle, head_if_chosen) in [
            (
                options,
                OwnTimeout::UNSET,
                OwnTimeout::UNSET,
                OwnTimeout::UNSET,
            ),
            (
                options.only_chosen_timeouts(),
                OwnTimeout::NONE,
                OwnTimeout::NONE,
                OwnTimeout::UNSET,
            ),
            (
                options.only_chosen_head_timeout(),
                OwnTimeout::NONE,
                OwnTimeout::UNSET,
                OwnTimeout::UNSET,
            ),
            (
                options.only_chosen_timeouts().head_timeout(secs(1)),
                OwnTimeout::new(Some(secs(1))),
                OwnTimeout::NONE,
                OwnTimeout::new(Some(secs(1))),
            ),
        ] {
            assert_eq!(
                options.times(&default),
                OwnTimes { head, body_idle },
                "{options:?}"
            );
            assert_eq!(options.times(&chosen).head, head_if_chosen, "{options:?}");
            assert_eq!(options.times(&chosen).body_idle, OwnTimeout::UNSET);
        }
    }
}
