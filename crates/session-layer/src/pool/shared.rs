use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::Body;
#[cfg(feature = "http2")]
use hyper::client::conn::http2::SendRequest;
use tokio_util::sync::ReusableBoxFuture;

#[cfg(feature = "http2")]
use super::lease::Exchanged;
use super::{
    lease::{AnswerBox, Connection, Release, Unsent},
    state::Numbered,
};
use crate::{
    connect::{Cause, Phase, Wire},
    error::BoxError,
    origin::Origin,
    upload::RequestBody,
};

/// Without HTTP/2 there is none.
#[cfg(not(feature = "http2"))]
type SendRequest<B> = (std::convert::Infallible, std::marker::PhantomData<fn(B)>);

/// An HTTP/2 connection, which carries several requests at once.
///
/// The pool's state holds it while it takes new requests, and each request on it does. When none
/// does any more, hyper ends the connection.
pub(crate) struct Shared<B: Send + 'static> {
    connection: Arc<Connection<B>>,
    /// Absent once the connection has ended.
    sender: Mutex<Option<SendRequest<RequestBody<B>>>>,
    streams: Arc<Streams<B>>,
}

/// What is kept for the requests on a connection, present and to come.
pub(crate) struct Streams<B> {
    kept: Mutex<Kept<B>>,
    /// How many the peer is known to allow.
    limit: AtomicUsize,
}

struct Kept<B> {
    /// One for each request that the connection has carried at the same time.
    wires: Vec<Arc<Wire>>,
    /// Those of them that are free.
    spare: Vec<Arc<Wire>>,
    boxes: Vec<AnswerBox<B>>,
}

/// The right to send one request on a shared connection; free again when dropped.
pub(super) struct Part<B: Send + 'static> {
    shared: Arc<Shared<B>>,
    /// Taken when a response body goes on with it.
    wire: Option<Arc<Wire>>,
}

impl<B: Send + 'static> Shared<B> {
    #[cfg(feature = "http2")]
    pub(crate) fn new(
        connection: Arc<Connection<B>>,
        sender: SendRequest<RequestBody<B>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            connection,
            sender: Mutex::new(Some(sender)),
            streams: Arc::new(Streams::new()),
        })
    }

    pub(crate) fn connection(&self) -> &Arc<Connection<B>> {
        &self.connection
    }

    pub(crate) fn streams(&self) -> &Arc<Streams<B>> {
        &self.streams
    }

    fn sender(&self) -> MutexGuard<'_, Option<SendRequest<RequestBody<B>>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends an exchange; its place is free when its request body has ended too.
    fn end(self: &Arc<Self>, wire: Arc<Wire>) {
        if wire.leave_to_upload(|| self.clone()) {
            return;
        }
        self.streams.give_back(wire);
        let connection = &self.connection;
        let pool = connection.pool();
        pool.part_ended(connection.origin(), connection.id());
    }
}

impl<B> Streams<B> {
    fn new() -> Self {
        Self {
            kept: Mutex::new(Kept {
                wires: Vec::new(),
                spare: Vec::new(),
                boxes: Vec::new(),
            }),
            limit: AtomicUsize::new(usize::MAX),
        }
    }

    /// Takes note of how many the peer allows.
    #[cfg(feature = "http2")]
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    /// The wires of all requests, past ones among them.
    pub(crate) fn wires(&self) -> Vec<Arc<Wire>> {
        self.lock().wires.clone()
    }

    /// How many requests are under way.
    pub(crate) fn count(&self) -> usize {
        let kept = self.lock();
        kept.wires.len().saturating_sub(kept.spare.len())
    }

    /// Whether any exchange is under way.
    pub(crate) fn is_busy(&self) -> bool {
        let over = |wire: &Arc<Wire>| matches!(wire.phase(), Phase::Idle | Phase::Orphan);
        !self.lock().wires.iter().all(over)
    }

    /// Cuts what is under way; returns how much.
    pub(crate) fn sever_all(&self, cause: Cause) -> usize {
        let wires = self.wires();
        let active = wires.iter().filter(|wire| wire.phase() != Phase::Idle);
        active.filter(|wire| wire.sever(cause)).count()
    }

