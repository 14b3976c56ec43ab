//! The future of a [`Session`](crate::Session).

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, TRANSFER_ENCODING},
    response::Parts,
};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{task::yield_now, time::Instant};

use crate::{
    ConnectionInfo, Error, SessionBody, Step,
    body::Lease,
    box_error::BoxError,
    checkout::{self, CheckingOut, Place},
    config::Config,
    drive::Away,
    error::{Kind, Phase},
    exchange::RequestBody,
    exchange::{Cause, MAX_HEAD},
    expect::Expectation,
    origin::{Origin, Spelled},
    pool::{
        ALLOWS_NO_REQUEST, Arrival, CheckedOut, Link, Mail, Pool, Ticket, Unanswered, Unsent, Wait,
        Waiting,
    },
    reuse, runtime,
    target::{self, Noted},
    throughput,
};

/// The future of a request: the head of its response, with the body that holds the connection.
///
/// # Cancel safety
///
/// Dropped before a connection is there, it leaves the queue, and nothing was sent. Dropped later,
/// it closes its connection, since HTTP/1 has no other way to end an exchange; the request, or a
/// part of it, may have been sent by then.
#[must_use = "dropping it ends the request"]
pub struct ResponseFuture<B: Send + 'static> {
    state: State<B>,
}

enum State<B: Send + 'static> {
    /// No connection was ready: waiting for one, or for the one it has to take requests.
    CheckingOut(CheckingOut<Result<Exchange<B>, Error>>),
    Exchanging(Exchange<B>),
    Failed(Option<Error>),
    /// Called outside of a runtime; begins where it is polled.
    Later(Option<Box<Called<B>>>),
}

/// What a session was called with.
type Called<B> = (Arc<Pool<B>>, Request<B>);

impl<B> ResponseFuture<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) fn failed(error: Error) -> Self {
        Self {
            state: State::Failed(Some(error)),
        }
    }

    #[cold]
    pub(crate) fn later(pool: Arc<Pool<B>>, request: Request<B>) -> Self {
        Self {
            state: State::Later(Some(Box::new((pool, request)))),
        }
    }

    /// Whether the request has been given a connection. Until then it waits in the pool's queue, or
    /// for a connection that is being set up.
    #[must_use]
    pub fn has_connection(&self) -> bool {
        matches!(self.state, State::Exchanging(_))
    }

    /// Returns the step that the request has come to: what it waits for.
    ///
    /// It is made to be asked once, by whoever gives the request up: while a request waits for a
    /// connection, the answer takes the lock of the pool.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.state {
            State::CheckingOut(future) => future.step(),
            State::Exchanging(exchange) => exchange.step(),
            State::Failed(_) | State::Later(_) => Step::Queue,
        }
    }

    /// Begins on a connection that was there at once, and takes a request.
    #[inline]
    pub(crate) fn begin(
        link: Link<B>,
        ticket: Ticket,
        request: Request<RequestBody<B>>,
        noted: Noted,
        now: Instant,
    ) -> Self {
        let turn = KeptTurn::AtOnce(ticket);
        Self {
            state: State::Exchanging(Exchange::begin(link, request, noted, now, turn)),
        }
    }

    /// Begins with whatever the pool gave.
    #[cold]
    pub(crate) fn start(
        pool: &Arc<Pool<B>>,
        checked_out: CheckedOut<B>,
        request: Request<RequestBody<B>>,
        noted: Noted,
        now: Instant,
    ) -> Self {
        Self {
            state: State::begin(pool, checked_out, Duration::ZERO, request, noted, now),
        }
    }
}

impl<B> State<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Begins with what the pool gave to a request that has been `queued` for so long before.
    fn begin(
        pool: &Arc<Pool<B>>,
        checked_out: CheckedOut<B>,
        queued: Duration,
        request: Request<RequestBody<B>>,
        noted: Noted,
        now: Instant,
    ) -> Self {
        match checked_out {
            CheckedOut::Link(link, arrival) => {
                let turn = Turn { arrival, queued };
                if link.is_ready() {
                    let turn = KeptTurn::new(turn, now);
                    return Self::Exchanging(Exchange::begin(link, request, noted, now, turn));
                }
                Self::waits(None, when_ready(link, request, noted, turn))
            }
            CheckedOut::Waiting(waiting) => {
                let place = Place::of(pool, &waiting);
                let served = when_served(pool.clone(), waiting, queued, request, noted);
                Self::waits(Some(place), served)
            }
        }
    }

    fn waits(
        place: Option<Place<B>>,
        exchange: impl Future<Output = Result<Exchange<B>, Error>> + Send + 'static,
    ) -> Self {
        Self::CheckingOut(checkout::at(place, exchange))
    }

    /// Begins again with a request that never left, and so is still the same attempt.
    #[cold]
    fn again(lost: Lost<B>) -> Result<Self, Error> {
        let (pool, origin, turn, mut request) = match lost {
            Lost::Failed(error) => return Err(error),
            Lost::HandedBack {
                pool,
                origin,
                turn,
                request,
            } => (pool, origin, turn, *request),
        };
        let now = Instant::now();
        let mut noted = Noted::of(&request);
        reuse::frame_again(&mut request, &mut noted);
        match pool.check_out(&origin.here(), now, Some(turn.arrival)) {
            Ok(checked_out) => {
                let queued = turn.queued;
                Ok(Self::begin(&pool, checked_out, queued, request, noted, now))
            }
            Err(error) => Err(error.at(&origin)),
        }
    }

    /// Begins what was called outside of a runtime.
    #[cold]
    fn late((pool, request): Called<B>) -> Self {
        start(&pool, request, runtime::current()).state
    }
}

