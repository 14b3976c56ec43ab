use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    ask::Ask,
    error::ResumeBodyError,
    progress::Progress,
    resumable::{NotResumable, Resumable, check_method},
    tracked::{Step, Tracked},
};
use crate::{named::ServiceError, policy::RetryPolicy, report::RetryReport};

pin_project! {
    /// The body of a response, which is continued where it breaks. See the [module docs](super).
    ///
    /// `R` is the inner body, `E` its error, and `A` [asks](Ask) for the rest.
    ///
    /// # Cancel safety
    ///
    /// No frame is lost if a wait for one is dropped. Dropping the body drops its connection or its
    /// wait, and no more requests are sent. If a token was taken for a request that was not sent
    /// yet, the budget gets it back.
    pub struct ResumeBody<R, E, A> {
        #[pin]
        state: State<R, E, A>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<R, E, A> {
        Passing { #[pin] body: R },
        // The body is none while the rest is asked for, and when it has ended.
        Tracked { #[pin] body: Option<R>, tracked: Box<Tracked<E, A>> },
    }
}

impl<S, B, F, R> ResumeBody<R, R::Error, Ask<S, B, F>>
where
    R: Body,
{
    /// Makes a body that is continued where it breaks, if that is possible; otherwise the body
    /// passes through. It is for a layer above that has the response, of whose body nothing was
    /// read.
    ///
    /// `request` is the request that was answered; it had no body. The rest is asked for by calls of
    /// `service`, which need not be ready now. A policy in the extensions of the request takes the
    /// place of `policy`.
    pub fn new(
        service: S,
        policy: &RetryPolicy,
        request: Request<()>,
        head: &response::Parts,
        body: R,
    ) -> Self {
        let state = match Self::begin(policy, &request, head, &body) {
            Ok((resumable, progress)) => State::Tracked {
                body: Some(body),
                tracked: Box::new(Tracked::new(
                    resumable,
                    progress,
                    Ask::new(service, request),
                )),
            },
            Err(reason) => {
                tracing::trace!(reason = reason.as_str(), "this body cannot be continued");
                State::Passing { body }
            }
        };
        Self { state }
    }

    fn begin(
        policy: &RetryPolicy,
        request: &Request<()>,
        head: &response::Parts,
        body: &R,
    ) -> Result<(Resumable, Progress), NotResumable> {
        check_method(request.method())?;
        let policy = policy.for_request(request);
        if policy.refusal(request).is_some() {
            return Err(NotResumable::Policy);
        }
        let resumable = Resumable::of(head.status, &head.headers, body.size_hint().exact())?;
        let progress = Progress::new(policy, request, head.status, &head.extensions);
        Ok((resumable, progress))
    }
}

impl<R, E, A> ResumeBody<R, E, A> {
    pub(super) fn passing(body: R) -> Self {
        Self {
            state: State::Passing { body },
        }
    }

    /// Whether the body would be continued if it broke.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        matches!(self.state, State::Tracked { .. })
    }

    /// The report so far, if the body broke: the exchange that gave the head of the response, and
    /// all that followed. `None` until then.
    #[must_use]
    pub fn report(&self) -> Option<RetryReport> {
        match &self.state {
            State::Passing { .. } => None,
            State::Tracked { tracked, .. } => tracked.progress.report(),
        }
    }

    /// How many exchanges the [report](Self::report) has; 0 as long as nothing broke.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        match &self.state {
            State::Passing { .. } => 0,
            State::Tracked { tracked, .. } => tracked.progress.exchanges(),
        }
    }

    /// The inner body. `None` while the rest is asked for, and after the end.
    #[must_use]
    pub fn get_ref(&self) -> Option<&R> {
        match &self.state {
            State::Passing { body } => Some(body),
            State::Tracked { body, .. } => body.as_ref(),
        }
    }

    /// The inner body. `None` while the rest is asked for, and after the end. Frames that are read
    /// from it are missing here.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut R> {
        match &mut self.state {
            State::Passing { body } => Some(body),
            State::Tracked { body, .. } => body.as_mut(),
        }
    }
}

impl<S, B, F, R, T> Body for ResumeBody<R, R::Error, Ask<S, B, F>>
where
    S: Service<Request<B>, Response = Response<R>, Error = T, Future = F>,
    T: ServiceError,
    F: Future<Output = Result<Response<R>, T>>,
    B: Default,
    R: Body<Data = Bytes>,
    R::Error: ServiceError,
{
    type Data = Bytes;
    type Error = ResumeBodyError<R::Error>;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.project().state.project() {
            StateProj::Passing { body } => {
                let frame = ready!(body.poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(ResumeBodyError::Inner)))
            }
            StateProj::Tracked { body, tracked } => poll_tracked(body, tracked, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Passing { body } => body.is_end_stream(),
            State::Tracked { body, tracked } => tracked.is_end_stream(body.as_ref()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Passing { body } => body.size_hint(),
            State::Tracked { body, tracked } => tracked.size_hint(body.as_ref()),
        }
    }
}

/// Reads on, and requests the rest as often as necessary.
#[expect(clippy::type_complexity, reason = "it is what a body gives")]
fn poll_tracked<S, B, F, R, T>(
    mut body: Pin<&mut Option<R>>,
    tracked: &mut Tracked<R::Error, Ask<S, B, F>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, ResumeBodyError<R::Error>>>>
where
    S: Service<Request<B>, Response = Response<R>, Error = T, Future = F>,
    T: ServiceError,
    F: Future<Output = Result<Response<R>, T>>,
    B: Default,
    R: Body<Data = Bytes>,
    R::Error: ServiceError,
{
    let mut has_asked = false;
    while !tracked.ended {
        let step = match body.as_mut().as_pin_mut() {
            Some(body) => tracked.take(ready!(body.poll_frame(cx))),
            // At most one request for each poll: over a service that is never pending, and without
            // waits, one poll would otherwise make all attempts.
            None if has_asked => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => match ready!(tracked.poll_rest(cx)) {
                Ok(rest) => {
                    has_asked = true;
                    body.set(Some(rest));
                    continue;
                }
                Err(step) => step,
            },
        };
        if tracked.ended {
            body.set(None);
        }
        match step {
            Step::Continue => {}
            Step::Ask => body.set(None),
            Step::Return(frame) => return Poll::Ready(frame),
        }
    }
    Poll::Ready(None)
}

impl<R, E, A> fmt::Debug for ResumeBody<R, E, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeBody")
            .field("is_resumable", &self.is_resumable())
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}
