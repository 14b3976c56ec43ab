//! The profile of the Python package aiohttp-retry.

use std::time::Duration;

use http::{Method, StatusCode};

use super::RetryPolicy;
use crate::{
    backoff::{Backoff, Exponential},
    budget::Unlimited,
    classify::Standard,
    jitter::Jitter,
};

/// An exception that aiohttp-retry retries if its `exceptions=` lists it: see
/// [`RetryPolicy::aiohttp_retry_with`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AiohttpException {
    /// `aiohttp.ClientConnectorError`: no connection could be made, to the server or to the proxy.
    ///
    /// Here that is an error of class [`NotSent`](crate::Class::NotSent) that is
    /// [no timeout](crate::transport::is_timeout): aiohttp's timeouts are exceptions of another
    /// type. Two that Python counts among them stay final, since they would come again: a
    /// certificate that does not hold, and a name that does not exist, where the resolver says so.
    ClientConnectorError,
    /// `aiohttp.web.HTTPClientError`: the base of the 4xx answers that a *server* written with
    /// aiohttp raises. No client ever raises it, so it retries nothing, there and here; it is named
    /// so that a set which lists it can be written down as it is.
    HttpClientError,
}

impl RetryPolicy {
    /// The behaviour of the Python package aiohttp-retry (2.9.1) with `ExponentialRetry(attempts=3,
    /// statuses={429, 500, 501, 503, 504}, start_timeout=1)` and its other defaults, for services
    /// that move from there.
    ///
    /// Three attempts in all; 429 and every status from 500 up, for the nine methods that the
    /// package lists; waits of exactly 2 s, then 4 s, and doubled up to 30 s if there are more. No
    /// error is retried: the package raises each at once while its `exceptions` is not set, a
    /// refused connection too. [`aiohttp_retry_with`](Self::aiohttp_retry_with) sets it.
    ///
    /// It differs from the default policy in what makes that one safe: a POST is sent again though
    /// it may have been processed, there is no jitter, no budget, and no
    /// [transparent retry](crate::RetryReport::transparent_retries), and `Retry-After` is ignored. Like there, 404, 408
    /// and timeouts are final, and the last response is returned as it is.
    ///
    /// ```
    /// use retry_layer::RetryPolicy;
    ///
    /// let profile = RetryPolicy::aiohttp_retry();
    /// let patient = profile.to_builder().max_attempts(5).build()?;
    /// # Ok::<(), retry_layer::BuildError>(())
    /// ```
    #[must_use]
    pub fn aiohttp_retry() -> Self {
        Self::aiohttp_retry_with([])
    }

    /// The same with `exceptions=` set to these: they are retried too, whatever the method, and
    /// after the same waits.
    ///
    /// ```
    /// use retry_layer::{AiohttpException, RetryPolicy};
    ///
    /// // exceptions={HTTPClientError, ClientConnectorError}
    /// let profile = RetryPolicy::aiohttp_retry_with([
    ///     AiohttpException::HttpClientError,
    ///     AiohttpException::ClientConnectorError,
    /// ]);
    /// ```
    ///
    /// Other exceptions are a matter of the classifier: `profile.to_builder()` with
    /// [`map_classifier`](crate::RetryPolicyBuilder::map_classifier) and
    /// [`Errors`](crate::classify::Errors), such as `Errors::timeout()`.
    #[must_use]
    pub fn aiohttp_retry_with(exceptions: impl IntoIterator<Item = AiohttpException>) -> Self {
        let connects = exceptions
            .into_iter()
            .any(|exception| exception == AiohttpException::ClientConnectorError);
        let statuses = [429]
            .into_iter()
            .chain(500..1000)
            .filter_map(|status| StatusCode::from_u16(status).ok());
        let classifier = Standard::default().statuses(statuses);
        let classifier = if connects {
            classifier.connector_errors_only()
        } else {
            classifier.no_errors()
        };
        let waits = Exponential::new(Duration::from_secs(2)).cap(Duration::from_secs(30));
        Self::builder()
            .classifier_standard(classifier)
            .methods([
                Method::HEAD,
                Method::GET,
                Method::PUT,
                Method::DELETE,
                Method::OPTIONS,
                Method::TRACE,
                Method::POST,
                Method::CONNECT,
                Method::PATCH,
            ])
            .backoff(Backoff::from(waits).jitter(Jitter::None))
            .ignore_retry_after()
            .without_transparent_retries()
            .budget(Unlimited)
            .build_unchecked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_would_pass_the_checks() {
        let profile = RetryPolicy::aiohttp_retry();
        assert!(profile.to_builder().statuses([500_u16]).build().is_ok());
        let connecting = RetryPolicy::aiohttp_retry_with([AiohttpException::ClientConnectorError]);
        assert!(connecting.to_builder().statuses([500_u16]).build().is_ok());
    }
}