impl<B> Future for ResponseFuture<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<SessionBody>, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            self.state = match &mut self.state {
                State::Exchanging(exchange) => match ready!(exchange.poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(response)),
                    Err(lost) => State::again(lost)?,
                },
                State::CheckingOut(future) => State::Exchanging(ready!(future.as_mut().poll(cx))?),
                State::Failed(error) => {
                    let error = error.take().expect("polled after it had failed");
                    return Poll::Ready(Err(error));
                }
                State::Later(call) => {
                    State::late(*call.take().expect("replaced when it is polled"))
                }
            };
        }
    }
}

impl<B: Send + 'static> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::CheckingOut(_) => "CheckingOut",
            State::Exchanging(_) => "Exchanging",
            State::Failed(_) => "Failed",
            State::Later(_) => "Later",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish()
    }
}

// Nothing in it is pinned in place: what must be is in a box.
impl<B: Send + 'static> Unpin for ResponseFuture<B> {}

/// Finds a connection for a request that runs on this runtime, or lets it wait for one.
#[inline]
pub(crate) fn start<B>(
    pool: &Arc<Pool<B>>,
    request: Request<B>,
    runtime: Option<runtime::Id>,
) -> ResponseFuture<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let now = Instant::now();
    let mut request = request.map(RequestBody::new);
    let mut noted = Noted::of(&request);
    let origin = match pools_key(pool.config(), &mut request, &mut noted, runtime) {
        Ok(origin) => origin,
        Err(error) => return ResponseFuture::failed(error),
    };
    let checked_out = match pool.take(&origin, now) {
        // So it is for most requests.
        Some((link, ticket)) if link.is_ready() => {
            return ResponseFuture::begin(link, ticket, request, noted, now);
        }
        Some((link, ticket)) => Ok(CheckedOut::Link(link, Arrival { ticket, since: now })),
        None => origin
            .read()
            .map_err(Error::from)
            .and_then(|origin| pool.check_out(&origin, now, None)),
    };
    match checked_out {
        Ok(checked_out) => ResponseFuture::start(pool, checked_out, request, noted, now),
        Err(error) => ResponseFuture::failed(error),
    }
}

/// Frames the request, and says which connections it may have.
#[inline]
fn pools_key<'a, B>(
    config: &Config,
    request: &'a mut Request<RequestBody<B>>,
    noted: &mut Noted,
    runtime: Option<runtime::Id>,
) -> Result<Spelled<'a>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let announced = reuse::frame_request(request, noted).map_err(Error::new)?;
    request.body_mut().announce(announced);
    let origin = Spelled::of(request.uri())?.on(runtime);
    Ok(if noted.upgrade && config.may_share(&origin) {
        origin.by_http1()
    } else if noted.options.is_by_http2(request.uri(), config) {
        origin.by_http2()
    } else {
        origin
    })
}

/// A request's place in the order of arrival, and how much of the queue's timeout it has used up:
/// both stay when the connection that it was given takes no requests, and it waits again.
#[derive(Clone, Copy, Debug)]
struct Turn {
    arrival: Arrival,
    queued: Duration,
}

/// A [`Turn`] as an exchange keeps it. Hardly any request has waited for its connection, so those
/// that have keep theirs apart: each future of a request, and all that hold it, are the smaller.
enum KeptTurn {
    AtOnce(Ticket),
    Waited(Box<Turn>),
}

impl KeptTurn {
    fn new(turn: Turn, began: Instant) -> Self {
        if turn.arrival.since == began {
            Self::AtOnce(turn.arrival.ticket)
        } else {
            Self::Waited(Box::new(turn))
        }
    }

    /// The turn of an exchange that began at this moment.
    fn get(&self, began: Instant) -> Turn {
        match self {
            Self::AtOnce(ticket) => Turn {
                arrival: Arrival {
                    ticket: *ticket,
                    since: began,
                },
                queued: Duration::ZERO,
            },
            Self::Waited(turn) => **turn,
        }
    }

