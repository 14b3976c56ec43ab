//! A request that hyper has, until the head of its response comes.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, TRANSFER_ENCODING},
    response::Parts,
};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    expect::Expectation,
    turn::{KeptTurn, Turn},
};
use crate::{
    ConnectionInfo, Error, SessionBody, Step,
    body::Lease,
    box_error::BoxError,
    drive::RequestTimers,
    error::{Kind, Phase, Sent},
    exchange::{Cause, ExchangePhase, MAX_HEAD, RequestBody},
    origin::Origin,
    pool::{Pool, PooledConnection, Unanswered, Unsent},
    reuse, target,
    target::HeaderFlags,
    throughput,
};

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
pub(super) struct Exchange<B: Send + 'static> {
    pooled: Option<PooledConnection<B>>,
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
    timers: RequestTimers,
    /// What its body waits for, if it waits.
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

/// What becomes of a request that got no response.
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
        pool.tell_acquired(pooled.connection(), || turn.waited(began));
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
            timers.hold_to(floors, has_body, pooled.exchange());
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

    /// Whether it ends without an answer: one of its times has run out, or it was aborted.
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
        // What lies in the queue of its HTTP/2 connection waits for a place there.
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
        pooled: &PooledConnection<B>,
        status: StatusCode,
    ) -> Option<Request<RequestBody<B>>> {
        let expectation = self.rare.as_mut()?.expectation.take()?;
        expectation.end(status, pooled.carrier())
    }

    /// Sends a request again without its expectation, which the peer refused.
    ///
    /// Over HTTP/1 its connection cannot be used again. The request announced a body that was not
    /// sent, and the peer may go on reading that: it would take the next request for it
    /// ([RFC 9110, section 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)).
    #[cold]
    fn unexpected(
        &self,
        pooled: PooledConnection<B>,
        head: &Parts,
        request: Request<RequestBody<B>>,
    ) -> Lost<B> {
        let cause = if reuse::is_last(head.version, &head.headers) {
            Cause::Broken
        } else {
            Cause::Unclean
        };
        handed_back(pooled, self.turn(), Box::new(request), cause)
    }

    #[cold]
    fn unsent(&mut self, request: Unsent<B>) -> Lost<B> {
        let pooled = self.pooled.take().expect("not polled after its end");
        self.returned(pooled, request)
    }

    #[cold]
    fn unanswered(&self, pooled: PooledConnection<B>, error: Unanswered<B>) -> Lost<B> {
        let mut error = match error {
            Unanswered::Failed(error) => error,
            Unanswered::Unsent(request) => return self.returned(pooled, request),
        };
        match error.take_message() {
            Some(request) if pooled.has_been_used() => {
                handed_back(pooled, self.turn(), Box::new(request), Cause::Broken)
            }
            // A new connection that takes no request: another would hardly do better.
            Some(_) => {
                let failed = Error::new(Kind::Unsent).with(error.into_error());
                Lost::Failed(self.named(failed, &pooled))
            }
            None => self.failed(pooled, Some(error.into_error())),
        }
    }

    #[inline]
    fn answered(
        &mut self,
        pooled: PooledConnection<B>,
        head: &mut Parts,
        body: Incoming,
    ) -> Result<SessionBody, Lost<B>> {
        let status = head.status;
        if let Some(request) = self.without_expectation(&pooled, status) {
            return Err(self.unexpected(pooled, head, request));
        }
        let exchange = pooled.exchange();
        let in_time = exchange.head_came();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(pooled, body);
        }
        let misdirected = status == StatusCode::MISDIRECTED_REQUEST;
        if pooled.is_stream() {
            exchange.forgive(Cause::HeadTimeout);
            if exchange.aborted() == Some(Cause::WrongLength) {
                return Err(self.failed(pooled, None));
            }
            if misdirected {
                pooled.drain(Cause::Suspect);
            }
        }
        let ends = match ends_by_head(&pooled, head) {
            Ok(ends) => ends,
            Err(kind) => return Err(self.refused(pooled, kind)),
        };
        if misdirected {
            // What led here before leads here again.
            pooled
                .connection()
                .pool()
                .close_idle_before(pooled.origin(), self.began);
        }
        let ends = if misdirected {
            Some(Cause::Suspect)
        } else if ends.is_some() {
            ends
        } else if !reuse::is_clean(status, in_time, exchange.request_body_bytes()) {
            Some(Cause::Unclean)
        } else {
            self.last.then_some(Cause::Served)
        };
        let info = self.info(&pooled);
        pooled.note_answered();
        let (connection, stream) = pooled.hand_to_body();
        let lease = Lease {
            connection,
            stream,
            ends,
        };
        let mut body = SessionBody::new(body, Some(lease), info);
        if !in_time {
            body.came_early();
        } else if let Some(floors) = self.rare.as_ref().and_then(|it| it.timers.floors()) {
            body.hold_to(floors, throughput::may_be_silent(&head.headers));
        }
        if self.wants == Wants::Head || reuse::is_bare(status) {
            body.announces_nothing();
        }
        Ok(body)
    }

    #[cold]
    fn switched(
        &self,
        pooled: PooledConnection<B>,
        body: Incoming,
    ) -> Result<SessionBody, Lost<B>> {
        pooled.mark_used();
        if self.asked_upgrade {
            // The socket belongs to the upgrade now, and no exchange is on it.
            pooled.exchange().end();
            let info = self.info(&pooled);
            return Ok(SessionBody::new(body, None, info));
        }
        let why = "it switches to a protocol nobody asked for";
        Err(self.refused(pooled, Kind::Protocol(why)))
    }

    fn info(&self, pooled: &PooledConnection<B>) -> ConnectionInfo {
        let waited = self.turn.waited(self.began);
        ConnectionInfo {
            facts: pooled.connection().facts().clone(),
            reused: self.reused,
            waited: u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Says what happened to a request that hyper had begun to send, by hyper's error or because
    /// it was aborted here.
    #[cold]
    fn failed(&self, pooled: PooledConnection<B>, error: Option<hyper::Error>) -> Lost<B> {
        let pool = pooled.connection().pool();
        let exchange = pooled.exchange();
        // Of a connection that is aborted, all streams are.
        let aborted = exchange.aborted().or_else(|| pooled.socket().aborted());
        let untaken = pooled.take_back().is_some();
        let kind = match aborted {
            Some(Cause::Closed) if untaken => Kind::Closed,
            _ if untaken => Kind::Unsent,
            Some(Cause::HeadTimeout) => {
                // What lies in a queue of its connection waits for its place there.
                let phase = if pooled.may_be_sent() {
                    Phase::Head
                } else {
                    Phase::Queue
                };
                // A request body that the peer does not take is limited where the head is not.
                let configured = pool.config().timeouts.head;
                let after = exchange.own_times().head.finite().or(configured);
                Kind::Timeout(phase, after.unwrap_or_default())
            }
            Some(Cause::HeadTooLarge) => Kind::TooLarge("its head"),
            Some(Cause::TooSlow) => {
                let slow = self.rare.as_ref().and_then(|it| it.timers.too_slow());
                slow.map_or(Kind::Broken, Kind::TooSlow)
            }
            Some(Cause::Closed) => Kind::Aborted,
            Some(Cause::Unanswered) => Kind::Broken,
            Some(Cause::WrongLength) => Kind::RequestBody,
            _ => {
                if exchange.has_body_failed() {
                    Kind::RequestBody
                } else {
                    error
                        .as_ref()
                        .map_or(Kind::Broken, |error| Self::broken(&pooled, error))
                }
            }
        };
        if matches!(kind, Kind::Stale(_)) {
            pool.close_idle_before(pooled.origin(), self.began);
        }
        let own = match kind {
            Kind::RequestBody => exchange.take_error(),
            // What the end of reading says hides why the peer was gone.
            Kind::Broken | Kind::Stale(_) | Kind::Unsent
                if aborted.is_some()
                    || error
                        .as_ref()
                        .is_none_or(hyper::Error::is_incomplete_message) =>
            {
                pooled.socket().take_error()
            }
            _ => None,
        };
        let failed = self.named(Error::new(kind), &pooled);
        pooled.abort(Cause::Broken);
        if let Some(error) = own {
            return Lost::Failed(failed.with(error));
        }
        // What hyper says of a connection that was aborted here would only hide why.
        Lost::Failed(match error.filter(|_| aborted.is_none()) {
            _ if aborted == Some(Cause::Unanswered) => failed.with(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer to a PING",
            )),
            Some(error) => failed.with(error),
            None => failed,
        })
    }

    /// Its connection does not take it.
    #[cold]
    fn returned(&self, pooled: PooledConnection<B>, request: Unsent<B>) -> Lost<B> {
        if pooled.is_closed() && !pooled.has_been_used() {
            // A new connection that takes no request: another would hardly do better.
            let failed = self.named(Error::new(Kind::Unsent), &pooled);
            pooled.abort(Cause::Broken);
            return Lost::Failed(failed);
        }
        handed_back(pooled, self.turn(), request, Cause::Broken)
    }

    #[cold]
    fn refused(&self, pooled: PooledConnection<B>, kind: Kind) -> Lost<B> {
        let error = self.named(Error::new(kind), &pooled);
        pooled.abort(Cause::Unclean);
        Lost::Failed(error)
    }

    /// Says which connection an error is about.
    fn named(&self, error: Error, pooled: &PooledConnection<B>) -> Error {
        let others = pooled.connection().requests().saturating_sub(1);
        error.at(pooled.origin()).on(self.info(pooled), others)
    }

    /// Says what hyper's error means for the request.
    fn broken(pooled: &PooledConnection<B>, error: &hyper::Error) -> Kind {
        let (exchange, socket) = (pooled.exchange(), pooled.socket());
        let wrote = exchange.written_since_begun(socket) > 0 && pooled.may_be_sent();
        let bytes_read = exchange.read_since_begun(socket);
        if let Some(kind) = reuse::stream_error(error, || pooled.is_alone()) {
            kind
        } else if error.is_parse_too_large() {
            // hyper has one error for all of its limits.
            let buffer = pooled.connection().pool().config().pool.http1_read_buffer;
            let buffer = buffer.and_then(|bytes| u64::try_from(bytes).ok());
            let most = buffer.map_or(MAX_HEAD, |bytes| bytes.min(MAX_HEAD));
            Kind::TooLarge(if bytes_read < most {
                "its head has more fields than `http1_max_headers` allows"
            } else {
                "its head"
            })
        } else if error.is_parse() {
            Kind::Protocol("it is not HTTP/1")
        } else if bytes_read > 0 && (wrote || !pooled.is_stream()) {
            Kind::Broken
        } else if pooled.has_been_used() {
            Kind::Stale(if wrote {
                Sent::Something
            } else {
                Sent::Nothing
            })
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
    pooled: PooledConnection<B>,
    turn: Turn,
    mut request: Unsent<B>,
    cause: Cause,
) -> Lost<B> {
    // Its place is free at once, not only when it has found another.
    request.body_mut().detach();
    let pool = pooled.connection().pool().clone();
    let origin = pooled.origin().clone();
    pooled.abort(cause);
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
    pooled: &PooledConnection<B>,
    head: &mut Parts,
) -> Result<Option<Cause>, Kind> {
    let (version, headers) = (head.version, &mut head.headers);
    if pooled.is_stream() {
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
            pooled.connection().hint_idle(seconds);
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
        if let Some(pooled) = self.pooled.take() {
            pooled.abort(Cause::Dropped);
        }
    }
}
