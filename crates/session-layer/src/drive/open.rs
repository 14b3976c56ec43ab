use std::{
    cell::Cell,
    future::{Future, poll_fn},
    panic::{self, AssertUnwindSafe},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Uri, Version};
use http_body::Body;
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::client::legacy::connect::Connection as Connected;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower_service::Service;

#[cfg(feature = "http2")]
use super::tasks::Boxes;
use super::{
    http1::Driver,
    io::{Io, WhenFailed},
};
use crate::{
    Error, PoolConfig, Step,
    box_error::BoxError,
    config::Config,
    connector::{
        ConnectedInfo,
        opening::{OPENING, Opening},
    },
    error::Kind,
    exchange::{ExchangeState, Gate, MAX_HEAD},
    info::Facts,
    origin::Origin,
    pool::{CalledOff, Connect, Connection, Permit, Pool, PooledConnection, RuntimeEnded},
    step::Steps,
};

/// The largest buffer that hyper reads into, if the settings name none. It is hyper's own default,
/// and stands here because [`most_before_head`] counts with it.
const READ_BUFFER: usize = 8 * 1024 + 100 * 4096;

/// The most bytes that may come over HTTP/1 before the driver learns of the head: informational
/// responses and the head.
///
/// hyper holds each single head to [`MAX_HEAD`]. The IO counts all of them together as it reads,
/// and a read brings what follows the head too. hyper may read twice more before the request's
/// future has seen the head. So this many bytes more are allowed.
fn most_before_head(read_buffer: usize) -> u64 {
    let buffer = u64::try_from(read_buffer).unwrap_or(u64::MAX);
    MAX_HEAD.saturating_add(buffer.saturating_mul(3))
}

/// Implements the pool's [`Connect`] by a connector.
pub(crate) struct Opener<C> {
    connector: C,
    kept: Kept,
}

/// What the drivers of a session's connections share.
#[derive(Clone, Default)]
struct Kept {
    /// The boxes of futures that have ended, for the next ones.
    #[cfg(feature = "http2")]
    boxes: Arc<Boxes>,
}

impl<C> Opener<C> {
    pub(crate) fn new(connector: C) -> Self {
        Self {
            connector,
            kept: Kept::default(),
        }
    }
}

impl<C, B> Connect<B> for Opener<C>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connected + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn open(
        &self,
        permit: Permit<B>,
        id: u64,
        called_off: CalledOff,
        steps: Arc<Steps>,
    ) -> Result<(), RuntimeEnded> {
        let Ok(runtime) = Handle::try_current() else {
            let error = Error::new(Kind::Connect).with("there is no Tokio runtime to connect on");
            let error = error.at(permit.origin());
            permit.fail(&error);
            return Ok(());
        };
        // The connector is called while a permit is released, and its panic would unwind through
        // that.
        let Ok(connector) = panic::catch_unwind(AssertUnwindSafe(|| self.connector.clone())) else {
            let error = Error::new(Kind::Connect).with("the connector panicked");
            let error = error.at(permit.origin());
            permit.fail(&error);
            return Ok(());
        };
        let opening = open(connector, permit, id, called_off, steps, self.kept.clone());
        let task = runtime.spawn(Task::Opening {
            opening: Box::pin(opening),
        });
        if was_dropped(task) {
            Err(RuntimeEnded)
        } else {
            Ok(())
        }
    }
}

/// Whether the runtime dropped a task that it was given, as one does that has ended. Nothing else ends
/// a task of ours before its time.
fn was_dropped(mut task: JoinHandle<()>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    task.is_finished()
        && matches!(Pin::new(&mut task).poll(&mut cx), Poll::Ready(Err(error)) if error.is_cancelled())
}

pin_project! {
    /// The task of a connection: opens it, then drives it.
    #[project = TaskProj]
    enum Task<O, D> {
        /// Boxed, so that its memory is freed when the connection is open.
        Opening { opening: Pin<Box<O>> },
        Driving { #[pin] driver: D },
    }
}

impl<O, D> Future for Task<O, D>
where
    O: Future<Output = Option<D>>,
    D: Future<Output = ()>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.as_mut().project() {
            TaskProj::Opening { opening } => {
                let Some(driver) = ready!(opening.as_mut().poll(cx)) else {
                    return Poll::Ready(());
                };
                self.set(Task::Driving { driver });
                // Wakes itself, so that it is polled after the request that has waited for the
                // connection.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            TaskProj::Driving { driver } => driver.poll(cx),
        }
    }
}

