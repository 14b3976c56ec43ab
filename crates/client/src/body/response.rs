use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use retry_layer::RetryReport;
use session_layer::{ConnectionInfo, SessionBody, ThroughputFloor};
use sync_wrapper::SyncWrapper;

use super::{Boxed, downcast, exactly, take_frame};
use crate::{
    Error,
    error::{BoxError, Kind},
};

/// A response body: streamed from the connection that it holds, or collected.
///
/// # Cancel safety
///
/// See [`SessionBody`]: dropping it half-read closes its connection.
pub struct ResponseBody(ResponseRepr);

enum ResponseRepr {
    Session(SessionBody),
    Bytes {
        bytes: Bytes,
        connection: Option<ConnectionInfo>,
    },
    /// The body was larger than this many bytes, so it was not collected. Only the call handles it;
    /// a layer in between that reads it gets an error.
    TooLarge(usize),
    /// A body inside a decoder, a record, or what continues it. Most bodies have none of them.
    Wrapped(Box<dyn Wrapper>),
    /// Boxed, because its end and its length are kept beside it.
    Other(Box<Foreign>),
}

/// A body of this crate around a [`ResponseBody`].
pub(crate) trait Wrapper:
    HttpBody<Data = Bytes, Error = Error> + Send + Sync + Unpin
{
    /// Where in the stack it stands.
    fn place(&self) -> Place;

    /// The body inside; `None` while the rest of it is being asked for.
    fn inner(&mut self) -> Option<&mut ResponseBody>;

    /// The connection that the body comes over.
    fn connection(&self) -> Option<&ConnectionInfo>;

    /// Holds the body to a floor of throughput, unless one was set by hand.
    fn hold_to_default_floor(&mut self, floor: ThroughputFloor) {
        if let Some(body) = self.inner() {
            body.hold_to_default_floor(floor);
        }
    }

    /// Lets the body be silent for longer than the session's default allows.
    fn lift_default_idle_timeout(&mut self) {
        if let Some(body) = self.inner() {
            body.lift_default_idle_timeout();
        }
    }

    /// How many bytes have come over the connection, if this differs from the bytes that are read
    /// here.
    fn encoded_bytes(&mut self) -> Option<u64> {
        None
    }

    /// The report of all exchanges, if there were more since it was last taken.
    fn take_report(&mut self) -> Option<RetryReport> {
        self.inner()?.take_report()
    }
}

/// Where a [`Wrapper`] stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// Above all attempts: the record of the call.
    Call,
    /// Above all attempts too: a decoder, which removes the content coding of this name.
    Decoder(&'static str),
    /// Around the body as an attempt gives it.
    Attempt,
}

