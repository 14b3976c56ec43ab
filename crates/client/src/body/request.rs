use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};

use super::{Boxed, downcast, exactly, take_frame};
use crate::error::BoxError;

/// A request body: bytes, or a stream.
///
/// Bytes cost nothing to repeat on another attempt. A stream can be repeated as long as what was
/// read of it fits the policy's
/// [`replay_limit`](retry_layer::RetryPolicyBuilder::replay_limit).
#[derive(Default)]
pub struct Body(Repr);

enum Repr {
    /// Empty once they were read.
    Bytes(Bytes),
    Stream(Boxed),
}

impl Default for Repr {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl Body {
    /// Makes an empty body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Makes a body of any other; one that is empty, or known to be bytes, is not boxed.
    #[must_use]
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        let body = match downcast::<Self, B>(body) {
            Ok(body) => return body,
            Err(body) => body,
        };
        match downcast::<Full<Bytes>, B>(body) {
            Ok(full) => Self(Repr::Bytes(whole(full))),
            Err(body) => Self(Repr::Stream(Box::pin(body.map_err(Into::into)))),
        }
    }

    /// Gives the same body once more, by reference count; `None` for a stream.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.0 {
            Repr::Bytes(bytes) => Some(bytes.clone().into()),
            Repr::Stream(_) => None,
        }
    }

    /// Makes a body of a stream of bytes, for instance of a file's.
    #[must_use]
    pub fn stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self(Repr::Stream(Box::pin(
            StreamBody::new(Frames { stream }).map_err(Into::into),
        )))
    }
}

pin_project_lite::pin_project! {
    /// A stream's bytes as frames.
    struct Frames<S> {
        #[pin]
        stream: S,
    }
}

impl<S, E> Stream for Frames<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    type Item = Result<Frame<Bytes>, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.project().stream.poll_next(cx);
        item.map(|item| item.map(|bytes| bytes.map(Frame::data)))
    }
}

/// Takes the one frame of a `Full`.
fn whole(mut full: Full<Bytes>) -> Bytes {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(&mut full).poll_frame(&mut cx) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        Poll::Ready(Some(Err(never))) => match never {},
        Poll::Ready(None) | Poll::Pending => Bytes::new(),
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Repr::Bytes(bytes) => Poll::Ready(take_frame(bytes).map(Ok)),
            Repr::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Repr::Bytes(bytes) => bytes.is_empty(),
            Repr::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Repr::Bytes(bytes) => exactly(bytes),
            Repr::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Repr::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn is_boxed(body: &Body) -> bool {
        matches!(body.0, Repr::Stream(_))
    }

    #[test]
    fn what_is_known_to_be_bytes_is_not_boxed() {
        assert!(!is_boxed(&Body::new(Empty::new())));
        assert!(!is_boxed(&Body::new(Full::<Bytes>::from("abc"))));
        assert!(!is_boxed(&Body::new(Body::from("abc"))));
        let streamed = Full::<Bytes>::from("abc").map_err(|never| match never {});
        assert!(is_boxed(&Body::new::<_>(
            streamed.boxed_unsync().map_err(|never: BoxError| never)
        )));
        assert_eq!(
            Body::new(Full::<Bytes>::from("abc")).size_hint().exact(),
            Some(3)
        );
    }

    #[test]
    fn the_body_is_no_larger_than_its_bytes() {
        // Each byte of it costs 32 in hyper's dispatch block of a connection.
        assert_eq!(size_of::<Body>(), size_of::<Bytes>());
    }
}