    /// How long it took until the exchange began.
    #[inline]
    fn waited(&self, began: Instant) -> Duration {
        match self {
            Self::AtOnce(_) => Duration::ZERO,
            Self::Waited(turn) => began.saturating_duration_since(turn.arrival.since),
        }
    }
}

/// Waits for a connection, and until hyper takes a request on it.
async fn when_served<B>(
    pool: Arc<Pool<B>>,
    mut waiting: Waiting<B>,
    mut queued: Duration,
    request: Request<RequestBody<B>>,
    noted: Noted,
) -> Result<Exchange<B>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    loop {
        let origin = waiting.origin().clone();
        let (link, mut turn) = served(&pool, waiting, queued, noted.options.connect()).await?;
        let link = match link {
            Some(link) if !link.is_too_much() => link,
            link => {
                if let Some(link) = link {
                    link.give_back();
                }
                let again = pool.check_out(&origin.here(), Instant::now(), Some(turn.arrival));
                match again.map_err(|error| error.at(&origin))? {
                    CheckedOut::Link(link, arrival) => {
                        turn.arrival = arrival;
                        link
                    }
                    CheckedOut::Waiting(again) => {
                        (waiting, queued) = (again, turn.queued);
                        continue;
                    }
                }
            }
        };
        return when_ready(link, request, noted, turn).await;
    }
}

/// Waits in the queue, where it has been for `queued` before, and opens a connection when a slot
/// comes.
///
/// Returns no connection where the slot comes on another runtime than the one that the request was
/// called on. A connection opened there would be kept for requests of the runtime of the call,
/// which does not drive it; so the request has to wait anew, among those of its present runtime.
async fn served<B>(
    pool: &Arc<Pool<B>>,
    waiting: Waiting<B>,
    queued: Duration,
    connect: Option<Duration>,
) -> Result<(Option<Link<B>>, Turn), Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut times = Times::new(pool, queued, waiting.wait(), connect);
    loop {
        let mail = poll_fn(|cx| waiting.poll_mail(cx));
        let mail = match before(times.next(), mail).await {
            Some(mail) => mail,
            None => match times.look(waiting.is_covered()) {
                None => continue,
                Some(kind) => {
                    // Asked before it waits once more: what the pool knows by then may be of a later try.
                    let error = timed_out(kind, pool, &waiting);
                    match served_late(&waiting).await {
                        Some(outcome) => Mail::Served(outcome),
                        None => return Err(error),
                    }
                }
            },
        };
        match mail {
            Mail::Slot(slot) if runtime::is_away(waiting.origin().runtime()) => {
                times.granted();
                drop(slot);
                let turn = Turn {
                    arrival: waiting.arrival(),
                    queued: times.queued(),
                };
                return Ok((None, turn));
            }
            Mail::Slot(slot) => {
                times.granted();
                pool.open(slot);
            }
            Mail::Served(outcome) => {
                let origin = waiting.origin();
                let link = outcome.map_err(|error| match error.origin() {
                    Some(_) => error,
                    None => error.at(origin),
                })?;
                let turn = Turn {
                    arrival: waiting.arrival(),
                    queued: times.queued(),
                };
                return Ok((Some(link), turn));
            }
        }
    }
}

