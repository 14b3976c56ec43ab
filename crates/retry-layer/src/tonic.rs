//! Retries for clients that [tonic](https://docs.rs/tonic) generates, over tonic's own channel.
//!
//! ```
//! use retry_layer::{RetryPolicy, grpc::GrpcRetry, tonic::RetryChannelLayer};
//! use std::time::Duration;
//! use tower_layer::Layer as _;
//!
//! # fn example<Channel>(channel: Channel) -> Result<(), retry_layer::BuildError> {
//! // What a service config calls `retryPolicy`: 4 attempts, from 100 ms, doubled up to 1 s.
//! let policy = GrpcRetry::new(4, Duration::from_millis(100), Duration::from_secs(1), 2.0);
//! let channel = RetryChannelLayer::new(policy.to_builder()?.build()?).layer(channel);
//! // As a generated client does it: `GreeterClient::new(channel)`.
//! # let _ = channel;
//! # Ok(())
//! # }
//! ```
//!
//! A channel takes requests with tonic's own body and no other, and the retries make a
//! [`ReplayBody`] of each. So a [`TonicBody`] stands between the two, which puts the one into the
//! other.

use std::task::{Context, Poll};

use ::tonic::body::Body;
use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::{ReplayBody, Retry, RetryPolicy};

/// Makes of a channel, or of layers over one, a service that retries for a generated client.
#[derive(Clone, Debug)]
pub struct RetryChannelLayer {
    policy: RetryPolicy,
}

/// A channel with retries, as it stands in a struct: `GreeterClient<RetryChannel<Channel>>`.
pub type RetryChannel<S> = Retry<TonicBody<S>>;

impl RetryChannelLayer {
    /// Retries by this policy; [`GrpcRetry`](crate::grpc::GrpcRetry) makes gRPC's own.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy }
    }
}

impl<S> Layer<S> for RetryChannelLayer {
    type Service = RetryChannel<S>;

    fn layer(&self, channel: S) -> RetryChannel<S> {
        Retry::new(TonicBody::new(channel), self.policy.clone())
    }
}

/// A service for tonic's body that takes what the retries send.
#[derive(Clone, Debug)]
pub struct TonicBody<S> {
    inner: S,
}

impl<S> TonicBody<S> {
    /// Puts it over a channel.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The channel inside.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The channel inside.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Service<Request<ReplayBody<Body>>> for TonicBody<S>
where
    S: Service<Request<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReplayBody<Body>>) -> S::Future {
        self.inner.call(request.map(Body::new))
    }
}
