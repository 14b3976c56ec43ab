use http::{HeaderMap, StatusCode};

use super::{Classifier, StatusSet};
use crate::{class::Class, outcome::Outcome, retry_after, transport};

/// The default classifier: a set of status codes, and what is known about transport errors.
///
/// | outcome | class |
/// |---|---|
/// | 408, 429, 500, 502, 503, 504 | [`Ambiguous`](Class::Ambiguous) |
/// | 413 with a valid `Retry-After` | `Ambiguous` |
/// | 409, if the layer made an [`Idempotency-Key`](Outcome::has_generated_key) for the request | `Ambiguous` |
/// | 421 | [`Unprocessed`](Class::Unprocessed) |
/// | 425, if the request was sent as [early data](Outcome::used_early_data) | `Unprocessed` |
/// | an error | its [class](Outcome::error_class): what is found in its chain of sources |
/// | all else | [`Final`](Class::Final) |
///
/// 501 and 505 are not among them: a server that does not implement a method will not have
/// learned it a second later. A 409 that is not about the layer's own key, and a 425 that is not
/// about early data, would come again.
///
/// ```
/// use http::{HeaderMap, Method, StatusCode, Uri};
/// use retry_layer::{Class, Outcome, Classifier, Standard};
///
/// let (method, uri, headers) = (Method::GET, Uri::from_static("/"), HeaderMap::new());
/// let outcome = Outcome::from_response(&method, &uri, StatusCode::BAD_GATEWAY, &headers);
///
/// assert_eq!(Standard::default().classify(&outcome), Class::Ambiguous);
/// assert_eq!(Standard::default().statuses([StatusCode::CONFLICT]).classify(&outcome), Class::Final);
/// ```
#[derive(Clone, Debug)]
pub struct Standard {
    statuses: StatusSet,
    too_large: TooLarge,
    misdirected: Misdirected,
    errors: Errors,
}

#[derive(Clone, Copy, Debug)]
enum TooLarge {
    WithRetryAfter,
    AsListed,
}

#[derive(Clone, Copy, Debug)]
enum Misdirected {
    Unprocessed,
    AsListed,
}

#[derive(Clone, Copy, Debug)]
enum Errors {
    Transport,
    /// Those of class `NotSent`.
    ConnectOnly,
    /// The same, without those that ran out of time.
    ConnectorOnly,
    None,
}

impl Standard {
    /// Replaces the set of status codes; with it goes the special case of 413, which is now
    /// retried only if it is listed. 421 keeps its class.
    #[must_use]
    pub fn statuses<I>(mut self, statuses: I) -> Self
    where
        I: IntoIterator<Item = StatusCode>,
    {
        self.statuses = statuses.into_iter().collect();
        self.too_large = TooLarge::AsListed;
        self
    }

    /// Adds to the set of status codes, and leaves the special cases as they are: for example
    /// [`StatusSet::cloudflare`].
    #[must_use]
    pub fn also<I>(mut self, statuses: I) -> Self
    where
        I: IntoIterator<Item = StatusCode>,
    {
        self.statuses.extend(statuses);
        self
    }

    /// Retries only those errors before which no byte of the request was sent; every other error
    /// is final, and so are 421 and 425 unless they are listed.
    #[must_use]
    pub fn connect_errors_only(mut self) -> Self {
        self.errors = Errors::ConnectOnly;
        self.misdirected = Misdirected::AsListed;
        self
    }

    /// Retries no error; 421 and 425 are final too unless they are listed.
    #[must_use]
    pub fn no_errors(mut self) -> Self {
        self.errors = Errors::None;
        self.misdirected = Misdirected::AsListed;
        self
    }

    /// As [`connect_errors_only`](Self::connect_errors_only), without the timeouts among them.
    pub(crate) fn connector_errors_only(mut self) -> Self {
        self.errors = Errors::ConnectorOnly;
        self.misdirected = Misdirected::AsListed;
        self
    }

    fn classify_response(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        outcome: &Outcome<'_>,
    ) -> Class {
        if status == StatusCode::CONFLICT && outcome.has_generated_key() {
            return Class::Ambiguous;
        }
        if status == StatusCode::TOO_EARLY
            && matches!(self.misdirected, Misdirected::Unprocessed)
            && outcome.used_early_data()
        {
            return Class::Unprocessed;
        }
        if status == StatusCode::MISDIRECTED_REQUEST
            && matches!(self.misdirected, Misdirected::Unprocessed)
        {
            return Class::Unprocessed;
        }
        if status == StatusCode::PAYLOAD_TOO_LARGE
            && matches!(self.too_large, TooLarge::WithRetryAfter)
        {
            return retry_after::is_valid(headers).into();
        }
        self.statuses.contains(status).into()
    }
}

impl Default for Standard {
    fn default() -> Self {
        Self {
            statuses: StatusSet::from_iter([
                StatusCode::REQUEST_TIMEOUT,
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ]),
            too_large: TooLarge::WithRetryAfter,
            misdirected: Misdirected::Unprocessed,
            errors: Errors::Transport,
        }
    }
}

