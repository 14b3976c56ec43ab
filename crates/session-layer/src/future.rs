//! The future of a [`Session`](crate::Session).

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, TRANSFER_ENCODING},
    response::Parts,
};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::{
    ConnectionInfo, Error, SessionBody,
    body::Lease,
    connect::{Cause, Mark},
    error::{BoxError, Kind, Phase},
    origin::Origin,
    pool::{CheckedOut, Link, Mail, NotSent, Pool, Unsent, Wait, Waiting},
    reuse,
    target::{self, Noted},
    upload::RequestBody,
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
    CheckingOut(Pin<Box<dyn Future<Output = Result<Exchange<B>, Error>> + Send>>),
    Exchanging(Exchange<B>),
    Failed(Option<Error>),
}

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

    pub(crate) fn start(
        pool: &Arc<Pool<B>>,
        checked_out: CheckedOut<B>,
        request: Request<RequestBody<B>>,
        noted: Noted,
        now: Instant,
    ) -> Self {
        let state = match checked_out {
            CheckedOut::Link(link) if link.is_ready() => {
                State::Exchanging(Exchange::begin(link, request, noted, now, Duration::ZERO))
            }
            CheckedOut::Link(link) => {
                State::CheckingOut(Box::pin(when_ready(link, request, noted, now)))
            }
            CheckedOut::Waiting(waiting) => State::CheckingOut(Box::pin(when_served(
                pool.clone(),
                waiting,
                request,
                noted,
                now,
            ))),
        };
        Self { state }
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
                    Err(Lost::Failed(error)) => return Poll::Ready(Err(error)),
                    // It never left, so it is still the same attempt: take the next connection.
                    Err(Lost::HandedBack {
                        pool,
                        origin,
                        request,
                    }) => {
                        let now = Instant::now();
                        let noted = Noted::of(request.headers());
                        match pool.check_out(&origin.borrowed(), now) {
                            Ok(checked_out) => {
                                Self::start(&pool, checked_out, *request, noted, now).state
                            }
                            Err(error) => return Poll::Ready(Err(error.at(&origin))),
                        }
                    }
                },
                State::CheckingOut(future) => State::Exchanging(ready!(future.as_mut().poll(cx))?),
                State::Failed(error) => {
                    let error = error.take().expect("polled after it had failed");
                    return Poll::Ready(Err(error));
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
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish()
    }
}

// Nothing in it is pinned in place: what must be is in a box.
impl<B: Send + 'static> Unpin for ResponseFuture<B> {}

/// Waits for a connection, and until hyper takes a request on it.
async fn when_served<B>(
    pool: Arc<Pool<B>>,
    mut waiting: Waiting<B>,
    request: Request<RequestBody<B>>,
    noted: Noted,
    asked: Instant,
) -> Result<Exchange<B>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    loop {
        let origin = waiting.origin().clone();
        let mut link = served(&pool, waiting).await?;
        if link.is_too_much() {
            link.give_back();
            match pool.check_out(&origin.borrowed(), Instant::now()) {
                Ok(CheckedOut::Link(other)) => link = other,
                Ok(CheckedOut::Waiting(again)) => {
                    waiting = again;
                    continue;
                }
                Err(error) => return Err(error.at(&origin)),
            }
        }
        return when_ready(link, request, noted, asked).await;
    }
}

/// Waits in the queue, and opens a connection when a slot comes.
async fn served<B>(pool: &Arc<Pool<B>>, waiting: Waiting<B>) -> Result<Link<B>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut timeout = match waiting.wait() {
        Wait::Shared | Wait::Queued => pool.config().pool.queue_timeout,
        // The connect timeout counts.
        Wait::Connecting => None,
    };
    let mut queued = Instant::now();
    loop {
        let mail = poll_fn(|cx| waiting.poll_mail(cx));
        let Some(mail) = before(timeout.and_then(|it| queued.checked_add(it)), mail).await else {
            if waiting.is_covered() {
                // Not for lack of a place: for a connection that has a timeout of its own.
                queued = Instant::now();
                continue;
            }
            let after = timeout.unwrap_or_default();
            return Err(Error::new(Kind::PoolTimeout(after)).at(waiting.origin()));
        };
        match mail {
            Mail::Slot(slot) => {
                // It waits for a place no more: from now on the connect timeout counts. One that
                // turns out to be shared may still be full.
                queued = Instant::now();
                timeout = timeout.filter(|_| pool.shares(slot.origin()));
                pool.open(slot);
            }
            Mail::Served(outcome) => {
                let origin = waiting.origin();
                return outcome.map_err(|error| match error.origin() {
                    Some(_) => error,
                    None => error.at(origin),
                });
            }
        }
    }
}

