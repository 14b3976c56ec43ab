//! How a call proceeds: its attempts, deadline and redirects, and what is done with the body of its
//! response.

use std::time::Duration;

use retry_layer::{BuildError, RetryPolicy, RetryPolicyBuilder, hedge::Hedging};

use crate::{ClientBuilder, DecodeLimits, Redirects};

impl ClientBuilder {
    /// Sets which outcomes are retried, and when: a [`RetryPolicy`], or its builder, whose error
    /// then comes from [`build`](Self::build). Default: [`RetryPolicy::default`].
    pub fn retry<P>(mut self, policy: P) -> Self
    where
        P: TryInto<RetryPolicy>,
        P::Error: Into<BuildError>,
    {
        self.retry = policy.try_into().map_err(Into::into);
        self
    }

    /// Sends a request a second time where the answer takes long, beside the attempt that is under way, and
    /// takes the answer that comes first: see [`hedge`](retry_layer::hedge). Default: off.
    ///
    /// Only requests are hedged that may be repeated and replayed, as for a retry. A hedge is an attempt of
    /// the call: [`retry`](Self::retry) says how many there are, and what they cost. It goes over
    /// another connection, and with [`endpoints`](Self::endpoints) to the next one. One request is left out
    /// by the extension [`NoHedge`](retry_layer::NoHedge), and one that brings a policy of its own is hedged
    /// if [that](retry_layer::RetryPolicyBuilder::hedging) says so.
    ///
    /// ```
    /// use std::time::Duration;
    /// use client::{Client, retry_layer::hedge::Hedging};
    ///
    /// let learned = Client::builder().hedge(Hedging::learned()).build()?;
    /// let fixed = Client::builder().hedge(Hedging::after(Duration::from_millis(200))).build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn hedge<H>(mut self, hedging: H) -> Self
    where
        H: TryInto<Hedging>,
        H::Error: Into<BuildError>,
    {
        self.hedging = hedging.try_into().map(Some).map_err(Into::into);
        self
    }

    /// Changes the policy that was set so far, for example to add a classifier, a budget or a hook
    /// to the settings of a configuration. If the policy is not valid it stays so, and
    /// [`build`](Self::build) returns the error.
    ///
    /// ```
    /// use client::{Class, Client, Outcome, Classifier as _, classifier_fn};
    ///
    /// let busy = classifier_fn(|outcome: &Outcome<'_>| match outcome.status() {
    ///     Some(http::StatusCode::LOCKED) => Class::Ambiguous,
    ///     _ => Class::Final,
    /// });
    /// let client = Client::builder()
    ///     .map_retry(|policy| policy.map_classifier(|configured| configured.or(busy)))
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn map_retry(mut self, map: impl FnOnce(RetryPolicyBuilder) -> RetryPolicyBuilder) -> Self {
        let policy = self.retry.map(|policy| map(policy.to_builder()));
        self.retry = policy.and_then(RetryPolicyBuilder::build);
        self
    }

