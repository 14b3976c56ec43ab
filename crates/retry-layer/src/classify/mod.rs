//! Classifiers: which outcomes are worth another attempt.
//!
//! ```
//! use http::StatusCode;
//! use retry_layer::{RetryPolicy, classifier_fn};
//!
//! // Only "service unavailable", and only reset connections.
//! let classifier = classifier_fn(|outcome: &retry_layer::Outcome<'_>| {
//!     outcome.status() == Some(StatusCode::SERVICE_UNAVAILABLE)
//!         || outcome
//!             .find_error::<std::io::Error>()
//!             .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
//! });
//! let policy = RetryPolicy::builder().classifier(classifier).build()?;
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! Classifiers can be put together, by [`and`](Classifier::and), [`or`](Classifier::or) and
//! [`not`](Classifier::not):
//!
//! ```
//! use std::io::ErrorKind;
//! use retry_layer::{Classifier, RetryPolicy, Standard, classify::{Errors, StatusSet}};
//!
//! // The default, also for 520 to 524, but not for errors that ran out of time.
//! let classifier = Standard::default()
//!     .or(StatusSet::cloudflare())
//!     .and(Errors::timeout().not());
//! let policy = RetryPolicy::builder().classifier(classifier).build()?;
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! # Errors that hide their cause
//!
//! What is known of an error is found in its chain of [sources](std::error::Error::source). One that
//! wraps another and does not name it as its source hides it: everything behind it is unknown, and
//! therefore final. The circuit breaker of tower-resilience is such a case: below this layer, its
//! `CircuitBreakerError::Inner` holds the error of the service, and has no `source()`. A classifier
//! opens it, and says what an open circuit means:
//!
//! ```
//! # use std::{fmt, io};
//! use retry_layer::{Class, Outcome, Classifier, RetryPolicy, Standard, classifier_fn, transport};
//!
//! # // Stands in for the crate's, which is no dependency of this one.
//! # #[derive(Debug)]
//! # enum CircuitBreakerError<E> { OpenCircuit, Inner(E) }
//! # impl<E> fmt::Display for CircuitBreakerError<E> {
//! #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("tripped") }
//! # }
//! # impl<E: fmt::Debug> std::error::Error for CircuitBreakerError<E> {}
//! let standard = Standard::default();
//! let knows_the_breaker = classifier_fn(move |outcome: &Outcome<'_>| {
//!     match outcome.find_error::<CircuitBreakerError<io::Error>>() {
//!         // Nothing was sent. `Class::NotSent` would wait and ask the circuit again.
//!         Some(CircuitBreakerError::OpenCircuit) => Class::Final,
//!         Some(CircuitBreakerError::Inner(error)) => {
//!             standard.classify(&outcome.with_error_class(transport::classify(error)))
//!         }
//!         None => standard.classify(outcome),
//!     }
//! });
//! # let (method, uri) = (http::Method::GET, http::Uri::from_static("/"));
//! # let reset = CircuitBreakerError::Inner(io::Error::from(io::ErrorKind::ConnectionReset));
//! # let open = CircuitBreakerError::<io::Error>::OpenCircuit;
//! # for (error, class) in [(&reset, Class::Ambiguous), (&open, Class::Final)] {
//! #     let outcome = Outcome::from_error(&method, &uri, error);
//! #     assert_eq!(knows_the_breaker.classify(&outcome), class);
//! # }
//! let policy = RetryPolicy::builder().classifier(knows_the_breaker).build()?;
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! # How classes combine
//!
//! A classifier answers more than yes or no, so the rules are:
//!
//! - An error that either side calls [`Permanent`](Class::Permanent) is permanent, whatever the
//!   other side says, and `not` leaves it so, because it would come again. Only a
//!   classifier that is not combined with that side can retry it.
//! - Otherwise [`Final`](Class::Final) counts as no, and every other class as yes. `and` answers
//!   yes if both do, `or` if either does, `not` turns yes into `Final`, and `Final` into
//!   [`Ambiguous`](Class::Ambiguous), which claims least.
//! - If both say yes, the class that proves more about the request is the answer:
//!   [`NotSent`](Class::NotSent), then [`Stale`](Class::Stale) of a request that was never processed,
//!   [`Unprocessed`](Class::Unprocessed), `Stale`, `Ambiguous`. So one side may be a mere filter,
//!   and what the other knows is not lost.
//! - If one of two that say yes says [`Throttled`](Class::Throttled), the answer is that, with
//!   [`Never`](crate::Processed::Never) if either side proves that the request was not processed.
//!
//! What is final is a [success](Classifier::is_success) if all that were put together say so.
//!
//! The order of the operands of `and` and `or` makes no difference.

