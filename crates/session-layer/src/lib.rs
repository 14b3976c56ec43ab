//! A tower layer that turns a transport connector into a pooled HTTP session.
//!
//! ```
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use session_layer::{Connector, PoolConfig, SessionLayer, Timeouts};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let pool = PoolConfig::default().max_connections_per_origin(20);
//! let mut session = ServiceBuilder::new()
//!     .layer(SessionLayer::new(pool, Timeouts::default())?)
//!     .service(Connector::new());
//!
//! let request = Request::get("http://127.0.0.1:8123/ping").body(Full::<Bytes>::default())?;
//! let response = session.ready().await?.call(request).await?;
//! println!("{}", response.status());
//!
//! session.close(std::time::Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
//!
//! The requests of an app share one [`Session`]. It is opened when the app starts and closed when it
//! ends; its clones are cheap, and all use one pool of HTTP/1.1 and HTTP/2 connections. A
//! [`Lifecycle`] closes it in order with an app's other resources.
//!
//! - **Limits** for all connections and for those to one origin count the connections that are
//!   being opened too. They hold at every moment, also as the server counts.
//! - **The queue** is first come, first served. For a waiting request a connection is opened when
//!   the limits allow it; if another is released before, the request gets that one. The queue has
//!   its own timeout, which does not count as connect time.
//! - **Idle connections** are reused last in, first out, and close after their timeout without any
//!   traffic. Where the total limit is reached, the one that is idle for longest is evicted for
//!   another origin.
//! - **Their keep-alive is learned**: where a peer closes idle connections at a certain age, none is used
//!   that is nearly as old ([`PoolConfig::learned_keep_alive`]).
//! - **Requests are spread** over the addresses of a name, where that is asked for: see [`Spread`].
//! - **Timeouts** for connect, head and body belong to this layer, which knows what a request waits
//!   for. They need no timer per request.
//! - **Reuse**: a connection goes back to the pool when the response has ended, the whole request was
//!   taken before the response began, and no further bytes came. Otherwise it closes.
//! - **HTTP/2** opens as many connections as its streams need, within the limits, keeps to what the
//!   peer allows at each moment, and gives nothing new to a peer that goes away or may be dead. After
//!   a hundred calls in a row that were given up before they were answered, a connection is replaced
//!   where the limits allow another: servers count streams that are reset, and end a connection with
//!   too many.
//! - **Names**: one lookup at a time per name, cached for ten seconds. Overrides give a name fixed
//!   addresses, and guards refuse addresses: see [`dns`].
//! - **Statistics**: [`Session::stats`], an [`Observer`], and [`SessionBody::connection`] for
//!   each response.
//! - **Errors** say whether a byte was sent ([`Error::is_unsent`]), and on which connection
//!   ([`Error::connection`]). Before a request is dropped, [`ResponseFuture::step`] tells how far it
//!   has come.
//!
//! It does not retry. A request that hyper hands back was never sent, so it goes to the next
//! connection; any other failure is returned.
//!
//! # HTTP/1
//!
//! | | rule |
//! |---|---|
//! | a peer that answers and closes while a body is uploaded | the answer is given ([RFC 9112, section 9.5](https://www.rfc-editor.org/rfc/rfc9112#section-9.5)); the error of a write only where none comes within a second |
//! | a response body that is dropped unread | up to 64 KiB that come within 50 ms are read, and the connection goes on; else it closes |
//! | a response head | 256 KiB, and 100 fields unless [`PoolConfig::http1_max_headers`] says otherwise; informational responses have bounds too |
//! | folded lines | become spaces ([section 5.2](https://www.rfc-editor.org/rfc/rfc9112#section-5.2)) |
//! | a space before the colon, a line that is no field | refused, unless [`PoolConfig`] allows it |
//! | HTTP/1.0 with `Transfer-Encoding` | refused: hyper does not read it |
//! | `Transfer-Encoding` of a request | `chunked`, once, or an error |
//! | `Content-Length` of a request | what the body has, or an error; a body that has given that much has one second to end |
//! | `Expect: 100-continue`, where the caller sets it | the body waits: [`Timeouts::expect_continue`] |
//!
//! # Where the compiler says no
//!
//! - *"expected `Full<Bytes>`, found `Empty<Bytes>`"*, or *"the trait
//!   `Service<Request<..>>` is not implemented for `Session<..>`"*: a session has one type of request body, that of
//!   its first use unless it is written down. Where several are sent, make it a `Session` of
//!   `http_body_util::combinators::BoxBody<Bytes, E>`, and box each body with `.boxed()`; or map the body with
//!   tower-http's `MapRequestBodyLayer`. Below a `retry_layer::RetryLayer` it is a
//!   `Session<ReplayBody<YourBody>>`.
//! - *"`..` cannot be unpinned"*: a body must be `Unpin`; one that is not goes in a box, as `BoxBody` does it.
//! - *"the trait `Service<Uri>` is not implemented"* for a connector: its answer has to be hyper's `Read` and
//!   `Write`, and hyper-util's `Connection`. A stream of tokio's gets the first two by
//!   `hyper_util::rt::TokioIo`, and the third too if it is a `TcpStream`.
//!
//! # How it differs
//!
//! | | hyper-util's legacy client | this crate |
//! |---|---|---|
//! | connections | no limit | limits in all and per origin, with a fair queue |
//! | HTTP/2 | one connection per host, a handshake per request of a cold burst | as many as streams need, one handshake first |
//! | a peer that goes away, or is dead | found out by the next request | left when its GOAWAY, or its silence, is noticed |
//! | names | one lookup for each connection | one lookup at a time per name, cached; guards see every dialled address |
//! | timeouts | none after connect | connect, head, body; the error names the phase. A [floor](ThroughputFloor) for what trickles |
//! | transparent retries | hidden, once, on a closed connection | none; the error tells that it is safe |
//! | end | when the last clone and task are gone | [`Session::close`] waits, counts and cuts |
//! | connector | any `Service<Uri>` | any `Service<Uri>` |
//!
//! What users of reqwest and hyper have asked for, and where it is here:
//!
//! | asked | here |
//! |---|---|
//! | limit the connections per host ([reqwest#2445], [#1517]) and in all ([#2424]) | [`PoolConfig::max_connections_per_origin`], [`PoolConfig::max_connections`] |
//! | another HTTP/2 connection when the streams are used up ([reqwest#976], [#3012], [hyper#3623], [hyper#3948]) | `Http2::max_concurrent_streams` |
//! | stop using an HTTP/2 connection before its PING fails ([hyper#4186]) | done when a request on it is given up and nothing has come since it began |
//! | tell whether a connection was reused ([reqwest#2827]), statistics ([#1103]) | [`SessionBody::connection`], [`Error::connection`], [`Session::stats`] |
//!
//! [reqwest#2445]: https://github.com/seanmonstar/reqwest/issues/2445
//! [#1517]: https://github.com/seanmonstar/reqwest/issues/1517
//! [#2424]: https://github.com/seanmonstar/reqwest/issues/2424
//! [reqwest#976]: https://github.com/seanmonstar/reqwest/issues/976
//! [#3012]: https://github.com/seanmonstar/reqwest/issues/3012
//! [hyper#3623]: https://github.com/hyperium/hyper/issues/3623
//! [hyper#3948]: https://github.com/hyperium/hyper/issues/3948
//! [hyper#4186]: https://github.com/hyperium/hyper/issues/4186
//! [reqwest#2827]: https://github.com/seanmonstar/reqwest/issues/2827
//! [#1103]: https://github.com/seanmonstar/reqwest/issues/1103
//!
//! # Features
//!
//! - `http2` (default): HTTP/2, where the peer chooses it or is known to speak it.
//! - `tls` (default): `https` by rustls with the ring provider and the platform's roots.
//! - `cookies`: a layer that sends and keeps cookies. Needs Rust 1.88, everything else 1.85.
//! - `public-suffix`: lets its jar refuse cookies for public suffixes. Needs Rust 1.88 too.
//! - `hickory`: a resolver that asks name servers itself. Needs Rust 1.88.
//! - `webpki-roots`: Mozilla's roots in place of the platform's, for `TlsOptions`.
//! - `aws-lc`: aws-lc-rs in place of ring, for `TlsOptions`.
//! - `proxy`: HTTP, HTTPS, SOCKS4 and SOCKS5 proxies for the [`Connector`].

