//! The settings of one request, which override its client's.

use std::time::Duration;

use retry_layer::{BuildError, IdempotencyKeys, Idempotent, NoRetry, RetryPolicy};

use super::RequestBuilder;
use crate::{
    DecodeLimits, NoDecompression, Redirects, RequestOptions, ThroughputFloor, Timeouts,
    resume::Resume,
    setting::{self, CallSetting},
};

impl RequestBuilder {
    /// Limits this call in place of the client's [deadline](crate::ClientBuilder::deadline),
    /// counted from its start: all attempts, the waits between them, and a body that is collected.
    /// With 0 the call fails at once, and nothing is sent.
    ///
    /// A timeout longer than the default [head timeout](crate::Timeouts::head) of 30 s lifts that
    /// for this call: a server that takes minutes to answer is then waited for instead of being
    /// asked three times. A head timeout that was set by hand, for the client or by
    /// [`head_timeout`](Self::head_timeout), stays, as does the [idle timeout](Self::idle_timeout)
    /// of the body.
    ///
    /// The time in which the request's own body is sent counts too, on all attempts: give an upload
    /// the time that its slowest peer needs for all of it, and once more where it may be sent
    /// again. `Duration::MAX` is no limit. If the peer takes nothing of the body for as long as the
    /// head timeout, the attempt ends all the same.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let report = client
    ///     .get("https://example.com/yearly-report")
    ///     .timeout(Duration::from_secs(280))
    ///     .fetch()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "deadline")]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        if Timeouts::default()
            .head_timeout()
            .is_some_and(|head| timeout > head)
        {
            return self.options(RequestOptions::only_chosen_head_timeout);
        }
        self
    }

    /// Limits each attempt's wait for the head of the response, in place of the client's [head
    /// timeout](crate::Timeouts::head), counted from the end of the request. With `None`, only the
    /// [`timeout`](Self::timeout) of the call limits it.
    pub fn head_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.options(|options| options.head_timeout(timeout))
    }

    /// Limits how long the body of the response may stand still, in place of the client's [body
    /// idle timeout](crate::Timeouts::body_idle). `None` sets no limit.
    pub fn idle_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.options(|options| options.body_idle_timeout(timeout))
    }

    /// Ends a response whose body comes more slowly than this, in place of the client's [floor of
    /// downloads](crate::Timeouts::download_floor), and of [`SAVED_FLOOR`](crate::SAVED_FLOOR)
    /// where it is saved to a file. `None` sets no floor. Counted while the reader waits: see
    /// [`ThroughputFloor`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// use client::ThroughputFloor;
    ///
    /// let report = client
    ///     .get("https://example.com/large-report")
    ///     .download_floor(ThroughputFloor::new(10 * 1024, Duration::from_secs(20)))
    ///     .fetch()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "speed_limit")]
    #[doc(alias = "stalled_stream_protection")]
    pub fn download_floor(self, floor: impl Into<Option<ThroughputFloor>>) -> Self {
        let floor = floor.into();
        self.options(|options| options.download_floor(floor))
    }

    /// Ends an attempt whose request is taken more slowly than this, in place of the client's
    /// [floor of uploads](crate::Timeouts::upload_floor). `None` sets no floor. Counted while there
    /// is something to be sent that the server does not take: see [`ThroughputFloor`].
    ///
    /// The request may have been processed, so it is sent again only where that is safe.
    pub fn upload_floor(self, floor: impl Into<Option<ThroughputFloor>>) -> Self {
        let floor = floor.into();
        self.options(|options| options.upload_floor(floor))
    }

    /// Limits each attempt's wait for a connection that is being opened: name, TCP and TLS. It can
    /// only be shorter than the client's [connect timeout](crate::Timeouts::connect), because a
    /// connection that is being opened serves whichever request comes first. It does not apply to
    /// an attempt that uses an open connection.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.options(|options| options.connect_timeout(timeout))
    }

    fn options(self, alter: impl FnOnce(RequestOptions) -> RequestOptions) -> Self {
        self.alter(|request| {
            let options = request.extensions().get::<RequestOptions>();
            let options = alter(options.copied().unwrap_or_default());
            setting::set(request.extensions_mut(), options);
            Ok(())
        })
    }

    /// Retries this request by another policy than the client's.
    pub fn retry<P>(self, policy: P) -> Self
    where
        P: TryInto<RetryPolicy>,
        P::Error: Into<BuildError>,
    {
        match policy.try_into().map_err(Into::into) {
            Ok(policy) => self.setting(policy),
            Err(error) => self.alter(|_| Err(error.into())),
        }
    }

    /// Gives this request an `Idempotency-Key`, the same on every attempt, so that it may be
    /// retried though its method is not idempotent. Only for servers that know the header.
    ///
    /// The key is random. To use your own, which outlives this process, set only the
    /// [`header`](Self::header): `.header("idempotency-key", key)` permits retries too.
    pub fn idempotency_key(self) -> Self {
        self.setting(IdempotencyKeys::new())
    }

    /// Sends this request once, whatever its outcome: also where a reused connection turns out to
    /// be closed, and where the server did not process the request. In these two cases a policy of
    /// [one attempt](retry_layer::RetryPolicyBuilder::max_attempts) sends it again.
    pub fn no_retry(self) -> Self {
        self.setting(NoRetry)
    }

    /// Follows redirects of this request by other rules than the client's, on all hops of the call.
    pub fn redirects(self, redirects: Redirects) -> Self {
        self.setting(redirects)
    }

    /// Declares that this request may be processed more than once, whatever its method, so it is
    /// retried like a GET.
    pub fn idempotent(self) -> Self {
        self.setting(Idempotent)
    }

    /// Gives the body as it comes over the wire: no `Accept-Encoding` is added, and nothing is
    /// decoded. See [decoding](crate#decoding).
    pub fn no_decompression(self) -> Self {
        self.setting(NoDecompression)
    }

    /// Limits what the body of the response may decode to, in place of the [client's
    /// limits](crate::ClientBuilder::decode_limits). For requests that are made by hand, the
    /// extension [`DecodeLimits`] does the same.
    pub fn decode_limits(self, limits: DecodeLimits) -> Self {
        self.setting(limits)
    }

    /// Whether the body of the response is continued where it breaks, in place of what the
    /// [client](crate::ClientBuilder::resume) is set to.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let mut response = client.get("https://example.com/log").resume(true).send().await?;
    /// while let Some(piece) = response.chunk().await? {
    ///     println!("{} bytes", piece.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume(self, on: bool) -> Self {
        self.setting(Resume::from(on))
    }

    /// Whether a response with a client's or a server's error (4xx, 5xx) becomes an error of
    /// [`send`](Self::send) and [`fetch`](Self::fetch), in place of what the
    /// [client](crate::ClientBuilder::error_for_status) is set to.
    #[doc(alias = "raise_for_status")]
    pub fn error_for_status(mut self, on: bool) -> Self {
        self.error_for_status = Some(on);
        self
    }

    /// Adds a value to the request's extensions, for layers that look for it: a
    /// [`Deadline`](crate::Deadline), a [`BeforeAttempt`](crate::BeforeAttempt) for this request, a
    /// marker for your own layer.
    ///
    /// ```
    /// use client::{BeforeAttempt, Client, http::HeaderValue};
    ///
    /// # fn example(client: &Client) -> client::RequestBuilder {
    /// client.get("https://example.com/").extension(BeforeAttempt::new(|number, head| {
    ///     head.headers.insert("x-attempt", HeaderValue::from(number));
    /// }))
    /// # }
    /// ```
    ///
    /// The settings of the call hold on all its hops: those that the methods of this builder set,
    /// and the extensions `Deadline`, `Idempotent`, `IdempotencyKeys`, `NoCookies`, `NoRetry`,
    /// `NoDecompression`, `Redirects`, `RetryOwner`, `RetryPolicy`, and of
    /// [`RequestOptions`] all but what it says of the peer, `prior_knowledge`.
    /// Anything else may be a secret, and is dropped when a [redirect](Redirects) leads to another
    /// origin.
    pub fn extension(self, extension: impl Clone + Send + Sync + 'static) -> Self {
        self.alter(|request| {
            request.extensions_mut().insert(extension);
            Ok(())
        })
    }

    /// Adds a setting of the call, which holds on all its hops.
    pub(super) fn setting(self, setting: impl CallSetting) -> Self {
        self.alter(|request| {
            setting::set(request.extensions_mut(), setting);
            Ok(())
        })
    }
}
