use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::{
    ConnectionInfo, Error, ThroughputFloor,
    config::Floors,
    error::{Kind, Phase},
    exchange::{Cause, ExchangeState, Release},
    exchange::{Drained, Unread},
    runtime,
    throughput::{self, DownloadMeter, TooSlow},
};

/// A response body that holds its connection, and gives it back when it has ended.
///
/// # Cancel safety
///
/// Dropping it before its end closes the connection, unless little is left: up to 64 KiB that come
/// within 50 ms are read by the connection itself, which then serves the next request. Until then
/// it counts as in use, and a request that needs a connection opens another where the limits allow one.
/// Over HTTP/2 the drop resets the stream, and the connection goes on.
pub struct SessionBody {
    /// Absent when it has ended, or after an error: nothing more comes, and its stream is reset.
    inner: Option<Incoming>,
    lease: Option<Lease>,
    info: ConnectionInfo,
    /// Whether the length in the head is that of a body which does not come. hyper knows it of
    /// HTTP/1 only.
    bare: bool,
    /// Whether its reader was told to wait.
    waits: bool,
    held_to: HeldTo,
    /// The times that it keeps by itself, if there are any.
    times: Option<Box<Times>>,
}

/// Which floor of throughput a body may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum HeldTo {
    /// That of the session, or one that is set later.
    Any,
    /// That of its request alone, be it none.
    Own,
    /// None: its response began before its request had been sent whole. What comes may depend on what
    /// is still to be sent then, so that its speed says nothing of the peer.
    None,
}

/// What ends the wait of a body's reader, beside the task that drives the connection.
#[derive(Default)]
struct Times {
    /// Where the reader is on another runtime than that task, or has a time of its own.
    idle: Option<Pin<Box<Sleep>>>,
    /// The runtime whose timer that is.
    idle_on: Option<runtime::Id>,
    floor: Option<DownloadMeter>,
    /// Why the body was aborted, if it was too slow.
    too_slow: Option<TooSlow>,
}

/// The right to a connection, or to a stream on one, until the body that came over it has ended.
pub(crate) struct Lease {
    pub(crate) connection: Arc<dyn Release>,
    /// What the exchange is noted on, where others use the connection at the same time.
    pub(crate) stream: Option<Arc<ExchangeState>>,
    /// Why the connection ends with this exchange, if it does.
    pub(crate) ends: Option<Cause>,
}

impl Lease {
    fn exchange(&self) -> &ExchangeState {
        match &self.stream {
            Some(stream) => stream,
            None => self.connection.state(),
        }
    }

    /// Whether the peer may have to wait until other bodies of the connection are read.
    fn may_be_held_up(&self) -> bool {
        self.stream.is_some() && self.connection.may_hold_up_a_stream()
    }

    /// Notes that the reader of the body has got something, or has gone.
    fn note_served(&self) {
        self.exchange().note_reader_served();
        if let Some(stream) = &self.stream {
            // Something had come, and the reader had not looked.
            stream.forgive(Cause::BodyTimeout);
        }
    }

    /// Ends the exchange before its end: the connection goes with it, or the stream.
    fn give_up(self) {
        match self.stream {
            // Dropping hyper's body resets the stream, once its request body has ended too.
            Some(stream) => self.connection.release(Some(stream)),
            None => {
                self.connection.state().abort(Cause::Dropped);
            }
        }
    }

    /// Gives the connection back, or ends it if the exchange left something behind.
    fn finish(self) {
        let exchange = self.connection.state();
        let ends = self
            .ends
            .or(exchange.has_write_failed().then_some(Cause::Broken));
        match ends {
            Some(cause) if self.stream.is_none() => {
                exchange.abort(cause);
            }
            Some(_) | None => self.connection.release(self.stream),
        }
    }
}

impl SessionBody {
    pub(crate) fn new(inner: Incoming, lease: Option<Lease>, info: ConnectionInfo) -> Self {
        let mut body = Self {
            inner: Some(inner),
            lease,
            info,
            bare: false,
            waits: false,
            held_to: HeldTo::Any,
            times: None,
        };
        if body.has_ended() {
            body.end();
        }
        body
    }

    /// Whether nothing more comes. Over HTTP/2 that is asked under a lock, so the length is looked
    /// at first.
    #[inline]
    fn has_ended(&self) -> bool {
        self.size_hint().lower() == 0 && self.is_end_stream()
    }

