use std::{
    collections::HashMap,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use super::{
    DnsError, HostAddress, guard::Guards, lookups::Lookups, public::is_public, source::Over,
};
use crate::box_error::BoxError;

/// Resolves hosts: a cache over `getaddrinfo` or another source, overrides, and guards.
///
/// See the [module docs](super). Clones are cheap and share the cache, but not what is set on one
/// of them afterwards.
///
/// As a `Service<Name>` it also fits hyper-util's `HttpConnector`. That connector asks it for names
/// only and dials IP addresses by itself, so **no guard sees those**; one that asks
/// [`resolve`](Self::resolve) has no such gap.
#[derive(Clone)]
pub struct Resolver {
    lookups: Arc<Lookups>,
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    /// Zero turns the cache off.
    ttl: Duration,
    capacity: usize,
    overrides: HashMap<Box<str>, Vec<HostAddress>>,
    guards: Guards,
}

const DEFAULT_TTL: Duration = Duration::from_secs(10);
const DEFAULT_CAPACITY: usize = 1024;

impl Resolver {
    /// Makes a resolver over the system's `getaddrinfo`.
    ///
    /// It runs on the runtime's blocking threads and uses the system's configuration, the hosts
    /// file included. A call of `getaddrinfo` cannot be cancelled: it keeps its thread for as long
    /// as the system waits for an answer, even if all callers have left.
    #[must_use]
    pub fn new() -> Self {
        Self::over(GaiResolver::new())
    }

    /// Makes a resolver over any service that finds the addresses of a name.
    ///
    /// It is called in a task, once at a time for each name, with the name in lower case; a dot at
    /// its end is kept. Ports in its answers do not count. Its errors become [`DnsError`]s, and one
    /// that is a `DnsError` stays as it is. If it panics, only that lookup fails.
    #[must_use]
    pub fn over<S>(source: S) -> Self
    where
        S: Service<Name> + Clone + Send + Sync + 'static,
        S::Response: IntoIterator<Item = SocketAddr>,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        Self {
            lookups: Arc::new(Lookups::new(Over(source))),
            settings: Arc::new(Settings {
                ttl: DEFAULT_TTL,
                capacity: DEFAULT_CAPACITY,
                overrides: HashMap::new(),
                guards: Guards::default(),
            }),
        }
    }

    /// Makes a resolver that asks the system's name servers itself, by hickory.
    ///
    /// Nothing of it blocks a thread, and it tells a name that does not exist
    /// ([`DnsError::is_not_found`]) from a server that gave no answer. It reads the name servers
    /// and the search list of the system now, and the hosts file, but knows nothing of other
    /// sources that `nsswitch.conf` may name. Answers are kept for as long as their records say, so
    /// [`ttl`](Self::ttl) is off. IPv6 addresses come first.
    ///
    /// # Errors
    ///
    /// If the system's configuration cannot be read.
    #[cfg(feature = "hickory")]
    pub fn hickory() -> Result<Self, DnsError> {
        let source = super::hickory::Hickory::from_system()?;
        Ok(Self::over(source).ttl(None))
    }

    /// Keeps an answer for this long; `None` or zero keeps none. Default: 10 s.
    ///
    /// A connection that is open stays open, whatever becomes of its name.
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.settings().ttl = ttl.into().unwrap_or_default();
        self
    }

    /// Keeps answers for this many names at most; beyond that the least recently used one is
    /// removed. Default: 1024.
    #[must_use]
    pub fn capacity(mut self, names: usize) -> Self {
        self.settings().capacity = names;
        self
    }

    /// Gives a name these addresses, in this order, in place of what DNS says.
    ///
    /// The name matches in upper or lower case, and with or without a dot at its end. Without
    /// addresses it does not resolve. Only the dialled address changes: the `Host` header and the
    /// certificate's name stay those of the URL. Guards apply to these addresses too.
    ///
    /// ```
    /// use session_layer::dns::Resolver;
    ///
    /// let resolver = Resolver::new()
    ///     .override_host("api.example.com", [std::net::Ipv4Addr::LOCALHOST])
    ///     // For each port of the URL, port 8080 is dialled.
    ///     .override_host("www.example.com", ["127.0.0.1:8080".parse::<std::net::SocketAddr>()?]);
    /// # drop(resolver);
    /// # Ok::<_, std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn override_host<A>(mut self, name: &str, addresses: impl IntoIterator<Item = A>) -> Self
    where
        A: Into<HostAddress>,
    {
        let name = name.to_ascii_lowercase();
        let addresses = addresses.into_iter().map(Into::into).collect();
        let overrides = &mut self.settings().overrides;
        overrides.insert(relative(&name).into(), addresses);
        self
    }

    /// Dials only addresses for which this returns true. With several guards, all have to.
    ///
    /// It is asked about every address before it is dialled: those of names, of overrides, and
    /// those that stand in a URL themselves, for each new connection. It is given the host, in
    /// lower case and without a dot at its end or brackets, and the address; an IPv4-mapped one as
    /// the IPv4 address that it is. If it refuses some addresses of a name, the others are dialled.
    /// If it refuses all, the error is [`DnsError::is_refused`].
    ///
    /// Behind a proxy only the proxy is dialled, and a guard sees only its address.
    #[must_use]
    pub fn guard(mut self, guard: impl Fn(&str, IpAddr) -> bool + Send + Sync + 'static) -> Self {
        self.settings().guards.push(guard);
        self
    }

    /// Refuses all addresses that are not [public](is_public).
    ///
    /// It is meant for URLs that come from outside, so that they cannot reach into the network
    /// (server-side request forgery).
    #[must_use]
    pub fn public_only(self) -> Self {
        self.guard(|_, address| is_public(address))
    }

    /// Returns the addresses to dial for a host, in the order in which to try them: at least one,
    /// each with its port, and each passed by all guards.
    ///
    /// The host is a name or an IP address, as it stands in a URL: an IPv6 address may have
    /// brackets. The port is the URL's or its scheme's; only an override may have another.
    ///
    /// # Errors
    ///
    /// If the name did not resolve, or if all its addresses were refused.
    ///
    /// # Cancel safety
    ///
    /// The lookup ends, unless other callers wait for it.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DnsError> {
        match literal(host) {
            Ok(Some(address)) => self.literal(address, port),
            Ok(None) => {
                let name: Arc<str> = host.to_ascii_lowercase().into();
                let named = self.named(&name, port).await;
                named.map_err(|error| error.of(&name))
            }
            Err(error) => Err(error.of(&host.to_ascii_lowercase().into())),
        }
    }

    fn literal(&self, address: IpAddr, port: u16) -> Result<Vec<SocketAddr>, DnsError> {
        let mut addresses = vec![SocketAddr::new(address, port)];
        let guards = &self.settings.guards;
        if guards.is_empty() {
            return Ok(addresses);
        }
        match guards.retain(&address.to_string(), &mut addresses) {
            Some(refused) => Err(DnsError::refused(refused)),
            None => Ok(addresses),
        }
    }

    async fn named(&self, name: &Arc<str>, port: u16) -> Result<Vec<SocketAddr>, DnsError> {
        let Settings {
            ttl,
            capacity,
            overrides,
            guards,
        } = &*self.settings;
        let (mut addresses, turn) = if let Some(addresses) = overrides.get(relative(name)) {
            (addresses.iter().map(|it| it.get()).collect(), 0)
        } else {
            let answer = self.lookups.lookup(name, *ttl, *capacity).await?;
            (answer.addresses().to_vec(), answer.take_turn())
        };
        let refused = guards.retain(relative(name), &mut addresses);
        if addresses.is_empty() {
            return Err(refused.map_or_else(DnsError::no_addresses, DnsError::refused));
        }
        rotate(&mut addresses, turn);
        for address in addresses.iter_mut().filter(|it| it.port() == 0) {
            address.set_port(port);
        }
        Ok(addresses)
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.lookups.in_flight()
    }

    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = DnsError;
    type Future = Resolving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Resolving {
        let resolver = self.clone();
        Resolving(Box::pin(async move {
            let addresses = resolver.resolve(name.as_str(), 0).await?;
            Ok(addresses.into_iter())
        }))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            ttl,
            capacity,
            overrides,
            guards,
        } = &*self.settings;
        f.debug_struct("Resolver")
            .field("ttl", ttl)
            .field("capacity", capacity)
            .field("overrides", overrides)
            .field("guards", guards)
            .finish_non_exhaustive()
    }
}

