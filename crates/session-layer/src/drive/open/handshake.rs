//! The handshake of hyper on a stream that is open, and the settings for it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Version;
use http_body::Body;
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::client::legacy::connect::Connection as Connected;
use tokio::time::Instant;

use super::Kept;
use crate::{
    Error, PoolConfig,
    box_error::BoxError,
    config::Config,
    connector::ConnectedInfo,
    drive::{
        http1::Driver,
        io::{Io, WhenFailed},
    },
    error::Kind,
    exchange::{ExchangeState, Gate, MAX_HEAD},
    info::Facts,
    origin::Origin,
    pool::{Connection, Permit, Pool, PooledConnection},
};

/// The largest buffer that hyper reads into, if the settings name none. It is hyper's own default,
/// and stands here because [`most_before_head`] counts with it.
const READ_BUFFER: usize = 8 * 1024 + 100 * 4096;

/// The most bytes that may come over HTTP/1 before the driver learns of the head: informational
/// responses and the head.
///
/// hyper holds each single head to [`MAX_HEAD`]. The IO counts all of them together as it reads,
/// and a read brings what follows the head too. hyper may read twice more before the request's
/// future has seen the head. So this many bytes more are allowed.
fn most_before_head(read_buffer: usize) -> u64 {
    let buffer = u64::try_from(read_buffer).unwrap_or(u64::MAX);
    MAX_HEAD.saturating_add(buffer.saturating_mul(3))
}

pub(super) async fn drive<T, B>(
    io: T,
    permit: Permit<B>,
    id: u64,
    opened: Instant,
    took: Duration,
    kept: Kept,
) -> Option<Driver<impl Future<Output = hyper::Result<()>>, B>>
where
    T: Read + Write + Connected + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let pool = permit.pool().clone();
    let origin = permit.origin().clone();
    let connected = ConnectedInfo::of(&io);
    let http2 = match speaks_http2(pool.config(), &origin, &connected) {
        Ok(http2) => http2,
        Err(error) => {
            permit.fail(&error.at(&origin));
            return None;
        }
    };
    let read_buffer = pool.config().pool.http1_read_buffer;
    let max_head = most_before_head(read_buffer.unwrap_or(READ_BUFFER));
    let state = Arc::new(ExchangeState::new(
        pool.epoch(),
        max_head,
        connected.failed_write,
    ));
    let expires = expiry(pool.config().pool.max_lifetime);
    let facts = Facts {
        id,
        version: if http2 {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        },
        times: connected.times,
        took,
        opened,
    };
    let connection = Connection::new(
        facts,
        pool.clone(),
        origin.clone(),
        state.clone(),
        expires,
        connected.via_proxy,
    );
    // From here on the permit is released when the socket is closed.
    let permit = permit.connected(connection.clone());
    let mut unopened = Unopened {
        pool: &pool,
        id,
        origin: &origin,
        is_over: false,
    };
    let when_failed = if http2 {
        WhenFailed::Discard
    } else {
        WhenFailed::Wait
    };
    let mut io = Io::new(io, state, when_failed, permit);
    let gate = http2.then(Arc::<Gate>::default);
    if let Some(gate) = &gate {
        io = io.with_frames(gate.clone());
    }
    let begun = if let Some(gate) = gate {
        #[cfg(feature = "http2")]
        // Boxed: it is large, and each task would have room for it.
        let begun = Box::pin(crate::drive::http2::drive(io, connection, gate, kept.boxes)).await;
        #[cfg(not(feature = "http2"))]
        let begun = {
            let _ = (gate, kept);
            Ok(())
        };
        begun.map(|()| None)
    } else {
        drive_http1(io, connection).await.map(Some)
    };
    unopened.is_over = true;
    begun.unwrap_or_else(|error| {
        let error = Error::new(Kind::Connect).with(error).at(&origin);
        pool.tell_failed(id, &origin, &error);
        None
    })
}

/// Tells the pool if the task ends during the handshake of hyper, by a panic of the stream or with
/// its runtime.
struct Unopened<'a, B: Send + 'static> {
    pool: &'a Arc<Pool<B>>,
    id: u64,
    origin: &'a Origin,
    is_over: bool,
}

impl<B: Send + 'static> Drop for Unopened<'_, B> {
    fn drop(&mut self) {
        if !self.is_over {
            self.pool.open_broke_off(self.id, self.origin);
        }
    }
}

/// Makes the handshake of HTTP/1; returns the driver.
async fn drive_http1<T, B>(
    io: T,
    facts: Arc<Connection<B>>,
) -> hyper::Result<Driver<impl Future<Output = hyper::Result<()>>, B>>
where
    T: Read + Write + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (sender, connection) = builder(&facts.pool().config().pool).handshake(io).await?;
    let pooled = PooledConnection::http1(facts.clone(), sender);
    // Made before the pool is told, so that the pool learns of the end even if the task is never
    // polled again.
    let driver = Driver::new(connection.with_upgrades(), facts.clone());
    facts.pool().opened(pooled);
    Ok(driver)
}

fn builder(config: &PoolConfig) -> http1::Builder {
    let mut builder = http1::Builder::new();
    match config.http1_read_buffer {
        Some(bytes) => builder.read_buf_exact_size(Some(bytes)),
        None => builder.max_buf_size(READ_BUFFER),
    };
    if let Some(fields) = config.http1_max_headers {
        builder.max_headers(fields);
    }
    builder
        .max_header_size(usize::try_from(MAX_HEAD).unwrap_or(usize::MAX))
        // RFC 9112, section 5.2: a user agent must read them.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(config.http1_space_before_colon)
        .ignore_invalid_headers_in_responses(config.http1_ignore_invalid_headers);
    builder
}

/// Whether a connection speaks HTTP/2: the peer has chosen it by ALPN, or is known to speak it. The
/// latter says nothing of a proxy that is sent each request with its whole URI.
fn speaks_http2(
    config: &Config,
    origin: &Origin,
    connected: &ConnectedInfo,
) -> Result<bool, Error> {
    let negotiated = connected.negotiated_h2;
    #[cfg(feature = "http2")]
    {
        if origin.is_http1_only() {
            let why = "the peer chose HTTP/2, which was not offered";
            return if negotiated {
                Err(Error::new(Kind::Connect).with(why))
            } else {
                Ok(false)
            };
        }
        let known = config.http2.prior_knowledge || origin.is_http2_only();
        let known = known && connected.via_proxy.is_none();
        if known && !negotiated && origin.scheme() == "https" {
            return Err(Error::new(Kind::Tls).with("the peer did not choose HTTP/2"));
        }
        Ok(known || negotiated)
    }
    #[cfg(not(feature = "http2"))]
    {
        let _ = (config, origin);
        if negotiated {
            let why = "the peer chose HTTP/2, which needs the feature `http2`";
            return Err(Error::new(Kind::Connect).with(why));
        }
        Ok(false)
    }
}

/// When a connection is too old: after its lifetime, give or take a tenth, so that connections
/// opened together are not replaced together.
fn expiry(lifetime: Option<Duration>) -> Option<Instant> {
    lifetime.and_then(|lifetime| {
        let factor = 0.9 + 0.2 * fastrand::f64();
        Instant::now()
            .checked_add(Duration::try_from_secs_f64(lifetime.as_secs_f64() * factor).ok()?)
    })
}
