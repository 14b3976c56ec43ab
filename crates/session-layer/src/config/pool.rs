use std::{ops::RangeInclusive, time::Duration};

use super::{ConfigError, Limits, Multiplexing};

/// How many connections a session may have, how long requests wait for one, and how long it is
/// kept.
///
/// ```
/// use std::time::Duration;
/// use session_layer::PoolConfig;
///
/// let pool = PoolConfig::default()
///     .max_connections_per_origin(20)
///     .queue_timeout(Duration::from_secs(2));
/// # let _ = pool;
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until a `SessionLayer` is built with them"]
pub struct PoolConfig {
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_origin: usize,
    pub(crate) max_waiting: usize,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) learned_keep_alive: bool,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_requests_per_connection: Option<u64>,
    pub(crate) http1_read_buffer: Option<usize>,
    pub(crate) http1_max_headers: Option<usize>,
    pub(crate) http1_space_before_colon: bool,
    pub(crate) http1_ignore_invalid_headers: bool,
}

/// How large a read buffer may be: heads have to fit in it, and each connection has one.
const READ_BUFFER: RangeInclusive<usize> = 512..=16 * 1024 * 1024;

/// How many header fields may be allowed: each response allocates room for all of them.
const MAX_HEADERS: RangeInclusive<usize> = 1..=16_384;

/// How long a waiter that only the total limit holds back lets the waiters of other origins go
/// first.
const STEAL_AFTER: Duration = Duration::from_millis(100);

