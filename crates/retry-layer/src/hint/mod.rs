//! Hints: what a server says, in the headers of a response, about when to come back.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use http::{HeaderMap, HeaderValue};
//! use retry_layer::{RetryPolicy, hint::{Hint, Hints}};
//!
//! let hints = Hints::default().with(Hint::XRateLimitReset);
//! let policy = RetryPolicy::builder().hints(hints).build()?;
//!
//! let mut headers = HeaderMap::new();
//! headers.insert("ratelimit", HeaderValue::from_static(r#""burst";r=0;t=10, "daily";r=312;t=9000"#));
//! assert_eq!(hints.wait(&headers, SystemTime::now()), Some(Duration::from_secs(10)));
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! Only `Retry-After` and `RateLimit` are honoured by default. The others are extensions of single
//! vendors, and honoured if they are chosen. A hint never shortens the backoff, except for gRPC's
//! pushback, which sets the wait exactly.
//!
//! The first of these that a response has decides; those after it are not looked at:
//!
//! 1. `grpc-retry-pushback-ms`,
//! 2. `x-retry-attempts-exhausted` and `x-should-retry`, if they say no,
//! 3. `x-amz-retry-after`, if it is valid,
//! 4. `retry-after-ms`, if it is valid,
//! 5. `Retry-After`: one that is not valid asks for nothing, but still hides those below,
//! 6. `RateLimit`,
//! 7. `RateLimit-Reset`, then `X-RateLimit-Reset`.

mod advice;
mod hints;
mod rate_limit;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use self::advice::{Advice, RequestedWait, Rule};
pub use self::hints::{Hint, Hints};
