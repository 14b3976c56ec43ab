use std::{error::Error, fmt, io};

use http::StatusCode;

use super::Classifier;
use crate::{class::Class, outcome::Outcome, transport};

/// A classifier that retries errors of some kind, and no response.
///
/// An error of the kind keeps the [class](Outcome::error_class) that is known of it; one that
/// would be final else is [`Ambiguous`](Class::Ambiguous). A permanent one stays permanent.
///
/// ```
/// use std::io::ErrorKind;
/// use retry_layer::{Classifier, RetryPolicy, classify::{Errors, StatusSet}};
///
/// let classifier = StatusSet::server_errors()
///     .or(Errors::connect())
///     .or(Errors::timeout())
///     .or(Errors::io(ErrorKind::ConnectionReset));
/// let policy = RetryPolicy::builder().classifier(classifier).build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Errors {
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Any,
    Connect,
    Timeout,
    Io(io::ErrorKind),
    Type(fn(&Outcome<'_>) -> bool),
}

impl Errors {
    /// Any error at all.
    #[must_use]
    pub const fn any() -> Self {
        Self { kind: Kind::Any }
    }

    /// An error before any byte of the request left this process: class
    /// [`NotSent`](Class::NotSent).
    #[must_use]
    pub const fn connect() -> Self {
        Self {
            kind: Kind::Connect,
        }
    }

    /// An error that says that [time ran out](transport::is_timeout).
    #[must_use]
    pub const fn timeout() -> Self {
        Self {
            kind: Kind::Timeout,
        }
    }

    /// An [`io::Error`] of this kind, anywhere in the chain of sources.
    #[must_use]
    pub const fn io(kind: io::ErrorKind) -> Self {
        Self {
            kind: Kind::Io(kind),
        }
    }

    /// An error of this type, anywhere in the chain of sources.
    #[must_use]
    pub const fn of<E: Error + 'static>() -> Self {
        Self {
            kind: Kind::Type(|outcome| outcome.find_error::<E>().is_some()),
        }
    }

    fn matches(self, outcome: &Outcome<'_>) -> bool {
        match self.kind {
            Kind::Any => true,
            Kind::Connect => outcome.error_class() == Some(Class::NotSent),
            Kind::Timeout => outcome.error().is_some_and(transport::is_timeout),
            Kind::Io(kind) => outcome.causes().any(|cause| {
                cause
                    .downcast_ref::<io::Error>()
                    .is_some_and(|error| error.kind() == kind)
            }),
            Kind::Type(is) => is(outcome),
        }
    }
}

impl Classifier for Errors {
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        match outcome.error_class() {
            Some(Class::Permanent) => Class::Permanent,
            Some(class) if self.matches(outcome) => class.joined(Class::Ambiguous),
            Some(_) | None => Class::Final,
        }
    }

    fn is_always_final(&self, _status: StatusCode) -> bool {
        true
    }
}

impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind: &dyn fmt::Debug = match &self.kind {
            Kind::Any => &"any",
            Kind::Connect => &"connect",
            Kind::Timeout => &"timeout",
            Kind::Io(kind) => kind,
            Kind::Type(_) => &"type",
        };
        f.debug_tuple("Errors").field(kind).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;

    #[derive(Debug)]
    struct Own;

    impl fmt::Display for Own {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("own")
        }
    }

    impl Error for Own {}

    fn classify(errors: Errors, error: &(dyn Error + 'static)) -> Class {
        errors.classify(&Outcome::from_error(&Method::GET, &Uri::default(), error))
    }

    #[test]
    fn an_error_of_the_kind_keeps_what_is_known_of_it() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let late = io::Error::from(io::ErrorKind::TimedOut);
        let own = io::Error::other(Own);
        for (errors, error, class) in [
            (Errors::any(), &refused, Class::NotSent),
            (Errors::any(), &own, Class::Ambiguous),
            (Errors::connect(), &refused, Class::NotSent),
            (Errors::connect(), &late, Class::Final),
            (Errors::timeout(), &late, Class::Ambiguous),
            (Errors::timeout(), &refused, Class::Final),
            (Errors::io(io::ErrorKind::TimedOut), &late, Class::Ambiguous),
            (Errors::io(io::ErrorKind::TimedOut), &refused, Class::Final),
            (Errors::of::<Own>(), &own, Class::Ambiguous),
            (Errors::of::<Own>(), &late, Class::Final),
        ] {
            assert_eq!(classify(errors, error), class, "{errors:?} of {error:?}");
        }
    }

    #[test]
    fn a_permanent_error_stays_permanent_and_a_response_final() {
        let uri = Uri::default();
        let permanent =
            Outcome::from_error(&Method::GET, &uri, &Own).with_error_class(Class::Permanent);
        let headers = HeaderMap::new();
        let response =
            Outcome::from_response(&Method::GET, &uri, StatusCode::BAD_GATEWAY, &headers);
        for errors in [Errors::any(), Errors::of::<Own>()] {
            assert_eq!(errors.classify(&permanent), Class::Permanent);
            assert_eq!(errors.classify(&response), Class::Final);
        }
    }
}
