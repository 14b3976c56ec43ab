//! Clients without a network, and errors of each kind, for tests of code that takes a
//! [`Client`](crate::Client).
//!
//! ```
//! use client::{Client, http::StatusCode};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), client::Error> {
//! let client = Client::fake([503, 429, 200]);
//! let response = client.get("http://any/").fetch().await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.retry_report().attempts().len(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Fake`] stands below everything that a client does with a request: the retries with their
//! waits, redirects, decoding, deadlines, headers and credentials are those of the client. On a
//! paused clock (`#[tokio::test(start_paused = true)]`) no wait takes any time. What a fake
//! replaces is the session: there are no connections, and of the session's settings only the head
//! and the body idle [timeout](crate::Timeouts) count, or what the request has in their place.
//!
//! What was asked can be looked at afterwards, and a client with other settings can be built over
//! the same fake:
//!
//! ```
//! use client::{Client, RetryPolicy, http::Method, testing::{Answer, Failure, Fake}};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), client::Error> {
//! let fake = Fake::new([
//!     Answer::from(Failure::Connect),
//!     Answer::json(&["tea", "milk"]).header("x-page", "1"),
//! ]);
//! let client = Client::builder()
//!     .base_url("http://shop.example/")?
//!     .bearer("secret")
//!     .build_with_fake(&fake)?;
//!
//! let items: Vec<String> = client.post("search").body("drinks").fetch().await?.json()?;
//!
//! assert_eq!(items, ["tea", "milk"]);
//! let requests = fake.requests();
//! // Not even the POST was sent, so it was tried again.
//! assert_eq!(requests.len(), 2);
//! assert_eq!(requests[1].method(), Method::POST);
//! assert_eq!(requests[1].uri(), "http://shop.example/search");
//! assert_eq!(requests[1].headers()["authorization"], "Bearer secret");
//! assert_eq!(requests[1].body(), "drinks");
//! # Ok(())
//! # }
//! ```
//!
//! An answer may also depend on the request ([`Fake::from_fn`]), come late ([`Answer::after`]) or
//! never ([`Answer::never`]), and break off or stand still in the middle of its body
//! ([`Answer::breaks_off`], [`Answer::stalls`]).
//!
//! Code that maps errors is tested with errors of each kind:
//!
//! ```
//! use client::{Error, http::StatusCode, testing::Failure, TimeoutPhase};
//!
//! fn status_of(error: &Error) -> StatusCode {
//!     if error.is_timeout() { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY }
//! }
//!
//! assert_eq!(status_of(&Failure::Connect.into()), StatusCode::BAD_GATEWAY);
//! assert_eq!(status_of(&Failure::Timeout(TimeoutPhase::Head).into()), StatusCode::GATEWAY_TIMEOUT);
//! ```
//!
//! For answers by route take an axum `Router` ([`Client::from_service`](crate::Client::from_service)),
//! for a real socket a server such as wiremock's: the example `mock` shows them.

mod answer;
mod body;
mod client;
mod failure;
mod fake;
mod service;

pub use self::{answer::Answer, failure::Failure, fake::Fake};
