use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use retry_layer::Attempt as Exchange;

use super::Body;
use crate::{Progress, error::BoxError, layers::AttemptBody};

/// A request extension by which a function is told how much of the request's body was sent:
/// [`upload_progress`](crate::RequestBuilder::upload_progress) sets it; insert it for requests that
/// are made by hand.
///
/// Clones share one count, so use one for each call. It counts over all attempts and hops of its
/// call. An attempt and its [hedges](crate::ClientBuilder::hedge) count as one, with the bytes of the one that
/// has sent most: a hedge is no restart.
///
/// ```
/// # async fn example(client: client::Client, file: bytes::Bytes) -> Result<(), client::Error> {
/// let mut request = http::Request::put("https://example.com/backup")
///     .body(client::Body::from(file))
///     .expect("the parts are valid");
/// request.extensions_mut().insert(client::UploadProgress::new(|progress| {
///     println!("{} bytes", progress.written);
/// }));
/// client.execute(request).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct UploadProgress {
    tell: Arc<dyn Fn(Progress) + Send + Sync>,
    state: Arc<Mutex<UploadState>>,
}

/// The progress of the newest attempt that has begun to send.
#[derive(Debug, Default)]
struct UploadState {
    /// How many attempts have been made.
    attempts: u64,
    /// The number of the newest one that has begun to send.
    newest: u64,
    written: u64,
    restarts: u32,
}

impl UploadProgress {
    /// Calls this function with the progress. It must not block.
    pub fn new(tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self {
            tell: Arc::new(tell),
            state: Arc::default(),
        }
    }

    /// Makes one for another call, with the same function.
    pub(crate) fn of_another_call(&self) -> Self {
        Self {
            tell: self.tell.clone(),
            state: Arc::default(),
        }
    }

    /// Gives the next attempt its number. A hedge has that of the attempt that it is sent beside.
    fn number(&self, sent: Sent) -> u64 {
        let mut state = self.state();
        if sent == Sent::AsAttempt {
            state.attempts = state.attempts.saturating_add(1);
        }
        state.attempts
    }

    /// Notes that an attempt is about to send its first bytes, and reports a restart if an earlier one had sent any.
    fn begin(&self, attempt: u64, total: Option<u64>) {
        let progress = {
            let mut state = self.state();
            if attempt <= state.newest {
                return;
            }
            state.newest = attempt;
            if state.written == 0 {
                return;
            }
            state.written = 0;
            state.restarts = state.restarts.saturating_add(1);
            state.progress(total)
        };
        (self.tell)(progress);
    }

    /// Reports how many bytes an attempt, or a hedge of it, has given to the connection, if no other has given
    /// more. An attempt that a newer one has replaced is ignored.
    fn sent(&self, attempt: u64, written: u64, total: Option<u64>) {
        let progress = {
            let mut state = self.state();
            if attempt != state.newest || written <= state.written {
                return;
            }
            state.written = written;
            state.progress(total)
        };
        (self.tell)(progress);
    }

    // The function is called without the lock.
    fn state(&self) -> MutexGuard<'_, UploadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UploadState {
    fn progress(&self, total: Option<u64>) -> Progress {
        Progress {
            written: self.written,
            total,
            restarts: self.restarts,
            resumed_from: 0,
        }
    }
}

impl fmt::Debug for UploadProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("UploadProgress")
            .field("written", &state.written)
            .field("restarts", &state.restarts)
            .finish_non_exhaustive()
    }
}

/// Reports the progress of the body of one attempt, if its request asks for that.
#[inline]
pub(crate) fn follow(request: &mut Request<AttemptBody>) {
    if let Some(progress) = request.extensions().get::<UploadProgress>() {
        let progress = progress.clone();
        let sent = Sent::of(request);
        replace(request, AttemptBody::passing(Body::empty()), |body| {
            AttemptBody::passing(Body::new(Followed::new(body, progress, sent)))
        });
    }
}

/// Like [`follow`], for a request that is sent once, without retries above.
pub(crate) fn follow_once(mut request: Request<Body>) -> Request<Body> {
    if let Some(progress) = request.extensions().get::<UploadProgress>().cloned() {
        replace(&mut request, Body::empty(), |body| {
            Body::new(Followed::new(body, progress, Sent::AsAttempt))
        });
    }
    request
}

#[cold]
fn replace<B: HttpBody>(request: &mut Request<B>, empty: B, with: impl FnOnce(B) -> B) {
    let body = request.body_mut();
    if !body.is_end_stream() {
        *body = with(std::mem::replace(body, empty));
    }
}

/// As what a request is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sent {
    AsAttempt,
    AsHedge,
}

impl Sent {
    fn of<B>(request: &Request<B>) -> Self {
        let exchange = request.extensions().get::<Exchange>();
        match exchange.and_then(Exchange::hedge) {
            Some(_) => Self::AsHedge,
            None => Self::AsAttempt,
        }
    }
}

/// The body of one attempt, split into pieces. The progress is reported after each piece.
struct Followed<B> {
    inner: B,
    progress: UploadProgress,
    attempt: u64,
    /// How many bytes it has given to the connection.
    written: u64,
    total: Option<u64>,
    /// The rest of a large piece.
    rest: Bytes,
}

/// The most that is given to the connection at once, in bytes. Otherwise a body in memory would be
/// one piece, and its progress would be reported once.
const PIECE: usize = 64 * 1024;

impl<B: HttpBody> Followed<B> {
    fn new(inner: B, progress: UploadProgress, sent: Sent) -> Self {
        Self {
            total: inner.size_hint().exact(),
            attempt: progress.number(sent),
            written: 0,
            inner,
            progress,
            rest: Bytes::new(),
        }
    }
}

impl<B> HttpBody for Followed<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        if this.written == 0 {
            this.progress.begin(this.attempt, this.total);
        }
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        this.written = this.written.saturating_add(bytes);
        this.progress.sent(this.attempt, this.written, this.total);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        // The upper bound first, because `SizeHint` panics where the lower one is higher.
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    #[tokio::test]
    async fn the_progress_of_an_attempt_that_was_replaced_is_not_reported() {
        let reported = Arc::new(Mutex::new(Vec::new()));
        let reports = reported.clone();
        let progress = UploadProgress::new(move |progress| {
            reports
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((progress.restarts, progress.written));
        });
        let bytes = Bytes::from(vec![0; PIECE + 1]);
        let attempt = || Followed::new(Full::new(bytes.clone()), progress.clone(), Sent::AsAttempt);
        let (mut first, never_begun, mut second) = (attempt(), attempt(), attempt());
        let next = async |attempt: &mut Followed<_>| attempt.frame().await.is_some();
        assert!(next(&mut first).await);
        assert!(next(&mut second).await);
        assert!(next(&mut first).await);
        assert!(never_begun.collect().await.is_ok());
        assert!(next(&mut second).await);
        let reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = u64::try_from(bytes.len()).unwrap_or(0);
        assert_eq!(
            *reported,
            [(0, whole - 1), (1, 0), (1, whole - 1), (1, whole)]
        );
    }
}