/// The connection, or the error, that other tasks of this runtime bring when the time of the request is over
/// for them too.
///
/// Where the runtime stood still for a while, the times of several tasks run out together. The task that
/// opens a connection knows whether it is open, or else what took too long. So it is let go first, as far
/// as one turn does that: on a runtime of several threads it may still be late.
async fn served_late<B: Send + 'static>(waiting: &Waiting<B>) -> Option<Result<Link<B>, Error>> {
    yield_now().await;
    poll_fn(|cx| match waiting.poll_mail(cx) {
        Poll::Ready(Mail::Served(outcome)) => Poll::Ready(Some(outcome)),
        // A slot would begin a wait anew. It goes back.
        Poll::Ready(Mail::Slot(_)) | Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn timed_out<B: Send + 'static>(kind: Kind, pool: &Pool<B>, waiting: &Waiting<B>) -> Error {
    let origin = waiting.origin();
    let refused = matches!(kind, Kind::PoolTimeout(_)) && pool.is_refused(origin);
    let error = match kind {
        Kind::Timeout(Phase::Connect, after) => Error::connect_timeout(waiting.step(), after),
        kind => Error::new(kind),
    };
    let error = error.at(origin);
    if refused {
        error.with(ALLOWS_NO_REQUEST)
    } else {
        error
    }
}

/// How long a request waits for a connection.
///
/// What it waits for may change unseen: a place becomes free, or a connection that was to serve
/// many turns out to be full. So it is asked for when a time has passed.
struct Times {
    /// The settings.
    queue: Option<Duration>,
    connect: Option<Duration>,
    /// How long it waits for connects, one after the other.
    connects: Option<Duration>,
    /// How much of the queue's timeout is used up.
    queued: Duration,
    wait: Wait,
    /// Since when it waits for that.
    since: Instant,
    /// When the times were looked at last.
    looked: Instant,
}

/// How long a request goes on waiting for nothing at most, where its time in the queue is over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Times {
    /// With how long the request itself wants to wait for connects, if it says so.
    fn new<B: Send + 'static>(
        pool: &Pool<B>,
        queued: Duration,
        wait: Wait,
        own: Option<Duration>,
    ) -> Self {
        let now = Instant::now();
        let timeouts = &pool.config().timeouts;
        // One that is longer changes nothing: connects are shared, and have the session's.
        let own = own.filter(|own| timeouts.connect.is_none_or(|connect| *own < connect));
        Self {
            queue: pool.config().pool.queue_timeout,
            connect: own.or(timeouts.connect),
            connects: own.or(timeouts.connects()),
            queued,
            wait,
            since: now,
            looked: now,
        }
    }

    fn queue_ends(&self) -> Option<Instant> {
        let left = self.queue?.saturating_sub(self.queued);
        self.since.checked_add(left)
    }

    /// When it has waited long enough for connections to be opened.
    fn connect_ends(&self) -> Option<Instant> {
        let within = self.connects.filter(|_| self.wait == Wait::Connecting)?;
        self.since.checked_add(within)
    }

    /// When to look at the times next.
    fn next(&self) -> Option<Instant> {
        let ends = [self.queue_ends(), self.connect_ends()].into_iter();
        let next = ends.flatten().filter(|at| *at > self.looked).min();
        // The queue's time is over while a connection is being opened without a time of its own.
        // Should that fail, the wait is over, and nothing else says so.
        let again = self.looked.checked_add(LOOK_AGAIN);
        next.or_else(|| again.filter(|_| self.queue.is_some()))
    }

    /// Looks at the times; says which has run out, if it waits for what that is for.
    fn look(&mut self, is_covered: bool) -> Option<Kind> {
        let now = Instant::now();
        self.looked = now;
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if !is_covered {
            let after = self.queue.unwrap_or_default();
            return is_over(self.queue_ends()).then_some(Kind::PoolTimeout(after));
        }
        if self.wait == Wait::Queued {
            // Not for lack of a place any more.
            self.connects();
            return None;
        }
        let after = self.connect.unwrap_or_default();
        is_over(self.connect_ends()).then_some(Kind::Timeout(Phase::Connect, after))
    }

    /// A slot has come. If a connection was being opened for it before, that came to nothing, and
    /// nothing tells since when: so all of that time was spent in the queue, as
    /// [`queue_ends`](Self::queue_ends) has it.
    fn granted(&mut self) {
        self.wait = Wait::Queued;
        self.connects();
    }

    /// From now on it waits for a connection that is being opened.
    fn connects(&mut self) {
        self.queued = self.queued();
        self.wait = Wait::Connecting;
        self.since = Instant::now();
        self.looked = self.since;
    }

    /// How long it has been in the queue.
    fn queued(&self) -> Duration {
        match self.wait {
            Wait::Queued => self.queued.saturating_add(self.since.elapsed()),
            Wait::Connecting => self.queued,
        }
    }
}

/// Waits until `moment`, if there is one, and no longer. Outside of a runtime there is no clock, and
/// it waits for as long as that takes.
async fn before<T>(moment: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match moment.filter(|_| runtime::current().is_some()) {
        Some(moment) => tokio::time::timeout_at(moment, future).await.ok(),
        None => Some(future.await),
    }
}

/// Waits until hyper takes the next request: on a connection that was used before, its task may
/// still be about to see the end of the exchange.
async fn when_ready<B>(
    link: Link<B>,
    request: Request<RequestBody<B>>,
    noted: Noted,
    turn: Turn,
) -> Result<Exchange<B>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut link = Untouched(Some(link));
    // An error here means that it is closed; sending hands the request back then.
    poll_fn(|cx| link.get().poll_ready(cx)).await;
    let now = Instant::now();
    let turn = KeptTurn::new(turn, now);
    Ok(Exchange::begin(link.take(), request, noted, now, turn))
}

/// A link that nothing was sent on: dropped, it goes back to the pool.
struct Untouched<B: Send + 'static>(Option<Link<B>>);

impl<B: Send + 'static> Untouched<B> {
    fn get(&mut self) -> &mut Link<B> {
        self.0.as_mut().expect("taken only at its end")
    }

    fn take(mut self) -> Link<B> {
        self.0.take().expect("taken only at its end")
    }
}

