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
use tokio::time::Instant;

mod progress;

pub(crate) use self::progress::PIECE;
use self::progress::{Progress, bytes_left, over};
#[cfg(feature = "http2")]
use super::upload_task;
use crate::{
    box_error::BoxError,
    exchange::{Carrier, ExchangeState, Withheld},
    reuse::Length,
};

/// A request body as hyper sees it. A body that is empty from the start is not kept.
///
/// It is one pointer, since a request moves through hyper's channel, which keeps room for 32
/// requests on each connection: each byte here is 32 bytes for each idle connection.
pub(crate) struct RequestBody<B>(Option<Box<Upload<B>>>);

struct Upload<B> {
    source: Source<B>,
    /// Notes on the exchange when hyper has taken the end.
    progress: Option<Progress>,
    /// How many bytes may still come, if that is known.
    left: Option<Length>,
    /// The frame that completes the announced length, until the body has ended.
    last: Option<Box<Last>>,
    /// Whether the last frame has been given. `None` until hyper has asked for one.
    ended: Option<bool>,
}

enum Source<B> {
    Own(B),
    /// Its request asks the peer first, by `Expect: 100-continue`.
    Withheld(Arc<Withheld<B>>),
    Nothing,
}

/// The frame that completes the announced length of a body over HTTP/1. hyper gets it only when the
/// body has ended: hyper would ask for no more after it, and would not find out if the body is
/// longer.
struct Last {
    frame: Frame<Bytes>,
    /// When hyper gets it even if the body has not ended.
    until: Instant,
}

/// How long a body may take to end after its announced length. Some senders give all bytes, and
/// wait for the response before they end the body.
const END: Duration = Duration::from_secs(1);

/// What the poll of a body for a frame returns.
type Next = Option<Result<Frame<Bytes>, BoxError>>;

impl<B: Body> RequestBody<B> {
    pub(crate) fn new(inner: B) -> Self {
        if inner.is_end_stream() {
            return Self(None);
        }
        Self(Some(Box::new(Upload {
            source: Source::Own(inner),
            progress: None,
            left: None,
            last: None,
            ended: None,
        })))
    }

    /// Keeps the body from hyper for now.
    pub(crate) fn withhold(&mut self) -> Option<(Arc<Withheld<B>>, Option<Length>)> {
        let upload = self.0.as_mut()?;
        match mem::replace(&mut upload.source, Source::Nothing) {
            Source::Own(body) => {
                let body = Arc::new(Withheld::new(body));
                upload.source = Source::Withheld(body.clone());
                Some((body, upload.left))
            }
            // The request was given to a connection that handed it back.
            Source::Withheld(body) => {
                upload.source = Source::Withheld(body.clone());
                Some((body, upload.left))
            }
            Source::Nothing => None,
        }
    }
}

impl<B> RequestBody<B> {
    /// Holds the body to the length that it must have.
    pub(crate) fn announce(&mut self, length: Option<Length>) {
        if let Some(upload) = &mut self.0 {
            upload.left = length;
        }
    }

    /// Notes on no exchange any more: the body goes to another connection, and none of it was
    /// taken.
    pub(crate) fn detach(&mut self) {
        if let Some(upload) = &mut self.0 {
            upload.progress = None;
        }
    }