impl ResponseBody {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        downcast::<Self, B>(body)
            .or_else(|body| downcast::<SessionBody, B>(body).map(Self::from))
            .unwrap_or_else(|body| {
                let body = Foreign::new(Box::pin(body.map_err(Into::into)));
                Self(ResponseRepr::Other(Box::new(body)))
            })
    }

    pub(crate) fn wrapped(body: impl Wrapper + 'static) -> Self {
        Self(ResponseRepr::Wrapped(Box::new(body)))
    }

    /// Returns the body as an attempt gives it, below the record of its call and its decoders, and
    /// the content codings that these decoders remove, as `Content-Encoding` writes them.
    pub(crate) fn encoded(&mut self) -> (Option<String>, &mut Self) {
        let place = match &self.0 {
            ResponseRepr::Wrapped(body) => body.place(),
            _ => Place::Attempt,
        };
        if place == Place::Attempt {
            return (None, self);
        }
        let ResponseRepr::Wrapped(body) = &mut self.0 else {
            unreachable!("only a wrapper stands elsewhere");
        };
        let body = body.inner().expect("only what resumes has none at times");
        let (inner, body) = body.encoded();
        let codings = match (inner, place) {
            // The coding that was applied last is removed first.
            (Some(inner), Place::Decoder(coding)) => Some(format!("{inner}, {coding}")),
            (None, Place::Decoder(coding)) => Some(coding.to_owned()),
            (inner, Place::Call | Place::Attempt) => inner,
        };
        (codings, body)
    }

    /// The report of all exchanges, if there were more since it was last taken.
    pub(crate) fn take_report(&mut self) -> Option<RetryReport> {
        match &mut self.0 {
            ResponseRepr::Wrapped(body) => body.take_report(),
            ResponseRepr::Session(_)
            | ResponseRepr::Bytes { .. }
            | ResponseRepr::TooLarge(_)
            | ResponseRepr::Other(_) => None,
        }
    }

    /// A body that was collected, and the connection that it came over.
    pub(crate) fn collected(bytes: Bytes, connection: Option<ConnectionInfo>) -> Self {
        Self(ResponseRepr::Bytes { bytes, connection })
    }

    /// Stands for a body that was larger than this limit.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self(ResponseRepr::TooLarge(limit))
    }

    /// Returns what is known of the connection that the response came over, also once the body was
    /// read. `None` if it came from a service in the session's place, or if a layer of the caller's wrapped the
    /// body; the extensions of the response have it then, unless the layer replaced them too.
    #[must_use]
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        match &self.0 {
            ResponseRepr::Session(body) => Some(body.connection()),
            ResponseRepr::Bytes { connection, .. } => connection.as_ref(),
            ResponseRepr::Wrapped(body) => body.connection(),
            ResponseRepr::TooLarge(_) | ResponseRepr::Other(_) => None,
        }
    }

    /// Lets the body be silent for longer than the session's default allows; see
    /// [`SessionBody::lift_default_idle_timeout`].
    pub(crate) fn lift_default_idle_timeout(&mut self) {
        match &mut self.0 {
            ResponseRepr::Session(body) => body.lift_default_idle_timeout(),
            ResponseRepr::Wrapped(body) => body.lift_default_idle_timeout(),
            ResponseRepr::Bytes { .. } | ResponseRepr::TooLarge(_) | ResponseRepr::Other(_) => {}
        }
    }

    /// Holds the body to a floor of throughput, unless one was set by hand; see
    /// [`SessionBody::hold_to_default_floor`].
    pub(crate) fn hold_to_default_floor(&mut self, floor: ThroughputFloor) {
        match &mut self.0 {
            ResponseRepr::Session(body) => body.hold_to_default_floor(floor),
            ResponseRepr::Wrapped(body) => body.hold_to_default_floor(floor),
            ResponseRepr::Bytes { .. } | ResponseRepr::TooLarge(_) | ResponseRepr::Other(_) => {}
        }
    }

    /// How many encoded bytes have come over the connection, of a body that is being decoded.
    pub(crate) fn encoded_bytes(&mut self) -> Option<u64> {
        match &mut self.0 {
            ResponseRepr::Wrapped(body) => body.encoded_bytes(),
            ResponseRepr::Session(_)
            | ResponseRepr::Bytes { .. }
            | ResponseRepr::TooLarge(_)
            | ResponseRepr::Other(_) => None,
        }
    }

    /// Whether [`into_collected`](Self::into_collected) gives the body.
    pub(crate) fn is_collected(&self) -> bool {
        matches!(
            self.0,
            ResponseRepr::Bytes { .. } | ResponseRepr::TooLarge(_)
        )
    }

    /// Gives the bytes of a body that was collected, or the limit that it went beyond.
    pub(crate) fn into_collected(self) -> Result<Bytes, usize> {
        match self.0 {
            ResponseRepr::Bytes { bytes, .. } => Ok(bytes),
            ResponseRepr::TooLarge(limit) => Err(limit),
            ResponseRepr::Session(_) | ResponseRepr::Wrapped(_) | ResponseRepr::Other(_) => {
                unreachable!("a stack that was asked to collect has done so")
            }
        }
    }
}

/// A body of another crate. It need not be `Sync`, but a response has to be, because a future that
/// holds a reference to one across an `await` is `Send` only then. Therefore the body can be
/// reached by an exclusive reference only.
struct Foreign {
    body: SyncWrapper<Boxed>,
    ended: bool,
    hint: SizeHint,
}

impl Foreign {
    fn new(body: Boxed) -> Self {
        Self {
            ended: body.is_end_stream(),
            hint: body.size_hint(),
            body: SyncWrapper::new(body),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let body = self.body.get_mut();
        let frame = ready!(body.as_mut().poll_frame(cx));
        self.ended = body.is_end_stream();
        self.hint = body.size_hint();
        Poll::Ready(frame.map(|frame| frame.map_err(Error::from_below)))
    }
}

/// The empty body.
impl Default for ResponseBody {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<SessionBody> for ResponseBody {
    fn from(body: SessionBody) -> Self {
        Self(ResponseRepr::Session(body))
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self::collected(bytes, None)
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            ResponseRepr::Session(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Error::from))),
            ResponseRepr::Bytes { bytes, .. } => Poll::Ready(take_frame(bytes).map(Ok)),
            ResponseRepr::TooLarge(limit) => {
                Poll::Ready(Some(Err(Error::new(Kind::BodyTooLarge { limit: *limit }))))
            }
            ResponseRepr::Wrapped(body) => Pin::new(&mut **body).poll_frame(cx),
            ResponseRepr::Other(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            ResponseRepr::Session(body) => body.is_end_stream(),
            ResponseRepr::Bytes { bytes, .. } => bytes.is_empty(),
            ResponseRepr::TooLarge(_) => false,
            ResponseRepr::Wrapped(body) => body.is_end_stream(),
            ResponseRepr::Other(body) => body.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            ResponseRepr::Session(body) => body.size_hint(),
            ResponseRepr::Bytes { bytes, .. } => exactly(bytes),
            ResponseRepr::TooLarge(_) => SizeHint::new(),
            ResponseRepr::Wrapped(body) => body.size_hint(),
            // It is `Copy` from http-body 1.1 on only.
            ResponseRepr::Other(body) => SizeHint::clone(&body.hint),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ResponseRepr::Bytes { bytes, .. } => write!(f, "ResponseBody({} bytes)", bytes.len()),
            ResponseRepr::TooLarge(limit) => write!(f, "ResponseBody(over {limit} bytes)"),
            ResponseRepr::Session(_) | ResponseRepr::Wrapped(_) | ResponseRepr::Other(_) => {
                f.write_str("ResponseBody(stream)")
            }
        }
    }
}
