use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};
use pin_project_lite::pin_project;
use tokio::{runtime, time::Instant};
use tokio_util::sync::ReusableBoxFuture;

use super::{
    Pool, Shared,
    shared::Part,
    state::{Given, Numbered},
};
use crate::{
    box_error::BoxError,
    connector::ViaProxy,
    exchange::RequestBody,
    exchange::{Cause, Release, Wire},
    exchange::{FOR, Unread},
    info::Facts,
    origin::Origin,
};

/// What comes of one request.
pub(crate) type Answer<B> = Result<Response<Incoming>, Unanswered<B>>;

/// Why there is no response. Boxed: an answer is moved several times, and a request is larger than a
/// response.
pub(crate) enum Unanswered<B> {
    /// hyper's error, perhaps with the request that it did not send.
    Failed(Box<TrySendError<Request<RequestBody<B>>>>),
    /// hyper was not given the request.
    Unsent(Unsent<B>),
}

pin_project! {
    /// A future of hyper, with a smaller answer.
    pub(super) struct Exchanged<F> {
        #[pin]
        inner: F,
    }
}

impl<F> Exchanged<F> {
    #[inline]
    pub(super) fn new(inner: F) -> Self {
        Self { inner }
    }
}

impl<F, B> Future for Exchanged<F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody<B>>>>>,
{
    type Output = Answer<B>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.project().inner.poll(cx);
        polled.map_err(|error| Unanswered::Failed(Box::new(error)))
    }
}

/// A request that hyper was not given.
pub(crate) type Unsent<B> = Box<Request<RequestBody<B>>>;

/// The box in which a connection's futures of hyper are kept, one after the other: so a request on
/// an open connection allocates nothing for them.
pub(super) type AnswerBox<B> = ReusableBoxFuture<'static, Answer<B>>;

/// What is known of a connection for as long as it lives.
pub(crate) struct Connection<B: Send + 'static> {
    facts: Arc<Facts>,
    pool: Arc<Pool<B>>,
    origin: Origin,
    wire: Arc<Wire>,
    expires: Option<Instant>,
    /// Set if the peer is an HTTP proxy that is sent requests whole.
    via_proxy: Option<ViaProxy>,
    /// What drives it.
    runtime: Option<runtime::Id>,
    /// Whether a response has come over it.
    used: AtomicBool,
    /// Whether its task has ended.
    ended: AtomicBool,
    /// How many requests it has been given.
    requests: AtomicU64,
    /// How long the peer says that it keeps the connection idle, in seconds; 0 if it does not.
    idle_hint: AtomicU32,
    /// Whether the task of the connection has yet to hear of that.
    idle_hint_is_new: AtomicBool,
    /// Kept here while a response body holds an HTTP/1 connection, whose type does not know `B`.
    parked: Mutex<Option<Box<Channel<B>>>>,
    /// The rest of a response body that nobody wants, for the task of the connection.
    unread: Mutex<Option<Box<Unread>>>,
}

/// The way to hyper's HTTP/1 connection; made once for each.
pub(crate) struct Channel<B: Send + 'static> {
    /// `None` when the connection has ended while a request was given to it.
    sender: Option<SendRequest<RequestBody<B>>>,
    answer: AnswerBox<B>,
}

/// A connection, or a part of one, that somebody may send on: whoever holds it is alone.
///
/// It has the size of three pointers, since each request moves it from the pool to its future and
/// back.
pub(crate) enum Link<B: Send + 'static> {
    /// An HTTP/1 connection.
    Whole(Arc<Connection<B>>, Box<Channel<B>>),
    /// The right to one stream of an HTTP/2 connection.
    Part(Part<B>),
}

