//! A request that hyper has, until the head of its response comes.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tokio::time::Instant;

mod answer;
mod failure;

use super::{
    expect::Expectation,
    turn::{KeptTurn, Turn},
};
use crate::{
    ConnectionInfo, Error, SessionBody, Step,
    box_error::BoxError,
    drive::RequestTimers,
    exchange::{Cause, ExchangePhase, RequestBody},
    origin::Origin,
    pool::{Pool, PooledConnection, Unsent},
    target,
    target::HeaderFlags,
};

/// Which parts of a response a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wants {
    /// The head alone: its headers describe a body that does not come.
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
pub(super) struct Exchange<B: Send + 'static> {
    pooled: Option<PooledConnection<B>>,
    began: Instant,
    turn: KeptTurn,
    asked_upgrade: bool,
    wants: Wants,
    reused: bool,
    /// Whether it is the last request that its connection may carry.
    last: bool,
    /// Boxed apart, so that the future of every request is smaller.
    rare: Option<Box<Rare<B>>>,
}

/// What only few exchanges have.
struct Rare<B: Send + 'static> {
    /// The request, if hyper was not given it.
    unsent: Option<Unsent<B>>,
    /// The timeouts that the request keeps itself.
    timers: RequestTimers,
    /// What its body waits for, if it is withheld.
    expectation: Option<Expectation<B>>,
}

impl<B: Send + 'static> Default for Rare<B> {
    fn default() -> Self {
        Self {
            unsent: None,
            timers: RequestTimers::default(),
            expectation: None,
        }
    }
}

#[cold]
fn rare_of<B: Send + 'static>(rare: &mut Option<Box<Rare<B>>>) -> &mut Rare<B> {
    rare.get_or_insert_default()
}

/// The outcome of a request that got no response.
pub(super) enum Lost<B: Send + 'static> {
    Failed(Error),
    HandedBack {
        pool: Arc<Pool<B>>,
        origin: Origin,
        turn: Turn,
        request: Unsent<B>,
    },
}

pub(super) type Answered<B> = Result<Response<SessionBody>, Lost<B>>;

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn begin(
        mut pooled: PooledConnection<B>,
        mut request: Request<RequestBody<B>>,
        flags: HeaderFlags,
        began: Instant,
        turn: KeptTurn,
    ) -> Self {
        let reused = pooled.has_been_used();
        if reused {
            pooled.connection().pool().reused(pooled.connection());
        }
        let pool = pooled.connection().pool();
        pool.tell_acquired(pooled.connection(), || turn.waited());
        let last = pooled.count_request();
        let timeouts = &pooled.connection().pool().config().timeouts;
        let own = flags.options.times(timeouts);
        let head = own.head.or(timeouts.head);
        let has_body = !request.body().is_end_stream();
        let first = if has_body {
            ExchangePhase::Sending
        } else {
            ExchangePhase::Head
        };
        pooled.exchange().begin(began, head, first, pooled.socket());
        pooled.exchange().set_own_times(own);
        if has_body {
            request
                .body_mut()
                .attach(pooled.exchange(), head, pooled.carrier());
        }
        let mut rare = None;
        if let Some(floors) = flags.options.floors(timeouts) {
            let timers = &mut rare_of(&mut rare).timers;
            timers.hold_to(floors);
            if has_body {
                timers.measure_upload(pooled.exchange());
            }
        }
        let wants = Wants::of(request.method());
        if pooled.is_stream() {
            target::for_http2(&mut request, flags, pooled.origin());
        } else {
            let via_proxy = pooled.connection().via_proxy();
            target::for_http1(&mut request, flags, pooled.origin(), via_proxy);
        }
        if flags.expect {
            let expectation = Expectation::begin(&mut request, &pooled, began);
            rare_of(&mut rare).expectation = expectation;
        }
        if let Err(request) = pooled.send(request) {
            rare_of(&mut rare).unsent = Some(request);
        }
        Self {
            pooled: Some(pooled),
            began,
            turn,
            asked_upgrade: flags.upgrade,
            wants,
            reused,
            last,
            rare,
        }
    }

    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answered<B>> {
        if let Some(request) = self.rare.as_mut().and_then(|it| it.unsent.take()) {
            return Poll::Ready(Err(self.unsent(request)));
        }
        let pooled = self.pooled.as_mut().expect("not polled after its end");
        let answer = pooled.poll_answer(cx);
        if answer.is_pending() && !self.is_over(cx) {
            return Poll::Pending;
        }
        let pooled = self.pooled.take().expect("not polled after its end");
        Poll::Ready(match answer {
            Poll::Ready(Ok(response)) => {
                let (mut head, body) = response.into_parts();
                match self.answered(pooled, &mut head, body) {
                    Ok(body) => Ok(Response::from_parts(head, body)),
                    Err(lost) => Err(lost),
                }
            }
            Poll::Ready(Err(error)) => Err(self.unanswered(pooled, error)),
            Poll::Pending => Err(self.failed(pooled, None)),
        })
    }

    /// Whether it ends without an answer: a timeout has run out, or it was aborted.
    #[inline]
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(pooled) = &self.pooled else {
            return false;
        };
        let (connection, exchange) = (pooled.connection(), pooled.exchange());
        if RequestTimers::is_needed(connection.runtime(), exchange) {
            let timers = &mut rare_of(&mut self.rare).timers;
            if timers.is_over(cx, connection.pool().config(), exchange) {
                return true;
            }
        }
        if let Some(rare) = &mut self.rare {
            let socket = pooled.is_stream().then(|| pooled.socket());
            if rare.timers.is_too_slow(cx, exchange, socket) {
                return true;
            }
        }
        if pooled.is_stream() && exchange.aborted().is_some() {
            return true;
        }
        self.poll_expectation(cx);
        false
    }

    fn turn(&self) -> Turn {
        self.turn.get(self.began)
    }

    pub(super) fn step(&self) -> Step {
        // A request in the queue of its HTTP/2 connection waits for a stream.
        match &self.pooled {
            Some(pooled) if !pooled.may_be_sent() => Step::Queue,
            Some(pooled) if !self.waits_for_continue() && pooled.exchange().is_sending() => {
                Step::Upload {
                    sent: pooled.exchange().request_body_bytes(),
                }
            }
            Some(_) | None => Step::Head,
        }
    }

    fn waits_for_continue(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|it| it.expectation.is_some())
    }

    /// Polls the wait of a withheld body.
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

    fn info(&self, pooled: &PooledConnection<B>) -> ConnectionInfo {
        let waited = self.turn.waited();
        ConnectionInfo {
            facts: pooled.connection().facts().clone(),
            reused: self.reused,
            waited: u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl<B: Send + 'static> Drop for Exchange<B> {
    fn drop(&mut self) {
        if let Some(pooled) = self.pooled.take() {
            pooled.abort(Cause::Dropped);
        }
    }
}