mod body;
mod box_error;
mod config;
mod connector;
#[cfg(feature = "cookies")]
pub mod cookies;
pub mod dns;
mod drive;
mod error;
mod exchange;
pub mod future;
mod info;
mod layer;
mod lifecycle;
mod observer;
mod origin;
mod pool;
mod reuse;
mod runtime;
mod service;
mod stats;
mod step;
mod target;
pub mod testing;
mod throughput;
mod tried;

#[cfg(feature = "http2")]
pub use self::config::Http2;
#[cfg(feature = "proxy")]
pub use self::connector::{Proxy, ProxyConfigError, ProxyError};
#[cfg(feature = "tls")]
pub use self::connector::{TlsConfigError, TlsOptions, TlsVersion};
pub use self::{
    body::SessionBody,
    config::{ConfigError, PoolConfig, RequestOptions, Timeouts},
    connector::{
        ConnectError, ConnectTimes, Connector, Spread, Transport, assigned_address, must_be_http1,
    },
    dns::{DnsError, Resolver},
    error::{Error, Phase},
    future::ResponseFuture,
    info::ConnectionInfo,
    layer::SessionLayer,
    lifecycle::{Lifecycle, SetupError, ShutdownError, TeardownError, TeardownOutcome},
    observer::{Event, Observer},
    origin::Origin,
    service::Session,
    stats::{CloseReason, CloseReport, Closed, Stats},
    step::Step,
    throughput::{ThroughputFloor, TooSlow, TransferDirection},
    tried::TriedAddresses,
};

/// The code of this crate's README, held to compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
