use std::{
    any::Any,
    borrow::Cow,
    error::Error as StdError,
    fmt,
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    time::Duration,
};

use super::error::Cause;
use crate::{CloseReport, box_error::BoxError};

/// What a teardown may return: nothing, a `Result`, or a [`CloseReport`], which is a failure if
/// connections were aborted.
pub trait TeardownOutcome {
    /// Turns it into a `Result`.
    ///
    /// # Errors
    ///
    /// If the teardown failed.
    fn into_result(self) -> Result<(), BoxError>;
}

impl TeardownOutcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> TeardownOutcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

impl TeardownOutcome for CloseReport {
    fn into_result(self) -> Result<(), BoxError> {
        match self.aborted {
            0 => Ok(()),
            aborted => Err(Box::new(CutOff(aborted))),
        }
    }
}

/// The connections that a session aborted when it was closed.
#[derive(Debug)]
struct CutOff(usize);

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connections cut off at the deadline: {}", self.0)
    }
}

impl StdError for CutOff {}

/// One resource, with the future that tears it down.
pub(super) struct Teardown {
    pub(super) name: Cow<'static, str>,
    timeout: Option<Duration>,
    future: Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>,
}

impl Teardown {
    pub(super) fn new<F>(name: Cow<'static, str>, timeout: Option<Duration>, teardown: F) -> Self
    where
        F: Future + Send + 'static,
        F::Output: TeardownOutcome,
    {
        Self {
            name,
            timeout,
            future: Box::pin(async move { teardown.await.into_result() }),
        }
    }

    /// Runs it to its end, its timeout or its panic. If this is dropped, the teardown can be run
    /// on.
    pub(super) async fn run(&mut self) -> Result<(), Cause> {
        let Self {
            timeout, future, ..
        } = self;
        let guarded = poll_fn(|cx| {
            let polled = guard(|| future.as_mut().poll(cx));
            match polled {
                Ok(polled) => polled.map_err(Cause::Failed),
                Err(panicked) => Err(panicked).into(),
            }
        });
        let ended = match *timeout {
            Some(timeout) => tokio::time::timeout(timeout, guarded)
                .await
                .unwrap_or(Err(Cause::TimedOut(timeout))),
            None => guarded.await,
        };
        // The drop of the future may panic too, and has to happen before the next teardown.
        let done = mem::replace(future, Box::pin(async { Ok(()) }));
        ended.and(guard(|| drop(done)))
    }
}

/// Runs foreign code whose panic must not skip the teardowns after it.
fn guard<T>(work: impl FnOnce() -> T) -> Result<T, Cause> {
    // Its state after a panic is not used again.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Cause::Panicked(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
