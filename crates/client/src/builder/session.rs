//! The settings of the session: pool, timeouts, connector, cookies.

use std::mem;

#[cfg(feature = "http2")]
use session_layer::Http2;
#[cfg(feature = "proxy")]
use session_layer::Proxy;
#[cfg(feature = "tls")]
use session_layer::TlsOptions;
#[cfg(feature = "cookies")]
use session_layer::cookies::Jar;
use session_layer::{Connector, Observer, PoolConfig, SessionLayer, Spread, Timeouts};

use crate::{
    ClientBuilder, Error, layers::AttemptBody, observe::Connections, spreading::Spreading,
};

impl ClientBuilder {
    /// Limits connections and the wait for them. Default: [`PoolConfig::default`].
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.pool = pool;
        self
    }

    /// Limits the parts of an exchange. Its connect timeout takes the place of the
    /// [connector](Self::connector)'s. One request sets its own by
    /// [`head_timeout`](crate::RequestBuilder::head_timeout),
    /// [`idle_timeout`](crate::RequestBuilder::idle_timeout),
    /// [`connect_timeout`](crate::RequestBuilder::connect_timeout),
    /// [`download_floor`](crate::RequestBuilder::download_floor) and
    /// [`upload_floor`](crate::RequestBuilder::upload_floor); a longer
    /// [`timeout`](crate::RequestBuilder::timeout) lifts a head timeout that is not set here.
    /// Default: [`Timeouts::default`].
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Spreads requests over all addresses of their names, as [`Spread`] describes it: for names
    /// whose addresses are servers of their own, such as a headless service in Kubernetes. Each attempt of
    /// a call goes to an address that the call has not been at, as long as there is one. Default: only
    /// connections are spread.
    ///
    /// The addresses are what the resolver of the [connector](Self::connector) says. With
    /// [`build_with_connector`](Self::build_with_connector) that holds too, and the connector has to dial
    /// [`assigned_address`](session_layer::assigned_address).
    ///
    /// ```
    /// use client::Client;
    ///
    /// let client = Client::builder()
    ///     .base_url("http://orders.shop.svc.cluster.local:8080/")?
    ///     .spread_addresses()
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn spread_addresses(mut self) -> Self {
        self.spreading = Spreading::On;
        self
    }

    /// Sets the connector: how names are resolved, which certificates are trusted, which proxies
    /// are used, and which address, interface or Unix socket. It replaces what `tls`, `tls_config`,
    /// `proxy` and a configuration had set before; [`map_connector`](Self::map_connector) keeps it.
    /// Default: [`Connector::new`].
    ///
    /// ```
    /// use client::{Client, Connector, Resolver};
    ///
    /// let connector = Connector::new().resolver(Resolver::new().public_only());
    /// let client = Client::builder().connector(connector).build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    ///
    /// For a service behind a Unix socket:
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use client::{Client, Connector};
    ///
    /// let client = Client::builder()
    ///     .base_url("http://localhost/v1.47/")?
    ///     .connector(Connector::new().unix_socket("/run/docker.sock"))
    ///     .build()?;
    /// # }
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// Changes the connector that was set so far, for example to add a resolver or TLS options to
    /// the proxies of a configuration.
    ///
    /// ```
    /// use client::{Client, Resolver};
    ///
    /// let client = Client::builder()
    ///     .map_connector(|connector| connector.resolver(Resolver::new().public_only()))
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn map_connector(mut self, map: impl FnOnce(Connector) -> Connector) -> Self {
        self.connector = map(self.connector);
        self
    }

    /// Uses this proxy where it applies; each further call adds one. See [`Connector::proxy`].
    /// Default: none, also where the environment names one; for that there is [`Proxy::from_env`].
    ///
    /// ```
    /// use client::{Client, Proxy};
    ///
    /// let proxy = Proxy::all("http://proxy.example:3128")?.no_proxy("localhost, .internal.example");
    /// let client = Client::builder().proxy(proxy).build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    #[cfg(feature = "proxy")]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.connector = self.connector.proxy(proxy);
        self
    }

    /// Sets how HTTP/2 is used. Default: [`Http2::default`], with peers that choose it in the TLS
    /// handshake.
    ///
    /// ```
    /// use client::{Client, Http2};
    ///
    /// // Without TLS there is nothing to choose by: the peer is known to speak it.
    /// let client = Client::builder()
    ///     .http2(Http2::default().prior_knowledge(true))
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    #[cfg(feature = "http2")]
    pub fn http2(mut self, http2: Http2) -> Self {
        self.http2 = http2;
        self
    }

    /// Reports the events of the connection pool to `observer`; each further call adds one.
    /// Default: none.
    ///
    /// ```
    /// use client::{Client, PoolEvent, PoolObserver};
    ///
    /// struct Log;
    ///
    /// impl PoolObserver for Log {
    ///     fn observe(&self, event: &PoolEvent<'_>) {
    ///         println!("{event:?}");
    ///     }
    /// }
    ///
    /// let client = Client::builder().observer(Log).build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.add(observer);
        self
    }

    /// Sets whom TLS trusts and which certificate is shown: a company's certificate authority, a
    /// client certificate, the least version. Default: the platform's roots are trusted, and no
    /// certificate is shown.
    ///
    /// ```no_run
    /// use client::{Client, TlsOptions};
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = TlsOptions::new()
    ///     .add_roots_pem(std::fs::read("company-ca.pem")?)?
    ///     .client_certificate_pem(std::fs::read("me.pem")?, std::fs::read("me.key")?)?;
    /// let client = Client::builder().tls(options)?.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If no root is trusted, or the client's key does not belong to its certificate.
    #[cfg(feature = "tls")]
    #[doc(alias = "identity")]
    #[doc(alias = "add_root_certificate")]
    pub fn tls(mut self, options: TlsOptions) -> Result<Self, Error> {
        self.connector = self.connector.tls(options)?;
        Ok(self)
    }

    /// Uses this TLS configuration (of rustls 0.23) where [`tls`](Self::tls) has no setting for
    /// what is needed, such as your own verifier. Its ALPN protocols are replaced.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: rustls::ClientConfig) -> Self {
        self.connector = self.connector.tls_config(config);
        self
    }

    /// Sends the cookies of this jar, and stores those that responses set, on each attempt and each
    /// redirect; see [`cookies`](crate::cookies) for the rules. Default: none are sent or stored.
    ///
    /// Each cookie is sent only to the servers that the server which set it allows, so a jar is not
    /// bound to the [base URL](Self::base_url). The `Cookie` header of a request comes first, and
    /// the jar's cookies are merged into it; a redirect to another origin drops the request's
    /// header, and keeps the jar's cookies for that origin.
    ///
    /// A jar is one identity. Clients that act for several identities have a jar each, and may
    /// share connections:
    ///
    /// ```
    /// use client::{Client, Jar};
    /// use session_layer::{Connector, Session};
    ///
    /// let session = Session::new(Connector::new());
    /// let alice = Client::builder()
    ///     .cookies(Jar::new())
    ///     .build_with_service(session.clone())?;
    /// let bob = Client::builder()
    ///     .cookies(Jar::new())
    ///     .build_with_service(session)?;
    /// # Ok::<(), client::Error>(())
    /// ```
    #[cfg(feature = "cookies")]
    pub fn cookies(mut self, jar: Jar) -> Self {
        self.jar = Some(jar);
        self
    }

    pub(super) fn session_layer(&mut self) -> Result<SessionLayer<AttemptBody>, Error> {
        let layer = SessionLayer::new(self.pool.clone(), self.timeouts.clone())?;
        #[cfg(feature = "http2")]
        let layer = layer.http2(self.http2.clone())?;
        let layer = match self.spreading {
            Spreading::On => layer.spread(Spread::over(&self.connector))?,
            Spreading::Off => layer,
        };
        let sinks = self.sinks();
        if sinks.are_any() {
            self.observers.add(Connections(sinks));
        }
        Ok(match mem::take(&mut self.observers).listening() {
            Some(observer) => layer.observer(observer),
            None => layer,
        })
    }
}
