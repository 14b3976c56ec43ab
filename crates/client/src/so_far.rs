//! What a call has done by its deadline, where its stack is a trait object.
//!
//! The future of the default stack can be asked. Layers of the caller's, or another service in the
//! session's place, make a trait object of the stack, which cannot. So when the deadline has passed,
//! the call polls such a stack once more, by [`ask`], and the services of this crate in it
//! [tell](Telling) what they know while they are polled. What is not polled on this thread then,
//! such as a call behind tower's `Buffer`, tells nothing.
//!
//! All other polls only look at a variable of the thread.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use retry_layer::RetryReport;
use tower_service::Service;

use crate::DeadlinePhase;

/// What a call has done so far, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct SoFar {
    pub(crate) phase: Option<DeadlinePhase>,
    pub(crate) report: Option<RetryReport>,
}

impl SoFar {
    pub(crate) fn in_phase(phase: DeadlinePhase) -> Self {
        Self {
            phase: Some(phase),
            report: None,
        }
    }

    pub(crate) fn reported(mut self, report: RetryReport) -> Self {
        self.report = Some(report);
        self
    }
}

thread_local! {
    /// What services have reported in the poll by which this thread asks; `None` if it does not ask.
    static REPORTED: RefCell<Option<SoFar>> = const { RefCell::new(None) };
}

/// Polls a stack in such a way that its services tell what they know.
pub(crate) fn ask<T>(poll: impl FnOnce() -> T) -> (T, SoFar) {
    let _asking = Asking::replace(Some(SoFar::default()));
    let polled = poll();
    let told = REPORTED.with(RefCell::take);
    (polled, told.unwrap_or_default())
}

/// Polls a call of its own, whose services tell nothing of a call above it.
#[inline]
pub(crate) fn unasked<T>(poll: impl FnOnce() -> T) -> T {
    if !is_asked() {
        return poll();
    }
    let _asking = Asking::replace(None);
    poll()
}

/// Restores what was there before, also if the poll panics: a service in the session's place may ask
/// as well, since it may be a client.
struct Asking {
    before: Option<SoFar>,
}

impl Asking {
    fn replace(by: Option<SoFar>) -> Self {
        let before = REPORTED.with(|told| told.replace(by));
        Self { before }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let before = self.before.take();
        REPORTED.with(|told| drop(told.replace(before)));
    }
}

/// The phase that a service further down has reported in this poll.
pub(crate) fn reported_phase() -> Option<DeadlinePhase> {
    REPORTED.with(|told| told.borrow().as_ref()?.phase)
}

fn is_asked() -> bool {
    REPORTED.with(|told| told.borrow().is_some())
}

/// The phase is that of the attempt that tells first: its hedges tell after it. The report is that
/// of the outermost retries, which tell last.
fn tell(so_far: SoFar) {
    REPORTED.with(|told| {
        if let Some(told) = &mut *told.borrow_mut() {
            told.phase = told.phase.or(so_far.phase);
            told.report = so_far.report.or(told.report.take());
        }
    });
}

/// A service whose futures tell what they have done so far when they are asked.
#[derive(Debug)]
pub(crate) struct Telling<S, F> {
    inner: S,
    so_far: fn(&F) -> SoFar,
    /// Whether the future is polled when it is asked: not where that could begin an attempt.
    asks_on: fn(&F) -> bool,
}

impl<S, F> Telling<S, F> {
    pub(crate) fn new(inner: S, so_far: fn(&F) -> SoFar) -> Self {
        Self {
            inner,
            so_far,
            asks_on: |_| true,
        }
    }

    /// Polls the future that is asked only if this holds.
    pub(crate) fn asks_on(self, asks_on: fn(&F) -> bool) -> Self {
        Self { asks_on, ..self }
    }
}

impl<S: Clone, F> Clone for Telling<S, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            so_far: self.so_far,
            asks_on: self.asks_on,
        }
    }
}

impl<S, R> Service<R> for Telling<S, S::Future>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TellingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        TellingFuture {
            inner: self.inner.call(request),
            so_far: self.so_far,
            asks_on: self.asks_on,
        }
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct TellingFuture<F> {
        #[pin]
        inner: F,
        so_far: fn(&F) -> SoFar,
        asks_on: fn(&F) -> bool,
    }
}

impl<F: Future> Future for TellingFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if !is_asked() {
            return this.inner.poll(cx);
        }
        if (this.asks_on)(&this.inner) {
            let polled = this.inner.as_mut().poll(cx);
            if polled.is_ready() {
                return polled;
            }
        }
        tell((this.so_far)(&this.inner));
        Poll::Pending
    }
}
