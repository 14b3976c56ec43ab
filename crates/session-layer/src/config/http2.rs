use std::time::Duration;

use super::{ConfigError, Multiplexing};

/// How a session uses HTTP/2 ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113)).
///
/// By default a session uses it with peers that choose it in the TLS handshake
/// ([ALPN](https://www.rfc-editor.org/rfc/rfc7301)), and where a connector says so.
///
/// ```
/// use std::time::Duration;
/// use session_layer::{Http2, PoolConfig, SessionLayer, Timeouts};
///
/// # fn example() -> Result<(), session_layer::ConfigError> {
/// let http2 = Http2::default()
///     .max_concurrent_streams(50)
///     .keep_alive_timeout(Duration::from_secs(5));
/// let layer = SessionLayer::<String>::new(PoolConfig::default(), Timeouts::default())?.http2(http2)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until a `SessionLayer` is built with them"]
pub struct Http2 {
    pub(crate) prior_knowledge: bool,
    pub(crate) max_concurrent_streams: usize,
    pub(crate) keep_alive_interval: Option<Duration>,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) stream_window: u32,
    pub(crate) connection_window: u32,
    pub(crate) adaptive_window: bool,
}

/// The largest window of flow control
/// ([RFC 9113, section 6.9.1](https://www.rfc-editor.org/rfc/rfc9113#section-6.9.1)).
const MAX_WINDOW: u32 = (1 << 31) - 1;

impl Http2 {
    /// Speaks HTTP/2 with every `http` peer, by prior knowledge ([RFC 9113, section
    /// 3.3](https://www.rfc-editor.org/rfc/rfc9113#section-3.3)). An `https` peer must still choose
    /// it in the handshake; otherwise the request fails. Default: off.
    pub fn prior_knowledge(mut self, on: bool) -> Self {
        self.prior_knowledge = on;
        self
    }

    /// Returns whether HTTP/2 is spoken with every `http` peer: [`prior_knowledge`](Self::prior_knowledge).
    #[must_use]
    pub fn has_prior_knowledge(&self) -> bool {
        self.prior_knowledge
    }

    /// Limits the requests that one connection carries at the same time. The present limit of the
    /// peer counts too. When a connection has reached either limit, another is opened within the
    /// pool's limits. Default: 100, also where the peer allows more.
    ///
    /// With 256 requests in flight on one thread, a request costs 2 % more instructions on connections of 16 streams
    /// than on those of 100, and within 1 % the same from 64 to 256 streams. But the streams of a connection share one task,
    /// one lock and the order of its bytes: a lost packet or a broken connection holds up or fails all of them.
    pub fn max_concurrent_streams(mut self, limit: usize) -> Self {
        self.max_concurrent_streams = limit;
        self
    }

    /// Sends a PING when requests are under way and nothing has come on their connection for this
    /// long. `None` leaves it to the timeouts to notice that a peer is dead. Default: 5.5 minutes.
    ///
    /// gRPC's servers end a connection after a few PINGs that come within five minutes of each
    /// other, where they have sent nothing meanwhile ([gRFC
    /// A8](https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md)); so a shorter
    /// interval is for servers that are known to allow it. After a GOAWAY with `ENHANCE_YOUR_CALM`
    /// to a connection that has sent PINGs, the interval for its origin is doubled. No PING is sent
    /// on an idle connection.
    ///
    /// Whatever the interval, a PING is sent at once when a request was given up (its time ran out,
    /// or its future was dropped) and nothing has come on its connection since it began. The
    /// connection gets no new request until something comes. This is done twice at most while the
    /// peer sends nothing but answers to PINGs; after that, the connection is replaced.
    pub fn keep_alive_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.keep_alive_interval = interval.into();
        self
    }

    /// Closes a connection on which nothing has come for this long after a PING, which fails the
    /// requests on it. Default: 10 s.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// Sets how many bytes of one response body the peer may send ahead of its reader.
    /// Default: 1 MiB.
    pub fn stream_window(mut self, bytes: u32) -> Self {
        self.stream_window = bytes;
        self
    }

    /// Sets how many bytes of all response bodies of a connection together the peer may send ahead
    /// of their readers. Unread bodies that fill it hold up all others, so it should be as many
    /// times the [`stream_window`](Self::stream_window) as there may be unread bodies. Default: 128
    /// MiB, more than 100 streams fill.
    pub fn connection_window(mut self, bytes: u32) -> Self {
        self.connection_window = bytes;
        self
    }

    /// Lets both windows grow with the bandwidth and delay that are measured. Default: off.
    pub fn adaptive_window(mut self, on: bool) -> Self {
        self.adaptive_window = on;
        self
    }

    pub(crate) fn multiplexing(&self) -> Multiplexing {
        if self.prior_knowledge {
            Multiplexing::Always
        } else {
            Multiplexing::Negotiated
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.max_concurrent_streams == 0 {
            return Err(ConfigError::new(
                "max_concurrent_streams",
                "must be at least 1",
            ));
        }
        for (name, window) in [
            ("stream_window", self.stream_window),
            ("connection_window", self.connection_window),
        ] {
            if window == 0 || window > MAX_WINDOW {
                return Err(ConfigError::new(name, "must be from 1 to 2^31 - 1 bytes"));
            }
        }
        ConfigError::refuse_zero("keep_alive_interval", self.keep_alive_interval)?;
        ConfigError::refuse_zero("keep_alive_timeout", Some(self.keep_alive_timeout))
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            prior_knowledge: false,
            max_concurrent_streams: 100,
            keep_alive_interval: Some(Duration::from_secs(330)),
            keep_alive_timeout: Duration::from_secs(10),
            stream_window: 1024 * 1024,
            connection_window: 128 * 1024 * 1024,
            adaptive_window: false,
        }
    }
}
