use std::{
    mem,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    connect::{Cause, Wire},
    error::BoxError,
};

/// A request body as hyper sees it; a body that is empty from the start is none.
///
/// It is one pointer, and so costs nothing where a request moves through hyper's channel, which
/// keeps room for 32 requests on each connection: one more byte here is 32 on each idle one.
pub(crate) struct RequestBody<B>(Option<Box<Upload<B>>>);

struct Upload<B> {
    inner: B,
    /// Tells the wire when hyper has taken the end.
    progress: Option<Progress>,
    /// How many bytes may still come, where only a header says so.
    left: Option<u64>,
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
    rest: Bytes,
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
        // hyper resets the stream then.
        if self.wire.is_orphan() {
            return Poll::Ready(Some(Err("the exchange is over".into())));
        }
        if self.wire.has_body_failed() {
            return Poll::Ready(Some(Err("the body panicked".into())));
        }
        if !self.rest.is_empty() {
            self.wire.note_upload_waits(true);
            let rest = mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.piece(rest))));
        }
        let Some(polled) = self.caught(|| inner.poll_frame(cx)) else {
            return Poll::Ready(Some(Err("the body panicked".into())));
        };
        // hyper asks for more when the peer takes more.
        self.wire.note_upload_waits(polled.is_ready());
        Poll::Ready(match ready!(polled) {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(bytes) => self.piece(bytes),
                Err(trailers) => trailers,
            })),
            Some(Err(error)) => {
                // hyper makes a reset of it, and keeps it to itself.
                self.wire.keep_error(error.into());
                Some(Err("the request body failed".into()))
            }
            None => None,
        })
    }

    /// Asks the body of one request of several for something: its panic ends its own request, and
    /// not the task that drives the others.
    fn caught<T>(&self, ask: impl FnOnce() -> T) -> Option<T> {
        let answer = panic::catch_unwind(AssertUnwindSafe(ask)).ok();
        if answer.is_none() {
            self.wire.note_body_failed();
            self.wire.sever(Cause::Dropped);
        }
        answer
    }

    fn piece(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        if bytes.len() > PIECE {
            let piece = bytes.split_to(PIECE);
            self.rest = bytes;
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
        if inner.is_end_stream() {
            return Self(None);
        }
        Self(Some(Box::new(Upload {
            inner,
            progress: None,
            left: None,
        })))
    }

    /// Holds the body to the length that a header announces.
    pub(crate) fn announce(&mut self, length: Option<u64>) {
        if let Some(upload) = &mut self.0 {
            upload.left = length;
        }
    }

    /// Tells `wire` from now on how far the body is.
    pub(crate) fn attach(&mut self, wire: &Arc<Wire>, head: Option<Duration>, part: bool) {
        if let Some(upload) = &mut self.0 {
            if part {
                wire.upload_begins();
            }
            upload.progress = Some(Progress {
                wire: wire.clone(),
                head,
                part,
                rest: Bytes::new(),
            });
        }
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

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Gives the next frame, and whether it is the last.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<(Next, bool)> {
        let inner = Pin::new(&mut self.inner);
        let Some(progress) = &mut self.progress else {
            let frame = ready!(inner.poll_frame(cx)).map(|frame| frame.map_err(Into::into));
            let ends = frame.is_none() || self.inner_has_ended();
            return Poll::Ready((frame, ends));
        };
        let mut frame = if progress.part {
            ready!(progress.poll_part(inner, cx))
        } else {
            ready!(inner.poll_frame(cx)).map(|frame| frame.map_err(Into::into))
        };
        let ends = frame.is_none() || self.is_end_stream();
        if let Some(progress) = &self.progress {
            if let Err(error) = progress.note(frame.as_ref(), ends, &mut self.left) {
                frame = Some(Err(error));
            }
        }
        Poll::Ready((frame, ends))
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.progress.as_ref().map(|progress| &progress.rest);
        rest.is_none_or(Bytes::is_empty) && self.inner_has_ended()
    }

    fn inner_has_ended(&self) -> bool {
        let ask = || self.inner.is_end_stream();
        match self.part() {
            Some(progress) => progress.caught(ask).unwrap_or(false),
            None => ask(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let ask = || self.inner.size_hint();
        match self.part() {
            Some(progress) => progress.caught(ask).unwrap_or_default(),
            None => ask(),
        }
    }
}

impl<B> Upload<B> {
    /// What is told, where others use the connection at the same time.
    fn part(&self) -> Option<&Progress> {
        self.progress.as_ref().filter(|progress| progress.part)
    }
}

impl<B> RequestBody<B> {
    /// Drops the body.
    fn end(&mut self) {
        let Some(upload) = self.0.take() else {
            return;
        };
        if upload.part().is_some() {
            // What it panics with when it is dropped is for nobody else, either. Its progress is
            // dropped after it, and takes note.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(upload)));
        }
    }
}

impl<B> Drop for RequestBody<B> {
    #[inline]
    fn drop(&mut self) {
        if self.0.is_some() {
            self.end();
        }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        let Some(upload) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let (frame, ends) = ready!(upload.poll_frame(cx));
        // After the last frame hyper may ask no more.
        if ends {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let upload = self.0.as_ref();
        upload.map_or_else(|| SizeHint::with_exact(0), |it| it.size_hint())
    }
}