    fn take(&self, new: impl FnOnce() -> Wire) -> (Arc<Wire>, Option<AnswerBox<B>>) {
        let mut kept = self.lock();
        let answer = kept.boxes.pop();
        let wire = kept.spare.pop().unwrap_or_else(|| {
            let wire = Arc::new(new());
            kept.wires.push(wire.clone());
            wire
        });
        drop(kept);
        wire.reset();
        (wire, answer)
    }

    fn give_back(&self, wire: Arc<Wire>) {
        wire.end();
        let mut kept = self.lock();
        // One is here, and one in the list. A request body that goes on after its response has
        // another, and would write on the next request's.
        if Arc::strong_count(&wire) == 2 {
            kept.spare.push(wire);
        } else {
            kept.wires.retain(|kept| !Arc::ptr_eq(kept, &wire));
        }
    }

    fn keep_box(&self, answer: AnswerBox<B>) {
        self.lock().boxes.push(answer);
    }

    fn lock(&self) -> MutexGuard<'_, Kept<B>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send + 'static> Part<B> {
    pub(super) fn begin(shared: Arc<Shared<B>>) -> (Self, AnswerBox<B>) {
        let socket = shared.connection.wire();
        let (wire, answer) = shared.streams.take(|| socket.part());
        let answer = answer.unwrap_or_else(|| ReusableBoxFuture::new(std::future::pending()));
        let wire = Some(wire);
        (Self { shared, wire }, answer)
    }

    pub(super) fn wire(&self) -> &Arc<Wire> {
        self.wire.as_ref().expect("taken only at its end")
    }

    /// Whether the peer has turned out to allow less than is under way: h2 would hold this one
    /// back, for nobody knows how long.
    pub(super) fn is_too_much(&self) -> bool {
        let streams = &self.shared.streams;
        streams.count() > streams.limit.load(Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        #[cfg(feature = "http2")]
        return self
            .shared
            .sender()
            .as_ref()
            .is_none_or(SendRequest::is_closed);
        #[cfg(not(feature = "http2"))]
        self.shared.sender().is_none()
    }

    /// Leaves the stream to a response body; the box is free for the next request.
    pub(super) fn park(mut self, answer: AnswerBox<B>) -> (Arc<dyn Release>, Option<Arc<Wire>>) {
        self.shared.streams.keep_box(answer);
        let wire = self.wire.take();
        (self.shared.clone(), wire)
    }
}

impl<B> Part<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Gives the request to hyper now, as [`Link::send`](super::Link::send) says.
    #[cfg(feature = "http2")]
    pub(super) fn send(
        &self,
        request: Request<RequestBody<B>>,
        answer: &mut AnswerBox<B>,
    ) -> Result<(), Unsent<B>> {
        let mut kept = self.shared.sender();
        let Some(sender) = kept.as_mut() else {
            // Another request met the connection's end, after this one was given its part.
            return Err(Box::new(request));
        };
        answer.set(Exchanged::new(sender.try_send_request(request)));
        let gone = if sender.is_closed() {
            kept.take()
        } else {
            None
        };
        drop(kept);
        drop(gone);
        Ok(())
    }

    #[cfg(not(feature = "http2"))]
    #[expect(clippy::unused_self, reason = "with HTTP/2 it sends")]
    pub(super) fn send(
        &self,
        request: Request<RequestBody<B>>,
        _: &mut AnswerBox<B>,
    ) -> Result<(), Unsent<B>> {
        Err(Box::new(request))
    }
}

impl<B: Send + 'static> Drop for Part<B> {
    fn drop(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.shared.end(wire);
        }
    }
}

impl<B: Send + 'static> Release for Shared<B> {
    fn release(self: Arc<Self>, part: Option<Arc<Wire>>) {
        if let Some(wire) = part {
            self.end(wire);
        }
    }

    fn wire(&self) -> &Wire {
        self.connection.wire()
    }

    fn origin(&self) -> &Origin {
        self.connection.origin()
    }

    fn body_idle(&self) -> Option<Duration> {
        self.connection.body_idle()
    }

    fn runtime(&self) -> Option<tokio::runtime::Id> {
        Release::runtime(&*self.connection)
    }
}

impl<B: Send + 'static> Numbered for Arc<Shared<B>> {
    fn id(&self) -> u64 {
        self.connection.id()
    }
}

impl<B: Send + 'static> fmt::Debug for Shared<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.connection.id())
            .field("origin", self.connection.origin())
            .finish_non_exhaustive()
    }
}