impl<B: Send + 'static> Drop for Untouched<B> {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.give_back();
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wants {
    /// The head alone, which says what it says of a body that does not come.
    Head,
    Whole,
}

impl Wants {
    fn of(method: &Method) -> Self {
        if method == Method::HEAD {
            Self::Head
        } else {
            Self::Whole
        }
    }
}

/// A request that hyper has, until the head of its response comes.
struct Exchange<B: Send + 'static> {
    link: Option<Link<B>>,
    began: Instant,
    turn: KeptTurn,
    asked_upgrade: bool,
    wants: Wants,
    reused: bool,
    /// Whether it is the last that its connection may carry.
    last: bool,
    /// Apart, so that the future of a request is the smaller without it.
    rare: Option<Box<Rare<B>>>,
}

/// What only few exchanges have.
struct Rare<B: Send + 'static> {
    /// The request, if hyper was not given it.
    unsent: Option<Unsent<B>>,
    /// Keeps the times, where it is polled on another runtime than its connection's.
    away: Away,
    /// What its body waits for, if it waits.
    expectation: Option<Expectation<B>>,
}

impl<B: Send + 'static> Default for Rare<B> {
    fn default() -> Self {
        Self {
            unsent: None,
            away: Away::default(),
            expectation: None,
        }
    }
}

#[cold]
fn rare_of<B: Send + 'static>(rare: &mut Option<Box<Rare<B>>>) -> &mut Rare<B> {
    rare.get_or_insert_default()
}

/// What becomes of a request that got no response.
enum Lost<B: Send + 'static> {
    Failed(Error),
    HandedBack {
        pool: Arc<Pool<B>>,
        origin: Origin,
        turn: Turn,
        request: Unsent<B>,
    },
}