/// Opens a connection; returns its driver, if that is to run in the same task.
async fn open<C, B>(
    connector: C,
    permit: Permit<B>,
    id: u64,
    called_off: CalledOff,
    steps: Arc<Steps>,
    kept: Kept,
) -> Option<Driver<impl Future<Output = hyper::Result<()>>, B>>
where
    C: Service<Uri>,
    C::Response: Read + Write + Connected + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let began = Instant::now();
    match reach(connector, &permit, called_off, &steps).await {
        Some(Ok(io)) => {
            let opened = Instant::now();
            let took = opened.saturating_duration_since(began);
            drive(io, permit, id, opened, took, kept).await
        }
        Some(Err(error)) => {
            let error = error.at(permit.origin());
            permit.fail(&error);
            None
        }
        // The permit is released. No waiter is left that could be told why.
        None => None,
    }
}

/// Connects, within the connect timeout, or until the connect is cancelled. After that, a cancel
/// has no effect: another request may have been given the connection.
async fn reach<C, B>(
    connector: C,
    permit: &Permit<B>,
    mut called_off: CalledOff,
    steps: &Steps,
) -> Option<Result<C::Response, Error>>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    B: Send + 'static,
{
    let origin = permit.origin();
    let timeout = permit.pool().config().timeouts.connect;
    let mut connecting = pin!(connect(connector, origin.uri().clone()));
    let mut timer = pin!(None);
    poll_fn(|cx| {
        let opening = Opening {
            http1_only: origin.is_http1_only(),
            step: Cell::new(steps.get()),
        };
        let polled = OPENING.sync_scope(opening, || {
            let polled = connecting.as_mut().poll(cx);
            OPENING.with(|opening| steps.set(opening.step.get()));
            polled
        });
        if let Poll::Ready(connected) = polled {
            // What HTTP/2 still waits for does not belong to the last step.
            steps.set(Step::Connect);
            let failed = |error| Error::from_connector(error, timeout);
            return Poll::Ready(Some(connected.map_err(failed)));
        }
        if Pin::new(&mut called_off).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let Some(timeout) = timeout else {
            return Poll::Pending;
        };
        // Begun after the connector's own timer. If both are as long, that one runs out first, and
        // its error names the step.
        if timer.is_none() {
            timer.set(Some(sleep(timeout)));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => {
                let is_over = timer.poll(cx);
                is_over.map(|()| Some(Err(Error::connect_timeout(steps.get(), timeout))))
            }
            None => Poll::Pending,
        }
    })
    .await
}

async fn connect<C>(mut connector: C, uri: Uri) -> Result<C::Response, BoxError>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    poll_fn(|cx| connector.poll_ready(cx))
        .await
        .map_err(Into::into)?;
    connector.call(uri).await.map_err(Into::into)
}

async fn drive<T, B>(
    io: T,
    mut permit: Permit<B>,
    id: u64,
    opened: Instant,
    took: Duration,
    kept: Kept,
) -> Option<Driver<impl Future<Output = hyper::Result<()>>, B>>
where
    T: Read + Write + Connected + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let pool = permit.pool().clone();
    let origin = permit.origin().clone();
    let connected = ConnectedInfo::of(&io);
    let http2 = match speaks_http2(pool.config(), &origin, &connected) {
        Ok(http2) => http2,
        Err(error) => {
            permit.fail(&error.at(&origin));
            return None;
        }
    };
    let read_buffer = pool.config().pool.http1_read_buffer;
    let max_head = most_before_head(read_buffer.unwrap_or(READ_BUFFER));
    let state = Arc::new(ExchangeState::new(
        pool.epoch(),
        max_head,
        connected.failed_write,
    ));
    // From here on the permit is released when the socket is closed.
    permit.connected();
    let mut unopened = Unopened {
        pool: &pool,
        id,
        origin: &origin,
        is_over: false,
    };
    let when_failed = if http2 {
        WhenFailed::Discard
    } else {
        WhenFailed::Wait
    };
    let mut io = Io::new(io, state.clone(), when_failed, permit);
    let gate = http2.then(Arc::<Gate>::default);
    if let Some(gate) = &gate {
        io = io.with_frames(gate.clone());
    }
    let expires = expiry(pool.config().pool.max_lifetime);
    let facts = Facts {
        id,
        version: if http2 {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        },
        times: connected.times,
        took,
        opened,
    };
    let connection = Connection::new(
        facts,
        pool.clone(),
        origin.clone(),
        state,
        expires,
        connected.via_proxy,
    );
    let begun = if let Some(gate) = gate {
        #[cfg(feature = "http2")]
        // Boxed: it is large, and each task would have room for it.
        let begun = Box::pin(super::http2::drive(io, connection, gate, kept.boxes)).await;
        #[cfg(not(feature = "http2"))]
        let begun = {
            let _ = (gate, kept);
            Ok(())
        };
        begun.map(|()| None)
    } else {
        drive_http1(io, connection).await.map(Some)
    };
    unopened.is_over = true;
    begun.unwrap_or_else(|error| {
        let error = Error::new(Kind::Connect).with(error).at(&origin);
        pool.tell_failed(id, &origin, &error);
        None
    })
}

