use std::{
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    connect::{Cause, Wire},
    error::BoxError,
};

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
    /// Whether others use the connection: the socket does not tell then whether this body waits,
    /// and cutting it is no way to end the exchange.
    part: bool,
    /// What is left of a large piece.
    rest: Option<Box<Bytes>>,
}

/// The most that hyper gets of one request of several at a time. It asks for more when the peer has
/// taken that, and so tells whether the upload moves.
const PIECE: usize = 16 * 1024;

/// What a body answers when it is asked for a frame.
type Next = Option<Result<Frame<Bytes>, BoxError>>;

impl Progress {
    /// Asks for a frame of one request of several on a connection.
    fn poll_part<B>(&mut self, inner: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Next>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        if self.wire.is_orphan() {
            // hyper resets the stream then.
            return Poll::Ready(Some(Err("the exchange is over".into())));
        }
        if let Some(rest) = self.rest.take() {
            self.wire.note_upload_waits(true);
            return Poll::Ready(Some(Ok(self.piece(*rest))));
        }
        // A panic of one body must not end the task that drives the others.
        let polled = panic::catch_unwind(AssertUnwindSafe(|| inner.poll_frame(cx)));
        let Ok(polled) = polled else {
            self.wire.note_body_failed();
            self.wire.sever(Cause::Dropped);
            return Poll::Ready(Some(Err("the body panicked".into())));
        };
        // hyper asks for more when the peer takes more.
        self.wire.note_upload_waits(polled.is_ready());
        Poll::Ready(match ready!(polled) {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(bytes) => self.piece(bytes),
                Err(trailers) => trailers,
            })),
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }

    fn piece(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        if bytes.len() > PIECE {
            let piece = bytes.split_to(PIECE);
            self.rest = Some(Box::new(bytes));
            return Frame::data(piece);
        }
        Frame::data(bytes)
    }

    /// Takes note of what hyper is about to get; an error keeps it from hyper.
    fn note(
        &self,
        frame: Option<&Result<Frame<Bytes>, BoxError>>,
        ends: bool,
        left: &mut Option<u64>,
    ) -> Result<(), BoxError> {
        let bytes = match frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => {
                self.wire.note_body_failed();
                return Ok(());
            }
            None => 0,
        };
        self.wire.uploaded(bytes);
        let too_long = is_too_long(left, bytes);
        // HTTP/1 sees to that itself.
        let too_short = self.part && ends && left.is_some_and(|left| left > 0);
        if too_long || too_short {
            // hyper would send the beginning, and call it whole.
            self.wire.sever(Cause::BodyTooLong);
            if self.part {
                return Err("the body is not as long as announced".into());
            }
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.wire.note_body_failed();
        }
        self.wire.request_ended(self.head);
        if self.part {
            Wire::upload_ended(&self.wire);
        }
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
        if part {
            wire.upload_begins();
        }
        self.progress = Some(Progress {
            wire: wire.clone(),
            head,
            part,
            rest: None,
        });
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

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        let mut this = self.project();
        let mut frame = match this.progress.as_mut().filter(|progress| progress.part) {
            Some(progress) => ready!(progress.poll_part(this.inner.as_mut(), cx)),
            None => {
                ready!(this.inner.as_mut().poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
        };
        if let Some(progress) = this.progress {
            // After the last frame hyper may ask no more.
            let ends = frame.is_none() || (progress.rest.is_none() && this.inner.is_end_stream());
            if let Err(error) = progress.note(frame.as_ref(), ends, this.left) {
                frame = Some(Err(error));
            }
            if ends {
                *this.progress = None;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.progress.as_ref().and_then(|it| it.rest.as_ref());
        rest.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