    /// Returns what is known of the connection that the response came over, also after its end.
    #[must_use]
    pub fn connection(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Lets the body be silent for as long as it likes, unless the session's
    /// [body idle timeout](crate::Timeouts::body_idle) was set by hand, or the request has one: for a
    /// body that is a stream of events, which may be far apart. The session's
    /// [floor of downloads](crate::Timeouts::download_floor) is lifted too, and that of a request is
    /// not. Asked before the body is read.
    pub fn lift_default_idle_timeout(&mut self) {
        let Some(lease) = &self.lease else {
            return;
        };
        if let Some(times) = self.times.as_mut().filter(|_| self.held_to == HeldTo::Any) {
            times.floor = None;
        }
        let is_chosen = lease.connection.is_body_idle_chosen();
        if !is_chosen && !lease.exchange().own_times().body_idle.is_set() {
            lease.exchange().lift_body_idle();
        }
    }

    /// Holds the body to a floor of throughput, unless the session's
    /// [floor of downloads](crate::Timeouts::download_floor) or that of the request was set by hand, be
    /// it to none: for a download that is worth less than others the slower it is. Asked before the body is
    /// read.
    ///
    /// A body whose response began before its request had been sent whole is not held to it.
    pub fn hold_to_default_floor(&mut self, floor: ThroughputFloor) {
        let Some(lease) = &self.lease else {
            return;
        };
        if self.held_to == HeldTo::Any && !lease.connection.is_download_floor_chosen() {
            let times = self.times.get_or_insert_default();
            times.floor.get_or_insert_with(|| DownloadMeter::new(floor));
        }
    }

    /// Holds the body to the floor of its session or request, by what the headers of its response say.
    #[cold]
    pub(crate) fn hold_to(&mut self, floors: Floors, headers: &HeaderMap) {
        if floors.download_is_own {
            self.held_to = HeldTo::Own;
        }
        let is_measured = floors.download_is_own || !throughput::may_be_silent(headers);
        let floor = floors.download.filter(|_| is_measured);
        if let (Some(floor), Some(_)) = (floor, &self.lease) {
            let times = self.times.get_or_insert_default();
            times.floor = Some(DownloadMeter::new(floor));
        }
    }

    /// Says that its response began before its request had been sent whole.
    #[cold]
    pub(crate) fn came_early(&mut self) {
        self.held_to = HeldTo::None;
    }

    /// Says that the length in the head is not that of this body.
    pub(crate) fn announces_nothing(&mut self) {
        self.bare = true;
        if self.has_ended() {
            self.end();
        }
    }

    /// Nothing more comes. hyper is not asked again, also where the reader asks on.
    fn end(&mut self) {
        self.inner = None;
        self.finish();
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
    }

    /// Whether a body over HTTP/2 has ended before its length: hyper takes a reset with `NO_ERROR`
    /// for the end, which it is only where the whole body came before.
    fn is_short(&self) -> bool {
        let is_stream = self.lease.as_ref().is_some_and(|it| it.stream.is_some());
        is_stream && !self.is_end_stream() && self.size_hint().lower() > 0
    }

    /// Whether its reader has waited for too long on another runtime than the one that drives the
    /// connection, which would end the wait otherwise, or for longer than its request allows.
    fn has_waited_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(lease) = &self.lease else {
            return false;
        };
        let own = lease.exchange().own_times().body_idle;
        if !own.is_set() && !runtime::is_other(lease.connection.runtime()) {
            return false;
        }
        let Some(idle) = own.or(lease.connection.body_idle()) else {
            return false;
        };
        let here = runtime::current();
        // There is no clock outside of a runtime.
        if here.is_none() {
            return false;
        }
        let times = self.times.get_or_insert_default();
        // The timer of another does not fire unless that is driven, and panics where it has ended.
        if times.idle_on != here {
            times.idle = None;
            times.idle_on = here;
        }
        let idle = times.idle.get_or_insert_with(|| Box::pin(sleep(idle)));
        if idle.as_mut().poll(cx).is_pending() {
            return false;
        }
        lease.exchange().abort(Cause::BodyTimeout);
        true
    }

    /// Whether what comes is below the floor that it is held to, if it is.
    #[inline]
    fn is_too_slow(&mut self, cx: &mut Context<'_>) -> bool {
        self.times.is_some() && self.has_trickled(cx)
    }

