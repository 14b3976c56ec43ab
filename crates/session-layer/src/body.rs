use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use crate::{
    ConnectionInfo, Error,
    connect::{Cause, Wire},
    error::{Kind, Phase},
    pool::Release,
};

/// A response body that holds its connection, and gives it back when it has ended.
///
/// # Cancel safety
///
/// Dropping it before its end closes the connection, unless hyper has passed on all that is left,
/// as it has for a small body that came with its head; then the connection serves the next request.
pub struct SessionBody {
    inner: Incoming,
    lease: Option<Lease>,
    info: ConnectionInfo,
    /// Nothing more comes, after an error.
    failed: bool,
}

/// The right to a connection, or to a part of one, until the body that came over it has ended.
pub(crate) struct Lease {
    pub(crate) connection: Arc<dyn Release>,
    /// What the exchange is noted on, where others use the connection at the same time.
    pub(crate) part: Option<Arc<Wire>>,
    /// Why the connection ends with this exchange, if it does.
    pub(crate) ends: Option<Cause>,
}

impl Lease {
    fn wire(&self) -> &Wire {
        match &self.part {
            Some(part) => part,
            None => self.connection.wire(),
        }
    }

    /// Ends the exchange before its end: the connection goes with it, or the part.
    fn give_up(self) {
        match self.part {
            // Dropping hyper's body resets the stream.
            Some(part) => self.connection.release(Some(part)),
            None => {
                self.connection.wire().sever(Cause::Dropped);
            }
        }
    }

    /// Gives the connection back, or ends it if the exchange left something behind.
    fn finish(self) {
        match self.ends {
            Some(cause) if self.part.is_none() => {
                self.connection.wire().sever(cause);
            }
            Some(_) | None => self.connection.release(self.part),
        }
    }
}

/// How much of an unwanted body is taken from the buffers to save its connection.
const LEFTOVER: usize = 64 * 1024;

impl SessionBody {
    pub(crate) fn new(inner: Incoming, lease: Option<Lease>, info: ConnectionInfo) -> Self {
        let mut body = Self {
            inner,
            lease,
            info,
            failed: false,
        };
        if body.inner.is_end_stream() {
            body.finish();
        }
        body
    }

    /// Returns what is known of the connection that the response came over, also after its end.
    #[must_use]
    pub fn connection(&self) -> &ConnectionInfo {
        &self.info
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
    }

    /// Says why the body ended, by hyper's error or because its time ran out.
    fn fail(&mut self, error: Option<hyper::Error>) -> Error {
        self.failed = true;
        let lease = self.lease.take();
        let severed = lease.as_ref().and_then(|lease| lease.wire().severed());
        let kind = match (&lease, severed) {
            (Some(lease), Some(Cause::BodyTimeout)) => Kind::Timeout(
                Phase::Body,
                lease.connection.body_idle().unwrap_or_default(),
            ),
            (Some(_), Some(Cause::Closed)) => Kind::Aborted,
            _ => Kind::ResponseBody,
        };
        let mut failed = Error::new(kind);
        if let Some(lease) = lease {
            failed = failed.at(lease.connection.origin());
            lease.give_up();
        }
        // What hyper says of a connection that was cut here would only hide why.
        match error.filter(|_| severed.is_none()) {
            Some(error) => failed.with(error),
            None => failed,
        }
    }

    /// Takes what is left of an unwanted body, if it is all there.
    fn drain_buffered(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut taken = 0_usize;
        while taken <= LEFTOVER {
            match Pin::new(&mut self.inner).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    taken = taken.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(None) => return self.finish(),
                Poll::Ready(Some(Err(_))) | Poll::Pending => return,
            }
            if self.inner.is_end_stream() {
                return self.finish();
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
        if this.failed {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if let Some(part) = this.lease.as_ref().and_then(|lease| lease.part.as_ref()) {
            part.note_read_waits(&polled);
            if polled.is_pending() {
                part.register(cx);
                if part.severed().is_some() {
                    return Poll::Ready(Some(Err(this.fail(None))));
                }
            }
        }
        match ready!(polled) {
            Some(Ok(frame)) => {
                if this.inner.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(this.fail(Some(error))))),
            None => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for SessionBody {
    fn drop(&mut self) {
        let saves = |lease: &Lease| lease.ends.is_none() && lease.part.is_none();
        if self.lease.as_ref().is_some_and(saves) {
            self.drain_buffered();
        }
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

pin_project! {
    /// A request body as hyper sees it: it tells the wire when hyper has taken its end.
    pub(crate) struct RequestBody<B> {
        #[pin]
        inner: B,
        // Absent once hyper has the end, and for bodies that are empty from the start.
        progress: Option<Progress>,
        // How many bytes may still come, where only a header says so.
        left: Option<u64>,
    }
}

/// Tells the wire how far the body is, and its end by being dropped: hyper drops a body whose
/// announced length it has, without asking for the end.
struct Progress {
    wire: Arc<Wire>,
    head: Option<Duration>,
    /// Whether others use the connection: the socket does not tell then whether this body waits.
    part: bool,
}

impl Progress {
    /// Asks for a frame of one request of several on a connection.
    fn poll_part<B: Body>(&self, inner: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Next<B>> {
        // A panic of one body must not end the task that drives the others.
        let polled = panic::catch_unwind(AssertUnwindSafe(|| inner.poll_frame(cx)));
        if let Ok(polled) = polled {
            // hyper asks for more when the peer takes more.
            self.wire.note_upload_waits(polled.is_ready());
            return polled;
        }
        self.wire.note_body_failed();
        self.wire.sever(Cause::Dropped);
        Poll::Pending
    }
}

/// What a body answers when it is asked for a frame.
type Next<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

impl Drop for Progress {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.wire.note_body_failed();
        }
        self.wire.request_ended(self.head);
    }
}

impl<B: Body> RequestBody<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self {
            inner,
            progress: None,
            left: None,
        }
    }

    /// Holds the body to the length that a header announces.
    pub(crate) fn announce(&mut self, length: Option<u64>) {
        self.left = length;
    }

    /// Tells `wire` from now on how far the body is.
    pub(crate) fn attach(&mut self, wire: &Arc<Wire>, head: Option<Duration>, part: bool) {
        let wire = wire.clone();
        self.progress = Some(Progress { wire, head, part });
    }
}

/// Counts bytes against what was announced.
fn is_too_long(left: &mut Option<u64>, bytes: usize) -> bool {
    let Some(left) = left else {
        return false;
    };
    let rest = left.checked_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    *left = rest.unwrap_or_default();
    rest.is_none()
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = match this.progress.as_ref().filter(|progress| progress.part) {
            Some(progress) => ready!(progress.poll_part(this.inner.as_mut(), cx)),
            None => ready!(this.inner.as_mut().poll_frame(cx)),
        };
        if let Some(progress) = this.progress {
            match &frame {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    progress.wire.uploaded(bytes);
                    if is_too_long(this.left, bytes) {
                        // hyper would send the beginning, and call it whole.
                        progress.wire.sever(Cause::BodyTooLong);
                    }
                }
                Some(Err(_)) => progress.wire.note_body_failed(),
                None => {}
            }
            // After the last frame hyper may ask no more.
            if frame.is_none() || this.inner.is_end_stream() {
                *this.progress = None;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
