use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use hickory_resolver::{
    TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::Name as DnsName,
    system_conf::read_system_conf,
};
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::DnsError;

/// Asks name servers, by hickory.
///
/// It goes through the search list itself: hickory reports only the outcome of the last name on it,
/// which may be "no such name" although an earlier name got no answer.
#[derive(Clone)]
pub(super) struct Hickory(Arc<Inner>);

struct Inner {
    resolver: TokioResolver,
    search: Vec<DnsName>,
}

impl Hickory {
    pub(super) fn from_system() -> Result<Self, DnsError> {
        let (config, options) = read_system_conf().map_err(failed)?;
        Self::new(config, options)
    }

    fn new(config: ResolverConfig, options: ResolverOpts) -> Result<Self, DnsError> {
        let (domain, mut search, servers) = config.into_parts();
        if search.is_empty() {
            search.extend(domain);
        }
        let config = ResolverConfig::from_name_servers(servers);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(failed)?;
        Ok(Self(Arc::new(Inner { resolver, search })))
    }
}

impl Inner {
    async fn lookup(&self, host: &str) -> Result<Vec<SocketAddr>, DnsError> {
        let name = DnsName::from_ascii(host)
            .map_err(|error| DnsError::new(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let mut failure = None;
        for name in self.candidates(name) {
            match self.resolver.lookup_ip(name).await {
                Ok(found) => {
                    let addresses: Vec<_> = found.iter().map(|ip| (ip, 0).into()).collect();
                    if !addresses.is_empty() {
                        return Ok(addresses);
                    }
                    failure = failure.or(Some("the answer has no addresses".into()));
                }
                Err(error) if error.is_nx_domain() => {}
                // The servers did not answer, and would not for the next name either.
                Err(NetError::Timeout) => return Err(failed(NetError::Timeout)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let not_found = || DnsError::new(io::Error::new(io::ErrorKind::NotFound, "no such name"));
        Err(failure.map_or_else(not_found, failed))
    }

    /// The absolute names that a name may stand for, in the order of `resolv.conf(5)`.
    fn candidates(&self, name: DnsName) -> Vec<DnsName> {
        if name.is_fqdn() {
            return vec![name];
        }
        let searched = self
            .search
            .iter()
            .map(|domain| name.clone().append_domain(domain));
        let mut names: Vec<_> = searched.filter_map(Result::ok).collect();
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let first = dots >= self.resolver.options().ndots || name.is_localhost();
        let mut itself = name;
        itself.set_fqdn(true);
        names.insert(if first { 0 } else { names.len() }, itself);
        names
    }
}

impl Service<Name> for Hickory {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = DnsError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DnsError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { Ok(inner.lookup(name.as_str()).await?.into_iter()) })
    }
}

/// Makes the error of a failed lookup. An answer without addresses is not taken for certain:
/// hickory reports only one of its two queries, and the other may have failed.
fn failed(error: impl Into<NetError>) -> DnsError {
    let error = error.into();
    let kind = match error {
        NetError::Timeout => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    DnsError::new(io::Error::new(kind, error))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::config::NameServerConfig;
    use tokio::{net::UdpSocket, runtime::Builder};

    use super::{super::Resolver, *};

    const ADDRESS: [u8; 4] = [192, 0, 2, 7];

    /// A name server on loopback that knows `there.test` and `web.corp.test`. Of `*.broken.test` it
    /// knows only that it failed, and of `silent.test` it does not speak.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let socket = socket.expect("there is a free port");
        let address = socket.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((_, client)) = socket.recv_from(&mut query).await {
                if let Some(answer) = answer(&query) {
                    // A client that has gone needs no answer.
                    let _ = socket.send_to(&answer, client).await;
                }
            }
        });
        address
    }

    fn answer(query: &[u8]) -> Option<Vec<u8>> {
        const OK: u8 = 0;
        const SERVFAIL: u8 = 2;
        const NXDOMAIN: u8 = 3;
        let (mut name, mut at) = (String::new(), 12);
        while query[at] > 0 {
            let end = at + 1 + usize::from(query[at]);
            name += std::str::from_utf8(&query[at + 1..end]).expect("the names are ASCII");
            name.push('.');
            at = end;
        }
        let question = &query[12..at + 5];
        let is_a = query[at + 2] == 1;
        let known = ["there.test.", "web.corp.test."].contains(&&*name);
        let code = match &*name {
            "silent.test." => return None,
            name if name.ends_with("broken.test.") => SERVFAIL,
            _ if known => OK,
            _ => NXDOMAIN,
        };
        let answers = u8::from(known && is_a);
        // The id; a response, recursion desired and available; one question.
        let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1];
        answer.extend([0, answers, 0, 0, 0, 0]);
        answer.extend(question);
        if answers > 0 {
            // The name above, A, IN, a minute.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(ADDRESS);
        }
        Some(answer)
    }

    fn resolver(server: SocketAddr, search: &[&str]) -> Resolver {
        let mut config = NameServerConfig::udp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        let search = search.iter().map(DnsName::from_ascii);
        let search = search.collect::<Result<_, _>>().expect("they are names");
        let config = ResolverConfig::from_parts(None, search, vec![config]);
        let source = Hickory::new(config, ResolverOpts::default());
        Resolver::over(source.expect("the settings are valid")).ttl(None)
    }

    #[tokio::test]
    async fn a_name_has_its_addresses() {
        let resolver = resolver(name_server().await, &[]);
        for name in ["there.test", "THERE.test."] {
            let found = resolver.resolve(name, 80).await.unwrap();
            assert_eq!(found, [SocketAddr::from((ADDRESS, 80))]);
        }
    }

    #[tokio::test]
    async fn a_missing_name_is_not_found_and_a_failed_server_is_not_certain() {
        let resolver = resolver(name_server().await, &[]);
        for (name, not_found) in [
            ("missing.test", true),
            ("broken.test", false),
            ("not..a.name", true),
        ] {
            let error = resolver.resolve(name, 80).await.unwrap_err();
            assert_eq!(error.is_not_found(), not_found, "{name}: {error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_a_timeout() {
        let resolver = resolver(name_server().await, &["corp.test"]);
        let error = resolver.resolve("silent.test", 80).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        let source: &io::Error = source.downcast_ref().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
        assert!(!error.is_not_found());
    }

    #[tokio::test]
    async fn a_name_is_searched_for_and_one_failure_on_the_list_leaves_it_uncertain() {
        let server = name_server().await;
        let both = resolver(server, &["broken.test", "corp.test"]);
        let found = both.resolve("web", 80).await.unwrap();
        assert_eq!(found, [SocketAddr::from((ADDRESS, 80))]);

        let error = both.resolve("missing", 80).await.unwrap_err();
        assert!(!error.is_not_found());
        // As many dots as `ndots`: itself first, which fails; the list does not know it.
        let corp = resolver(server, &["corp.test"]);
        let error = corp.resolve("a.broken.test", 80).await.unwrap_err();
        assert!(!error.is_not_found());
        let error = corp.resolve("missing", 80).await.unwrap_err();
        assert!(error.is_not_found());
    }

    #[test]
    fn it_outlives_the_runtime_that_it_was_first_used_on() {
        let servers = Builder::new_multi_thread().enable_all().build().unwrap();
        let server = servers.block_on(name_server());
        let resolver = resolver(server, &[]);
        // Different names: hickory keeps what it knows.
        for (name, not_found) in [("broken.test", false), ("missing.test", true)] {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let error = runtime.block_on(resolver.resolve(name, 80)).unwrap_err();
            assert_eq!(error.is_not_found(), not_found, "{name}: {error:?}");
        }
    }
}