/// The future of [`Resolver`].
#[must_use = "futures do nothing unless polled"]
pub struct Resolving(Pin<Box<dyn Future<Output = Resolved> + Send>>);

type Resolved = Result<vec::IntoIter<SocketAddr>, DnsError>;

impl Future for Resolving {
    type Output = Resolved;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Resolved> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Resolving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolving").finish_non_exhaustive()
    }
}

/// The name without the dot that ends it where it is absolute.
fn relative(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The IP address that stands in a URL in place of a name. Brackets can hold only an address.
fn literal(host: &str) -> Result<Option<IpAddr>, DnsError> {
    let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let Some(address) = bracketed else {
        return Ok(host.parse().ok());
    };
    let address = address
        .parse()
        .map_err(|error| DnsError::new(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    Ok(Some(IpAddr::V6(address)))
}

/// Rotates the addresses of each family by `turn`. The places of the families in the list stay as
/// they are.
fn rotate(addresses: &mut [SocketAddr], turn: usize) {
    for is_ipv4 in [true, false] {
        let of_family = |address: &SocketAddr| address.is_ipv4() == is_ipv4;
        let family: Vec<_> = addresses.iter().copied().filter(of_family).collect();
        let start = turn.checked_rem(family.len()).unwrap_or(0);
        let turned = family.iter().cycle().skip(start);
        let places = addresses.iter_mut().filter(|it| of_family(it));
        for (place, address) in places.zip(turned) {
            *place = *address;
        }
    }
}
