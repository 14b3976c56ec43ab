use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};
#[cfg(feature = "fs")]
use std::{io, path::Path};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};
use retry_layer::BodyFactory;

#[cfg(feature = "fs")]
use super::file::{FileBody, Found};
use super::{Boxed, counted::Counted, downcast, exact::Exact, exactly, take_frame};
use crate::error::BoxError;

/// A request body: bytes, a stream, or one that can be made anew, such as a file's.
///
/// Bytes are repeated on another attempt without a copy, and a body that can be made anew is made
/// anew. A stream can be repeated as long as what was read of it fits the policy's
/// [`replay_limit`](retry_layer::RetryPolicyBuilder::replay_limit).
#[derive(Default)]
pub struct Body(Repr);

enum Repr {
    /// Empty once the bytes were read.
    Bytes(Bytes),
    Stream {
        body: Boxed,
        /// Makes the body anew, where that is possible.
        make: Option<Make>,
    },
}

/// Makes the same body each time. A thin pointer, so that a body is no larger than `Bytes`.
#[derive(Clone)]
pub(crate) struct Make(Arc<Box<dyn Fn() -> Body + Send + Sync>>);

impl Make {
    fn new(make: impl Fn() -> Body + Send + Sync + 'static) -> Self {
        Self(Arc::new(Box::new(make)))
    }

    pub(crate) fn make(&self) -> Body {
        (self.0)()
    }

    /// Makes the first body, and keeps how to make it anew.
    fn into_body(self) -> Body {
        Body(Repr::Stream {
            body: Box::pin(self.make()),
            make: Some(self),
        })
    }
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

