use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{LazyLock, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tower_service::Service;

use self::{history::History, race::race};
use super::Connector;
use crate::box_error::BoxError;

mod history;
mod race;

/// How addresses are tried, and the options of every socket.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    /// The time after which the next address is tried.
    delay: Option<Duration>,
    history: SharedHistory,
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
    /// Sets how long an address may take to connect before the next one is tried beside it (happy
    /// eyeballs, [RFC 8305](https://www.rfc-editor.org/rfc/rfc8305#section-5)). Less than 10 ms
    /// counts as 10 ms, the least that section 8 allows. `None` tries an address only when the one
    /// before it has failed, so that one that never answers uses up the connect timeout. Default:
    /// 250 ms.
    ///
    /// IPv6 and IPv4 take turns, beginning with the resolver's first address; an address that fails
    /// starts the next attempt at once. The first attempt that connects is used, and the others are
    /// closed. An address that failed, or that had this time to itself and was overtaken, is tried
    /// after all others for the next 60 s, and the one that connected in its place is tried first.
    #[must_use]
    pub fn happy_eyeballs_delay(mut self, delay: impl Into<Option<Duration>>) -> Self {
        let delay: Option<Duration> = delay.into();
        self.settings().tcp.delay = delay.map(|delay| delay.max(LEAST_DELAY));
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

/// The least time between two attempts (RFC 8305, section 8).
const LEAST_DELAY: Duration = Duration::from_millis(10);

impl Tcp {
    /// Connects to one of these addresses, at the latest by the deadline.
    pub(super) async fn connect(
        &self,
        addresses: Vec<SocketAddr>,
        deadline: Option<Instant>,
    ) -> Result<TcpStream, BoxError> {
        self.connect_by(addresses, deadline, |address| self.dial(address))
            .await
    }

    /// Dials the addresses in the order of the history. `dial` gets one address, in a vector as
    /// hyper-util takes it.
    async fn connect_by<T, F>(
        &self,
        mut addresses: Vec<SocketAddr>,
        deadline: Option<Instant>,
        dial: impl Fn(Vec<SocketAddr>) -> F,
    ) -> Result<T, BoxError>
    where
        F: Future<Output = Result<T, BoxError>>,
    {
        addresses.retain(|address| self.reaches(address));
        match addresses.len() {
            0 => Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "no address is of the local address's family",
            )
            .into()),
            1 => match deadline {
                Some(deadline) => timeout_at(deadline, dial(addresses))
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?,
                None => dial(addresses).await,
            },
            _ => {
                let addresses = self
                    .history
                    .with(|history| history.arrange(addresses, Instant::now()));
                let dial = |address| dial(vec![address]);
                let won = race(addresses, self.delay, deadline, dial).await?;
                self.history
                    .with(|history| history.note(&won.outcomes, Instant::now()));
                Ok(won.stream)
            }
        }
    }

    /// Connects to one address.
    async fn dial(&self, address: Vec<SocketAddr>) -> Result<TcpStream, BoxError> {
        let mut tcp = HttpConnector::new_with_resolver(Addresses(address));
        // There is one address, so hyper-util need not wait for another family.
        tcp.set_happy_eyeballs_timeout(None);
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
            // hyper-util panics on such a name on systems that take C strings.
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

    /// Whether sockets can reach an address: they are not bound, or bound to its family.
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
            delay: Some(Duration::from_millis(250)),
            history: SharedHistory::default(),
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

/// The URI for hyper-util. It has no port, so that the addresses keep theirs.
static RESOLVED: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("http://resolved"));

/// The history of a connector. Its clones share it, until the settings of one change: with another
/// local address, for instance, other addresses can be reached.
#[derive(Debug, Default)]
struct SharedHistory(Mutex<History>);

impl SharedHistory {
    fn with<T>(&self, work: impl FnOnce(&mut History) -> T) -> T {
        // No foreign code runs under the lock.
        let mut history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut history)
    }
}

/// A clone begins with an empty history.
impl Clone for SharedHistory {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Returns the address that was resolved before, so that hyper-util dials exactly this one.
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Connects to ports of which only those from 100 answer, and tells which were dialled.
    async fn dialled(tcp: &Tcp, ports: &[u16]) -> Vec<u16> {
        let dialled = RefCell::new(Vec::new());
        let addresses = ports.iter().copied().map(address).collect();
        let connect = tcp.connect_by(addresses, None, |addresses| {
            let [address] = addresses[..] else {
                panic!("dialled together: {addresses:?}");
            };
            dialled.borrow_mut().push(address.port());
            async move {
                match address.port() {
                    100.. => Ok(()),
                    _ => pending().await,
                }
            }
        });
        connect.await.expect("one of the ports answers");
        dialled.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_address_costs_one_delay_a_minute() {
        let tcp = Tcp::default();
        let began = Instant::now();
        assert_eq!(dialled(&tcp, &[1, 100]).await, [1, 100]);
        assert_eq!(began.elapsed(), Duration::from_millis(250));
        for ports in [[1, 100], [100, 1], [1, 100]] {
            assert_eq!(dialled(&tcp, &ports).await, [100]);
        }
        assert_eq!(began.elapsed(), Duration::from_millis(250));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(dialled(&tcp, &[1, 100]).await, [1, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connect_without_a_peer_tells_nothing_of_its_addresses() {
        let tcp = Tcp::default();
        let deadline = Instant::now() + Duration::from_secs(1);
        let addresses = [1, 2].map(address).to_vec();
        let silent = |_| pending::<Result<(), BoxError>>();
        let connect = tcp.connect_by(addresses, Some(deadline), silent);
        connect.await.expect_err("nobody answers");
        assert_eq!(dialled(&tcp, &[1, 100]).await, [1, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_stay_spread_over_addresses_that_work() {
        let tcp = Tcp::default();
        for ports in [[100, 101, 102], [101, 102, 100], [102, 100, 101]] {
            assert_eq!(dialled(&tcp, &ports).await, ports[..1]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connector_that_is_set_to_something_else_forgets_what_failed() {
        let connector = Connector::new();
        let other = connector.clone().tcp_nodelay(false);
        let same = connector.clone();
        let [connector, same, other] = [connector, same, other].map(|it| it.settings);
        assert_eq!(dialled(&connector.tcp, &[1, 100]).await, [1, 100]);
        assert_eq!(dialled(&same.tcp, &[1, 100]).await, [100]);
        assert_eq!(dialled(&other.tcp, &[1, 100]).await, [1, 100]);
    }

    #[test]
    fn a_delay_is_never_below_what_the_rfc_allows() {
        let delay = |delay: Duration| {
            let connector = Connector::new().happy_eyeballs_delay(delay);
            connector.settings.tcp.delay
        };
        assert_eq!(delay(Duration::ZERO), Some(LEAST_DELAY));
        assert_eq!(delay(Duration::from_secs(1)), Some(Duration::from_secs(1)));
    }
}
