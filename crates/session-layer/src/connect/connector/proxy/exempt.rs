use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// What goes past a proxy, as `NO_PROXY` lists it.
///
/// hyper-util's matcher knows names, their subdomains, addresses and networks. Added here is what
/// other programs read too: a port, the brackets of an IPv6 address, the dot at the end of a name,
/// and that `*` means addresses as well.
#[derive(Debug, Default)]
pub(super) struct Exempt {
    everything: bool,
    /// For entries with a port; each matcher has one.
    with_port: Vec<(u16, Matcher)>,
    /// The other entries.
    list: String,
}

impl Exempt {
    pub(super) fn new(list: &str) -> Self {
        let mut exempt = Self::default();
        for entry in list.split(',').map(str::trim) {
            let (host, port) = split_port(entry);
            let host = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host);
            let host = host.strip_suffix('.').unwrap_or(host);
            match port {
                _ if host.is_empty() => {}
                None if host == "*" => exempt.everything = true,
                None => {
                    exempt.list.push_str(host);
                    exempt.list.push(',');
                }
                Some(port) => exempt.with_port.push((port, matcher(host))),
            }
        }
        exempt
    }

    /// The entries that hyper-util's matcher is given.
    pub(super) fn list(&self) -> &str {
        &self.list
    }

    pub(super) fn covers(&self, uri: &Uri, port: u16) -> bool {
        self.everything
            || self
                .with_port
                .iter()
                .any(|(exempt, matcher)| *exempt == port && matcher.intercept(uri).is_none())
    }
}

/// One that intercepts all but this host.
fn matcher(host: &str) -> Matcher {
    Matcher::builder()
        .all("http://proxy.invalid")
        .no(host)
        .build()
}

/// Splits `example.com:8080` and `[::1]:8080`; an IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        Some(_) | None => (entry, None),
    }
}
