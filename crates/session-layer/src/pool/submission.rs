//! One request on its way from its future to hyper.
//!
//! hyper keeps what it is given, and h2 keeps requests back that the peer's limit on streams leaves
//! no room for. So the connection's task gives a request to hyper only when it can leave; until
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
use super::lease::Exchanged;
use super::lease::{Answer, AnswerBox, Unsent};
use crate::{connect::Wire, upload::RequestBody};

/// One request on its way; used again for the next, and with it the box for hyper's future.
pub(crate) struct Submission<B>(Mutex<Submitted<B>>);

struct Submitted<B> {
    stage: Stage<B>,
    /// hyper's future, if it has the request.
    answer: AnswerBox<B>,
}

enum Stage<B> {
    Empty,
    /// Waits for the connection's task.
    Waiting(Request<RequestBody<B>>, Arc<Wire>),
    /// hyper has it.
    Sent,
    /// hyper answered at once.
    Answered(Answer<B>),
    /// The connection does not take it.
    Returned(Unsent<B>),
}

impl<B: Send + 'static> Default for Submission<B> {
    fn default() -> Self {
        Self(Mutex::new(Submitted {
            stage: Stage::Empty,
            // Takes no memory; the first request makes the box that all later ones use.
            answer: ReusableBoxFuture::new(std::future::pending()),
        }))
    }
}

impl<B> Submission<B> {
    /// Takes in a request.
    pub(super) fn fill(&self, request: Request<RequestBody<B>>, wire: &Arc<Wire>) {
        let before = mem::replace(
            &mut self.lock().stage,
            Stage::Waiting(request, wire.clone()),
        );
        drop(before);
    }

    /// Takes the request out that hyper was not given.
    pub(super) fn take_back(&self) -> Option<Unsent<B>> {
        let mut submitted = self.lock();
        match mem::replace(&mut submitted.stage, Stage::Empty) {
            Stage::Waiting(request, _) => Some(Box::new(request)),
            Stage::Returned(request) => Some(request),
            other => {
                submitted.stage = other;
                None
            }
        }
    }

    /// Lets the request's future have the request back, where hyper was not given it.
    #[cfg(feature = "http2")]
    pub(crate) fn give_back(&self) {
        let mut submitted = self.lock();
        match mem::replace(&mut submitted.stage, Stage::Empty) {
            Stage::Waiting(request, wire) => {
                submitted.stage = Stage::Returned(Box::new(request));
                drop(submitted);
                wire.wake();
            }
            other => submitted.stage = other,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Submitted<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send + 'static> Submission<B> {
    /// Asks for the answer, or for the request that came back.
    pub(super) fn poll(&self, wire: &Wire, cx: &Context<'_>) -> Poll<Result<Answer<B>, Unsent<B>>> {
        // Before the look, so that no change after it is missed.
        wire.register(cx);
        let mut submitted = self.lock();
        match mem::replace(&mut submitted.stage, Stage::Empty) {
            Stage::Sent => {
                let waker = cx.waker();
                let polled = submitted.answer.poll(&mut Context::from_waker(waker));
                if polled.is_pending() {
                    submitted.stage = Stage::Sent;
                }
                polled.map(Ok)
            }
            Stage::Answered(answer) => Poll::Ready(Ok(answer)),
            Stage::Returned(request) => Poll::Ready(Err(request)),
            other @ (Stage::Empty | Stage::Waiting(..)) => {
                submitted.stage = other;
                Poll::Pending
            }
        }
    }

    /// Drops what is in it: the request, or hyper's future.
    pub(super) fn clear(&self) {
        let mut submitted = self.lock();
        let stage = mem::replace(&mut submitted.stage, Stage::Empty);
        let answer = matches!(stage, Stage::Sent).then(|| {
            let none = ReusableBoxFuture::new(std::future::pending());
            mem::replace(&mut submitted.answer, none)
        });
        // Not under the lock: it wakes hyper's tasks.
        drop(submitted);
        drop((stage, answer));
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
        let (request, wire) = match mem::replace(&mut submitted.stage, Stage::Empty) {
            Stage::Waiting(request, wire) => (request, wire),
            other => {
                submitted.stage = other;
                return false;
            }
        };
        wire.sends(opened);
        submitted.answer.set(Exchanged::new(send(request)));
        submitted.stage = Stage::Sent;
        // Its future is woken by hyper from now on, and need not be polled for that.
        let Some(waker) = wire.waker() else {
            return true;
        };
        let polled = submitted.answer.poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(answer) = polled {
            submitted.stage = Stage::Answered(answer);
            drop(submitted);
            waker.wake();
        }
        true
    }
}
