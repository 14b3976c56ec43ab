//! Cookies: a layer over a session, or any other HTTP service, and the jar that it keeps them in.
//!
//! ```
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use session_layer::{
//!     Connector, Session,
//!     cookies::{CookieLayer, Jar},
//! };
//! use tower::{Layer, Service, ServiceExt};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let session = Session::new(Connector::new());
//! let jar = Jar::new();
//! let mut alice = CookieLayer::new(jar.clone()).layer(session.clone());
//! // The same connections, other cookies.
//! let bob = CookieLayer::new(Jar::new()).layer(session.clone());
//! # let _ = bob;
//!
//! let request = Request::post("http://127.0.0.1:8080/login").body(Full::<Bytes>::default())?;
//! alice.ready().await?.call(request).await?;
//! println!("{} cookies", jar.len());
//! # Ok(())
//! # }
//! ```
//!
//! [`Cookies`] adds a `Cookie` header from the jar to each request, and keeps the `Set-Cookie`
//! headers of each response, whatever its status. It belongs below retries and redirects: then each
//! attempt has the cookies that the one before has brought, and each hop those of its own host.
//! Which cookies belong to a request follows from its URI, which must be absolute, and never from
//! its `Host` header.
//!
//! A `Cookie` header that a request already has is kept and comes first; the jar adds the cookies
//! whose names are not in it. The result is a single header, and
//! [sensitive](http::HeaderValue::set_sensitive). As long as a jar is empty, a request costs a look
//! at a counter.
//!
//! # What is kept
//!
//! The rules are those of [RFC 6265](https://www.rfc-editor.org/rfc/rfc6265#section-5.3), and what
//! its successor, [RFC 6265bis](https://datatracker.ietf.org/doc/draft-ietf-httpbis-rfc6265bis/),
//! made stricter. `cookie_store` knows most of them; this module adds:
//!
//! - **Name prefixes.** `__Secure-` and `__Host-` are kept only if the cookie has the attributes
//!   that they promise, in upper or lower case.
//! - **Secure cookies.** Plain HTTP neither sets nor overwrites nor hides a cookie that has
//!   `Secure`. A loopback address and `localhost` count as secure, as browsers and `cookie_store`
//!   have it.
//! - **Wide domains.** A `Domain` of one label is refused, and one that ends in a dot. Other public
//!   suffixes, as `co.uk`, are known only by a list: see `Jar::with_public_suffixes`, with the
//!   feature `public-suffix`. A host that is such a suffix itself may have cookies of its own.
//! - **Limits.** 50 cookies of one domain and 3000 in all; beyond that expired ones go first, then
//!   the one that was not sent for longest. 4096 bytes of name and value, 8 KiB of a whole
//!   `Set-Cookie`. A `Cookie` header is not filled beyond 8 KiB, which is more than many servers
//!   take.
//! - **Bytes.** A cookie with a control character is refused, and one whose name or value is not
//!   UTF-8.
//! - **Attributes.** If one is given twice, the last one counts; an empty `Domain` or `Path`
//!   cancels an earlier one, an `Expires` or `Max-Age` that cannot be read does not. Dates are read
//!   by the [algorithm of RFC 6265](https://www.rfc-editor.org/rfc/rfc6265#section-5.1.1), in any
//!   form, and always as UTC.
//!
//! Cookies expire by the wall clock, which nothing else in this crate reads. `SameSite` and
//! `Partitioned` are ignored: they are about pages that make requests, which a client does not
//! have. `HttpOnly` holds for every request here.
//!
//! # How it differs
//!
//! | | aiohttp's `CookieJar` | reqwest's `Jar` | this |
//! |---|---|---|---|
//! | one pool, several jars | a connector shared by sessions | no | a layer over a clone of the session |
//! | cookies of an IP address | only with `unsafe=True` | yes | yes: for that address alone |
//! | public suffixes | no | no | by a list |
//! | name prefixes, limits | no | no | yes |
//! | a `Cookie` header of the request | merged, the jar's win | kept, the jar's left out | merged, the request's win |

mod attributes;
mod date;
mod destination;
mod error;
mod file;
pub mod future;
mod jar;
mod layer;
mod rules;
mod service;
mod store;
mod stored;
#[cfg(feature = "public-suffix")]
mod suffixes;

#[cfg(feature = "public-suffix")]
pub use self::suffixes::{PublicSuffixes, PublicSuffixesError};
pub use self::{
    error::CookieError, file::Save, jar::Jar, layer::CookieLayer, service::Cookies,
    service::NoCookies, stored::StoredCookie,
};
