//! The driver of one HTTP/2 connection.
//!
//! hyper has two futures for a connection: one passes requests on to h2, the other moves frames.
//! Both run in one task here, because hyper wakes no task for two things that the frames bring: a
//! new limit on streams, and a GOAWAY. So whenever bytes have come, the first future is polled
//! after the second.
//!
//! A request is given to hyper only when it can leave: h2 has taken in all frames that have come,
//! and the peer's limit leaves room. Then nothing is read until h2 has written its HEADERS: if the
//! limit were lowered in between, the request would stay in h2, which does not give it back.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use hyper::{
    client::conn::http2::{self, SendRequest},
    rt::{Read, Write},
};
use pin_project_lite::pin_project;
use tokio::time::Instant;

mod begin;
mod look;

pub(super) use self::begin::drive;
use self::look::Looked;
use super::{
    http1::Ended,
    keep_alive::KeepAlive,
    ping::OnDemand,
    tasks::{Frames, Tasks},
    watch::{Look, Watch},
};
use crate::{
    ConnectionInfo, Error, Step,
    box_error::BoxError,
    error::Kind,
    exchange::RequestBody,
    exchange::{Cause, Release, upload_task},
    pool::{ALLOWS_NO_REQUEST, Connection, Streams},
    reuse,
};

/// The length of the head of a frame. The first frame of a peer says how many streams it allows.
const FRAME_HEAD: u64 = 9;

/// How long a connection is kept whose peer allows no request, since it may allow some again.
/// Meanwhile others to the same origin are opened only if the peer has answered on this one.
const ALLOWS_NOTHING: Duration = Duration::from_secs(1);

/// hyper's future that passes requests on to h2.
trait Dispatch: Future<Output = hyper::Result<()>> + Unpin {
    /// How many streams the peer allows at this moment.
    fn allowed(&self) -> usize;
}

impl<T, B> Dispatch for http2::Connection<T, RequestBody<B>, Tasks>
where
    T: Read + Write + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn allowed(&self) -> usize {
        self.current_max_send_streams()
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    struct Driver<D, B>
    where
        B: Send,
        B: 'static,
    {
        // Gives requests to hyper; absent once no more will be sent.
        sender: Option<SendRequest<RequestBody<B>>>,
        // Passes requests on; absent once it takes no more.
        dispatch: Option<D>,
        // Moves frames, and owns the socket.
        frames: Option<Frames>,
        #[pin]
        watch: Watch,
        // When the peer must have sent its settings.
        settle_by: Option<Instant>,
        streams: Arc<Streams<B>>,
        // The limit on streams that the pool was told last.
        limit: Option<usize>,
        // Since when the peer has allowed no stream, while the driver waits for it to allow some.
        allows_nothing: Option<Instant>,
        // How many bytes had come when the driver looked last.
        read: u64,
        keep_alive: KeepAlive,
        on_demand: OnDemand,
        // Whether a PING was ever sent.
        pinged: bool,
        // Whether the connection is paused, because the peer may be dead.
        paused: bool,
        connection: Arc<Connection<B>>,
    }

    impl<D, B> PinnedDrop for Driver<D, B>
    where
        B: Send,
        B: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let _tells = Ended(this.connection);
            // The socket is closed before the pool is told, so that one who waits for the pool may
            // rely on it.
            drop(this.frames.take());
            drop(this.sender.take());
            drop(this.dispatch.take());
            this.streams.close();
            this.connection.state().note_end(Cause::Broken);
            let failed = failed(this.connection, *this.limit);
            this.connection.pool().drain(this.connection, failed);
        }
    }
}

/// The error for the waiters of a connection that ends before it has taken a request.
fn failed<B: Send + 'static>(connection: &Connection<B>, limit: Option<usize>) -> Option<Error> {
    let error = match (limit, connection.state().aborted()) {
        (None, Some(Cause::HeadTimeout)) => {
            let connect = connection.pool().config().timeouts.connect;
            Error::connect_timeout(Step::Connect, connect.unwrap_or_default())
        }
        (None, _) => {
            Error::new(Kind::Connect).with("the connection ended before it said that it is HTTP/2")
        }
        (Some(0), _) => Error::new(Kind::Connect).with(ALLOWS_NO_REQUEST),
        (Some(_), _) => return None,
    };
    let info = ConnectionInfo {
        facts: connection.facts().clone(),
        reused: false,
        waited: 0,
    };
    Some(
        error
            .at(connection.origin())
            .on(info, connection.requests()),
    )
}