/// Tells the pool if the task ends during the handshake of hyper, by a panic of the stream or with
/// its runtime.
struct Unopened<'a, B: Send + 'static> {
    pool: &'a Arc<Pool<B>>,
    id: u64,
    origin: &'a Origin,
    is_over: bool,
}

impl<B: Send + 'static> Drop for Unopened<'_, B> {
    fn drop(&mut self) {
        if !self.is_over {
            self.pool.open_broke_off(self.id, self.origin);
        }
    }
}

/// Makes the handshake of HTTP/1; returns the driver.
async fn drive_http1<T, B>(
    io: T,
    facts: Arc<Connection<B>>,
) -> hyper::Result<Driver<impl Future<Output = hyper::Result<()>>, B>>
where
    T: Read + Write + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (sender, connection) = builder(&facts.pool().config().pool).handshake(io).await?;
    let pooled = PooledConnection::http1(facts.clone(), sender);
    // Made before the pool is told, so that the pool learns of the end even if the task is never
    // polled again.
    let driver = Driver::new(connection.with_upgrades(), facts.clone());
    facts.pool().opened(pooled);
    Ok(driver)
}

fn builder(config: &PoolConfig) -> http1::Builder {
    let mut builder = http1::Builder::new();
    match config.http1_read_buffer {
        Some(bytes) => builder.read_buf_exact_size(Some(bytes)),
        None => builder.max_buf_size(READ_BUFFER),
    };
    if let Some(fields) = config.http1_max_headers {
        builder.max_headers(fields);
    }
    builder
        .max_header_size(usize::try_from(MAX_HEAD).unwrap_or(usize::MAX))
        // RFC 9112, section 5.2: a user agent must read them.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(config.http1_space_before_colon)
        .ignore_invalid_headers_in_responses(config.http1_ignore_invalid_headers);
    builder
}

/// Whether a connection speaks HTTP/2: the peer has chosen it by ALPN, or is known to speak it. The
/// latter says nothing of a proxy that is sent each request with its whole URI.
fn speaks_http2(
    config: &Config,
    origin: &Origin,
    connected: &ConnectedInfo,
) -> Result<bool, Error> {
    let negotiated = connected.negotiated_h2;
    #[cfg(feature = "http2")]
    {
        if origin.is_http1_only() {
            let why = "the peer chose HTTP/2, which was not offered";
            return if negotiated {
                Err(Error::new(Kind::Connect).with(why))
            } else {
                Ok(false)
            };
        }
        let known = config.http2.prior_knowledge || origin.is_http2_only();
        let known = known && connected.via_proxy.is_none();
        if known && !negotiated && origin.scheme() == "https" {
            return Err(Error::new(Kind::Tls).with("the peer did not choose HTTP/2"));
        }
        Ok(known || negotiated)
    }
    #[cfg(not(feature = "http2"))]
    {
        let _ = (config, origin);
        if negotiated {
            let why = "the peer chose HTTP/2, which needs the feature `http2`";
            return Err(Error::new(Kind::Connect).with(why));
        }
        Ok(false)
    }
}

/// When a connection is too old: after its lifetime, give or take a tenth, so that connections
/// opened together are not replaced together.
fn expiry(lifetime: Option<Duration>) -> Option<Instant> {
    lifetime.and_then(|lifetime| {
        let factor = 0.9 + 0.2 * fastrand::f64();
        Instant::now()
            .checked_add(Duration::try_from_secs_f64(lifetime.as_secs_f64() * factor).ok()?)
    })
}
