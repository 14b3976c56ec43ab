use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tokio::net::TcpStream;
use tower_service::Service;

use super::Connector;
use crate::error::BoxError;

/// What every socket is set to.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    happy_eyeballs: Option<Duration>,
    keepalive: Option<Duration>,
    keepalive_interval: Option<Duration>,
    keepalive_retries: Option<u32>,
    nodelay: bool,
    local_v4: Option<Ipv4Addr>,
    local_v6: Option<Ipv6Addr>,
    send_buffer: Option<usize>,
    recv_buffer: Option<usize>,
    #[cfg(any(
        target_os = "android",
        target_os = "fuchsia",
        target_os = "illumos",
        target_os = "ios",
        target_os = "linux",
        target_os = "macos",
        target_os = "solaris",
        target_os = "tvos",
        target_os = "visionos",
        target_os = "watchos",
    ))]
    interface: Option<String>,
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    user_timeout: Option<Duration>,
}

impl Connector {
    /// Tries the addresses of the other family, IPv6 or IPv4, when those of the first have not
    /// connected after this time ([RFC 8305](https://www.rfc-editor.org/rfc/rfc8305)). `None` tries
    /// one address after the other. Default: 300 ms.
    #[must_use]
    pub fn happy_eyeballs_delay(mut self, delay: impl Into<Option<Duration>>) -> Self {
        self.settings().tcp.happy_eyeballs = delay.into();
        self
    }

    /// Sends TCP keep-alive probes on a connection that has been silent for this time; `None` sends
    /// none. Default: 60 s.
    #[must_use]
    pub fn tcp_keepalive(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.settings().tcp.keepalive = after.into();
        self
    }

    /// Sets the time between two keep-alive probes. Default: the system's.
    #[must_use]
    pub fn tcp_keepalive_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.settings().tcp.keepalive_interval = interval.into();
        self
    }

    /// Sets how many keep-alive probes may stay unanswered before the connection ends. Default: the
    /// system's.
    #[must_use]
    pub fn tcp_keepalive_retries(mut self, retries: impl Into<Option<u32>>) -> Self {
        self.settings().tcp.keepalive_retries = retries.into();
        self
    }

    /// Sets `TCP_NODELAY`: whether small writes leave at once. Default: they do.
    #[must_use]
    pub fn tcp_nodelay(mut self, nodelay: bool) -> Self {
        self.settings().tcp.nodelay = nodelay;
        self
    }

    /// Binds every socket to this local address; addresses of the other family are then not tried.
    /// Default: the system chooses.
    #[must_use]
    pub fn local_address(mut self, address: impl Into<IpAddr>) -> Self {
        let tcp = &mut self.settings().tcp;
        (tcp.local_v4, tcp.local_v6) = match address.into() {
            IpAddr::V4(address) => (Some(address), None),
            IpAddr::V6(address) => (None, Some(address)),
        };
        self
    }

    /// Binds sockets to these local addresses, one for each family.
    #[must_use]
    pub fn local_addresses(mut self, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        let tcp = &mut self.settings().tcp;
        (tcp.local_v4, tcp.local_v6) = (Some(v4), Some(v6));
        self
    }

    /// Sets `SO_SNDBUF`, in bytes. Default: the system's.
    #[must_use]
    pub fn send_buffer_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.settings().tcp.send_buffer = bytes.into();
        self
    }

    /// Sets `SO_RCVBUF`, in bytes. Default: the system's.
    #[must_use]
    pub fn recv_buffer_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.settings().tcp.recv_buffer = bytes.into();
        self
    }

    /// Binds every socket to a network interface: `SO_BINDTODEVICE` on Linux, `IP_BOUND_IF` on
    /// Apple's systems and Solaris. A name that does not exist fails each connect. Default: the
    /// system chooses.
    #[cfg(any(
        target_os = "android",
        target_os = "fuchsia",
        target_os = "illumos",
        target_os = "ios",
        target_os = "linux",
        target_os = "macos",
        target_os = "solaris",
        target_os = "tvos",
        target_os = "visionos",
        target_os = "watchos",
    ))]
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.settings().tcp.interface = Some(name.into());
        self
    }

    /// Sets `TCP_USER_TIMEOUT`: how long sent data may stay unacknowledged before the connection
    /// ends. Default: the system's.
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    #[must_use]
    pub fn tcp_user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings().tcp.user_timeout = timeout.into();
        self
    }
}