type Answered<B> = Result<Response<SessionBody>, Lost<B>>;

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn begin(
        mut link: Link<B>,
        mut request: Request<RequestBody<B>>,
        noted: Noted,
        began: Instant,
        turn: KeptTurn,
    ) -> Self {
        let reused = link.has_been_used();
        if reused {
            link.connection().pool().reused(link.connection());
        }
        let pool = link.connection().pool();
        pool.tell_acquired(link.connection(), || turn.waited(began));
        let last = link.count_request();
        let timeouts = &link.connection().pool().config().timeouts;
        let own = noted.options.times(timeouts);
        let head = own.head.or(timeouts.head);
        let has_body = !request.body().is_end_stream();
        link.wire().begin(began, head, has_body, link.socket());
        link.wire().set_own_times(own);
        if has_body {
            request.body_mut().attach(link.wire(), head, link.is_part());
        }
        let mut rare = None;
        if let Some(floors) = noted.options.floors(timeouts) {
            let away = &mut rare_of(&mut rare).away;
            away.hold_to(floors, has_body, link.wire());
        }
        let wants = Wants::of(request.method());
        if link.is_part() {
            target::for_http2(&mut request, noted, link.origin());
        } else {
            let via_proxy = link.connection().via_proxy();
            target::for_http1(&mut request, noted, link.origin(), via_proxy);
        }
        if noted.expect {
            let expectation = Expectation::begin(&mut request, &link, began);
            rare_of(&mut rare).expectation = expectation;
        }
        if let Err(request) = link.send(request) {
            rare_of(&mut rare).unsent = Some(request);
        }
        Self {
            link: Some(link),
            began,
            turn,
            asked_upgrade: noted.upgrade,
            wants,
            reused,
            last,
            rare,
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answered<B>> {
        if let Some(request) = self.rare.as_mut().and_then(|it| it.unsent.take()) {
            return Poll::Ready(Err(self.unsent(request)));
        }
        let link = self.link.as_mut().expect("not polled after its end");
        let polled = link.poll_answer(cx);
        if polled.is_pending() && !self.is_over(cx) {
            return Poll::Pending;
        }
        let link = self.link.take().expect("not polled after its end");
        Poll::Ready(match polled {
            Poll::Ready(Ok(response)) => {
                let (mut head, body) = response.into_parts();
                match self.answered(link, &mut head, body) {
                    Ok(body) => Ok(Response::from_parts(head, body)),
                    Err(lost) => Err(lost),
                }
            }
            Poll::Ready(Err(error)) => Err(self.unanswered(link, error)),
            Poll::Pending => Err(self.failed(link, None)),
        })
    }

    /// Whether it ends without an answer: one of its times has run out, or it was cut.
    #[inline]
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(link) = &self.link else {
            return false;
        };
        let (connection, wire) = (link.connection(), link.wire());
        if Away::is_needed(connection.runtime(), wire) {
            let away = &mut rare_of(&mut self.rare).away;
            if away.is_over(cx, connection.pool().config(), wire) {
                return true;
            }
        }
        if let Some(rare) = &mut self.rare {
            let socket = link.is_part().then(|| link.socket());
            if rare.away.is_too_slow(cx, wire, socket) {
                return true;
            }
        }
        if link.is_part() && wire.severed().is_some() {
            return true;
        }
        self.poll_expectation(cx);
        false
    }

    fn turn(&self) -> Turn {
        self.turn.get(self.began)
    }

    fn step(&self) -> Step {
        // What lies in the queue of its HTTP/2 connection waits for a place there.
        match &self.link {
            Some(link) if !link.may_be_sent() => Step::Queue,
            Some(link) if !self.waits_for_continue() && link.wire().is_sending() => Step::Upload {
                sent: link.wire().request_body_bytes(),
            },
            Some(_) | None => Step::Head,
        }
    }

    fn waits_for_continue(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|it| it.expectation.is_some())
    }

    /// Waits for what the body waits for.
    #[inline]
    fn poll_expectation(&mut self, cx: &mut Context<'_>) {
        let Some(rare) = &mut self.rare else {
            return;
        };
        let waits = rare.expectation.as_mut();
        if waits.is_some_and(|it| it.poll_wait(cx).is_ready()) {
            rare.expectation = None;
        }
    }

    /// Ends the wait of the body, as a final response does; returns the request without its
    /// expectation if that alone was refused.
    #[inline]
    fn without_expectation(
        &mut self,
        link: &Link<B>,
        status: StatusCode,
    ) -> Option<Request<RequestBody<B>>> {
        let expectation = self.rare.as_mut()?.expectation.take()?;
        expectation.end(status, link.is_part())
    }

    /// Sends a request again without its expectation, which the peer refused.
    ///
    /// Over HTTP/1 its connection cannot be used again. The request announced a body that was not
    /// sent, and the peer may go on reading that: it would take the next request for it
    /// ([RFC 9110, section 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)).
    #[cold]
    fn unexpected(&self, link: Link<B>, head: &Parts, request: Request<RequestBody<B>>) -> Lost<B> {
        let cause = if reuse::is_last(head.version, &head.headers) {
            Cause::Broken
        } else {
            Cause::Unclean
        };
        handed_back(link, self.turn(), Box::new(request), cause)
    }

    #[cold]
    fn unsent(&mut self, request: Unsent<B>) -> Lost<B> {
        let link = self.link.take().expect("not polled after its end");
        self.returned(link, request)
    }

    #[cold]
    fn unanswered(&self, link: Link<B>, error: Unanswered<B>) -> Lost<B> {
        let mut error = match error {
            Unanswered::Failed(error) => error,
            Unanswered::Unsent(request) => return self.returned(link, request),
        };
        match error.take_message() {
            Some(request) if link.has_been_used() => {
                handed_back(link, self.turn(), Box::new(request), Cause::Broken)
            }
            // A new connection that takes no request: another would hardly do better.
            Some(_) => {
                let failed = Error::new(Kind::Unsent).with(error.into_error());
                Lost::Failed(self.named(failed, &link))
            }
            None => self.failed(link, Some(error.into_error())),
        }
    }

    #[inline]
    fn answered(
        &mut self,
        link: Link<B>,
        head: &mut Parts,
        body: Incoming,
    ) -> Result<SessionBody, Lost<B>> {
        let status = head.status;
        if let Some(request) = self.without_expectation(&link, status) {
            return Err(self.unexpected(link, head, request));
        }
        let wire = link.wire();
        let in_time = wire.head_came();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(link, body);
        }
        let misdirected = status == StatusCode::MISDIRECTED_REQUEST;
        if link.is_part() {
            wire.forgive(Cause::HeadTimeout);
            if wire.severed() == Some(Cause::WrongLength) {
                return Err(self.failed(link, None));
            }
            if misdirected {
                link.withdraw(Cause::Suspect);
            }
        }
        let ends = match ends_by_head(&link, head) {
            Ok(ends) => ends,
            Err(kind) => return Err(self.refused(link, kind)),
        };
        if misdirected {
            // What led here before leads here again.
            link.connection()
                .pool()
                .retire_idle(link.origin(), self.began);
        }
        let ends = if misdirected {
            Some(Cause::Suspect)
        } else if ends.is_some() {
            ends
        } else if !reuse::is_clean(status, in_time, wire.request_body_bytes()) {
            Some(Cause::Unclean)
        } else {
            self.last.then_some(Cause::Served)
        };
        let info = self.info(&link);
        link.note_answered();
        let (connection, part) = link.park();
        let lease = Lease {
            connection,
            part,
            ends,
        };
        let mut body = SessionBody::new(body, Some(lease), info);
        if !in_time {
            body.came_early();
        } else if let Some(floors) = self.rare.as_ref().and_then(|it| it.away.floors()) {
            body.hold_to(floors, throughput::may_be_silent(&head.headers));
        }
        if self.wants == Wants::Head || reuse::is_bare(status) {
            body.announces_nothing();
        }
        Ok(body)
    }

    #[cold]
    fn switched(&self, link: Link<B>, body: Incoming) -> Result<SessionBody, Lost<B>> {
        link.mark_used();
        if self.asked_upgrade {
            // The socket belongs to whoever takes the upgrade; it is nobody's exchange now.
            link.wire().end();
            let info = self.info(&link);
            return Ok(SessionBody::new(body, None, info));
        }
        let why = "it switches to a protocol nobody asked for";
        Err(self.refused(link, Kind::Protocol(why)))
    }

    fn info(&self, link: &Link<B>) -> ConnectionInfo {
        let waited = self.turn.waited(self.began);
        ConnectionInfo {
            facts: link.connection().facts().clone(),
            reused: self.reused,
            waited: u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Says what happened to a request that hyper had begun to send, by hyper's error or because
    /// it was cut here.
    #[cold]
    fn failed(&self, link: Link<B>, error: Option<hyper::Error>) -> Lost<B> {
        let pool = link.connection().pool();
        let wire = link.wire();
        // Of a connection that is cut, all parts are.
        let severed = wire.severed().or_else(|| link.socket().severed());
        let untaken = link.take_back().is_some();
        let kind = match severed {
            Some(Cause::Closed) if untaken => Kind::Closed,
            _ if untaken => Kind::Unsent,
            Some(Cause::HeadTimeout) => {
                // What lies in a queue of its connection waits for its place there.
                let phase = if link.may_be_sent() {
                    Phase::Head
                } else {
                    Phase::Queue
                };
                // A request body that nobody takes is limited where the head is not.
                let configured = pool.config().timeouts.head;
                let after = wire.own_times().head.finite().or(configured);
                Kind::Timeout(phase, after.unwrap_or_default())
            }
            Some(Cause::HeadTooLarge) => Kind::TooLarge("its head"),
            Some(Cause::TooSlow) => {
                let slow = self.rare.as_ref().and_then(|it| it.away.too_slow());
                slow.map_or(Kind::Broken, Kind::TooSlow)
            }
            Some(Cause::Closed) => Kind::Aborted,
            Some(Cause::Unanswered) => Kind::Broken,
            Some(Cause::WrongLength) => Kind::RequestBody,
            _ => {
                if wire.has_body_failed() {
                    Kind::RequestBody
                } else {
                    error
                        .as_ref()
                        .map_or(Kind::Broken, |error| Self::broken(&link, error))
                }
            }
        };
        if matches!(kind, Kind::Stale { .. }) {
            pool.retire_idle(link.origin(), self.began);
        }
        let own = match kind {
            Kind::RequestBody => wire.take_error(),
            // What the end of reading says hides why the peer was gone.
            Kind::Broken | Kind::Stale { .. } | Kind::Unsent
                if severed.is_some()
                    || error
                        .as_ref()
                        .is_none_or(hyper::Error::is_incomplete_message) =>
            {
                link.socket().take_error()
            }
            _ => None,
        };
        let failed = self.named(Error::new(kind), &link);
        link.abort(Cause::Broken);
        if let Some(error) = own {
            return Lost::Failed(failed.with(error));
        }
        // What hyper says of a connection that was cut here would only hide why.
        Lost::Failed(match error.filter(|_| severed.is_none()) {
            _ if severed == Some(Cause::Unanswered) => failed.with(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer to a PING",
            )),
            Some(error) => failed.with(error),
            None => failed,
        })
    }

    /// Its connection does not take it.
    #[cold]
    fn returned(&self, link: Link<B>, request: Unsent<B>) -> Lost<B> {
        if link.is_closed() && !link.has_been_used() {
            // A new connection that takes no request: another would hardly do better.
            let failed = self.named(Error::new(Kind::Unsent), &link);
            link.abort(Cause::Broken);
            return Lost::Failed(failed);
        }
        handed_back(link, self.turn(), request, Cause::Broken)
    }

    #[cold]
    fn refused(&self, link: Link<B>, kind: Kind) -> Lost<B> {
        let error = self.named(Error::new(kind), &link);
        link.abort(Cause::Unclean);
        Lost::Failed(error)
    }

    /// Says which connection an error is about.
    fn named(&self, error: Error, link: &Link<B>) -> Error {
        let others = link.connection().requests().saturating_sub(1);
        error.at(link.origin()).on(self.info(link), others)
    }

    /// Says what hyper's error means for the request.
    fn broken(link: &Link<B>, error: &hyper::Error) -> Kind {
        let (wrote, read) = link.wire().since_begun(link.socket());
        let wrote = wrote && link.may_be_sent();
        if let Some(kind) = reuse::stream_error(error, || link.is_alone()) {
            kind
        } else if error.is_parse_too_large() {
            // hyper has one error for all of its limits.
            let buffer = link.connection().pool().config().pool.http1_read_buffer;
            let buffer = buffer.and_then(|bytes| u64::try_from(bytes).ok());
            let most = buffer.map_or(MAX_HEAD, |bytes| bytes.min(MAX_HEAD));
            Kind::TooLarge(if link.wire().read_since_begun(link.socket()) < most {
                "its head has more fields than `http1_max_headers` allows"
            } else {
                "its head"
            })
        } else if error.is_parse() {
            Kind::Protocol("it is not HTTP/1")
        } else if read && (wrote || !link.is_part()) {
            Kind::Broken
        } else if link.has_been_used() {
            Kind::Stale { wrote }
        } else if wrote {
            Kind::Broken
        } else {
            Kind::Unsent
        }
    }
}

