//! The future of a [`Session`](crate::Session).

mod checkout;
mod exchange;
mod expect;
mod place;
mod spread;
mod turn;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;

use self::{
    checkout::{when_ready, when_served},
    exchange::{Exchange, Lost},
    place::{CheckingOut, Place},
    turn::{KeptTurn, Turn},
};
use crate::{
    Error, SessionBody, Step, TriedAddresses,
    box_error::BoxError,
    exchange::RequestBody,
    origin::RawOrigin,
    pool::{Arrival, Assigned, CheckedOut, Pool, PooledConnection, Ticket},
    reuse, runtime,
    target::HeaderFlags,
};

/// The future of a request: the head of its response, with the body that holds the connection.
///
/// # Cancel safety
///
/// If it is dropped before it has a connection, it leaves the queue, and nothing was sent. If it is
/// dropped later, the request, or a part of it, may have been sent. Over HTTP/1 the connection is
/// closed, since the protocol cannot end an exchange otherwise; over HTTP/2 the stream is reset.
#[must_use = "dropping it ends the request"]
pub struct ResponseFuture<B: Send + 'static> {
    state: State<B>,
}

enum State<B: Send + 'static> {
    /// Waiting for a connection, or until the connection that it has takes a request.
    CheckingOut(CheckingOut<Result<Exchange<B>, Error>>),
    Exchanging(Exchange<B>),
    Failed(Option<Error>),
    /// It was called outside of a runtime, and begins when it is polled.
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
    /// It is meant to be asked once, by code that gives the request up: while the request waits for
    /// a connection, this takes the lock of the pool.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.state {
            State::CheckingOut(future) => future.step(),
            State::Exchanging(exchange) => exchange.step(),
            State::Failed(_) | State::Later(_) => Step::Queue,
        }
    }

    /// Begins on an open connection that takes a request at once.
    #[inline]
    pub(crate) fn begin(
        pooled: PooledConnection<B>,
        ticket: Ticket,
        request: Request<RequestBody<B>>,
        flags: HeaderFlags,
        now: Instant,
    ) -> Self {
        let turn = KeptTurn::at_once(ticket);
        Self {
            state: State::Exchanging(Exchange::begin(pooled, request, flags, now, turn)),
        }
    }

    /// Begins with what the pool has given.
    #[cold]
    pub(crate) fn start(
        pool: &Arc<Pool<B>>,
        checked_out: CheckedOut<B>,
        request: Request<RequestBody<B>>,
        flags: HeaderFlags,
        now: Instant,
    ) -> Self {
        Self {
            state: State::begin(pool, checked_out, Duration::ZERO, request, flags, now),
        }
    }
}

impl<B> State<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Begins with what the pool has given. The request was in the queue for `queued` before.
    fn begin(
        pool: &Arc<Pool<B>>,
        checked_out: CheckedOut<B>,
        queued: Duration,
        request: Request<RequestBody<B>>,
        flags: HeaderFlags,
        now: Instant,
    ) -> Self {
        match checked_out {
            CheckedOut::Connection(pooled, arrival) => {
                let turn = Turn { arrival, queued };
                if pooled.is_ready() {
                    let turn = KeptTurn::new(turn, now);
                    return Self::Exchanging(Exchange::begin(pooled, request, flags, now, turn));
                }
                Self::waits(None, when_ready(pooled, request, flags, turn))
            }
            CheckedOut::Waiting(waiting) => {
                let place = Place::of(pool, &waiting);
                let served = when_served(pool.clone(), waiting, queued, request, flags);
                Self::waits(Some(place), served)
            }
        }
    }

    fn waits(
        place: Option<Place<B>>,
        exchange: impl Future<Output = Result<Exchange<B>, Error>> + Send + 'static,
    ) -> Self {
        Self::CheckingOut(place::at(place, exchange))
    }

    /// Begins again with a request that never left this process, and so is still the same attempt.
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
        let mut flags = HeaderFlags::of(&request);
        reuse::frame_again(&mut request, &mut flags);
        let tried = request.extensions().get();
        let origin = pool.assign_again(&origin, tried, now).unwrap_or(origin);
        match pool.check_out(&origin.here(), now, Some(turn.arrival)) {
            Ok(checked_out) => {
                let queued = turn.queued;
                Ok(Self::begin(&pool, checked_out, queued, request, flags, now))
            }
            Err(error) => Err(error.at(&origin)),
        }
    }

    /// Begins a request that was called outside of a runtime.
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

// No part of it is pinned in place: what must be pinned is in a box.
impl<B: Send + 'static> Unpin for ResponseFuture<B> {}

/// Finds a connection for a request of this runtime, or a place in the queue.
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
    let mut flags = HeaderFlags::of(&request);
    let tried = if pool.spreads() {
        request.extensions().get::<TriedAddresses>().cloned()
    } else {
        None
    };
    let origin = match pools_key(pool, &mut request, &mut flags, runtime) {
        Ok(origin) => origin,
        Err(error) => return ResponseFuture::failed(error),
    };
    if pool.spreads() {
        match pool.assign(&origin, tried.as_ref(), now) {
            Ok(Assigned::Name) => {}
            Ok(Assigned::Address(origin)) => {
                return spread::start(pool, &origin, request, flags, now);
            }
            Ok(Assigned::Unknown(name)) => {
                return spread::find(pool, name, tried, request, flags);
            }
            Err(error) => return ResponseFuture::failed(error.into()),
        }
    }
    let checked_out = match pool.take(&origin, now) {
        // This is the case of most requests.
        Some((pooled, ticket)) if pooled.is_ready() => {
            return ResponseFuture::begin(pooled, ticket, request, flags, now);
        }
        Some((pooled, ticket)) => Ok(CheckedOut::Connection(
            pooled,
            Arrival { ticket, since: now },
        )),
        None => origin
            .read()
            .map_err(Error::from)
            .and_then(|origin| pool.check_out(&origin, now, None)),
    };
    match checked_out {
        Ok(checked_out) => ResponseFuture::start(pool, checked_out, request, flags, now),
        Err(error) => ResponseFuture::failed(error),
    }
}

/// Frames the request, and returns the key of the connections that it may use.
#[inline]
fn pools_key<'a, B>(
    pool: &Pool<B>,
    request: &'a mut Request<RequestBody<B>>,
    flags: &mut HeaderFlags,
    runtime: Option<runtime::Id>,
) -> Result<RawOrigin<'a>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let announced = reuse::frame_request(request, flags).map_err(Error::new)?;
    request.body_mut().announce(announced);
    let origin = RawOrigin::of(request.uri())?.on(runtime);
    let config = pool.config();
    let origin = if flags.upgrade && config.may_share(&origin) {
        origin.http1_only()
    } else if flags.options.is_http2_only(request.uri(), config) {
        origin.http2_only()
    } else {
        origin
    };
    Ok(match flags.options.group() {
        0 => origin,
        group => pool.in_group(origin, group),
    })
}