impl Tcp {
    /// Connects to one of these addresses, which share the time that is left.
    pub(super) async fn connect(
        &self,
        mut addresses: Vec<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Result<TcpStream, BoxError> {
        addresses.retain(|address| self.reaches(address));
        let alone = addresses.len() == 1;
        let mut tcp = HttpConnector::new_with_resolver(Addresses(addresses));
        // One address has nobody to share its time with, nor another family to wait for.
        tcp.set_connect_timeout(timeout.filter(|_| !alone));
        tcp.set_happy_eyeballs_timeout(self.happy_eyeballs.filter(|_| !alone));
        tcp.set_keepalive(self.keepalive);
        tcp.set_keepalive_interval(self.keepalive_interval);
        tcp.set_keepalive_retries(self.keepalive_retries);
        tcp.set_nodelay(self.nodelay);
        match (self.local_v4, self.local_v6) {
            (Some(v4), Some(v6)) => tcp.set_local_addresses(v4, v6),
            (v4, v6) => tcp.set_local_address(v4.map(IpAddr::V4).or(v6.map(IpAddr::V6))),
        }
        tcp.set_send_buffer_size(self.send_buffer);
        tcp.set_recv_buffer_size(self.recv_buffer);
        #[cfg(any(
            target_os = "android",
            target_os = "fuchsia",
            target_os = "illumos",
            target_os = "ios",
            target_os = "linux",
            target_os = "macos",
            target_os = "solaris",
            target_os = "tvos",
            target_os = "visionos",
            target_os = "watchos",
        ))]
        if let Some(interface) = &self.interface {
            // hyper-util panics on it where the system takes C strings.
            if interface.contains('\0') {
                return Err("the interface's name has a NUL in it".into());
            }
            tcp.set_interface(interface);
        }
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(self.user_timeout);
        let stream = tcp.call(RESOLVED.clone()).await?;
        Ok(stream.into_inner())
    }

    /// Whether an address is of a family that sockets are bound to, where they are. hyper-util asks
    /// that only where it is told of happy eyeballs.
    fn reaches(&self, address: &SocketAddr) -> bool {
        match (self.local_v4, self.local_v6) {
            (Some(_), None) => address.is_ipv4(),
            (None, Some(_)) => address.is_ipv6(),
            (Some(_), Some(_)) | (None, None) => true,
        }
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            happy_eyeballs: Some(Duration::from_millis(300)),
            keepalive: Some(Duration::from_secs(60)),
            keepalive_interval: None,
            keepalive_retries: None,
            nodelay: true,
            local_v4: None,
            local_v6: None,
            send_buffer: None,
            recv_buffer: None,
            #[cfg(any(
                target_os = "android",
                target_os = "fuchsia",
                target_os = "illumos",
                target_os = "ios",
                target_os = "linux",
                target_os = "macos",
                target_os = "solaris",
                target_os = "tvos",
                target_os = "visionos",
                target_os = "watchos",
            ))]
            interface: None,
            #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
            user_timeout: None,
        }
    }
}

/// What hyper-util is told to connect to: without a port in it, the addresses keep their own.
static RESOLVED: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("http://resolved"));

/// Hands out the addresses that were resolved before: exactly these are dialled.
#[derive(Clone)]
struct Addresses(Vec<SocketAddr>);

impl Service<Name> for Addresses {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(std::mem::take(&mut self.0).into_iter()))
    }
}