/// Its body never left: the next connection gets the request. Of one that is not shared, `cause`
/// says why it ends.
fn handed_back<B: Send + 'static>(
    link: Link<B>,
    turn: Turn,
    mut request: Unsent<B>,
    cause: Cause,
) -> Lost<B> {
    // Its place is free at once, not only when it has found another.
    request.body_mut().detach();
    let pool = link.connection().pool().clone();
    let origin = link.origin().clone();
    link.abort(cause);
    Lost::HandedBack {
        pool,
        origin,
        turn,
        request,
    }
}

/// Reads what the head of a response says of its connection; returns why that must end, if it must.
///
/// Over HTTP/2 it says nothing: h2 refuses such headers
/// ([RFC 9113, section 8.2.2](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2)).
#[inline]
fn ends_by_head<B: Send + 'static>(
    link: &Link<B>,
    head: &mut Parts,
) -> Result<Option<Cause>, Kind> {
    let (version, headers) = (head.version, &mut head.headers);
    if link.is_part() {
        return check_head_size(headers).map(|()| None);
    }
    let mut speaks = version == Version::HTTP_10;
    let mut is_coded = false;
    // One pass: most heads have none of the three, and each lookup would hash its name.
    for name in headers.keys() {
        speaks |= *name == CONNECTION || *name == reuse::KEEP_ALIVE;
        is_coded |= *name == TRANSFER_ENCODING;
    }
    let framed = !is_coded || reuse::check_framing(headers)?;
    if speaks {
        if let Some(seconds) = reuse::keep_alive_hint(headers) {
            link.connection().hint_idle(seconds);
        }
        if reuse::is_last(version, headers) {
            return Ok(Some(Cause::Broken));
        }
    }
    Ok((!framed).then_some(Cause::Unclean))
}

