use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use http::Uri;
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "http2")]
use crate::Http2;
use crate::{
    Observer, PoolConfig, Session, Spread, Timeouts,
    box_error::BoxError,
    config::{Config, ConfigError},
    observer::Listener,
};

/// Turns a connector, a `Service<Uri>`, into a [`Session`] that serves requests with bodies of
/// type `B`.
///
/// Each call of [`layer`](Layer::layer) makes a pool of its own, which the clones of its session
/// share. `B` follows from the requests that the session is called with.
///
/// See the [crate docs](crate) for an example.
pub struct SessionLayer<B> {
    config: Config,
    spread: Option<Spread>,
    body: PhantomData<fn(B)>,
}

impl<B> SessionLayer<B> {
    /// Makes a layer with these settings.
    ///
    /// # Errors
    ///
    /// If a limit or a timeout is 0, or a buffer is too small or too large.
    pub fn new(pool: PoolConfig, timeouts: Timeouts) -> Result<Self, ConfigError> {
        pool.check()?;
        timeouts.check()?;
        let config = Config {
            pool,
            timeouts,
            #[cfg(feature = "http2")]
            http2: Http2::default(),
            listener: Listener::default(),
        };
        Ok(Self {
            config,
            spread: None,
            body: PhantomData,
        })
    }

    /// Tells `observer` what the pool does.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.config.listener = Listener::new(observer);
        self
    }

    /// Spreads requests over the addresses of their names. Default: connections are, by the order in which
    /// the resolver gives the addresses, and requests use whichever connection is idle.
    ///
    /// # Errors
    ///
    /// If a time is 0.
    pub fn spread(mut self, spread: Spread) -> Result<Self, ConfigError> {
        ConfigError::refuse_zero("refresh", Some(spread.refresh))?;
        ConfigError::refuse_zero("connect timeout of an address", spread.connect_timeout)?;
        self.spread = Some(spread);
        Ok(self)
    }

    /// Sets how the session uses HTTP/2.
    ///
    /// # Errors
    ///
    /// If a limit, a window or a time is 0, or a window is larger than HTTP/2 allows.
    #[cfg(feature = "http2")]
    pub fn http2(mut self, http2: Http2) -> Result<Self, ConfigError> {
        http2.check()?;
        self.config.http2 = http2;
        Ok(self)
    }
}

impl<C, B> Layer<C> for SessionLayer<B>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Service = Session<B>;

    fn layer(&self, connector: C) -> Session<B> {
        Session::with_config(connector, self.config.clone(), self.spread.clone())
    }
}

impl<B> Default for SessionLayer<B> {
    fn default() -> Self {
        Self {
            config: Config::default(),
            spread: None,
            body: PhantomData,
        }
    }
}

impl<B> Clone for SessionLayer<B> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            spread: self.spread.clone(),
            body: PhantomData,
        }
    }
}

impl<B> fmt::Debug for SessionLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("config", &self.config)
            .field("spread", &self.spread)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn build(pool: PoolConfig, timeouts: Timeouts) -> Result<SessionLayer<String>, ConfigError> {
        SessionLayer::new(pool, timeouts)
    }

    #[test]
    fn limits_and_times_of_zero_and_buffers_of_no_use_are_refused_by_name() {
        let pool = PoolConfig::default;
        let times = Timeouts::default;
        for (built, name) in [
            (build(pool().max_connections(0), times()), "max_connections"),
            (
                build(pool().max_connections_per_origin(0), times()),
                "max_connections_per_origin",
            ),
            (
                build(pool().idle_timeout(Duration::ZERO), times()),
                "idle_timeout",
            ),
            (build(pool(), times().head(Duration::ZERO)), "head timeout"),
            (
                build(pool().http1_read_buffer(511), times()),
                "http1_read_buffer",
            ),
            (
                build(pool().http1_read_buffer(usize::MAX), times()),
                "http1_read_buffer",
            ),
        ] {
            let error = built.unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
        assert!(
            build(
                pool().max_waiting(0).queue_timeout(None),
                times().head(None)
            )
            .is_ok()
        );
    }
}