/// Waits until `moment`, if there is one, and no longer.
async fn before<T>(moment: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match moment {
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
    asked: Instant,
) -> Result<Exchange<B>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut link = Untouched(Some(link));
    // An error here means that it is closed; sending hands the request back then.
    poll_fn(|cx| link.get().poll_ready(cx)).await;
    let now = Instant::now();
    let waited = now.saturating_duration_since(asked);
    Ok(Exchange::begin(link.take(), request, noted, now, waited))
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
    /// The request, if hyper was not given it.
    unsent: Option<Unsent<B>>,
    mark: Mark,
    began: Instant,
    /// How many nanoseconds it waited for its connection.
    waited: u64,
    asked_upgrade: bool,
    wants: Wants,
    reused: bool,
    /// Whether it is the last that its connection may carry.
    last: bool,
}

/// What becomes of a request that got no response.
enum Lost<B: Send + 'static> {
    Failed(Error),
    HandedBack {
        pool: Arc<Pool<B>>,
        origin: Origin,
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
        waited: Duration,
    ) -> Self {
        let reused = link.has_been_used();
        if reused {
            link.connection.pool().reused(&link.connection);
        }
        let last = link.count_request();
        let head = link.connection.pool().config().timeouts.head;
        let has_body = !request.body().is_end_stream();
        let mark = link.socket().mark();
        link.wire().begin(began, head, has_body);
        if has_body {
            request.body_mut().attach(link.wire(), head, link.is_part());
        }
        let wants = Wants::of(request.method());
        if link.is_part() {
            target::for_http2(&mut request, noted, link.origin());
        } else {
            let via_proxy = link.connection.via_proxy();
            target::for_http1(&mut request, noted, link.origin(), via_proxy);
        }
        let unsent = link.send(request).err();
        Self {
            link: Some(link),
            unsent,
            mark,
            began,
            waited: u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX),
            asked_upgrade: noted.upgrade,
            wants,
            reused,
            last,
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answered<B>> {
        if self.unsent.is_some() {
            return Poll::Ready(Err(self.unsent()));
        }
        let link = self.link.as_mut().expect("not polled after its end");
        let answer = match link.poll_answer(cx) {
            Poll::Ready(answer) => answer,
            Poll::Pending if link.is_part() => {
                link.wire().register(cx);
                if link.wire().severed().is_none() {
                    return Poll::Pending;
                }
                let link = self.link.take().expect("not polled after its end");
                return Poll::Ready(Err(self.failed(link, None)));
            }
            Poll::Pending => return Poll::Pending,
        };
        let link = self.link.take().expect("not polled after its end");
        Poll::Ready(match answer {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                self.answered(link, &mut head, body)
                    .map(|body| Response::from_parts(head, body))
            }
            Err(error) => Err(self.unanswered(link, error)),
        })
    }

    #[cold]
    fn unsent(&mut self) -> Lost<B> {
        let link = self.link.take().expect("not polled after its end");
        let request = self.unsent.take().expect("asked only if it is there");
        handed_back(link, request)
    }

    #[cold]
    fn unanswered(&self, link: Link<B>, mut error: NotSent<B>) -> Lost<B> {
        match error.take_message() {
            Some(request) if link.has_been_used() => handed_back(link, Box::new(request)),
            // A new connection that takes no request: another would hardly do better.
            Some(_) => {
                let failed = Error::new(Kind::Unsent).with(error.into_error());
                Lost::Failed(failed.at(link.origin()))
            }
            None => self.failed(link, Some(error.into_error())),
        }
    }

    #[inline]
    fn answered(
        &self,
        link: Link<B>,
        head: &mut Parts,
        body: Incoming,
    ) -> Result<SessionBody, Lost<B>> {
        let wire = link.wire();
        let in_time = wire.head_came();
        let status = head.status;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(link, body);
        }
        let misdirected = status == StatusCode::MISDIRECTED_REQUEST;
        if link.is_part() {
            wire.forgive(Cause::HeadTimeout);
            if wire.severed() == Some(Cause::BodyTooLong) {
                return Err(self.failed(link, None));
            }
            if misdirected {
                link.withdraw(Cause::Suspect);
            }
        }
        let ends = match ends_by_head(&link, head) {
            Ok(ends) => ends,
            Err(kind) => return Err(refused(link, kind)),
        };
        if misdirected {
            // What led here before leads here again.
            link.connection
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
        link.mark_used();
        let (connection, part) = link.park();
        let lease = Lease {
            connection,
            part,
            ends,
        };
        let mut body = SessionBody::new(body, Some(lease), info);
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
        Err(refused(link, Kind::Protocol(why)))
    }

    fn info(&self, link: &Link<B>) -> ConnectionInfo {
        ConnectionInfo {
            facts: link.connection.facts().clone(),
            reused: self.reused,
            waited: self.waited,
        }
    }

    /// Says what happened to a request that hyper had begun to send, by hyper's error or because
    /// it was cut here.
    #[cold]
    fn failed(&self, link: Link<B>, error: Option<hyper::Error>) -> Lost<B> {
        let pool = link.connection.pool();
        let wire = link.wire();
        // Of a connection that is cut, all parts are.
        let severed = wire.severed().or_else(|| link.socket().severed());
        let kind = match severed {
            Some(Cause::HeadTimeout) => {
                Kind::Timeout(Phase::Head, pool.config().timeouts.head.unwrap_or_default())
            }
            Some(Cause::HeadTooLarge) => Kind::TooLarge("its head"),
            Some(Cause::Closed) => Kind::Aborted,
            Some(Cause::BodyTooLong) => Kind::RequestBody,
            _ => {
                if wire.has_body_failed() {
                    Kind::RequestBody
                } else {
                    error
                        .as_ref()
                        .map_or(Kind::Broken, |error| self.broken(&link, error))
                }
            }
        };
        if matches!(kind, Kind::Stale { .. }) {
            pool.retire_idle(link.origin(), self.began);
        }
        let own = match kind {
            Kind::RequestBody => wire.take_body_error(),
            _ => None,
        };
        let failed = Error::new(kind).at(link.origin());
        link.abort(Cause::Broken);
        if let Some(error) = own {
            return Lost::Failed(failed.with(error));
        }
        // What hyper says of a connection that was cut here would only hide why.
        Lost::Failed(match error.filter(|_| severed.is_none()) {
            Some(error) => failed.with(error),
            None => failed,
        })
    }

    /// Says what hyper's error means for the request.
    fn broken(&self, link: &Link<B>, error: &hyper::Error) -> Kind {
        let (wrote, read) = link.socket().since(self.mark);
        if let Some(kind) = reuse::stream_error(error) {
            kind
        } else if error.is_parse_too_large() {
            Kind::TooLarge("its head")
        } else if error.is_parse() {
            Kind::Protocol("it is not HTTP/1")
        } else if read {
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

/// It never left: the next connection gets it.
fn handed_back<B: Send + 'static>(link: Link<B>, request: Unsent<B>) -> Lost<B> {
    let pool = link.connection.pool().clone();
    let origin = link.origin().clone();
    link.abort(Cause::Broken);
    Lost::HandedBack {
        pool,
        origin,
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
    if link.is_part() {
        return Ok(None);
    }
    let mut speaks = head.version == Version::HTTP_10;
    let mut is_coded = false;
    // One pass: most heads have none of the three, and each lookup would hash its name.
    for name in head.headers.keys() {
        speaks |= *name == CONNECTION || *name == reuse::KEEP_ALIVE;
        is_coded |= *name == TRANSFER_ENCODING;
    }
    let framed = !is_coded || reuse::check_framing(&mut head.headers)?;
    if speaks {
        if let Some(seconds) = reuse::keep_alive_hint(&head.headers) {
            link.connection.hint_idle(seconds);
        }
        if reuse::is_last(head.version, &head.headers) {
            return Ok(Some(Cause::Broken));
        }
    }
    Ok((!framed).then_some(Cause::Unclean))
}

#[cold]
fn refused<B: Send + 'static>(link: Link<B>, kind: Kind) -> Lost<B> {
    let error = Error::new(kind).at(link.origin());
    link.abort(Cause::Unclean);
    Lost::Failed(error)
}

impl<B: Send + 'static> Drop for Exchange<B> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.abort(Cause::Dropped);
        }
    }
}
