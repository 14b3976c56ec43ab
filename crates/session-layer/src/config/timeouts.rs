use std::time::Duration;

use super::ConfigError;
use crate::ThroughputFloor;

/// How long a session waits for each part of an exchange.
///
/// ```
/// use std::time::Duration;
/// use session_layer::Timeouts;
///
/// let timeouts = Timeouts::default().head(Duration::from_secs(5)).body_idle(None);
/// # let _ = timeouts;
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until a `SessionLayer` is built with them"]
pub struct Timeouts {
    pub(crate) connect: Option<Duration>,
    pub(crate) head: Option<Duration>,
    pub(crate) body_idle: Option<Duration>,
    pub(crate) expect_continue: Duration,
    pub(crate) upload_floor: Option<ThroughputFloor>,
    pub(crate) download_floor: Option<ThroughputFloor>,
    /// Whether the head timeout was set explicitly.
    pub(crate) head_is_chosen: bool,
    /// Whether the body idle timeout was set explicitly.
    pub(crate) body_idle_is_chosen: bool,
    /// Whether the floor of downloads was set explicitly, be it to none.
    pub(crate) download_floor_is_chosen: bool,
}

impl Timeouts {
    /// Limits the time to open a connection: name, TCP and TLS together. `None` leaves it to the
    /// connector and the system. Default: 10 s.
    pub fn connect(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect = timeout.into();
        self
    }

    /// Limits the time from the end of the request to the end of the response's head, all
    /// informational responses included: bytes of the head do not extend it. While the request body
    /// is being sent, it limits each pause in which the peer takes nothing of it; a request body
    /// that is slow to give bytes is not limited. `None` waits for ever. Default: 30 s. One request
    /// sets its own by [`RequestOptions::head_timeout`](crate::RequestOptions::head_timeout), or
    /// lifts the default.
    pub fn head(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.head = timeout.into();
        self.head_is_chosen = true;
        self
    }

    /// Limits each pause of a response body: the time in which its reader waits and no content
    /// comes. Bytes that are no content, such as the size of a chunk, do not extend it. A slow
    /// reader is not limited. `None` waits for ever. Default: 30 s.
    pub fn body_idle(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.body_idle = timeout.into();
        self.body_idle_is_chosen = true;
        self
    }

    /// Ends a response whose body comes more slowly than this, by an error that
    /// [`is_too_slow`](crate::Error::is_too_slow); over HTTP/1 its connection is closed, over HTTP/2 its
    /// stream is reset. `None` asks for nothing. Default: `None`. One request sets its own by
    /// [`RequestOptions::download_floor`](crate::RequestOptions::download_floor).
    ///
    /// Time counts only while the reader waits; see [`ThroughputFloor`]. This is beside the [idle
    /// timeout](Self::body_idle), which ends a body of which nothing comes. The bytes of the
    /// content count, as the reader gets them. Not measured are:
    ///
    /// - responses without a body, and connections that were upgraded;
    /// - streams of events (`text/event-stream`) and gRPC (`application/grpc`), which are silent while
    ///   there is nothing to tell, unless the request itself has a floor;
    /// - responses that begin before their request was sent whole: each side may wait for the other.
    pub fn download_floor(mut self, floor: impl Into<Option<ThroughputFloor>>) -> Self {
        self.download_floor = floor.into();
        self.download_floor_is_chosen = true;
        self
    }

    /// Ends a request whose peer takes it more slowly than this, by an error that
    /// [`is_too_slow`](crate::Error::is_too_slow): it may have been processed nevertheless. `None`
    /// asks for nothing. Default: `None`. One request sets its own by
    /// [`RequestOptions::upload_floor`](crate::RequestOptions::upload_floor).
    ///
    /// Time counts only while there are bytes to be sent that are not taken; see [`ThroughputFloor`]. It
    /// ends with the request, so that a server may take its time to answer, and with the head of a
    /// response that comes before. A request without a body is not measured. This is beside the
    /// [head timeout](Self::head), which ends a request of which nothing is taken.
    ///
    /// Bytes count as taken when the socket has taken them, or over HTTP/2 when the peer's flow
    /// control lets them go. A system may buffer megabytes for a slow peer, and then take nothing
    /// until a good part of that has left: so choose a window of a minute or more where peers may
    /// be slow.
    pub fn upload_floor(mut self, floor: impl Into<Option<ThroughputFloor>>) -> Self {
        self.upload_floor = floor.into();
        self
    }

    /// Limits the time that the body of a request with `Expect: 100-continue` is held back. It is
    /// sent when the peer asks for it by a 100 (Continue), and when this time has passed, since
    /// not every server knows of it; zero sends it at once. Default: 1 s.
    ///
    /// A final response ends the wait: over HTTP/1 the body is not sent then, and the connection is
    /// closed, also where the peer would keep it open: the peer may go on reading the body that was
    /// announced. A 417 (Expectation Failed) is not returned: the request is sent once more,
    /// without the expectation, and over HTTP/1 over another connection ([RFC 9110, section
    /// 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)). Over HTTP/2 hyper does not
    /// pass a 100 on, so that the body is sent after this time.
    ///
    /// A request keeps a callback that was set by `hyper::ext::on_informational`, and hyper has
    /// room for one. So a 100 cannot be told from other responses then: the body is sent when the
    /// first bytes of any response come, a 417 is returned, and the connection is closed after that
    /// exchange.
    ///
    /// A future that is polled outside of a Tokio runtime has no clock: its body is sent at once.
    pub fn expect_continue(mut self, timeout: Duration) -> Self {
        self.expect_continue = timeout;
        self
    }

    /// Returns the connect timeout.
    #[must_use]
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect
    }

    /// Returns the head timeout.
    #[must_use]
    pub fn head_timeout(&self) -> Option<Duration> {
        self.head
    }

    /// Returns the body idle timeout.
    #[must_use]
    pub fn body_idle_timeout(&self) -> Option<Duration> {
        self.body_idle
    }

    /// Returns the floor of downloads.
    #[must_use]
    pub fn download_throughput_floor(&self) -> Option<ThroughputFloor> {
        self.download_floor
    }

    /// Returns the floor of uploads.
    #[must_use]
    pub fn upload_throughput_floor(&self) -> Option<ThroughputFloor> {
        self.upload_floor
    }

    /// Whether there is a floor for either direction.
    #[inline]
    pub(crate) fn has_floor(&self) -> bool {
        self.upload_floor.is_some() || self.download_floor.is_some()
    }

    /// How long a request waits for connections to be opened. Each connect has the connect timeout,
    /// which must run out first, since its error names the step. This bounds the wait of a request
    /// through several connects.
    pub(crate) fn connects(&self) -> Option<Duration> {
        let connect = self.connect?;
        let more = (connect / 4).max(Duration::from_millis(100));
        Some(connect.saturating_add(more))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::refuse_zero("connect timeout", self.connect)?;
        ConfigError::refuse_zero("head timeout", self.head)?;
        ConfigError::refuse_zero("body idle timeout", self.body_idle)?;
        ThroughputFloor::check("upload floor", self.upload_floor)?;
        ThroughputFloor::check("download floor", self.download_floor)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(10)),
            head: Some(Duration::from_secs(30)),
            body_idle: Some(Duration::from_secs(30)),
            expect_continue: Duration::from_secs(1),
            upload_floor: None,
            download_floor: None,
            head_is_chosen: false,
            body_idle_is_chosen: false,
            download_floor_is_chosen: false,
        }
    }
}
