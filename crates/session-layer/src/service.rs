use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tower_service::Service;

use crate::{
    CloseReport, Error, ResponseFuture, SessionBody, Spread, Stats, box_error::BoxError,
    config::Config, drive::Opener, future, pool::Pool, runtime,
};

/// A pool of connections as a `Service<Request<B>>`, which all requests of an app share.
///
/// Clones are cheap and share the pool. It is always ready; a request that must wait for a
/// connection waits in its future. The request's URI must be absolute; `Host` is added where it is
/// absent.
///
/// A call takes its place in the pool at once, and not only at the first poll of its future: a
/// future that is kept without being polled holds its place. Outside of a Tokio runtime it takes it
/// at the first poll.
///
/// A request uses connections of the runtime that it is made on, and opens those that it needs
/// there: a runtime that is not being driven, as one of a single thread between two calls of
/// `block_on`, drives no connections either. So each runtime has connections of its own, and the
/// [limit per origin](crate::PoolConfig::max_connections_per_origin) counts for each; all other
/// limits count for all runtimes together. A future, or the body of a response, may go on on another
/// runtime: the timeouts of the session end its waits there too.
///
/// When the last clone is dropped, idle connections close. Requests in flight and response bodies
/// go on to their end; to wait for them, use [`close`](Self::close).
///
/// See the [crate docs](crate) for an example.
pub struct Session<B: Send + 'static> {
    handle: Arc<Handle<B>>,
}

/// What the clones of a session share; its drop is the drop of the last.
struct Handle<B: Send + 'static> {
    pool: Arc<Pool<B>>,
}

impl<B> Session<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Makes a session with the default settings over a connector.
    #[must_use]
    pub fn new<C>(connector: C) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        Self::with_config(connector, Config::default(), None)
    }

    pub(crate) fn with_config<C>(connector: C, config: Config, spread: Option<Spread>) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let pool = Pool::new(config, spread, Box::new(Opener::new(connector)));
        Self {
            handle: Arc::new(Handle { pool }),
        }
    }
}

impl<B: Send + 'static> Session<B> {
    /// Returns the pool's figures at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.pool.stats()
    }

    /// Returns an upper bound on one wait of a request with the session's timeouts: the longest
    /// time from a pending poll of its future, or of the body of its response, until the task is
    /// woken, because something has come or a timeout has run out. It is the sum of the [queue
    /// timeout](crate::PoolConfig::queue_timeout) and of all [`Timeouts`](crate::Timeouts), since
    /// several may run out within one wait; `None` if one of them is off.
    ///
    /// So a layer above that counts the waits of a call knows how long it has taken at most, without
    /// a timer of its own:
    ///
    /// ```
    /// # fn example<B: Send + 'static>(session: &session_layer::Session<B>) -> u128 {
    /// use std::time::Duration;
    ///
    /// // A call that has been pending no more often than this has not taken five minutes.
    /// let deadline = Duration::from_secs(300);
    /// let longest = session.longest_wait();
    /// let untimed_waits = longest.map_or(0, |longest| deadline.as_nanos() / longest.as_nanos().max(1));
    /// # untimed_waits
    /// # }
    /// ```
    ///
    /// It does not hold while a request body is sent, which may take any time,
    /// nor for a request with [timeouts of its own](crate::RequestOptions).
    #[must_use]
    pub fn longest_wait(&self) -> Option<Duration> {
        self.handle.pool.config().longest_wait()
    }

    /// Whether the session was [closed](Self::close), and so refuses new requests. What was in flight may
    /// still go on.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.pool.is_closed()
    }

    /// Closes the session: refuses new requests, also those that wait in the queue, with an error
    /// for which [`is_closed`](Error::is_closed) holds; closes idle connections; lets what is in
    /// flight finish, response bodies included, until `deadline` has passed; then cuts it off.
    ///
    /// Connections that a response has upgraded belong to the code that took the upgrade, and are not
    /// waited for.
    ///
    /// It returns when no other connection is open any more. It may be called on any clone, and more
    /// than once.
    ///
    /// Outside a Tokio runtime nothing keeps the deadline: it waits for what is in flight.
    ///
    /// # Cancel safety
    ///
    /// The session stays closed. What was in flight is not cut off any more.
    pub async fn close(&self, deadline: Duration) -> CloseReport {
        self.handle.pool.clone().close(deadline).await
    }
}

impl<B> Service<Request<B>> for Session<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<SessionBody>;
    type Error = Error;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<B> {
        let pool = &self.handle.pool;
        let Some(runtime) = runtime::current() else {
            // Its connections depend on the runtime, which is known when it is polled.
            return ResponseFuture::later(pool.clone(), request);
        };
        future::start(pool, request, Some(runtime))
    }
}

impl<B: Send + 'static> Clone for Session<B> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
        }
    }
}

impl<B: Send + 'static> fmt::Debug for Session<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("stats", &self.stats())
            .finish()
    }
}

impl<B: Send + 'static> Drop for Handle<B> {
    fn drop(&mut self) {
        let in_use = self.pool.stop_keeping();
        if in_use > 0 {
            // Not a warning: to call a service once and drop it is no mistake (tower's `oneshot`
            // does so), and requests in flight go on.
            tracing::debug!(
                in_use,
                "the last session was dropped with connections in use"
            );
        }
    }
}
