use std::{error::Error, fmt};

use http::{Extensions, HeaderMap, Method, StatusCode, Uri};

use crate::{causes::chain, class::Class, marker::EarlyData, transport};

/// What a classifier sees of one attempt: method and URI, and the head of the response or the error.
#[derive(Clone, Copy)]
pub struct Outcome<'a> {
    method: &'a Method,
    uri: &'a Uri,
    attempt: u32,
    generated_key: bool,
    extensions: Option<&'a Extensions>,
    ending: Ending<'a>,
}

#[derive(Clone, Copy)]
enum Ending<'a> {
    Response(StatusCode, &'a HeaderMap),
    Error(Failure<'a>),
}

#[derive(Clone, Copy)]
struct Failure<'a> {
    error: &'a (dyn Error + 'static),
    /// The error between `error` and its sources, if `source()` leaves one out.
    inner: Option<&'a (dyn Error + 'static)>,
    class: Option<Class>,
}

impl<'a> Outcome<'a> {
    /// An attempt that was answered. Its number is 1 until [`at_attempt`](Self::at_attempt) says
    /// otherwise. Meant for testing a classifier without a service.
    #[must_use]
    pub fn from_response(
        method: &'a Method,
        uri: &'a Uri,
        status: StatusCode,
        headers: &'a HeaderMap,
    ) -> Self {
        let ending = Ending::Response(status, headers);
        Self {
            method,
            uri,
            attempt: 1,
            generated_key: false,
            extensions: None,
            ending,
        }
    }

