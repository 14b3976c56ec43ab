//! What the tests of this crate share: short ways to say what they do.

mod captured;
mod subscribe;
mod temporary;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use session_layer::{Connector, Error, PoolConfig, Session, SessionBody, SessionLayer, Timeouts};
use test_support::MemoryConnector;
use tower::{Layer, ServiceExt};

pub use self::{
    captured::Captured,
    subscribe::subscribe,
    temporary::{TemporaryFile, TemporaryFolder},
};

/// A session whose requests have bodies of bytes.
pub type BytesSession = Session<Full<Bytes>>;

/// A session over real sockets.
///
/// # Panics
///
/// If the settings are refused.
#[must_use]
pub fn session(pool: PoolConfig) -> BytesSession {
    SessionLayer::new(pool, Timeouts::default())
        .expect("the test's settings are valid")
        .layer(Connector::new())
}

/// A session over in-memory streams, for a paused clock.
///
/// # Panics
///
/// If the settings are refused.
#[must_use]
pub fn in_memory(
    pool: PoolConfig,
    timeouts: Timeouts,
    connector: &MemoryConnector,
) -> BytesSession {
    SessionLayer::new(pool, timeouts)
        .expect("the test's settings are valid")
        .layer(connector.clone())
}

/// A GET of this URL.
///
/// # Panics
///
/// If it is no URL.
#[must_use]
pub fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url)
        .body(Full::default())
        .expect("the test's URL is valid")
}

/// A POST of these bytes.
///
/// # Panics
///
/// If it is no URL.
#[must_use]
pub fn post(url: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(url)
        .body(Full::new(body.into()))
        .expect("the test's URL is valid")
}

/// Sends a request and waits for the head.
///
/// # Errors
///
/// Those of the session.
pub async fn send(
    session: &BytesSession,
    request: Request<Full<Bytes>>,
) -> Result<Response<SessionBody>, Error> {
    session.clone().oneshot(request).await
}

/// Sends a request and reads the whole response.
///
/// # Errors
///
/// Those of the session.
pub async fn fetch(
    session: &BytesSession,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Error> {
    let response = send(session, request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// What the test harness calls the test `name` of the module whose `module_path!()` this is, for a test that starts this program
/// again with itself alone.
#[must_use]
pub fn test_path(module: &str, name: &str) -> String {
    match module.split_once("::") {
        Some((_, modules)) => format!("{modules}::{name}"),
        None => name.to_owned(),
    }
}

/// Waits until `condition` holds, for as long as ten seconds.
///
/// # Panics
///
/// If it does not come to hold.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "still not so: {what}");
}
