//! A client as the transport of gRPC clients that [tonic](https://docs.rs/tonic) generates.
//!
//! ```
//! use client::Client;
//!
//! let client = Client::builder().base_url("http://127.0.0.1:50051")?.build()?;
//! // As a generated client does it: `GreeterClient::new(client.grpc())`.
//! let greeter = tonic::client::Grpc::new(client.grpc());
//! # Ok::<(), client::Error>(())
//! ```
//!
//! A [`GrpcChannel`] is the client with gRPC's rules:
//!
//! - An error has gRPC's code, by the table below, before and after the head. The [`Error`] is the
//!   [`source`](std::error::Error::source) of the status, with its
//!   [`retry_report`](crate::Error::retry_report).
//! - `grpc-timeout`, which tonic's `Request::set_timeout` sets, is the deadline of the call,
//!   including its stream of responses. On a retry, [`timeout_header`] tells the server the rest of
//!   it.
//! - Calls go over HTTP/2. Over `http` the peer is assumed to speak it, without negotiation; the
//!   client's other requests to the same server go over HTTP/1.1 on other connections, unless
//!   [`prior_knowledge`](crate::Http2::prior_knowledge) is on for all. Over `https` the peer
//!   chooses the protocol, and [`Connector::http2_only`](crate::Connector::http2_only) makes any
//!   other choice an error.
//! - The default timeouts for the head and for an idle body do not apply, because a stream may be
//!   silent for long: the deadline ends the call, and a [PING](crate::Http2::keep_alive_interval)
//!   finds out whether the peer is alive. Timeouts that are set by hand in
//!   [`Timeouts`](crate::Timeouts) apply to gRPC too. A call whose response streams and that has no
//!   deadline of its own has the client's deadline until its head.
//! - Redirects are not followed, and bodies are not decoded by `Content-Encoding`: gRPC has
//!   neither.
//!
//! The client's policy decides which calls are retried. Each call is a POST, so by default only
//! calls that were provably not processed are; [`retry_layer::grpc`] has gRPC's own policy. To use
//! it over tonic's own channel instead, see [`retry_layer::tonic`].
//!
//! A stream may be silent for as long as the deadline allows: a
//! [PING](crate::Http2::keep_alive_interval) finds out whether the peer is alive, by default no
//! oftener than gRPC's servers allow. A shorter interval needs a server that permits it (in grpcio,
//! `grpc.http2.min_ping_interval_without_data_ms`); a server that does not ends the connection with
//! `too_many_pings`, and is then sent PINGs half as often.
//!
//! | what failed | code |
//! |---|---|
//! | name, connection, TLS, proxy, the pool's queue; a connection that ended; a stream that was refused; a client that is closed | `UNAVAILABLE` |
//! | the deadline; the timeout of the head or of an idle body | `DEADLINE_EXCEEDED` |
//! | a stream that the peer reset | as [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors) says of the reason |
//! | a stream of requests that ended in a status | that one |
//! | a head or body larger than allowed, what a layer sheds | `RESOURCE_EXHAUSTED` |
//! | a [token](crate::ClientBuilder::auth) that could not be fetched | `UNAUTHENTICATED` |
//! | what is not HTTP, or cannot be sent | `INTERNAL` |
//! | anything else | `UNKNOWN` |
//!
//! # How it differs
//!
//! A [`Client`] is a transport for tonic as it is, too. tonic looks for the errors of its own
//! channel then, and all others are `UNKNOWN` to it, a server that cannot be reached among them.
//! From tonic's channel: a timeout is `DEADLINE_EXCEEDED`, as gRPC has it, and not `CANCELLED`.
//!
//! [`Client`]: crate::Client
//! [`Error`]: crate::Error
//! [`timeout_header`]: retry_layer::RetryPolicyBuilder::timeout_header

mod body;
mod channel;
mod future;
mod status;

pub use self::{body::ResponseBody, channel::GrpcChannel, future::ResponseFuture};