    /// Limits a whole call: the queue, each attempt, each wait, and the body where it is collected
    /// by `fetch`, `collect`, `bytes`, `text` or `json`. A body that streams is limited by the
    /// [idle timeout](crate::Timeouts::body_idle) only. `None` sets no limit. One request sets its own by
    /// [`timeout`](crate::RequestBuilder::timeout). Default: 300 s.
    ///
    /// It counts while the body of a request is sent, too: a large upload over a slow connection needs a
    /// `timeout` of its own. Where this ends an upload, the error says so, and
    /// [how much of it](crate::DeadlinePhase::Upload) was sent.
    ///
    /// Each attempt is also limited by the [head timeout](crate::Timeouts::head), 30 s unless set, however
    /// long the deadline is: if a server hangs, another attempt is made. For a server that is known
    /// to take longer, set the head timeout, or the `timeout` of its requests, which lifts the head
    /// timeout.
    #[doc(alias = "timeout")]
    pub fn deadline(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// Limits the bodies that `fetch`, `bytes`, `text` and `json` collect, in bytes after decoding.
    /// Default: 64 MiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets which redirects are followed. Each hop is a request of its own, with its own attempts;
    /// all share the deadline. Default: [`Redirects::default`], ten at most.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Changes the rules for redirects that were set so far, for example to add a
    /// [decision](Redirects::decide) or a sensitive header to the settings of a configuration.
    pub fn map_redirects(mut self, map: impl FnOnce(Redirects) -> Redirects) -> Self {
        self.redirects = map(self.redirects);
        self
    }

    /// Whether response bodies are decoded by their `Content-Encoding`, as far as the features
    /// `gzip`, `br`, `zstd` and `deflate` are enabled; see [decoding](crate#decoding). Default:
    /// true.
    pub fn decompression(mut self, decode: bool) -> Self {
        self.decompression = decode;
        self
    }

    /// Limits how many bytes an encoded body may decode to, also where it streams. One request sets
    /// its own by [`RequestBuilder::decode_limits`](crate::RequestBuilder::decode_limits). Default:
    /// [`DecodeLimits::default`]: 200 times the bytes that came, or 64 MiB if that is more.
    pub fn decode_limits(mut self, limits: DecodeLimits) -> Self {
        self.decode_limits = limits;
        self
    }

    /// Whether a response with a client's or a server's error (4xx, 5xx) becomes an error of
    /// [`send`](crate::RequestBuilder::send) and [`fetch`](crate::RequestBuilder::fetch), as
    /// [`error_for_status_with_body`](crate::Response::error_for_status_with_body) makes it: with
    /// the status, the headers and the beginning of the body. One request decides otherwise by
    /// [`RequestBuilder::error_for_status`](crate::RequestBuilder::error_for_status).
    /// Default: false.
    ///
    /// Only the last response becomes an error, after the retries have judged it by its status, so
    /// this changes nothing about what is retried. Where the client is used as a `Service`, or by
    /// `forward` or `grpc`, a failed status stays a response.
    ///
    /// ```
    /// use client::{Client, testing::Fake};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), client::Error> {
    /// let client = Client::builder()
    ///     .error_for_status(true)
    ///     .build_with_fake(&Fake::new([(404, "no such item"), (404, "no such item")]))?;
    /// let error = client.get("http://any/").fetch().await.unwrap_err();
    /// assert_eq!(error.body().map(|it| &it[..]), Some(&b"no such item"[..]));
    ///
    /// let response = client.get("http://any/").error_for_status(false).fetch().await?;
    /// assert_eq!(response.status(), 404);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "raise_for_status")]
    pub fn error_for_status(mut self, on: bool) -> Self {
        self.error_for_status = on;
        self
    }

    /// Whether the body of a response is continued where it breaks, although a part of it was
    /// handed out. The rest is asked for by `Range`, and only used if it certainly belongs to what
    /// was received. This needs a GET, and a response with a strong validator from a server that
    /// serves ranges; see [`resume`](retry_layer::resume) for all rules. Any other body ends with
    /// the error that broke it. Default: only bodies that [`save_to`](crate::Response::save_to) and
    /// `RequestBuilder::download_to` save are continued; `false` turns that off too. One request
    /// sets its own by [`RequestBuilder::resume`](crate::RequestBuilder::resume).
    ///
    /// A break counts as a failed attempt of the call under its [policy](Self::retry), with the
    /// same number of attempts, waits and budget. The count starts anew whenever more of the body
    /// has come. The rest is asked for from the URL of the call, not from the one that a redirect
    /// led to. The client's [deadline](Self::deadline) does not limit a body that streams, so it
    /// counts anew for each break; after the deadline of [one
    /// request](crate::RequestBuilder::timeout) the rest is not asked for any more.
    ///
    /// If the rest does not fit, the error has a [`resume_error`](crate::Error::resume_error); if
    /// there is no rest to be had, the error is the one that broke the body. The response's
    /// [report](crate::Response::retry_report) has all attempts for the part of the body that was
    /// read so far.
    ///
    /// [`fetch`](crate::RequestBuilder::fetch) hands out no part of a body, and asks for the whole
    /// again.
    pub fn resume(mut self, on: bool) -> Self {
        self.resume = on.into();
        self
    }
}