mod combine;
mod errors;
mod func;
mod standard;
mod status;
mod transport_classifier;

use std::{error::Error, sync::Arc};

use http::StatusCode;

pub use self::{
    combine::{And, Not, Or},
    errors::Errors,
    func::{ClassifierFn, classifier_fn},
    standard::Standard,
    status::{StatusSet, StatusSetIter},
    transport_classifier::TransportClassifier,
};
use crate::{class::Class, details::AttemptDetails, outcome::Outcome, report::RetryReport};

/// Decides what an outcome means.
///
/// [`Standard`] is the default; [`classifier_fn`] makes one of a closure; a type of your own can
/// look at the outcome first and hand the rest to a `Standard`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a classifier",
    note = "a closure becomes one by `retry_layer::classifier_fn`, and statuses by \
            `RetryPolicyBuilder::statuses`"
)]
pub trait Classifier: Send + Sync + 'static {
    /// Says what this outcome means for sending the request again.
    ///
    /// Called once for every attempt that may be followed by another. It must not block.
    fn classify(&self, outcome: &Outcome<'_>) -> Class;

    /// Whether every response of this status is [final](Class::Final), whatever its headers are and
    /// whatever came before.
    ///
    /// Called for each status below 400 when a policy is built, so that a plain success need not be
    /// classified. The default says `false`, which is right for every classifier.
    fn is_always_final(&self, status: StatusCode) -> bool {
        let _ = status;
        false
    }

    /// Whether a response that is [final](Class::Final) shows that the server works, so that it
    /// earns the [budget](crate::budget) something.
    ///
    /// Called for final responses only, and not for those that are
    /// [always final](Self::is_always_final). The default says `true`: a server that answers 404 works.
    fn is_success(&self, outcome: &Outcome<'_>) -> bool {
        let _ = outcome;
        true
    }

    /// Puts the report into the final error, if that has room for it.
    ///
    /// Called once for every error that the layer returns. The default does nothing: most errors
    /// have no such room.
    fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        let _ = (error, report);
    }

    /// Says what is known of how an attempt ended: for [reports](RetryReport), events and
    /// [observers](crate::RetryObserver). It decides nothing.
    ///
    /// Called for each attempt that failed or that another one follows, and not for a call that
    /// succeeds at once. The default says `None`: then the details are those of
    /// [`AttemptDetails::of`], which reads the causes of the error. A classifier that knows the errors
    /// of its transport can say more.
    ///
    /// The details are logged, so they must not hold secrets.
    fn describe(&self, outcome: &Outcome<'_>) -> Option<AttemptDetails> {
        let _ = outcome;
        None
    }

    /// Retries only what both this one and the other retry.
    ///
    /// See [how classes combine](self#how-classes-combine).
    fn and<P>(self, other: P) -> And<Self, P>
    where
        Self: Sized,
        P: Classifier,
    {
        And::new(self, other)
    }

    /// Retries what either this one or the other retries.
    ///
    /// See [how classes combine](self#how-classes-combine).
    fn or<P>(self, other: P) -> Or<Self, P>
    where
        Self: Sized,
        P: Classifier,
    {
        Or::new(self, other)
    }

    /// Retries what this one does not: errors too, if this one looks at statuses only.
    ///
    /// See [how classes combine](self#how-classes-combine).
    fn not(self) -> Not<Self>
    where
        Self: Sized,
    {
        Not::new(self)
    }
}

impl<P> Classifier for Arc<P>
where
    P: Classifier + ?Sized,
{
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        (**self).classify(outcome)
    }

    fn is_always_final(&self, status: StatusCode) -> bool {
        (**self).is_always_final(status)
    }

    fn is_success(&self, outcome: &Outcome<'_>) -> bool {
        (**self).is_success(outcome)
    }

    fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        (**self).annotate(error, report);
    }

    fn describe(&self, outcome: &Outcome<'_>) -> Option<AttemptDetails> {
        (**self).describe(outcome)
    }
}
