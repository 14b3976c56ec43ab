use http::StatusCode;

use crate::{class::Class, classify::Classifier, details::FailureKind, outcome::Outcome};

/// What the outcome of one attempt says about an origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Signal {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// It works, and has too much to do.
    Throttled,
    /// Nothing.
    Neutral,
}

impl Signal {
    pub(super) fn of(outcome: &Outcome<'_>, classifier: &dyn Classifier) -> Self {
        let class = classifier.classify(outcome);
        if class.is_throttled() || outcome.status() == Some(StatusCode::TOO_MANY_REQUESTS) {
            return Self::Throttled;
        }
        match class {
            Class::Final if outcome.error().is_some() => Self::Neutral,
            Class::Final if classifier.is_success(outcome) => Self::Success,
            Class::Final | Class::Ambiguous | Class::NotSent => Self::Failure,
            Class::Stale(_) | Class::Unprocessed | Class::Permanent | Class::Throttled(_) => {
                Self::Neutral
            }
        }
    }
}

/// The default classifier of a breaker: which outcomes are failures of the origin.
///
/// | outcome | class | for the breaker |
/// |---|---|---|
/// | a status from 500 to 599 | [`Ambiguous`](Class::Ambiguous) | a failure |
/// | 429 | `Ambiguous` | throttled |
/// | 421 | [`Unprocessed`](Class::Unprocessed) | counts neither way |
/// | any other response | [`Final`](Class::Final) | a success |
/// | an error with a [known class](crate::transport::classify) | that class | by the [table](super#what-counts) |
/// | tower's `Overloaded`, a [`CircuitOpen`](super::CircuitOpen) of a breaker below, a [`Paused`](crate::pause::Paused) of a pause below | `Final` | counts neither way |
/// | any other error | `Ambiguous` | a failure |
///
/// It differs from [`Standard`](crate::Standard) in what it is asked: not whether another attempt is
/// worth it, but whether the origin works. So 501 and 505 are failures, as they are for Linkerd and
/// Envoy, and 408 is none. An error that nothing is known of is a failure, so that a timeout of a
/// type that this crate does not know opens the circuit too.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerFailures(());

impl ServerFailures {
    /// Makes the classifier.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl Classifier for ServerFailures {
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        let Some(error) = outcome.error() else {
            let status = outcome.status().unwrap_or_default();
            return match status {
                StatusCode::TOO_MANY_REQUESTS => Class::Ambiguous,
                StatusCode::MISDIRECTED_REQUEST => Class::Unprocessed,
                status => status.is_server_error().into(),
            };
        };
        match outcome.error_class() {
            Some(Class::Final) | None if is_local(error) => Class::Final,
            Some(Class::Final) | None => Class::Ambiguous,
            Some(class) => class,
        }
    }

    fn is_always_final(&self, status: StatusCode) -> bool {
        status.as_u16() < 400
    }
}

/// Whether the request was turned away on this side.
fn is_local(error: &(dyn std::error::Error + 'static)) -> bool {
    let kind = FailureKind::of(error);
    kind == FailureKind::OVERLOADED
        || kind == FailureKind::CIRCUIT_OPEN
        || kind == FailureKind::PAUSED
}

#[cfg(test)]
mod tests {
    use std::io;

    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::class::Processed;

    fn of_status(status: u16) -> Signal {
        let (uri, headers) = (Uri::from_static("http://peer/"), HeaderMap::new());
        let status = StatusCode::from_u16(status).unwrap();
        let outcome = Outcome::from_response(&Method::GET, &uri, status, &headers);
        Signal::of(&outcome, &ServerFailures::new())
    }

    fn of_error(error: &(dyn std::error::Error + 'static), class: Option<Class>) -> Signal {
        let uri = Uri::from_static("http://peer/");
        let outcome = Outcome::from_error(&Method::GET, &uri, error);
        let outcome = class.map_or(outcome, |class| outcome.with_error_class(class));
        Signal::of(&outcome, &ServerFailures::new())
    }

    #[test]
    fn a_status_counts_as_it_does_for_linkerd() {
        for status in 100..=999 {
            let expected = match status {
                500..=599 => Signal::Failure,
                429 => Signal::Throttled,
                421 => Signal::Neutral,
                _ => Signal::Success,
            };
            assert_eq!(of_status(status), expected, "{status}");
        }
    }

    #[test]
    fn an_error_counts_if_the_origin_may_be_the_cause() {
        let error = io::Error::other("unknown");
        for (class, expected) in [
            (None, Signal::Failure),
            (Some(Class::NotSent), Signal::Failure),
            (Some(Class::Ambiguous), Signal::Failure),
            (
                Some(Class::Throttled(Processed::Possibly)),
                Signal::Throttled,
            ),
            (Some(Class::Stale(Processed::Never)), Signal::Neutral),
            (Some(Class::Unprocessed), Signal::Neutral),
            (Some(Class::Permanent), Signal::Neutral),
        ] {
            assert_eq!(of_error(&error, class), expected, "{class:?}");
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(of_error(&refused, None), Signal::Failure);
    }

    #[cfg(feature = "tower")]
    #[test]
    fn what_was_shed_on_this_side_counts_neither_way() {
        let shed = tower::load_shed::error::Overloaded::new();
        assert_eq!(of_error(&shed, None), Signal::Neutral);
    }

    #[test]
    fn an_open_circuit_below_counts_neither_way() {
        let key = crate::health::PartitionKey::named("below");
        let open = crate::breaker::CircuitOpen::new(key, None);
        assert_eq!(of_error(&open, None), Signal::Neutral);
    }

    #[test]
    fn a_classifier_says_that_an_error_tells_nothing_by_calling_it_final() {
        let never = crate::classifier_fn(|_: &Outcome<'_>| Class::Final);
        let (uri, error) = (Uri::from_static("/"), io::Error::other("local"));
        let outcome = Outcome::from_error(&Method::GET, &uri, &error);
        assert_eq!(Signal::of(&outcome, &never), Signal::Neutral);
    }
}
