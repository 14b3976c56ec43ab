use std::task::Poll;

use http::{Method, Response, Uri};
use http_body::Body;
use tokio::time::Instant;

use super::{State, fallback::Fallback};
use crate::{
    call::{Call, Pause},
    class::Class,
    drain::Drain,
    named::ServiceError,
    outcome::Outcome,
    policy::RetryPolicy,
    report::{AttemptOutcome, AttemptRecord, AttemptTimes, RetryReport},
    stop::StopReason,
};

pub(super) enum Plan<S, B> {
    /// Sent once, for this reason.
    Once {
        policy: RetryPolicy,
        stop: StopReason,
        method: Method,
        uri: Uri,
        /// When the call began, if the clock was read then.
        started: Option<Instant>,
    },
    Repeatable {
        call: Call<S, B>,
    },
}

impl<S, B> Plan<S, B> {
    /// Ends the call if its only attempt was answered, or its first one with a status that is always
    /// final. Returns whether it did.
    #[inline]
    pub(super) fn settle_at_once<R, E>(&self, result: &Result<Response<R>, E>) -> bool {
        match (self, result) {
            (Self::Repeatable { call }, Ok(response)) => call.settle_at_once(response.status()),
            (Self::Once { .. }, Ok(_)) => true,
            (_, Err(_)) => false,
        }
    }

    /// Ends the call with this result, or says how long to wait for the next attempt.
    #[inline]
    pub(super) fn judge<R, E>(&mut self, result: &mut Result<Response<R>, E>) -> Option<Pause>
    where
        E: ServiceError,
    {
        let Self::Repeatable { call } = self else {
            self.end(result, Class::Final);
            return None;
        };
        call.conclude_or_pause(result)
    }

    /// The state in which the call waits for its next attempt: it begins by reading the rest of the
    /// refused response.
    pub(super) fn refuse<F, R: Body, E>(
        &mut self,
        polled: Poll<Result<Response<R>, E>>,
        pause: Pause,
    ) -> State<F, R, E> {
        let Poll::Ready(result) = polled else {
            unreachable!("only a result that is ready is refused")
        };
        let call = self.call();
        match result {
            Ok(response) if !response.body().is_end_stream() => {
                let drain = Drain::new(response.into_body(), call.drain_limits(pause));
                drain.map_or_else(
                    || State::paused(pause, None),
                    |drain| State::Draining {
                        drain: Box::pin(drain),
                        pause,
                    },
                )
            }
            // An error, or a response without a body, holds no connection. It is kept, so that it can
            // be returned if the deadline passes.
            result => {
                let fallback = call
                    .deadline()
                    .map(|deadline| Fallback::new(result, deadline));
                State::paused(pause, fallback)
            }
        }
    }

    /// Ends the call with the outcome of its last attempt: the deadline has passed.
    pub(super) fn expire<R, E>(
        &mut self,
        mut result: Result<Response<R>, E>,
    ) -> Result<Response<R>, E>
    where
        E: ServiceError,
    {
        self.call().expire(&mut result);
        result
    }

    /// Ends the call with a result that is not judged.
    pub(super) fn end<R, E>(&mut self, result: &mut Result<Response<R>, E>, class: Class)
    where
        E: ServiceError,
    {
        let outcome = match result {
            Ok(response) => AttemptOutcome::Status(response.status()),
            Err(_) => AttemptOutcome::Error(class),
        };
        match self {
            Self::Repeatable { call } => {
                call.finish(result, outcome, class, StopReason::ErrorNotRetryable);
            }
            Self::Once {
                policy,
                stop,
                method,
                uri,
                started,
            } => {
                if let Err(error) = result {
                    let view = Outcome::from_error(method, uri, error.as_dyn());
                    let details = policy.describe(&view);
                    let record = AttemptRecord::new(outcome)
                        .described(details)
                        .timed(AttemptTimes::new(*started, *started, Instant::now()));
                    let report = RetryReport::single(record, *stop);
                    policy.annotate(error.as_dyn_mut(), report);
                }
            }
        }
    }

    pub(super) fn call(&mut self) -> &mut Call<S, B> {
        match self {
            Self::Repeatable { call } => call,
            Self::Once { .. } => {
                unreachable!("only a repeatable call leaves the first attempt")
            }
        }
    }
}