    /// Notes on `exchange` from now on how far the body is.
    pub(crate) fn attach(
        &mut self,
        exchange: &Arc<ExchangeState>,
        head: Option<Duration>,
        carrier: Carrier,
    ) {
        if let Some(upload) = &mut self.0 {
            if carrier == Carrier::Stream {
                exchange.upload_begins();
            }
            upload.progress = Some(Progress {
                exchange: exchange.clone(),
                head,
                carrier,
                rest: Bytes::new(),
            });
        }
    }
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Gives the next frame, and notes whether it is the last.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.ended = Some(false);
        #[cfg(feature = "http2")]
        if let Some(progress) = self
            .progress
            .as_ref()
            .filter(|progress| progress.carrier == Carrier::Stream)
        {
            upload_task::note_polled(&progress.exchange);
        }
        if self.last.is_some() {
            return self.poll_end(cx);
        }
        if let Source::Withheld(body) = &self.source {
            if let Some(progress) = &self.progress {
                body.note_heard(&progress.exchange);
            }
            let Some(body) = ready!(body.poll_take(cx)) else {
                return self.end_with(Some(Err(over())));
            };
            self.source = Source::Own(body);
        }
        let Source::Own(inner) = &mut self.source else {
            return self.end_with(None);
        };
        let Some(progress) = &mut self.progress else {
            let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
            self.ended = Some(frame.is_none() || inner.is_end_stream());
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        };
        // Inspected in place and returned from there: a frame has the size of a map of trailers.
        let polled = if progress.carrier == Carrier::Stream {
            progress.poll_stream(Pin::new(&mut *inner), cx)
        } else {
            let polled = Pin::new(&mut *inner).poll_frame(cx);
            polled.map_err(Into::into)
        };
        let frame = match &polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame.as_ref(),
        };
        let has_ended = progress.rest.is_empty() && progress.ask(|| inner.is_end_stream());
        let ends = frame.is_none() || has_ended;
        self.ended = Some(ends);
        if let Err(error) = progress.note(frame, ends, &mut self.left) {
            return Poll::Ready(Some(Err(error)));
        }
        let is_last = progress.carrier == Carrier::Connection && bytes_left(self.left) == Some(0);
        if is_last && !ends {
            return self.withhold_last(polled, cx);
        }
        polled
    }

    #[cold]
    fn end_with(&mut self, last: Next) -> Poll<Next> {
        self.ended = Some(true);
        Poll::Ready(last)
    }

    #[cold]
    fn withhold_last(&mut self, polled: Poll<Next>, cx: &mut Context<'_>) -> Poll<Next> {
        let Poll::Ready(Some(Ok(frame))) = polled else {
            return polled;
        };
        let now = Instant::now();
        let until = match self.left {
            Some(Length::Announced(_)) => now.checked_add(END).unwrap_or(now),
            // The body itself has said that this is all.
            Some(Length::Known(_)) | None => now,
        };
        self.last = Some(Box::new(Last { frame, until }));
        self.poll_end(cx)
    }

    /// Gives the last frame when the body has ended.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let Self {
            source,
            progress,
            last,
            ..
        } = self;
        let (Source::Own(inner), Some(progress)) = (source, progress) else {
            return self.end_with(None);
        };
        while !inner.is_end_stream() {
            match Pin::new(&mut *inner).poll_frame(cx) {
                Poll::Ready(None) => break,
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers cannot follow a body of known length, and are dropped.
                    if frame.data_ref().is_some_and(|bytes| !bytes.is_empty()) {
                        *last = None;
                        return Poll::Ready(Some(Err(progress.wrong_length())));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    *last = None;
                    progress.exchange.note_body_failed();
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Pending => {
                    let until = last.as_ref().map(|last| last.until);
                    if until.is_none_or(|until| until <= Instant::now()) {
                        break;
                    }
                    if let Some(until) = until {
                        progress.exchange.look_by(until);
                    }
                    return Poll::Pending;
                }
            }
        }
        let frame = last.take().map(|last| Ok(last.frame));
        self.end_with(frame)
    }

    fn is_end_stream(&self) -> bool {
        // The body was asked after the poll, and need not be asked again.
        if let Some(ended) = self.ended {
            return ended;
        }
        match &self.source {
            Source::Own(inner) => {
                let Some(progress) = &self.progress else {
                    return inner.is_end_stream();
                };
                progress.rest.is_empty() && progress.ask(|| inner.is_end_stream())
            }
            Source::Withheld(_) => false,
            Source::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(inner) => match &self.progress {
                Some(progress) => progress.ask(|| inner.size_hint()),
                None => inner.size_hint(),
            },
            Source::Withheld(body) => body.size_hint(),
            Source::Nothing => SizeHint::with_exact(0),
        }
    }
}

impl<B> RequestBody<B> {
    /// Drops the body.
    fn end(&mut self) {
        let Some(upload) = self.0.take() else {
            return;
        };
        if upload
            .progress
            .as_ref()
            .is_some_and(|progress| progress.carrier == Carrier::Stream)
        {
            // A panic in the drop of the body must not reach the task that drives other requests.
            // Its progress is dropped after it, and notes the panic.
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
        #[cfg(feature = "http2")]
        upload_task::note_dropped();
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
        let polled = upload.poll_frame(cx);
        // hyper may not poll again after the last frame.
        if upload.ended == Some(true) {
            self.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let upload = self.0.as_ref();
        upload.map_or_else(|| SizeHint::with_exact(0), |it| it.size_hint())
    }
}

#[cfg(all(test, feature = "http2"))]
mod tests {
    use std::task::Waker;

    use http_body_util::Full;

    use super::*;

    #[test]
    fn a_body_that_is_taken_back_lets_its_stream_be_cancelled() {
        let mut body = RequestBody::new(Full::new(Bytes::from_static(b"abc")));
        let (withheld, _) = body.withhold().expect("there is a body");
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(cx).is_pending());
        withheld.take_back().expect("nobody has asked for it");
        let Poll::Ready(Some(Err(error))) = Pin::new(&mut body).poll_frame(cx) else {
            panic!("the stream is to be reset");
        };
        // hyper looks for an error of h2, and takes INTERNAL_ERROR where it finds none.
        let error: Box<h2::Error> = error.downcast().expect("it is an error of h2");
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    }
}
