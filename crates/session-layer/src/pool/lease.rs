use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use super::Pool;
use crate::{
    body::RequestBody,
    connect::{Cause, ViaProxy, Wire},
    origin::Origin,
};

/// What hyper answers to one request.
pub(crate) type Answer<B> = Result<Response<Incoming>, TrySendError<Request<RequestBody<B>>>>;

/// What is known of a connection for as long as it lives.
pub(crate) struct Connection<B: Send + 'static> {
    id: u64,
    pool: Arc<Pool<B>>,
    origin: Origin,
    wire: Arc<Wire>,
    expires: Option<Instant>,
    /// Set if the peer is an HTTP proxy that is sent requests whole.
    via_proxy: Option<ViaProxy>,
    /// Whether a response has come over it.
    used: AtomicBool,
    /// Kept here while a response body holds the connection, whose type does not know `B`.
    parked: Mutex<Option<Channel<B>>>,
}

/// The way to hyper's connection, with the box in which each of its futures is kept: so a request
/// on an open connection allocates nothing for them.
pub(crate) struct Channel<B> {
    sender: SendRequest<RequestBody<B>>,
    answer: ReusableBoxFuture<'static, Answer<B>>,
}

/// A connection that somebody may send on: whoever holds it is alone.
pub(crate) struct Link<B: Send + 'static> {
    pub(crate) connection: Arc<Connection<B>>,
    pub(crate) channel: Channel<B>,
}

/// How a response body gives its connection back, without knowing the request body's type.
pub(crate) trait Release: Send + Sync {
    /// Gives the connection back to the pool: the exchange is over and left nothing behind.
    fn release(self: Arc<Self>);
    fn wire(&self) -> &Wire;
    fn origin(&self) -> &Origin;
    fn body_idle(&self) -> Option<Duration>;
}

impl<B: Send + 'static> Connection<B> {
    pub(crate) fn new(
        id: u64,
        pool: Arc<Pool<B>>,
        origin: Origin,
        wire: Arc<Wire>,
        expires: Option<Instant>,
        via_proxy: Option<ViaProxy>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            pool,
            origin,
            wire,
            expires,
            via_proxy,
            used: AtomicBool::new(false),
            parked: Mutex::new(None),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    pub(crate) fn via_proxy(&self) -> Option<&ViaProxy> {
        self.via_proxy.as_ref()
    }

    fn parked(&self) -> MutexGuard<'_, Option<Channel<B>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send + 'static> Release for Connection<B> {
    fn release(self: Arc<Self>) {
        let channel = self.parked().take();
        self.wire.end();
        if let Some(channel) = channel {
            let pool = self.pool.clone();
            pool.put_back(Link {
                connection: self,
                channel,
            });
        }
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn body_idle(&self) -> Option<Duration> {
        self.pool.config().timeouts.body_idle
    }
}

impl<B> Channel<B> {
    pub(crate) fn new(sender: SendRequest<RequestBody<B>>) -> Self
    where
        B: Send + 'static,
    {
        Self {
            sender,
            // Takes no memory; the first request makes the box that all later ones use.
            answer: ReusableBoxFuture::new(std::future::pending()),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(crate) fn sender(&mut self) -> &mut SendRequest<RequestBody<B>> {
        &mut self.sender
    }

    pub(crate) fn answer(&mut self) -> &mut ReusableBoxFuture<'static, Answer<B>> {
        &mut self.answer
    }
}

impl<B> Channel<B>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
{
    /// Gives the request to hyper now; the answer is polled later.
    pub(crate) fn send(&mut self, request: Request<RequestBody<B>>) {
        self.answer.set(self.sender.try_send_request(request));
    }
}

impl<B: Send + 'static> Link<B> {
    pub(crate) fn id(&self) -> u64 {
        self.connection.id
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.connection.origin
    }

    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.connection.wire
    }

    pub(crate) fn mark_used(&self) {
        self.connection.used.store(true, Relaxed);
    }

    pub(crate) fn has_been_used(&self) -> bool {
        self.connection.used.load(Relaxed)
    }

    /// Whether a request may be given to it: neither closed nor too old.
    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        !self.channel.sender.is_closed()
            && self.connection.wire.severed().is_none()
            && self.connection.expires.is_none_or(|expires| now < expires)
    }

    pub(crate) fn retire(self) {
        self.sever(Cause::Retired);
    }

    pub(crate) fn sever(self, cause: Cause) {
        self.connection.wire.sever(cause);
    }

    /// Leaves the connection to a response body, which gives it back.
    pub(crate) fn park(self) -> Arc<dyn Release> {
        let Self {
            connection,
            channel,
        } = self;
        *connection.parked() = Some(channel);
        connection
    }
}

impl<B: Send + 'static> fmt::Debug for Link<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.connection.id)
            .field("origin", &self.connection.origin)
            .finish_non_exhaustive()
    }
}
