use std::{future::Future, io, net::SocketAddr};

use http::{Uri, uri::Scheme};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::{
    ConnectError, ConnectTimes, Settings, Stage, Transport, stream::Stream, transport::ViaProxy,
};
use crate::{
    Step,
    box_error::BoxError,
    connector::opening::{assigned_address, enter},
    origin::port_of,
};

/// One connect: each step is timed, and all have one deadline.
pub(super) struct Dial<'a> {
    pub(super) settings: &'a Settings,
    pub(super) times: ConnectTimes,
    deadline: Option<Instant>,
}

/// The peer, as a URI names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) secure: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl<'a> Target<'a> {
    pub(super) fn of(uri: &'a Uri) -> Result<Self, &'static str> {
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) | None => return Err("only http and https can be connected"),
        };
        let host = match uri.host() {
            Some(host) if !host.is_empty() => host,
            Some(_) | None => return Err("the URI has no host"),
        };
        let port = match uri.authority().map(|it| (port_of(it), it.port())) {
            Some((Some(port), _)) => port,
            Some((None, Some(_))) => return Err("the port is not valid"),
            Some((None, None)) | None if secure => 443,
            Some((None, None)) | None => 80,
        };
        Ok(Self {
            secure,
            host: without_brackets(host),
            port,
        })
    }

    /// Host and port as a URI writes them, always with the port.
    #[cfg(feature = "proxy")]
    pub(super) fn authority(self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

pub(super) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

impl<'a> Dial<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        let deadline = settings
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        Self {
            settings,
            times: ConnectTimes::default(),
            deadline,
        }
    }

    pub(super) async fn connect(mut self, uri: &Uri) -> Result<Transport, ConnectError> {
        let target = Target::of(uri).map_err(|error| ConnectError::new(Stage::Connect, error))?;
        let (stream, via_proxy) = self.reach(uri, target).await?;
        let stream = if target.secure {
            self.secure(stream, target.host).await?
        } else {
            stream
        };
        Ok(Transport::new(stream, self.times, via_proxy))
    }

    /// Opens the stream to the origin, below its TLS: a socket, or a tunnel through a proxy.
    async fn reach(
        &mut self,
        #[cfg_attr(
            not(feature = "proxy"),
            expect(unused_variables, reason = "a proxy asks")
        )]
        uri: &Uri,
        target: Target<'_>,
    ) -> Result<(Stream, Option<ViaProxy>), ConnectError> {
        #[cfg(unix)]
        if let Some(path) = &self.settings.unix_socket {
            let began = Instant::now();
            let stream = self
                .within(UnixStream::connect(path))
                .await
                .map_err(|error| ConnectError::new(Stage::Connect, error))?;
            self.times.tcp = Some(began.elapsed());
            return Ok((Stream::of_unix(stream), None));
        }
        #[cfg(feature = "proxy")]
        if let Some(route) = self.settings.proxies.route(uri) {
            return self.through(&route, target).await;
        }
        if let Some(address) = assigned_address() {
            return Ok((self.dial(vec![address]).await?, None));
        }
        let steps = [Step::Dns, Step::Connect];
        Ok((self.open(target.host, target.port, steps).await?, None))
    }

    /// Resolves a name or parses an address, and connects to it by TCP. `steps` are the steps that
    /// these two count as.
    pub(super) async fn open(
        &mut self,
        host: &str,
        port: u16,
        steps: [Step; 2],
    ) -> Result<Stream, ConnectError> {
        let [lookup, connect] = steps;
        let began = Instant::now();
        enter(lookup);
        let addresses = self
            .within(self.settings.resolver.resolve(host, port))
            .await
            .map_err(|error| ConnectError::new(Stage::Resolve, error))?;
        self.times.dns = Some(began.elapsed());
        enter(connect);
        self.dial(addresses).await
    }

    /// Connects to one of these addresses by TCP.
    async fn dial(&mut self, addresses: Vec<SocketAddr>) -> Result<Stream, ConnectError> {
        let began = Instant::now();
        let connect = self.settings.tcp.connect(addresses, self.deadline);
        let stream = connect
            .await
            .map_err(|error| ConnectError::new(Stage::Connect, error))?;
        self.times.tcp = Some(began.elapsed());
        Ok(Stream::of_tcp(stream))
    }

    #[cfg(feature = "tls")]
    async fn secure(&mut self, stream: Stream, host: &str) -> Result<Stream, ConnectError> {
        let began = Instant::now();
        enter(Step::Tls);
        let stream = self
            .within(self.settings.tls.with_origin(stream, host))
            .await
            .map_err(|error| ConnectError::new(Stage::Tls, error))?;
        self.times.tls = Some(began.elapsed());
        Ok(stream)
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "with TLS it does more")]
    async fn secure(&mut self, _: Stream, _: &str) -> Result<Stream, ConnectError> {
        let error = "https needs the feature `tls`";
        Err(ConnectError::new(Stage::Connect, error))
    }

    /// Waits for a step, at most until the deadline.
    pub(super) async fn within<T, E: Into<BoxError>>(
        &self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BoxError> {
        let Some(deadline) = self.deadline else {
            return step.await.map_err(Into::into);
        };
        match timeout_at(deadline, step).await {
            Ok(ended) => ended.map_err(Into::into),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }
}
