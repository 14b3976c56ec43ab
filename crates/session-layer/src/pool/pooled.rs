use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use super::{
    Connection, Pool, Shared,
    answer::{Answer, AnswerBox, Exchanged, Unsent},
    state::{Checkout, Numbered},
    stream::Stream,
};
use crate::{
    box_error::BoxError,
    exchange::{Carrier, Cause, ExchangeState, Release, RequestBody},
    origin::Origin,
};

/// Sends requests to hyper's HTTP/1 connection; each connection has one.
pub(crate) struct Channel<B: Send + 'static> {
    /// `None` when the connection has ended while a request was given to it.
    sender: Option<SendRequest<RequestBody<B>>>,
    answer: AnswerBox<B>,
}

/// A whole HTTP/1 connection, or a stream on a shared one, for one request.
///
/// It has the size of three pointers, since each request moves it from the pool to its future and
/// back.
pub(crate) enum PooledConnection<B: Send + 'static> {
    /// An HTTP/1 connection.
    Whole(Arc<Connection<B>>, Box<Channel<B>>),
    /// The right to one stream of an HTTP/2 connection.
    Stream(Stream<B>),
}

impl<B: Send + 'static> PooledConnection<B> {
    /// A new HTTP/1 connection.
    pub(crate) fn http1(
        connection: Arc<Connection<B>>,
        sender: SendRequest<RequestBody<B>>,
    ) -> Self {
        let channel = Channel {
            sender: Some(sender),
            // Allocates nothing. The first request makes the box that all later ones use.
            answer: ReusableBoxFuture::new(std::future::pending()),
        };
        Self::Whole(connection, Box::new(channel))
    }

    /// Makes it of what the state gave out.
    pub(super) fn of(checkout: Checkout<Self, Arc<Shared<B>>>) -> Self {
        match checkout {
            Checkout::Own(pooled) => pooled,
            Checkout::Stream(shared) => Self::stream(shared),
        }
    }

    /// Takes the stream on a shared connection that the state has counted.
    pub(super) fn stream(shared: Arc<Shared<B>>) -> Self {
        Self::Stream(Stream::begin(shared))
    }

    #[inline]
    pub(crate) fn connection(&self) -> &Arc<Connection<B>> {
        match self {
            Self::Whole(connection, _) => connection,
            Self::Stream(stream) => stream.connection(),
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.connection().origin
    }

    /// The state of the exchange.
    pub(crate) fn exchange(&self) -> &Arc<ExchangeState> {
        match self {
            Self::Whole(connection, _) => &connection.state,
            Self::Stream(stream) => stream.exchange(),
        }
    }

    /// The state of the connection itself, on which its IO notes what it reads and writes.
    pub(crate) fn socket(&self) -> &ExchangeState {
        &self.connection().state
    }

    /// What carries the exchange.
    pub(crate) fn carrier(&self) -> Carrier {
        match self {
            Self::Whole(..) => Carrier::Connection,
            Self::Stream(_) => Carrier::Stream,
        }
    }

    /// Whether it is a stream on a shared connection.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    pub(crate) fn mark_used(&self) {
        self.connection().used.store(true, Relaxed);
    }

    /// Takes note of how long a connection has waited for its first request, which is sent at `now`: one
    /// whose future was not polled for a while. Its peer may have closed it meanwhile, as it may an idle one.
    pub(crate) fn note_wait(&self, now: Instant) {
        let opened = self.connection().facts.opened;
        if now.saturating_duration_since(opened) >= Self::NEW {
            self.mark_used();
        }
    }

    /// For how long a connection is new, so that its end says that the peer takes no requests.
    const NEW: Duration = Duration::from_secs(1);

    pub(crate) fn has_been_used(&self) -> bool {
        self.connection().used.load(Relaxed)
    }

    /// Counts a request; returns whether it is the last that the connection may carry.
    pub(crate) fn count_request(&self) -> bool {
        let last = self.connection().count_request();
        if last && self.is_stream() {
            // The pool gives out no more of its streams.
            self.connection().state.note_end(Cause::Served);
        }
        last
    }

    /// Drains a shared connection.
    pub(crate) fn drain(&self, cause: Cause) {
        self.connection().state.note_end(cause);
        self.connection().pool.drain(self.connection(), None);
    }

    /// Whether it may take a request: it is neither closed nor too old.
    #[inline]
    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        !self.is_closed() && self.connection().is_fresh(now)
    }

    /// Whether the peer is about to close it, as far as that is learned: it has been idle for nearly as
    /// long as the peer was seen to keep connections. Where nothing was seen yet, that is one look; where
    /// others use it, its age tells nothing, and is not noted.
    #[inline]
    pub(super) fn is_about_to_close(&self, now: Instant) -> bool {
        let connection = self.connection();
        connection.is_keep_alive_known() && self.was_idle() && connection.is_too_old_to_use(now)
    }

    /// Whether it carried nothing when it was given out.
    fn was_idle(&self) -> bool {
        match self {
            Self::Whole(..) => true,
            Self::Stream(stream) => stream.exchange().alone().is_some(),
        }
    }

    /// Takes note that it turned out to be closed when a request was sent on it, at `now`.
    pub(crate) fn note_stale(&self, now: Instant) {
        if self.was_idle() {
            self.connection().note_stale(now);
        }
    }

    /// Whether it is a stream that the peer does not allow any more.
    pub(crate) fn is_too_much(&self) -> bool {
        match self {
            Self::Whole(..) => false,
            Self::Stream(stream) => stream.is_too_much(),
        }
    }

    /// Whether hyper takes a request now.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Whole(_, channel) => channel.sender.as_ref().is_none_or(SendRequest::is_ready),
            Self::Stream(_) => true,
        }
    }

    /// Waits until hyper takes a request, or has ended.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Whole(_, channel) => match &mut channel.sender {
                Some(sender) => sender.poll_ready(cx).map(|_| ()),
                None => Poll::Ready(()),
            },
            Self::Stream(_) => Poll::Ready(()),
        }
    }

    /// Ends a connection that takes no request any more.
    pub(super) fn abort_unusable(self) {
        let cause = self.connection().note_unusable();
        self.abort(cause);
    }

    /// Aborts the connection, or this stream on a shared one.
    pub(crate) fn abort(self, cause: Cause) {
        match self {
            Self::Whole(connection, _) => {
                connection.state.abort(cause);
            }
            // Dropping hyper's future resets the stream.
            Self::Stream(stream) => drop(stream),
        }
    }

    /// Gives a connection back on which nothing was sent.
    pub(crate) fn release(self) {
        match self {
            Self::Whole(..) => Pool::release(self),
            Self::Stream(stream) => drop(stream),
        }
    }

    /// Hands the connection to a response body, which releases it.
    pub(crate) fn hand_to_body(self) -> (Arc<dyn Release>, Option<Arc<ExchangeState>>) {
        match self {
            Self::Whole(connection, channel) => {
                connection.between().channel = Some(channel);
                (connection, None)
            }
            Self::Stream(stream) => stream.hand_to_body(),
        }
    }

    /// Polls for the outcome of the request.
    #[inline]
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer<B>> {
        match self {
            Self::Whole(_, channel) => channel.answer.poll(cx),
            Self::Stream(stream) => stream.poll_answer(cx),
        }
    }

    /// Takes the request back, if hyper was not given it.
    pub(crate) fn take_back(&self) -> Option<Unsent<B>> {
        match self {
            Self::Whole(..) => None,
            Self::Stream(stream) => stream.take_back(),
        }
    }

    /// Whether the connection takes no request any more.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Whole(_, channel) => channel.sender.as_ref().is_none_or(SendRequest::is_closed),
            Self::Stream(stream) => stream.is_closed(),
        }
    }

    /// Whether the head of the request may have been written. It is always true of a whole
    /// connection, whose bytes written tell more.
    pub(crate) fn may_be_sent(&self) -> bool {
        match self {
            Self::Whole(..) => true,
            Self::Stream(stream) => stream.may_be_sent(),
        }
    }

    /// Whether the connection has carried no other request since this one began.
    pub(crate) fn is_alone(&self) -> bool {
        match self {
            Self::Whole(..) => true,
            Self::Stream(stream) => stream.is_alone(),
        }
    }

    /// Notes that a response has come to the request that was sent at that moment.
    pub(crate) fn note_answered(&self, sent: Instant) {
        self.mark_used();
        let connection = self.connection();
        connection.pool.address_answered(&connection.origin, sent);
        if let Self::Stream(stream) = self {
            stream.note_answered();
        }
    }
}

