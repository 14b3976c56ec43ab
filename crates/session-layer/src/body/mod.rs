use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

mod lease;

pub(crate) use self::lease::Lease;
use crate::{
    ConnectionInfo, Error, ThroughputFloor,
    config::Floors,
    error::{Kind, Phase},
    exchange::{Cause, Drained, Unread},
    runtime,
    throughput::{self, DownloadMeter, TooSlow},
};

/// A response body that holds its connection, and releases it when it has ended.
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
    /// Whether the length in the head is that of a body that does not come. hyper knows this over
    /// HTTP/1 only.
    bare: bool,
    /// Whether its reader waits.
    waits: bool,
    held_to: HeldTo,
    /// The timeouts that it keeps itself, if there are any.
    times: Option<Box<Times>>,
}

/// Which floors of throughput may hold for a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum HeldTo {
    /// The session's, or one that is set later.
    Any,
    /// Only that of its request, be it none.
    Own,
    /// None, since its response began before its request had been sent whole: its speed may depend
    /// on the upload, and says nothing of the peer.
    None,
}

/// The timeouts of a body that the driver does not keep.
#[derive(Default)]
struct Times {
    /// Set if the reader is on another runtime than the driver, or the request has an idle timeout
    /// of its own.
    idle: Option<Pin<Box<Sleep>>>,
    /// The runtime on which that timer was made.
    idle_on: Option<runtime::Id>,
    floor: Option<DownloadMeter>,
    /// By how much the body was too slow, if it was aborted for that.
    too_slow: Option<TooSlow>,
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

    /// Whether nothing more comes. Over HTTP/2 hyper takes a lock to tell, so the length is asked
    /// first.
    #[inline]
    fn has_ended(&self) -> bool {
        self.size_hint().lower() == 0 && self.is_end_stream()
    }

    /// Returns what is known of the connection that the response came over, also after its end.
    #[must_use]
    pub fn connection(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Lifts the default [body idle timeout](crate::Timeouts::body_idle) of the session and its
    /// [floor of downloads](crate::Timeouts::download_floor): for a body that is a stream of
    /// events, which may be far apart. An idle timeout that was set explicitly holds on, and so
    /// does an idle timeout or a floor of the request. To be called before the body is read.
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

    /// Holds the body to a floor of throughput, unless the session's [floor of
    /// downloads](crate::Timeouts::download_floor) or that of the request was set explicitly, be it
    /// to none. To be called before the body is read.
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

    /// Notes that its response began before its request had been sent whole: no floor holds for it.
    #[cold]
    pub(crate) fn came_early(&mut self) {
        self.held_to = HeldTo::None;
    }

    /// Notes that the length in the head is that of a body which does not come.
    pub(crate) fn announces_nothing(&mut self) {
        self.bare = true;
        if self.has_ended() {
            self.end();
        }
    }

    /// Ends the body: nothing more comes. hyper is not polled again, even if the reader polls on.
    fn end(&mut self) {
        self.inner = None;
        self.finish();
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
    }

    /// Whether a body over HTTP/2 has ended before its length. hyper takes a reset with `NO_ERROR`
    /// for the end, which is right only if the whole body came before.
    fn is_short(&self) -> bool {
        let is_stream = self.lease.as_ref().is_some_and(|it| it.stream.is_some());
        is_stream && !self.is_end_stream() && self.size_hint().lower() > 0
    }

    /// Whether its reader has waited for too long, where the driver does not end the wait: on
    /// another runtime, or if the request has an idle timeout of its own.
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
        // The timer of another runtime fires only while that is driven, and panics if that has
        // ended.
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

    /// Whether the body comes more slowly than its floor asks for, if it has one.
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

    /// Notes that its reader has got a frame, for the floor and the idle timeout.
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

    /// Ends the body by an error: hyper's, or that of a timeout.
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
        // hyper's error of a connection that was aborted here would only hide the cause.
        match error.filter(|_| aborted.is_none()) {
            Some(error) => failed.with(error),
            None => failed,
        }
    }

    /// Reads the rest of a body that was dropped, so that its connection can be reused. Bytes that
    /// have not come yet are left to the driver.
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
        // The stream is reset before it is released for the next request.
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