impl<B: Send + 'static> Connection<B> {
    pub(crate) fn new(
        facts: Facts,
        pool: Arc<Pool<B>>,
        origin: Origin,
        wire: Arc<Wire>,
        expires: Option<Instant>,
        via_proxy: Option<ViaProxy>,
    ) -> Arc<Self> {
        Arc::new(Self {
            facts: Arc::new(facts),
            pool,
            origin,
            wire,
            expires,
            via_proxy,
            runtime: crate::runtime::current(),
            used: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            idle_hint: AtomicU32::new(0),
            idle_hint_is_new: AtomicBool::new(false),
            parked: Mutex::new(None),
            unread: Mutex::new(None),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.facts.id
    }

    /// The runtime that drives it.
    #[inline]
    pub(crate) fn runtime(&self) -> Option<runtime::Id> {
        self.runtime
    }

    pub(crate) fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Counts a request; returns whether it is the last that the connection may carry.
    pub(crate) fn count_request(&self) -> bool {
        let requests = self.requests.fetch_add(1, Relaxed).saturating_add(1);
        let limit = self.pool.config().pool.max_requests_per_connection;
        limit.is_some_and(|limit| requests >= limit)
    }

    /// How many requests it has been given.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    #[cfg(feature = "http2")]
    pub(crate) fn wire_arc(&self) -> &Arc<Wire> {
        &self.wire
    }

    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Whether it may take a request, as far as this side knows: neither cut nor too old.
    #[inline]
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.wire.severed().is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Notes why it takes no request any more: it is closed, or too old.
    pub(super) fn let_go(&self) -> Cause {
        let too_old = self
            .expires
            .is_some_and(|expires| expires <= Instant::now());
        let cause = if too_old {
            Cause::TooOld
        } else {
            Cause::Broken
        };
        self.wire.leave(cause);
        cause
    }

    /// Takes note of how long the peer says that it keeps the connection idle.
    pub(crate) fn hint_idle(&self, seconds: u32) {
        // One second early, so that no request crosses the peer's end of it.
        let seconds = seconds.saturating_sub(1).max(1);
        if self.idle_hint.swap(seconds, Relaxed) != seconds {
            self.idle_hint_is_new.store(true, Relaxed);
            self.wire.wake();
        }
    }

    /// The time that the peer said last, if its task has not been told.
    pub(crate) fn new_idle_hint(&self) -> Option<Duration> {
        let is_new = self.idle_hint_is_new.load(Relaxed);
        is_new.then(|| self.idle_hint_is_new.store(false, Relaxed))?;
        self.idle_hint()
    }

    fn idle_hint(&self) -> Option<Duration> {
        let seconds = self.idle_hint.load(Relaxed);
        (seconds != 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// How long it may stand idle: as the pool allows, and as the peer does.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        let own = self.pool.config().pool.idle_timeout;
        own.into_iter().chain(self.idle_hint()).min()
    }

    /// Takes note that its task has ended; comes before the pool forgets it.
    pub(super) fn note_ended(&self) {
        self.ended.store(true, Relaxed);
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// The proxy that the peer is, if it is one that is sent requests whole.
    pub(crate) fn via_proxy(&self) -> Option<&ViaProxy> {
        self.via_proxy.as_ref()
    }

    /// What a response body has left behind.
    pub(crate) fn take_unread(&self) -> Option<Box<Unread>> {
        self.unread().take()
    }

    fn unread(&self) -> MutexGuard<'_, Option<Box<Unread>>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parked(&self) -> MutexGuard<'_, Option<Box<Channel<B>>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send + 'static> Release for Connection<B> {
    fn release(self: Arc<Self>, _: Option<Arc<Wire>>) {
        let channel = self.parked().take();
        self.wire.end();
        if let Some(channel) = channel {
            Pool::put_back(Link::Whole(self, channel));
        }
    }

    fn drain(self: Arc<Self>, unread: Unread) {
        *self.unread() = Some(Box::new(unread));
        self.wire.begin_draining(FOR);
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn requests(&self) -> u64 {
        self.requests()
    }

    fn body_idle(&self) -> Option<Duration> {
        self.pool.config().timeouts.body_idle
    }

    fn is_body_idle_chosen(&self) -> bool {
        self.pool.config().timeouts.body_idle_is_chosen
    }

    fn is_download_floor_chosen(&self) -> bool {
        self.pool.config().timeouts.download_floor_is_chosen
    }

    fn runtime(&self) -> Option<runtime::Id> {
        self.runtime
    }
}

impl<B: Send + 'static> Link<B> {
    /// A new HTTP/1 connection.
    pub(crate) fn http1(
        connection: Arc<Connection<B>>,
        sender: SendRequest<RequestBody<B>>,
    ) -> Self {
        let channel = Channel {
            sender: Some(sender),
            // Takes no memory; the first request makes the box that all later ones use.
            answer: ReusableBoxFuture::new(std::future::pending()),
        };
        Self::Whole(connection, Box::new(channel))
    }

    /// What the state gave: a connection of its own, or a part of a shared one.
    pub(super) fn of(given: Given<Self, Arc<Shared<B>>>) -> Self {
        match given {
            Given::Own(link) => link,
            Given::Part(shared) => Self::part(shared),
        }
    }

    /// Takes the part of a shared connection that the state has counted.
    pub(super) fn part(shared: Arc<Shared<B>>) -> Self {
        Self::Part(Part::begin(shared))
    }

    #[inline]
    pub(crate) fn connection(&self) -> &Arc<Connection<B>> {
        match self {
            Self::Whole(connection, _) => connection,
            Self::Part(part) => part.connection(),
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.connection().origin
    }

    /// What the exchange is noted on.
    pub(crate) fn wire(&self) -> &Arc<Wire> {
        match self {
            Self::Whole(connection, _) => &connection.wire,
            Self::Part(part) => part.wire(),
        }
    }

    /// What the connection's socket is noted on, whoever uses it.
    pub(crate) fn socket(&self) -> &Wire {
        &self.connection().wire
    }

    /// Whether others use the connection at the same time.
    pub(crate) fn is_part(&self) -> bool {
        matches!(self, Self::Part(_))
    }

    pub(crate) fn mark_used(&self) {
        self.connection().used.store(true, Relaxed);
    }

    pub(crate) fn has_been_used(&self) -> bool {
        self.connection().used.load(Relaxed)
    }

    /// Counts a request; returns whether it is the last that the connection may carry.
    pub(crate) fn count_request(&self) -> bool {
        let last = self.connection().count_request();
        if last && self.is_part() {
            // The pool has given its last part out.
            self.connection().wire.leave(Cause::Served);
        }
        last
    }

    /// Gives no more requests to a connection that others use too.
    pub(crate) fn withdraw(&self, cause: Cause) {
        self.connection().wire.leave(cause);
        self.connection().pool.withdraw(self.connection(), None);
    }

    /// Whether a request may be given to it: neither closed nor too old.
    #[inline]
    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        !self.is_closed() && self.connection().is_fresh(now)
    }

    /// Whether it is a part that the peer does not allow any more.
    pub(crate) fn is_too_much(&self) -> bool {
        match self {
            Self::Whole(..) => false,
            Self::Part(part) => part.is_too_much(),
        }
    }

    /// Whether hyper takes a request now.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Whole(_, channel) => channel.sender.as_ref().is_none_or(SendRequest::is_ready),
            Self::Part(_) => true,
        }
    }

    /// Waits until hyper takes a request, or never will.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Whole(_, channel) => match &mut channel.sender {
                Some(sender) => sender.poll_ready(cx).map(|_| ()),
                None => Poll::Ready(()),
            },
            Self::Part(_) => Poll::Ready(()),
        }
    }

    /// Ends a connection that takes no request any more.
    pub(super) fn let_go(self) {
        let cause = self.connection().let_go();
        self.abort(cause);
    }

    /// Ends what goes on: the connection, or this part of a shared one.
    pub(crate) fn abort(self, cause: Cause) {
        match self {
            Self::Whole(connection, _) => {
                connection.wire.sever(cause);
            }
            // Dropping hyper's future resets the stream.
            Self::Part(part) => drop(part),
        }
    }

    /// Gives back what nothing was sent on.
    pub(crate) fn give_back(self) {
        match self {
            Self::Whole(..) => Pool::put_back(self),
            Self::Part(part) => drop(part),
        }
    }

    /// Leaves the connection to a response body, which gives it back.
    pub(crate) fn park(self) -> (Arc<dyn Release>, Option<Arc<Wire>>) {
        match self {
            Self::Whole(connection, channel) => {
                *connection.parked() = Some(channel);
                (connection, None)
            }
            Self::Part(part) => part.park(),
        }
    }

    /// Asks for the answer.
    #[inline]
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer<B>> {
        match self {
            Self::Whole(_, channel) => channel.answer.poll(cx),
            Self::Part(part) => part.poll_answer(cx),
        }
    }

    /// Takes the request back, if hyper was not given it.
    pub(crate) fn take_back(&self) -> Option<Unsent<B>> {
        match self {
            Self::Whole(..) => None,
            Self::Part(part) => part.take_back(),
        }
    }

    /// Whether the connection takes no request any more.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Whole(_, channel) => channel.sender.as_ref().is_none_or(SendRequest::is_closed),
            Self::Part(part) => part.is_closed(),
        }
    }

    /// Whether the head of the request may have been written, of a part; of a whole connection its
    /// socket tells.
    pub(crate) fn may_be_sent(&self) -> bool {
        match self {
            Self::Whole(..) => true,
            Self::Part(part) => part.may_be_sent(),
        }
    }

    /// Whether the connection has carried no other request since this one began.
    pub(crate) fn is_alone(&self) -> bool {
        match self {
            Self::Whole(..) => true,
            Self::Part(part) => part.is_alone(),
        }
    }

    /// Takes note that a response has come.
    pub(crate) fn note_answered(&self) {
        self.mark_used();
        if let Self::Part(part) = self {
            part.note_answered();
        }
    }
}

impl<B> Link<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Gives the request to hyper now; the answer is polled later.
    ///
    /// A connection may end on another thread at that very moment, and leave the request in a
    /// channel that nobody reads: tokio's is emptied only by what comes before its end, or when
    /// its last sender goes. So no sender is kept for a connection that has ended by then; the
    /// request comes back with the answer.
    ///
    /// # Errors
    ///
    /// The request, where the connection had ended before.
    pub(crate) fn send(&mut self, request: Request<RequestBody<B>>) -> Result<(), Unsent<B>> {
        let Channel { sender, answer } = match self {
            Self::Whole(_, channel) => &mut **channel,
            Self::Part(part) => return part.send(request),
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

impl<B: Send + 'static> Numbered for Link<B> {
    fn id(&self) -> u64 {
        self.connection().facts.id
    }

    fn has_answered(&self) -> bool {
        self.has_been_used()
    }
}

impl<B: Send + 'static> fmt::Debug for Link<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.connection().facts.id)
            .field("origin", &self.connection().origin)
            .finish_non_exhaustive()
    }
}