    #[cold]
    fn has_trickled(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(lease), Some(times)) = (&self.lease, &mut self.times) else {
            return false;
        };
        // There is no clock outside of a runtime.
        let Some(floor) = times
            .floor
            .as_mut()
            .filter(|_| runtime::current().is_some())
        else {
            return false;
        };
        let exchange = lease.exchange();
        let waits_for_peer = || exchange.is_read_blocked() && !lease.may_be_held_up();
        let Poll::Ready(slow) = floor.poll_too_slow(cx, waits_for_peer) else {
            return false;
        };
        times.too_slow = Some(slow);
        exchange.abort(Cause::TooSlow);
        true
    }

    /// Notes that its reader got something.
    #[cold]
    fn note_came(&mut self, polled: Option<&Result<Frame<Bytes>, hyper::Error>>) {
        let Some(times) = &mut self.times else {
            return;
        };
        times.idle = None;
        let bytes = match polled {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        if let Some(floor) = &mut times.floor {
            let lease = self.lease.as_ref();
            floor.came(bytes, || lease.is_some_and(Lease::may_be_held_up));
        }
    }

    /// Says why the body ended, by hyper's error or because its time ran out.
    fn fail(&mut self, error: Option<hyper::Error>) -> Error {
        self.inner = None;
        let lease = self.lease.take();
        let aborted = lease.as_ref().and_then(|lease| lease.exchange().aborted());
        let kind = match (&lease, aborted) {
            (Some(lease), Some(Cause::BodyTimeout)) => {
                let own = lease.exchange().own_times().body_idle;
                let idle = own.or(lease.connection.body_idle());
                Kind::Timeout(Phase::Body, idle.unwrap_or_default())
            }
            (Some(_), Some(Cause::TooSlow)) => self
                .times
                .as_ref()
                .and_then(|times| times.too_slow)
                .map_or(Kind::ResponseBody, Kind::TooSlow),
            (Some(_), Some(Cause::Closed)) => Kind::Aborted,
            _ => Kind::ResponseBody,
        };
        let mut failed = Error::new(kind);
        if let Some(lease) = lease {
            let others = lease.connection.requests().saturating_sub(1);
            failed = failed.at(lease.connection.origin());
            failed = failed.on(self.info.clone(), others);
            lease.give_up();
        }
        // What hyper says of a connection that was aborted here would only hide why.
        match error.filter(|_| aborted.is_none()) {
            Some(error) => failed.with(error),
            None => failed,
        }
    }

    /// Reads what is left of a body that was dropped, so that its connection can be used again; what
    /// is not there yet is left to the connection.
    fn drain(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        let mut unread = Unread::new(inner);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match unread.poll(&mut cx) {
            Poll::Ready(Drained::Ended) => self.finish(),
            Poll::Ready(Drained::NotWorthIt) => {}
            Poll::Pending => {
                if let Some(lease) = self.lease.take() {
                    lease.connection.drain_body(unread);
                }
            }
        }
    }
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(inner).poll_frame(cx);
        if let Some(lease) = &this.lease {
            if this.waits != polled.is_pending() {
                this.waits = polled.is_pending();
                if this.waits {
                    lease.exchange().note_reader_waits();
                } else {
                    lease.note_served();
                }
            }
            if let Some(stream) = lease.stream.as_ref().filter(|_| polled.is_pending()) {
                stream.register(cx);
                if stream.aborted().is_some() {
                    return Poll::Ready(Some(Err(this.fail(None))));
                }
            }
        }
        if polled.is_pending() && (this.has_waited_too_long(cx) || this.is_too_slow(cx)) {
            return Poll::Ready(Some(Err(this.fail(None))));
        }
        let polled = ready!(polled);
        if this.times.is_some() {
            this.note_came(polled.as_ref());
        }
        match polled {
            Some(Ok(frame)) => {
                if this.has_ended() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(this.fail(Some(error))))),
            None if this.is_short() => Poll::Ready(Some(Err(this.fail(None)))),
            None => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) if !self.bare => inner.size_hint(),
            Some(_) | None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for SessionBody {
    fn drop(&mut self) {
        let saves = |lease: &Lease| lease.ends.is_none() && lease.stream.is_none();
        if self.lease.as_ref().is_some_and(saves) {
            self.drain();
        }
        // Its stream is reset before its place is given to the next.
        self.inner = None;
        if let Some(lease) = self.lease.take() {
            lease.give_up();
        }
    }
}

impl fmt::Debug for SessionBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBody")
            .field("ended", &self.lease.is_none())
            .finish_non_exhaustive()
    }
}
