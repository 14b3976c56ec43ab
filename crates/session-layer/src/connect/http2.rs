//! The task of one HTTP/2 connection.
//!
//! hyper has two futures for a connection: one passes requests on to h2, the other moves frames.
//! Both run in one task here, because hyper tells nobody of two things that the frames bring:
//! a new limit on streams, and a GOAWAY. So whenever bytes have come, the first future is looked
//! at after the second.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;
use hyper::{
    client::conn::http2,
    rt::{Executor, Read, Write},
};
use hyper_util::rt::TokioTimer;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{
    driver::{Ended, Look, Watch, look_at_exchange},
    io::Cause,
    open::MAX_HEAD,
};
use crate::{
    Error, Http2,
    error::{BoxError, Kind, Phase as Waited},
    pool::{Connection, Expiry, Release, Shared, Streams, retire},
    upload::RequestBody,
};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The length of the head of a frame. The first frame of a peer says how many streams it allows.
const FRAME_HEAD: u64 = 9;

/// Runs an HTTP/2 connection to its end; an error means that it never began.
pub(super) async fn drive<T, B>(io: T, facts: Arc<Connection<B>>) -> hyper::Result<()>
where
    T: Read + Write + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let pool = facts.pool();
    let tasks = Tasks::default();
    let (sender, dispatch) = builder(&pool.config().http2, tasks.clone())
        .handshake(io)
        .await?;
    let shared = Shared::new(facts.clone(), sender);
    let connect = pool.config().timeouts.connect;
    // Made first: should the task end before its first poll, the pool still hears of it.
    let driver = Driver {
        dispatch: Some(dispatch),
        frames: tasks.take(),
        watch: Watch::new(pool.config(), connect),
        settle_by: connect.and_then(|connect| Instant::now().checked_add(connect)),
        streams: shared.streams().clone(),
        limit: None,
        read: 0,
        paused: false,
        connection: facts.clone(),
    };
    pool.opened_shared(shared);
    // In a task of its own, which has no room for what connecting took.
    tokio::spawn(driver);
    Ok(())
}

fn builder(config: &Http2, tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .adaptive_window(config.adaptive_window)
        // A larger head is refused here, where the error can say so: h2 says of one that is above
        // its own limit only that it breaks the rules.
        .max_header_list_size(u32::try_from(MAX_HEAD.saturating_mul(4)).unwrap_or(u32::MAX))
        .keep_alive_interval(config.keep_alive_interval)
        .keep_alive_timeout(config.keep_alive_timeout)
        .keep_alive_while_idle(false);
    builder
}

/// Where hyper puts its futures: the first, which moves the frames of the connection, is kept for
/// the connection's own task; the others, which belong to requests, run in tasks of their own.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<First>>);

#[derive(Default)]
enum First {
    #[default]
    Awaited,
    There(Task),
    Taken,
}

impl Tasks {
    fn take(&self) -> Option<Task> {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *first, First::Taken) {
            First::There(task) => Some(task),
            First::Awaited | First::Taken => None,
        }
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*first, First::Awaited) {
            *first = First::There(Box::pin(future));
            return;
        }
        drop(first);
        tokio::spawn(future);
    }
}

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
        // Passes requests on; absent once it takes no more.
        dispatch: Option<D>,
        // Moves frames, and owns the socket.
        frames: Option<Task>,
        #[pin]
        watch: Watch,
        // When the peer must have sent its settings.
        settle_by: Option<Instant>,
        streams: Arc<Streams<B>>,
        // What the pool was told last of how many streams the peer allows.
        limit: Option<usize>,
        // How many bytes had come when the peer was last heard of.
        read: u64,
        // Whether the pool gives it nothing, because the peer may be dead.
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
            // The socket is closed before the pool hears of it: who waits for that may rely on it.
            drop(this.frames.take());
            drop(this.dispatch.take());
            this.connection.wire().leave(Cause::Broken);
            let failed = this.limit.is_none().then(|| unsettled(this.connection));
            this.connection.pool().withdraw(this.connection, failed);
        }
    }
}

/// What those are told who waited to share a connection whose peer never got so far.
fn unsettled<B: Send + 'static>(connection: &Connection<B>) -> Error {
    let error = match connection.wire().severed() {
        Some(Cause::HeadTimeout) => {
            let connect = connection.pool().config().timeouts.connect;
            Error::new(Kind::Timeout(Waited::Connect, connect.unwrap_or_default()))
        }
        _ => {
            Error::new(Kind::Connect).with("the connection ended before it said that it is HTTP/2")
        }
    };
    error.at(connection.origin())
}