impl<D, B> Future for Driver<D, B>
where
    D: Dispatch,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let state = self.connection.state_arc().clone();
        state.register(cx);
        if state.aborted().is_some() {
            return Poll::Ready(());
        }
        self.streams.gate().wake();
        if self.as_mut().poll_frames(cx).is_ready() {
            // The first future may know why.
            self.poll_dispatch(cx);
            return Poll::Ready(());
        }
        let read = state.bytes_read();
        if read != self.read {
            self.as_mut().heard(read);
        }
        // After a GOAWAY it ends.
        self.as_mut().poll_dispatch(cx);
        if let Some(cause) = self.as_mut().note_doubt() {
            state.abort(cause);
            return Poll::Ready(());
        }
        if self.as_mut().hand_over(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.streams.is_unused() && self.sender.is_some() {
            drop(self.as_mut().project().sender.take());
            self.as_mut().poll_dispatch(cx);
        }
        if let Some(by) = state.take_look_by() {
            self.as_mut().project().watch.look_by(by);
        }
        if self.dispatch.is_none() && !self.streams.is_busy() {
            // It carries no request and never will. h2 may still write a GOAWAY.
            let _ = self.as_mut().poll_frames(cx);
            return Poll::Ready(());
        }
        let (watch, mut looked) = self.looked();
        match watch.poll(cx, |now| looked.look(now)) {
            Poll::Ready(cause) => {
                state.abort(cause);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<D, B> Driver<D, B>
where
    D: Dispatch,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Passes requests on to h2; notes when it takes no more.
    fn poll_dispatch(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        let Some(dispatch) = this.dispatch.as_mut() else {
            return;
        };
        let polled = upload_task::while_taking(|| Pin::new(dispatch).poll(cx));
        let Poll::Ready(ended) = polled else {
            return;
        };
        *this.sender = None;
        *this.dispatch = None;
        this.streams.close();
        let pool = this.connection.pool();
        if let Err(error) = ended {
            tracing::trace!(origin = %this.connection.origin(), %error, "connection ended");
            if *this.pinged && reuse::asks_for_calm(&error) {
                pool.ping_less(this.connection.origin());
            }
        }
        if this.streams.count() == 0 {
            this.connection.note_closed_idle();
        }
        // The peer has ended it, unless this side has noted another cause before.
        this.connection.state().note_end(Cause::Broken);
        let failed = failed(this.connection, *this.limit);
        pool.drain(this.connection, failed);
    }

    fn poll_frames(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project().frames {
            Some(frames) => frames.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// Gives the queued requests to hyper, as many as the peer allows, and has their HEADERS
    /// written. The others go back to their futures, for another connection.
    fn hand_over(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let (Some(sender), Some(dispatch)) = (this.sender.as_mut(), this.dispatch.as_ref()) else {
            return Poll::Pending;
        };
        let mut next = this.streams.next_submission();
        if next.is_none() {
            return Poll::Pending;
        }
        let mut excess = this.streams.excess(dispatch.allowed());
        if *this.paused {
            excess = usize::MAX;
        }
        let returned = this.streams.return_newest(excess);
        if let Some(first) = next.take_if(|_| returned < excess) {
            first.return_request();
        }
        let gate = this.streams.gate().clone();
        let opened = gate.opened();
        let mut handed = false;
        while let Some(submission) = next {
            handed |= submission.hand_over(opened, |request| sender.try_send_request(request));
            next = this.streams.next_submission();
        }
        if !handed {
            return Poll::Pending;
        }
        self.as_mut().poll_dispatch(cx);
        gate.hold();
        let polled = self.poll_frames(cx);
        if gate.release() {
            cx.waker().wake_by_ref();
        }
        polled
    }

    /// Looks at what the bytes that have come from the peer may have changed.
    fn heard(mut self: Pin<&mut Self>, read: u64) {
        let this = self.as_mut().project();
        let now = Instant::now();
        let bytes = read.wrapping_sub(mem::replace(this.read, read));
        if this.keep_alive.heard(bytes, now) {
            this.on_demand.forget();
        }
        let (pool, origin) = (this.connection.pool(), this.connection.origin());
        let id = this.connection.id();
        if mem::take(this.paused) {
            pool.resume(origin, id);
        }
        let settled = this.dispatch.as_ref().filter(|_| read >= FRAME_HEAD);
        let allowed = settled.map(Dispatch::allowed);
        let limit = allowed.map(|it| it.min(pool.config().http2.max_concurrent_streams));
        if let Some(limit) = limit.filter(|_| limit != *this.limit) {
            *this.limit = Some(limit);
            *this.allows_nothing = (limit == 0).then_some(now);
            if let Some(by) = this
                .allows_nothing
                .and_then(|it| it.checked_add(ALLOWS_NOTHING))
            {
                this.watch.look_by(by);
            }
            // Set before the pool is told, so that no stream that the pool gives out now is taken
            // for one too many.
            this.streams.set_limit(limit);
            pool.set_limit(origin, id, limit);
        }
    }

    /// Looks at a request that was given up before anything came; returns a cause if the connection
    /// must be closed.
    fn note_doubt(self: Pin<&mut Self>) -> Option<Cause> {
        let began = self.streams.take_doubt()?;
        let (watch, mut looked) = self.looked();
        if let Some(began) = looked.connection.state().moment(began) {
            looked.keep_alive.doubt(began);
        }
        // Checked at once, since the next request must not go to a peer that may be dead.
        match looked.look_at_peer(Instant::now()) {
            Look::Abort(cause) => return Some(cause),
            Look::Again(Some(at)) => watch.look_by(at),
            Look::Again(None) => {}
        }
        None
    }

    /// The timer, and the parts of the driver that its check needs.
    fn looked(self: Pin<&mut Self>) -> (Pin<&mut Watch>, Looked<'_, B>) {
        let this = self.project();
        let looked = Looked {
            connection: this.connection,
            streams: this.streams,
            settle_by: this.settle_by.filter(|_| this.limit.is_none()),
            allows_nothing: this.allows_nothing,
            keep_alive: this.keep_alive,
            on_demand: this.on_demand,
            pinged: this.pinged,
            paused: this.paused,
        };
        (this.watch, looked)
    }
}