impl PoolConfig {
    /// Limits the connections to all origins together, those being opened included. Default: 1024.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.max_connections = limit;
        self
    }

    /// Limits the connections to one origin, those being opened included. Where a session is used
    /// on several Tokio runtimes, each has connections of its own, and as many of them. Default: 256.
    pub fn max_connections_per_origin(mut self, limit: usize) -> Self {
        self.max_connections_per_origin = limit;
        self
    }

    /// Limits the requests that wait for a connection at the same time; one more fails at once
    /// with an error for which [`is_queue_full`](crate::Error::is_queue_full) holds.
    /// Default: 16,384. With 0 nothing waits at a limit.
    pub fn max_waiting(mut self, limit: usize) -> Self {
        self.max_waiting = limit;
        self
    }

    /// Limits the time that a request waits in the queue, until a connection is being opened for
    /// it; `None` sets no limit. Default: 10 s.
    pub fn queue_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.queue_timeout = timeout.into();
        self
    }

    /// Closes connections that have been idle for this long, also when there is no traffic; `None`
    /// keeps them. Default: 50 s, less than the 60 s after which common servers and load balancers
    /// close them. A peer that says with `Keep-Alive: timeout=N` that it closes earlier is closed
    /// one second before that.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Learns for how long each origin keeps idle connections, and gives no request to one that has been
    /// idle for nearly as long: a request that crosses the peer's close fails, and one that is not
    /// idempotent cannot be sent again. Default: `true`.
    ///
    /// An age is learned when the peer has closed idle connections at about it four times, on separate
    /// occasions, and when those that lived longer are no more than twice as many. The limit is a
    /// tenth less, at least 100 ms and at most one second less. Closes at random, a restart, or a server
    /// that closes after its responses teach nothing of that kind; and no limit is below 0.9 s, so
    /// connections in steady use are always reused. What is learned counts for ten minutes; then older
    /// connections are tried again, and if it still holds, it counts for twice as long, up to two hours.
    /// Connections that have carried no request yet teach nothing.
    ///
    /// A peer that sends `Keep-Alive: timeout=N` is taken at its word, and nothing is learned of it.
    /// [`Stats`](crate::Stats) and [`Event::KeepAliveLearned`](crate::Event::KeepAliveLearned) show what
    /// is learned.
    pub fn learned_keep_alive(mut self, learned: bool) -> Self {
        self.learned_keep_alive = learned;
        self
    }

    /// Gives no request to a connection older than this, give or take 10 %, so that connections
    /// opened together are not replaced together; `None` sets no bound. Default: 30 min.
    pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.max_lifetime = lifetime.into();
        self
    }

    /// Closes a connection when it has carried this many requests; `None` sets no bound.
    /// Default: `None`.
    pub fn max_requests_per_connection(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.max_requests_per_connection = limit.into();
        self
    }

    /// Reads HTTP/1 connections through a buffer of exactly this many bytes, from 512 to 16 MiB, for
    /// apps that keep very many connections open. `None` begins with 8 KiB, which grow while long
    /// bodies come. Default: `None`.
    ///
    /// An idle connection takes 28 kB of memory, and with 1024 here 21 kB. The price: the head of a
    /// response, and each informational one before it, has to fit in the buffer, or the request
    /// fails with an error for which [`is_too_large`](crate::Error::is_too_large) holds; and a body
    /// is read in pieces of no more than this size, each a system call and a frame. HTTP/2 is not
    /// affected.
    pub fn http1_read_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.http1_read_buffer = bytes.into();
        self
    }

    /// Limits the header fields of an HTTP/1 response, trailers counted apart, from 1 to 16,384;
    /// one more fails the request with an error for which
    /// [`is_too_large`](crate::Error::is_too_large) holds. `None` limits them to 100. Default:
    /// `None`. HTTP/2 is not affected.
    ///
    /// A limit that is set, whatever its size, costs two allocations of 32 bytes for each field that
    /// it allows, each time a part of a response head has come; the default costs none. Whatever the
    /// number of fields, a head may have 256 KiB.
    pub fn http1_max_headers(mut self, fields: impl Into<Option<usize>>) -> Self {
        self.http1_max_headers = fields.into();
        self
    }

    /// Takes HTTP/1 responses whose field names are followed by spaces before the colon, and drops
    /// the spaces. Default: `false`, and such a response is an error for which
    /// [`is_protocol`](crate::Error::is_protocol) holds: peers that read such a line in different
    /// ways disagree on where a message ends
    /// ([RFC 9112, section 5.1](https://www.rfc-editor.org/rfc/rfc9112#section-5.1)).
    pub fn http1_space_before_colon(mut self, allowed: bool) -> Self {
        self.http1_space_before_colon = allowed;
        self
    }

    /// Ignores lines in the head of HTTP/1 responses that are no fields: without a colon, or with a
    /// name that is not valid. Default: `false`, and such a response is an error for which
    /// [`is_protocol`](crate::Error::is_protocol) holds. An ignored line may have been meant to
    /// frame the message, so this is for servers that are known and trusted.
    pub fn http1_ignore_invalid_headers(mut self, ignored: bool) -> Self {
        self.http1_ignore_invalid_headers = ignored;
        self
    }

    /// Returns how long a request waits for a place in the pool: [`queue_timeout`](Self::queue_timeout).
    #[must_use]
    pub fn longest_queue_wait(&self) -> Option<Duration> {
        self.queue_timeout
    }

    /// Returns how long a connection may stand idle: [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn longest_idle_time(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// Returns how old a connection may become: [`max_lifetime`](Self::max_lifetime).
    #[must_use]
    pub fn longest_lifetime(&self) -> Option<Duration> {
        self.max_lifetime
    }

    pub(crate) fn limits(&self, multiplexing: Multiplexing) -> Limits {
        Limits {
            multiplexing,
            requests: self.max_requests_per_connection.unwrap_or(u64::MAX),
            connections: self.max_connections,
            per_origin: self.max_connections_per_origin,
            waiting: self.max_waiting,
            steal_after: STEAL_AFTER,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (name, limit) in [
            ("max_connections", self.max_connections),
            (
                "max_connections_per_origin",
                self.max_connections_per_origin,
            ),
        ] {
            if limit == 0 {
                return Err(ConfigError::new(name, "must be at least 1"));
            }
        }
        if self.max_requests_per_connection == Some(0) {
            let why = "must be at least 1; `None` turns it off";
            return Err(ConfigError::new("max_requests_per_connection", why));
        }
        if self
            .http1_read_buffer
            .is_some_and(|bytes| !READ_BUFFER.contains(&bytes))
        {
            let why = "must be from 512 bytes to 16 MiB; `None` turns it off";
            return Err(ConfigError::new("http1_read_buffer", why));
        }
        if self
            .http1_max_headers
            .is_some_and(|fields| !MAX_HEADERS.contains(&fields))
        {
            let why = "must be from 1 to 16,384; `None` stands for 100";
            return Err(ConfigError::new("http1_max_headers", why));
        }
        for (name, time) in [
            ("queue_timeout", self.queue_timeout),
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
        ] {
            ConfigError::refuse_zero(name, time)?;
        }
        Ok(())
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_per_origin: 256,
            max_waiting: 16_384,
            queue_timeout: Some(Duration::from_secs(10)),
            idle_timeout: Some(Duration::from_secs(50)),
            learned_keep_alive: true,
            max_lifetime: Some(Duration::from_secs(30 * 60)),
            max_requests_per_connection: None,
            http1_read_buffer: None,
            http1_max_headers: None,
            http1_space_before_colon: false,
            http1_ignore_invalid_headers: false,
        }
    }
}