    /// Makes a body of any other. An empty one, or one whose type is known to be bytes, is not
    /// boxed.
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
            Err(body) => Self::boxed(Box::pin(body.map_err(Into::into))),
        }
    }

    /// Gives the same body once more, by reference count; `None` for a stream.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.0 {
            Repr::Bytes(bytes) => Some(bytes.clone().into()),
            Repr::Stream { .. } => None,
        }
    }

    /// Makes a body of a stream of bytes, whose length is not known: over HTTP/1.1 it goes out in
    /// chunks.
    #[must_use]
    pub fn stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::boxed(Box::pin(
            StreamBody::new(Frames { stream }).map_err(Into::into),
        ))
    }

    /// Makes a body of a stream of this many bytes, and announces the length. If the stream turns
    /// out to be longer or shorter, its request is aborted with an error.
    #[must_use]
    pub fn stream_with_length<S, E>(stream: S, length: u64) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let body = Box::pin(StreamBody::new(Frames { stream }));
        Self::boxed(Box::pin(Exact::new(body, length)))
    }

    /// Makes a body by this function, and makes it anew for each further attempt: for a body that
    /// is too large to be kept. Every body must have the same length as the first; see
    /// [`BodyFactory`].
    #[must_use]
    pub fn from_fn(make: impl Fn() -> Self + Send + Sync + 'static) -> Self {
        Make::new(make).into_body()
    }

    fn boxed(body: Boxed) -> Self {
        Self(Repr::Stream { body, make: None })
    }

    /// Makes a body of a file, which is opened anew for each attempt and never in memory as a
    /// whole. Its length is announced.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let body = client::Body::from_file("backup.tar").await?;
    /// client.put("https://example.com/backup").body(body).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If the length of the file, or the time of its last change, is not as it was found here, the
    /// attempt fails: this is checked when an attempt opens the file and before it gives the last
    /// piece, so that no server takes a mix of old and new for the whole. Whatever takes longer to be
    /// sent than the client's [deadline](crate::ClientBuilder::deadline) of 300 s needs a longer
    /// [`timeout`](crate::RequestBuilder::timeout) of its request.
    ///
    /// # Errors
    ///
    /// If there is no regular file of this name, or it cannot be looked at;
    /// [`is_builder`](crate::Error::is_builder) holds then.
    #[cfg(feature = "fs")]
    pub async fn from_file(path: impl AsRef<Path> + Send) -> Result<Self, crate::Error> {
        Self::found(Found::look(path.as_ref()).await)
    }

    /// Makes a body of an open file, from its present position to its end: for a file that has no
    /// path, or of which the beginning is left out. As with [`from_file`](Self::from_file), the file
    /// is never in memory as a whole, its length is announced, and a file that changes fails the
    /// attempt.
    ///
    /// ```no_run
    /// # use std::io::SeekFrom;
    /// # use tokio::io::AsyncSeekExt as _;
    /// # async fn example(client: client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut file = tokio::fs::File::open("backup.tar").await?;
    /// file.seek(SeekFrom::Start(512)).await?;
    /// let body = client::Body::from_open_file(file).await?;
    /// client.put("https://example.com/backup").body(body).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Each attempt reads from that position on, at places of its own: several attempts, or clones of
    /// the handle, do not disturb each other. On Windows a read moves the position that clones of the
    /// handle share.
    ///
    /// # Errors
    ///
    /// If it is no regular file, or cannot be read;
    /// [`is_builder`](crate::Error::is_builder) holds then. Systems other than Unix and Windows
    /// cannot read at a place of a file: there the error comes here for an open file, and of one that
    /// is [named](Self::from_file) when it is sent.
    #[cfg(feature = "fs")]
    pub async fn from_open_file(file: tokio::fs::File) -> Result<Self, crate::Error> {
        Self::found(Found::take(file).await)
    }

    #[cfg(feature = "fs")]
    fn found(found: io::Result<Found>) -> Result<Self, crate::Error> {
        let found = found.map_err(|error| {
            crate::Error::builder("the file that was to be sent cannot be read").with(error)
        })?;
        let found = Arc::new(found);
        Ok(Self::from_fn(move || {
            Self::new(FileBody::new(found.clone()))
        }))
    }

    /// Counts the bytes that are read of the body; of a body that is made anew, those of the last
    /// one.
    pub(crate) fn counted(self, count: &Arc<AtomicU64>) -> Self {
        let (body, make) = match self.0 {
            // Bytes announce their length, so they need no count.
            bytes @ Repr::Bytes(_) => return Self(bytes),
            Repr::Stream { body, make } => (body, make),
        };
        let make = make.map(|make| {
            let count = count.clone();
            Make::new(move || {
                count.store(0, Relaxed);
                make.make().counted(&count)
            })
        });
        let body = Box::pin(Counted::new(body, count.clone()));
        Self(Repr::Stream { body, make })
    }

    /// Makes the same body again; `None` if it is a stream.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Repr::Bytes(bytes) => Some(bytes.clone().into()),
            Repr::Stream { make, .. } => make.clone().map(Make::into_body),
        }
    }

    /// Returns how to make the body anew; `None` if it is a stream.
    #[cfg(feature = "multipart")]
    pub(crate) fn renewal(&self) -> Option<Make> {
        match &self.0 {
            Repr::Bytes(bytes) => {
                let bytes = bytes.clone();
                Some(Make::new(move || bytes.clone().into()))
            }
            Repr::Stream { make, .. } => make.clone(),
        }
    }

    /// Returns a factory where the retry layer could not repeat the body by itself.
    pub(crate) fn factory(&self) -> Option<BodyFactory<Self>> {
        match &self.0 {
            Repr::Bytes(_) => None,
            Repr::Stream { make, .. } => {
                let make = make.clone()?;
                Some(BodyFactory::new(move || make.make()))
            }
        }
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
            Repr::Stream { body, .. } => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Repr::Bytes(bytes) => bytes.is_empty(),
            Repr::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Repr::Bytes(bytes) => exactly(bytes),
            Repr::Stream { body, .. } => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Repr::Stream { make: None, .. } => f.write_str("Body(stream)"),
            Repr::Stream { make: Some(_), .. } => f.write_str("Body(made anew)"),
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
        matches!(body.0, Repr::Stream { .. })
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
        // hyper's channel for a connection allocates its messages in blocks of 32, so each byte of
        // a body costs 32.
        assert_eq!(size_of::<Body>(), size_of::<Bytes>());
    }
}