    /// An attempt that failed. Its number is 1 until [`at_attempt`](Self::at_attempt) says
    /// otherwise. Meant for testing a classifier without a service.
    #[must_use]
    pub fn from_error(method: &'a Method, uri: &'a Uri, error: &'a (dyn Error + 'static)) -> Self {
        let failure = Failure {
            error,
            inner: None,
            class: None,
        };
        Self {
            method,
            uri,
            attempt: 1,
            generated_key: false,
            extensions: None,
            ending: Ending::Error(failure),
        }
    }

    /// The same outcome, as that of the given attempt.
    #[must_use]
    pub fn at_attempt(self, attempt: u32) -> Self {
        Self { attempt, ..self }
    }

    /// The same outcome, of a request that carries an `Idempotency-Key` which the layer generated.
    #[must_use]
    pub fn with_generated_key(self) -> Self {
        Self {
            generated_key: true,
            ..self
        }
    }

    /// The same outcome, with these extensions of the response.
    #[must_use]
    pub fn with_extensions(self, extensions: &'a Extensions) -> Self {
        Self {
            extensions: Some(extensions),
            ..self
        }
    }

    /// The method of the request.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URI of the request, as it entered the layer.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The number of this attempt, from 1. Transparent retries do not count.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the layer generated the `Idempotency-Key` of this request. If so, 409 means that an
    /// earlier attempt is still being processed.
    #[must_use]
    pub fn has_generated_key(&self) -> bool {
        self.generated_key
    }

    /// The extensions of the response, if there is one: services below put what they know there.
    #[must_use]
    pub fn extensions(&self) -> Option<&'a Extensions> {
        self.extensions
    }

    /// Whether the request was sent as early data of TLS 1.3, which the transport marks by
    /// [`EarlyData`].
    #[must_use]
    pub fn used_early_data(&self) -> bool {
        self.extensions
            .is_some_and(|extensions| extensions.get::<EarlyData>().is_some())
    }

    /// The head of the response, if there is one.
    #[must_use]
    pub fn response(&self) -> Option<(StatusCode, &'a HeaderMap)> {
        match self.ending {
            Ending::Response(status, headers) => Some((status, headers)),
            Ending::Error(..) => None,
        }
    }

    /// The status of the response, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(|(status, _)| status)
    }

    /// The headers of the response, if there is one.
    #[must_use]
    pub fn headers(&self) -> Option<&'a HeaderMap> {
        self.response().map(|(_, headers)| headers)
    }

    /// The error, if the attempt ended in one.
    #[must_use]
    pub fn error(&self) -> Option<&'a (dyn Error + 'static)> {
        match self.ending {
            Ending::Response(..) => None,
            Ending::Error(failure) => Some(failure.error),
        }
    }

    /// What is known of the error: the class it was [given](Self::with_error_class), else what
    /// [`transport::classify`] finds in its chain of sources. `None` for a response.
    #[must_use]
    pub fn error_class(&self) -> Option<Class> {
        match self.ending {
            Ending::Response(..) => None,
            Ending::Error(Failure { error, class, .. }) => {
                Some(class.unwrap_or_else(|| transport::classify(error)))
            }
        }
    }

    /// The same outcome with an error of this class: for a classifier that knows the errors of its
    /// transport, and leaves the rest to another. Of a response it changes nothing.
    #[must_use]
    pub fn with_error_class(mut self, class: Class) -> Self {
        if let Ending::Error(failure) = &mut self.ending {
            failure.class = Some(class);
        }
        self
    }

    /// The same outcome with `inner` between its error and the sources of that: for a classifier
    /// that knows an error whose `source()` passes over the error it was made of.
    /// [`causes`](Self::causes) and [`find_error`](Self::find_error) find it then. It must have the
    /// same sources as the outer one. Of a response it changes nothing.
    #[must_use]
    pub fn with_inner_error(mut self, inner: &'a (dyn Error + 'static)) -> Self {
        if let Ending::Error(failure) = &mut self.ending {
            failure.inner = Some(inner);
        }
        self
    }

    /// The first error of type `T` in the chain of sources, the error itself included.
    ///
    /// It looks into a [`std::io::Error`] too: the error that one was made of is not its
    /// `source()`, but is found here.
    #[must_use]
    pub fn find_error<T: Error + 'static>(&self) -> Option<&'a T> {
        self.causes().find_map(|error| error.downcast_ref())
    }

    /// The error and all that caused it, outermost first; nothing for a response.
    pub fn causes(&self) -> impl Iterator<Item = &'a (dyn Error + 'static)> + use<'a> {
        let (outer, rest) = match self.ending {
            Ending::Response(..) => (None, None),
            Ending::Error(Failure { error, inner, .. }) => match inner {
                Some(inner) => (Some(error), Some(inner)),
                None => (None, Some(error)),
            },
        };
        outer.into_iter().chain(rest.into_iter().flat_map(chain))
    }
}

impl fmt::Debug for Outcome<'_> {
    // Neither URI nor headers: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Outcome");
        debug
            .field("method", self.method)
            .field("attempt", &self.attempt);
        match self.ending {
            Ending::Response(status, _) => debug.field("status", &status),
            Ending::Error(Failure { error, .. }) => debug.field("error", &error),
        };
        debug.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("endless")
        }
    }

    impl Error for Endless {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[test]
    fn looks_into_an_io_error() {
        let error = io::Error::other(io::Error::other(Endless));
        let uri = Uri::from_static("/");
        let outcome = Outcome::from_error(&Method::GET, &uri, &error);
        assert!(outcome.find_error::<Endless>().is_some());
        assert!(outcome.find_error::<fmt::Error>().is_none());
    }

    #[test]
    fn an_inner_error_is_found_between_the_outer_one_and_its_sources() {
        let inner = io::Error::other(Endless);
        let uri = Uri::from_static("/");
        let outcome = Outcome::from_error(&Method::GET, &uri, &fmt::Error);
        assert!(outcome.find_error::<io::Error>().is_none());
        let outcome = outcome.with_inner_error(&inner);
        assert!(outcome.find_error::<fmt::Error>().is_some());
        assert!(outcome.find_error::<io::Error>().is_some());
        assert!(outcome.find_error::<Endless>().is_some());
        assert!(
            outcome
                .causes()
                .next()
                .is_some_and(<dyn Error>::is::<fmt::Error>)
        );
    }
}