impl<D: Dispatch, B: Send + 'static> Future for Driver<D, B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let wire = self.connection.wire_arc().clone();
        wire.register(cx);
        if wire.severed().is_some() {
            return Poll::Ready(());
        }
        self.as_mut().poll_dispatch(cx);
        if self.as_mut().poll_frames(cx).is_ready() {
            return Poll::Ready(());
        }
        let read = wire.bytes_read();
        if read != self.read {
            self.as_mut().heard(read, cx);
        }
        if let Some(by) = wire.take_look_by() {
            self.as_mut().project().watch.look_by(by, cx);
        }
        if self.dispatch.is_none() && !self.streams.is_busy() {
            // It carries nothing and never will; h2 says so to the peer once more.
            let _ = self.as_mut().poll_frames(cx);
            return Poll::Ready(());
        }
        let this = self.project();
        let look = |now| {
            Looked {
                connection: this.connection,
                streams: this.streams,
                settle_by: this.settle_by.filter(|_| this.limit.is_none()),
            }
            .look(now, this.paused)
        };
        match this.watch.poll(cx, look) {
            Poll::Ready(cause) => {
                wire.sever(cause);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<D: Dispatch, B: Send + 'static> Driver<D, B> {
    /// Passes requests on to h2; notes when it takes no more.
    fn poll_dispatch(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        let Some(dispatch) = this.dispatch.as_mut() else {
            return;
        };
        let Poll::Ready(ended) = Pin::new(dispatch).poll(cx) else {
            return;
        };
        *this.dispatch = None;
        if let Err(error) = ended {
            tracing::trace!(origin = %this.connection.origin(), %error, "connection ended");
        }
        // The peer went away, unless this side has said why it does.
        this.connection.wire().leave(Cause::Broken);
        let failed = this.limit.is_none().then(|| unsettled(this.connection));
        this.connection.pool().withdraw(this.connection, failed);
    }

    fn poll_frames(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project().frames {
            Some(frames) => frames.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// Looks at what bytes from the peer may have changed.
    fn heard(mut self: Pin<&mut Self>, read: u64, cx: &mut Context<'_>) {
        let this = self.as_mut().project();
        *this.read = read;
        let (pool, origin) = (this.connection.pool(), this.connection.origin());
        let id = this.connection.id();
        if mem::take(this.paused) {
            pool.set_paused(origin, id, false);
        }
        let settled = this.dispatch.as_ref().filter(|_| read >= FRAME_HEAD);
        let allowed = settled.map(Dispatch::allowed);
        let limit = allowed.map(|it| it.min(pool.config().http2.max_concurrent_streams));
        if let Some(limit) = limit.filter(|_| limit != *this.limit) {
            *this.limit = Some(limit);
            pool.set_limit(origin, id, limit);
            this.streams.set_limit(limit);
        }
        // A GOAWAY ends it.
        self.poll_dispatch(cx);
    }
}

/// What a connection's times are looked up in.
struct Looked<'a, B: Send + 'static> {
    connection: &'a Arc<Connection<B>>,
    streams: &'a Streams<B>,
    settle_by: Option<Instant>,
}

impl<B: Send + 'static> Looked<'_, B> {
    fn look(&self, now: Instant, paused: &mut bool) -> Look {
        let pool = self.connection.pool();
        let (origin, id) = (self.connection.origin(), self.connection.id());
        if self.settle_by.is_some_and(|by| by <= now) {
            return Look::Cut(Cause::HeadTimeout);
        }
        // Whatever the peer had to say when it took no more has come by then.
        let failed = self.connection.wire().failed_write_deadline();
        if failed.is_some_and(|by| by <= now) {
            return Look::Cut(Cause::Broken);
        }
        let mut next: Vec<_> = self.settle_by.into_iter().chain(failed).collect();
        let timeouts = &pool.config().timeouts;
        let mut suspect = false;
        for wire in self.streams.wires() {
            match look_at_exchange(&wire, timeouts, now) {
                Look::Cut(cause) => {
                    wire.sever(cause);
                    suspect |= cause == Cause::HeadTimeout;
                    if cause == Cause::Unclean {
                        // hyper goes on with an upload that nobody wants, and the peer takes
                        // nothing of it: only the end of the connection ends that.
                        if !self.streams.is_busy() {
                            return Look::Cut(cause);
                        }
                        self.connection.wire().leave(cause);
                        pool.withdraw(self.connection, None);
                    }
                }
                Look::Again(at) => next.extend(at),
            }
        }
        if suspect && !*paused {
            *paused = true;
            pool.set_paused(origin, id, true);
        }
        if self.connection.expires().is_some_and(|at| at <= now) {
            // Too old for new requests; those on it finish.
            self.connection.wire().leave(Cause::TooOld);
            pool.withdraw(self.connection, None);
        } else {
            next.extend(self.connection.expires());
        }
        match pool.expire(self.connection, now) {
            Expiry::Expired(idle) => retire(idle, Cause::Idle),
            Expiry::At(at) => next.push(at),
            Expiry::InUse => {}
        }
        Look::Again(next.into_iter().min())
    }
}
