use std::{
    future::Future,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use super::{
    ask::Ask,
    error::{ResumeBodyError, ResumeError, ResumeErrorKind},
    progress::{Break, Progress},
    resumable::{Answer, Resumable},
};
use crate::{named::ServiceError, report::RetryReport, stop::StopReason};

const CONTENT_DIGEST: &str = "content-digest";

/// A body that can be continued, and how much of it was read.
pub(super) struct Tracked<E, A> {
    pub(super) resumable: Resumable,
    pub(super) progress: Progress,
    pub(super) ask: A,
    /// How many bytes were returned to the reader.
    received: u64,
    /// How many bytes of the present response are skipped, because they were received before.
    skip: u64,
    /// Whether the present response is a part that was asked for here, and not the first one.
    is_rest: bool,
    /// How many bytes of the present response follow the skipped ones, if it is known.
    left: Option<u64>,
    /// The error that broke the body, until the rest arrives.
    broke: Option<E>,
    pub(super) ended: bool,
}

/// What follows a frame, or its absence.
pub(super) enum Step<E> {
    /// The next frame is read.
    Continue,
    /// The rest is requested. The present body is dropped before the wait, so that it holds no
    /// connection.
    Ask,
    Return(Option<Result<Frame<Bytes>, ResumeBodyError<E>>>),
}

impl<E, A> Tracked<E, A> {
    pub(super) fn new(resumable: Resumable, progress: Progress, ask: A) -> Self {
        Self {
            received: 0,
            skip: 0,
            is_rest: false,
            left: resumable.length(),
            resumable,
            progress,
            ask,
            broke: None,
            ended: false,
        }
    }

    /// Whether the inner body has ended and is complete.
    fn is_whole(&self) -> bool {
        if self.skip > 0 {
            return false;
        }
        match (self.resumable.length(), self.left) {
            (Some(length), _) => self.received == length,
            // Only a part has a length while that of the whole is not known.
            (None, left) => left.is_none(),
        }
    }

    pub(super) fn is_end_stream(&self, body: Option<&impl Body>) -> bool {
        self.ended || (self.is_whole() && body.is_some_and(Body::is_end_stream))
    }

    pub(super) fn size_hint(&self, body: Option<&impl Body>) -> SizeHint {
        match (self.resumable.length(), body) {
            _ if self.ended => SizeHint::with_exact(0),
            (Some(length), _) => SizeHint::with_exact(length.saturating_sub(self.received)),
            (None, Some(body)) if self.left.is_none() => body.size_hint(),
            (None, _) => SizeHint::new(),
        }
    }
}

impl<E: ServiceError, S, B, F> Tracked<E, Ask<S, B, F>> {
    /// Takes the next frame of the present body, its error, or its end.
    pub(super) fn take(&mut self, frame: Option<Result<Frame<Bytes>, E>>) -> Step<E> {
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.take_data(data),
                Err(trailers) if self.is_whole() => self.take_trailers(trailers),
                // Trailers of a part that is not the last one say nothing about the whole.
                Err(_) => Step::Continue,
            },
            // All bytes were read; only the end of the body was missing.
            Some(Err(_)) if self.resumable.length() == Some(self.received) => self.end(),
            Some(Err(error)) => self.break_off(Some(error)),
            None if self.is_whole() => self.end(),
            None => self.break_off(None),
        }
    }

    /// Takes the trailers of the last response. A digest of its content would be taken for one of
    /// the first response's content ([RFC 9530, section
    /// 2](https://www.rfc-editor.org/rfc/rfc9530#section-2)); `Repr-Digest`, which is that of the
    /// whole, stays.
    fn take_trailers(&self, frame: Frame<Bytes>) -> Step<E> {
        match frame.into_trailers() {
            Ok(mut trailers) if self.is_rest => {
                trailers.remove(CONTENT_DIGEST);
                if trailers.is_empty() {
                    return Step::Continue;
                }
                Step::Return(Some(Ok(Frame::trailers(trailers))))
            }
            Ok(trailers) => Step::Return(Some(Ok(Frame::trailers(trailers)))),
            Err(frame) => Step::Return(Some(Ok(frame))),
        }
    }

    #[inline]
    fn take_data(&mut self, mut data: Bytes) -> Step<E> {
        if self.skip > 0 {
            let known = length(&data).min(self.skip);
            self.skip -= known;
            data.advance(usize::try_from(known).unwrap_or(usize::MAX).min(data.len()));
            if data.is_empty() {
                return Step::Continue;
            }
        }
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(length(&data)) else {
                return self.refuse(ResumeErrorKind::LengthMismatch);
            };
            *left = rest;
        }
        if let Some(end) = self.resumable.length() {
            // A part may have more bytes than were requested.
            let wanted = end.saturating_sub(self.received);
            if length(&data) > wanted {
                data.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
                self.finish();
            }
        }
        self.received = self.received.saturating_add(length(&data));
        self.progress.bring(length(&data));
        Step::Return(Some(Ok(Frame::data(data))))
    }

    fn end(&mut self) -> Step<E> {
        self.finish();
        Step::Return(None)
    }

    fn finish(&mut self) {
        self.ended = true;
        self.progress.complete();
    }

    /// Decides what follows a body that ended too early.
    #[cold]
    fn break_off(&mut self, error: Option<E>) -> Step<E> {
        let how = match &error {
            Some(error) => Break::Error(error.as_dyn()),
            None if self.left == Some(0) => Break::Short,
            None => Break::Early,
        };
        let offset = self.resumable.offset(self.received);
        let wait = self.progress.broke(&how, offset);
        self.broke = error;
        let Ok(wait) = wait else {
            return self.give_up();
        };
        self.ask.after(wait);
        Step::Ask
    }

    /// Ends with the error that broke the body, as it is.
    #[cold]
    fn give_up(&mut self) -> Step<E> {
        let Some(mut error) = self.broke.take() else {
            return self.refuse_with(ResumeErrorKind::LengthMismatch);
        };
        self.ended = true;
        self.progress.annotate(error.as_dyn_mut());
        Step::Return(Some(Err(ResumeBodyError::Inner(error))))
    }

    /// Ends because the server's response does not continue the body.
    #[cold]
    fn refuse(&mut self, kind: ResumeErrorKind) -> Step<E> {
        self.progress.end(StopReason::ErrorNotRetryable);
        self.refuse_with(kind)
    }

    fn refuse_with(&mut self, kind: ResumeErrorKind) -> Step<E> {
        self.ended = true;
        let offset = self.resumable.offset(self.received);
        let error = ResumeError::new(kind, offset, self.progress.report_or_plain());
        Step::Return(Some(Err(ResumeBodyError::Resume(error))))
    }

    /// Waits for the answer to the request for the rest. Returns the next body, or how the body
    /// ends without one.
    pub(super) fn poll_rest<R, T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<R, Step<E>>>
    where
        S: Service<Request<B>, Response = Response<R>, Error = T, Future = F>,
        T: ServiceError,
        F: Future<Output = Result<Response<R>, T>>,
        B: Default,
        R: Body,
    {
        let Self {
            resumable,
            progress,
            ask,
            received,
            ..
        } = self;
        let received = *received;
        let offset = resumable.offset(received);
        let answer = ready!(ask.poll(cx, |request| {
            resumable.ask(received, request.headers_mut());
            progress.ask(request, offset);
        }));
        Poll::Ready(match answer {
            Ok(response) => self.look(response),
            Err(error) => {
                self.progress.failed(error.as_dyn(), offset);
                self.progress.end(StopReason::ErrorNotRetryable);
                Err(self.give_up())
            }
        })
    }

    fn look<R: Body>(&mut self, response: Response<R>) -> Result<R, Step<E>> {
        let (head, body) = response.into_parts();
        let offset = self.resumable.offset(self.received);
        self.progress
            .answered(head.status, &head.extensions, offset);
        let exact = body.size_hint().exact();
        match self
            .resumable
            .judge(self.received, head.status, &head.headers, exact)
        {
            Answer::Rest { skip, length } => {
                self.is_rest = true;
                self.skip = skip;
                self.left = length.map(|length| length.saturating_sub(skip));
            }
            Answer::Anew(resumable) => {
                self.left = resumable.length();
                self.resumable = resumable;
            }
            Answer::Complete => return Err(self.end()),
            Answer::Refused(kind) => return Err(self.refuse(kind)),
            Answer::Failed => {
                let report = head.extensions.get().map(RetryReport::stop);
                let stop = report.unwrap_or_else(|| StopReason::of_final(Some(head.status)));
                self.progress.end(stop);
                return Err(self.give_up());
            }
        }
        self.broke = None;
        Ok(body)
    }
}

fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}
