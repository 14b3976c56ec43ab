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
use http::Uri;
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection as Connected;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower_service::Service;

mod handshake;

use self::handshake::drive;
use super::http1::Driver;
#[cfg(feature = "http2")]
use super::tasks::Boxes;
use crate::{
    Error, Step,
    box_error::BoxError,
    connector::opening::{OPENING, Opening},
    error::Kind,
    pool::{CalledOff, Connect, Permit, RuntimeEnded},
    step::Steps,
};

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

/// After which time a connect that no request waits for any more counts as a failure of its address, where
/// requests are spread: the requests had less time than the connect timeout, and those that come after them
/// must not go there too. It is the delay after which another address is tried where they are not spread
/// ([RFC 8305, section 5](https://www.rfc-editor.org/rfc/rfc8305#section-5)).
const SLOW: Duration = Duration::from_millis(250);

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
        None => {
            if began.elapsed() >= SLOW {
                permit.pool().address_failed(permit.origin());
            }
            None
        }
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
    let timeout = permit.pool().connect_timeout(origin);
    let mut connecting = pin!(connect(connector, origin.uri().clone()));
    let mut timer = pin!(None);
    poll_fn(|cx| {
        let opening = Opening {
            http1_only: origin.is_http1_only(),
            address: origin.address(),
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