impl Classifier for Standard {
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        if let Some((status, headers)) = outcome.response() {
            return self.classify_response(status, headers, outcome);
        }
        let class = outcome.error_class().unwrap_or(Class::Final);
        let timed_out = || outcome.error().is_some_and(transport::is_timeout);
        let retried = match self.errors {
            Errors::Transport => true,
            Errors::ConnectOnly => class == Class::NotSent,
            Errors::ConnectorOnly => class == Class::NotSent && !timed_out(),
            Errors::None => false,
        };
        if retried { class } else { Class::Final }
    }

    fn is_always_final(&self, status: StatusCode) -> bool {
        // No status below 400 depends on anything but the set.
        status.as_u16() < 400 && !self.statuses.contains(status)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, Uri, header::RETRY_AFTER};

    use super::*;
    use crate::class::Processed;

    fn classify(standard: &Standard, status: u16, retry_after: Option<&'static str>) -> Class {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        }
        let uri = Uri::from_static("http://peer/");
        let status = StatusCode::from_u16(status).unwrap();
        standard.classify(&Outcome::from_response(
            &Method::GET,
            &uri,
            status,
            &headers,
        ))
    }

    #[test]
    fn default_statuses_are_these_six() {
        let standard = Standard::default();
        for code in 100..1000 {
            let expected = match code {
                408 | 429 | 500 | 502 | 503 | 504 => Class::Ambiguous,
                421 => Class::Unprocessed,
                _ => Class::Final,
            };
            assert_eq!(classify(&standard, code, None), expected, "{code}");
        }
    }

    #[test]
    fn a_conflict_is_retried_only_over_a_key_of_the_layer() {
        let (uri, headers) = (Uri::from_static("http://peer/"), HeaderMap::new());
        let outcome = Outcome::from_response(&Method::POST, &uri, StatusCode::CONFLICT, &headers);
        let standard = Standard::default();
        assert_eq!(standard.classify(&outcome), Class::Final);
        assert_eq!(
            standard.classify(&outcome.with_generated_key()),
            Class::Ambiguous
        );
        let unprocessable = Outcome::from_response(
            &Method::POST,
            &uri,
            StatusCode::UNPROCESSABLE_ENTITY,
            &headers,
        );
        assert_eq!(
            standard.classify(&unprocessable.with_generated_key()),
            Class::Final
        );
    }

    #[test]
    fn too_early_is_unprocessed_only_after_early_data() {
        let (uri, headers) = (Uri::from_static("http://peer/"), HeaderMap::new());
        let outcome = Outcome::from_response(&Method::POST, &uri, StatusCode::TOO_EARLY, &headers);
        let mut extensions = http::Extensions::new();
        let standard = Standard::default();
        assert_eq!(
            standard.classify(&outcome.with_extensions(&extensions)),
            Class::Final
        );
        extensions.insert(crate::EarlyData);
        let early = outcome.with_extensions(&extensions);
        assert_eq!(standard.classify(&early), Class::Unprocessed);
        assert_eq!(
            standard.connect_errors_only().classify(&early),
            Class::Final
        );
    }

    #[test]
    fn errors_are_retried_as_far_as_they_are_chosen() {
        let (uri, method) = (Uri::from_static("http://peer/"), Method::GET);
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let all = Standard::default();
        for (error, class, [connect, connector]) in [
            (&refused, Class::NotSent, [true, true]),
            (&late, Class::NotSent, [true, false]),
            (&late, Class::Ambiguous, [false, false]),
            (&refused, Class::Stale(Processed::Never), [false, false]),
            (&refused, Class::Unprocessed, [false, false]),
        ] {
            let outcome = Outcome::from_error(&method, &uri, error).with_error_class(class);
            let is_retried = |standard: Standard| standard.classify(&outcome) == class;
            assert!(is_retried(all.clone()));
            assert_eq!(is_retried(all.clone().connect_errors_only()), connect);
            assert_eq!(is_retried(all.clone().connector_errors_only()), connector);
            assert!(!is_retried(all.clone().no_errors()));
        }
    }

    #[test]
    fn more_statuses_leave_the_special_cases() {
        let standard = Standard::default().also(StatusSet::cloudflare());
        for (code, class) in [
            (519, Class::Final),
            (520, Class::Ambiguous),
            (524, Class::Ambiguous),
            (525, Class::Final),
            (503, Class::Ambiguous),
            (413, Class::Final),
        ] {
            assert_eq!(classify(&standard, code, None), class, "{code}");
        }
        assert_eq!(classify(&standard, 413, Some("3")), Class::Ambiguous);
    }

    #[test]
    fn too_large_is_retried_only_when_the_server_says_when() {
        let standard = Standard::default();
        assert_eq!(classify(&standard, 413, Some("3")), Class::Ambiguous);
        assert_eq!(classify(&standard, 413, Some("soon")), Class::Final);
        let listed = Standard::default().statuses([StatusCode::PAYLOAD_TOO_LARGE]);
        assert_eq!(classify(&listed, 413, None), Class::Ambiguous);
    }

    #[test]
    fn what_is_always_final_is_final_whatever_the_headers_say() {
        let standard = Standard::default().statuses([StatusCode::ACCEPTED]);
        for code in 100..1000 {
            let status = StatusCode::from_u16(code).unwrap();
            if standard.is_always_final(status) {
                assert_eq!(classify(&standard, code, Some("1")), Class::Final, "{code}");
            }
        }
        assert!(standard.is_always_final(StatusCode::OK));
        assert!(!standard.is_always_final(StatusCode::ACCEPTED));
    }
}
