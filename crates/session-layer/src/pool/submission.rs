//! A request that waits for the driver to give it to hyper.
//!
//! hyper does not give a request back, and h2 holds back a request for which the peer's limit on
//! streams leaves no room. So the driver gives a request to hyper only when it can leave. Until
//! then it is here, and can be taken back.

#[cfg(feature = "http2")]
use std::future::Future;
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use http::Request;
use tokio_util::sync::ReusableBoxFuture;

#[cfg(feature = "http2")]
use super::answer::Exchanged;
use super::answer::{Answer, AnswerBox, Unanswered, Unsent};
use crate::{exchange::ExchangeState, exchange::RequestBody};

/// A request that waits for the driver, and then hyper's future of its response. It is reused for
/// the next request, and with it the box for that future.
pub(crate) struct Submission<B>(Mutex<Submitted<B>>);

struct Submitted<B> {
    stage: Stage<B>,
    /// The request, while it waits. It is kept apart from the stage, which is replaced more often
    /// than a request should be moved.
    waiting: Option<(Request<RequestBody<B>>, Arc<ExchangeState>)>,
    /// hyper's future, if it has the request.
    answer: AnswerBox<B>,
}

enum Stage<B> {
    Empty,
    /// It waits for the driver.
    Waiting,
    /// hyper has it.
    Sent,
    /// hyper answered at once.
    Answered(Box<Answer<B>>),
    /// The connection does not take it.
    Returned(Unsent<B>),
}

impl<B: Send + 'static> Default for Submission<B> {
    fn default() -> Self {
        Self(Mutex::new(Submitted {
            stage: Stage::Empty,
            waiting: None,
            // Allocates nothing. The first request makes the box that all later ones use.
            answer: ReusableBoxFuture::new(std::future::pending()),
        }))
    }
}

impl<B> Submission<B> {
    /// Takes in a request. It is empty before.
    pub(super) fn fill(&self, request: Request<RequestBody<B>>, exchange: &Arc<ExchangeState>) {
        let mut submitted = self.lock();
        submitted.stage = Stage::Waiting;
        submitted.waiting = Some((request, exchange.clone()));
    }

    /// Takes the request out that hyper was not given.
    pub(super) fn take_back(&self) -> Option<Unsent<B>> {
        let mut submitted = self.lock();
        match mem::replace(&mut submitted.stage, Stage::Empty) {
            Stage::Waiting => submitted.waiting.take().map(|(it, _)| Box::new(it)),
            Stage::Returned(request) => Some(request),
            other => {
                submitted.stage = other;
                None
            }
        }
    }

    /// Returns the request to its future, if hyper was not given it.
    #[cfg(feature = "http2")]
    pub(crate) fn return_request(&self) {
        let mut submitted = self.lock();
        if let Some((request, exchange)) = submitted.waiting.take() {
            submitted.stage = Stage::Returned(Box::new(request));
            drop(submitted);
            exchange.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Submitted<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send + 'static> Submission<B> {
    /// Polls for the outcome: the answer, or the request that came back.
    pub(super) fn poll(&self, exchange: &ExchangeState, cx: &Context<'_>) -> Poll<Answer<B>> {
        let mut submitted = self.lock();
        if let Stage::Sent = submitted.stage {
            let polled = submitted.answer.poll(&mut Context::from_waker(cx.waker()));
            if polled.is_ready() {
                submitted.stage = Stage::Empty;
                return polled;
            }
        }
        // Under the lock, so that no later change is missed.
        exchange.register(cx);
        match mem::replace(&mut submitted.stage, Stage::Empty) {
            Stage::Answered(answer) => Poll::Ready(*answer),
            Stage::Returned(request) => Poll::Ready(Err(Unanswered::Unsent(request))),
            other @ (Stage::Empty | Stage::Waiting | Stage::Sent) => {
                submitted.stage = other;
                Poll::Pending
            }
        }
    }

    /// Drops the request, or hyper's future. Returns whether hyper had the request and its answer
    /// was not taken: hyper then resets the stream, unless that has ended.
    pub(super) fn clear(&self) -> bool {
        let mut submitted = self.lock();
        let stage = mem::replace(&mut submitted.stage, Stage::Empty);
        let waiting = submitted.waiting.take();
        let is_sent = matches!(stage, Stage::Sent);
        let answer = is_sent.then(|| {
            let none = ReusableBoxFuture::new(std::future::pending());
            mem::replace(&mut submitted.answer, none)
        });
        // After the lock is released, since the drop wakes tasks of hyper.
        drop(submitted);
        drop((stage, waiting, answer));
        is_sent
    }

    /// Gives the request to hyper by `send`, if it still waits; returns whether it did.
    #[cfg(feature = "http2")]
    pub(crate) fn hand_over<F>(
        &self,
        opened: u64,
        send: impl FnOnce(Request<RequestBody<B>>) -> F,
    ) -> bool
    where
        F: Future<
                Output = Result<
                    http::Response<hyper::body::Incoming>,
                    hyper::client::conn::TrySendError<Request<RequestBody<B>>>,
                >,
            > + Send
            + 'static,
    {
        let mut submitted = self.lock();
        let Some((request, exchange)) = submitted.waiting.take() else {
            return false;
        };
        exchange.note_given(opened);
        submitted.answer.set(Exchanged::new(send(request)));
        submitted.stage = Stage::Sent;
        // hyper can wake the request's future from now on, before that is polled again.
        let Some(waker) = exchange.waker() else {
            return true;
        };
        let polled = submitted.answer.poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(answer) = polled {
            submitted.stage = Stage::Answered(Box::new(answer));
            drop(submitted);
            waker.wake();
        }
        true
    }
}