impl<B> PooledConnection<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Gives the request to hyper now; the answer is polled later.
    ///
    /// The connection may end on another thread at this very moment. hyper's channel drops a
    /// request that was queued after its receiver stopped, and so hands it back, only when its last
    /// sender is dropped. So the sender of a connection that has ended is dropped here, and the
    /// request comes back as the outcome.
    ///
    /// # Errors
    ///
    /// The request, if the connection had ended before.
    pub(crate) fn send(&mut self, request: Request<RequestBody<B>>) -> Result<(), Unsent<B>> {
        let Channel { sender, answer } = match self {
            Self::Whole(_, channel) => &mut **channel,
            Self::Stream(stream) => return stream.send(request),
        };
        let Some(http1) = sender else {
            return Err(Box::new(request));
        };
        answer.set(Exchanged::new(http1.try_send_request(request)));
        if http1.is_closed() {
            *sender = None;
        }
        Ok(())
    }
}

impl<B: Send + 'static> Numbered for PooledConnection<B> {
    fn id(&self) -> u64 {
        self.connection().facts.id
    }

    fn has_answered(&self) -> bool {
        self.has_been_used()
    }
}

impl<B: Send + 'static> fmt::Debug for PooledConnection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConnection")
            .field("id", &self.connection().facts.id)
            .field("origin", &self.connection().origin)
            .finish_non_exhaustive()
    }
}