/// Holds a head over HTTP/2 to the size that one over HTTP/1 may have, as
/// [RFC 9113, section 6.5.2](https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2) counts it.
fn check_head_size(headers: &HeaderMap) -> Result<(), Kind> {
    const PER_FIELD: usize = 32;
    let sizes = headers.iter().map(|(name, value)| {
        let size = name.as_str().len().saturating_add(value.len());
        size.saturating_add(PER_FIELD)
    });
    let size = sizes.fold(0, usize::saturating_add);
    if u64::try_from(size).is_ok_and(|size| size <= MAX_HEAD) {
        return Ok(());
    }
    Err(Kind::TooLarge("its head"))
}

impl<B: Send + 'static> Drop for Exchange<B> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.abort(Cause::Dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_whose_time_is_over_ends_soon_after_its_connect_has_failed() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut times = Times {
            queue: Some(second),
            connect: None,
            connects: None,
            queued: Duration::ZERO,
            wait: Wait::Queued,
            since: now,
            looked: now,
        };
        tokio::time::sleep_until(times.next().expect("the queue has a timeout")).await;
        assert!(times.look(true).is_none());
        tokio::time::sleep_until(times.next().expect("the connect may fail")).await;
        assert!(matches!(times.look(false), Some(Kind::PoolTimeout(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_went_by_for_connects_that_came_to_nothing_counts_as_queued() {
        let now = Instant::now();
        let mut times = Times {
            queue: Some(Duration::from_secs(1)),
            connect: None,
            connects: None,
            queued: Duration::ZERO,
            wait: Wait::Connecting,
            since: now,
            looked: now,
        };
        // Each slot comes since the runtime that was to connect by the one before has ended.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            times.granted();
        }
        assert_eq!(times.queued(), Duration::from_millis(1200));
        assert!(matches!(times.look(false), Some(Kind::PoolTimeout(_))));
    }
}
