use std::net::{IpAddr, Ipv4Addr};

use http::Uri;

use super::without_brackets;

/// The hosts that are connected to directly, as `NO_PROXY` lists them.
///
/// There is no standard for the variable. curl
/// ([`CURLOPT_NOPROXY`](https://curl.se/libcurl/c/CURLOPT_NOPROXY.html)) and Go
/// ([`httpproxy`](https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config)) document their forms.
/// An entry that both know means here what it means there; one that only one of them knows means
/// what it means to that one.
#[derive(Clone, Debug, Default)]
pub(super) struct Exempt(Vec<Entry>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    hosts: Hosts,
    /// `None` stands for any port.
    port: Option<u16>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Hosts {
    All,
    /// A name in lower case, and its subdomains.
    Within(String),
    /// Only the subdomains of a name.
    Below(String),
    Network(Network),
}

/// A network of addresses; a single address is a network too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

/// An entry that cannot match any host: its place in the list, counted from one, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Useless {
    pub(super) place: usize,
    pub(super) why: &'static str,
}

impl Exempt {
    /// Reads a list; entries that cannot match any host are left out, and returned.
    pub(super) fn read(list: &str) -> (Self, Vec<Useless>) {
        let (mut exempt, mut useless) = (Self::default(), Vec::new());
        let entries = list.split([',', ' ', '\t', '\r', '\n']);
        for (index, entry) in entries.filter(|entry| !entry.is_empty()).enumerate() {
            match Entry::read(entry) {
                Ok(entry) => exempt.0.push(entry),
                Err(why) => useless.push(Useless {
                    place: index + 1,
                    why,
                }),
            }
        }
        (exempt, useless)
    }

    /// Whether a URI's host is connected to directly at this port.
    pub(super) fn covers(&self, uri: &Uri, port: u16) -> bool {
        let Some(host) = uri.host().filter(|_| !self.0.is_empty()) else {
            return false;
        };
        let host = without_brackets(host);
        let entries = self.0.iter();
        let mut entries = entries.filter(|entry| entry.port.is_none_or(|it| it == port));
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return entries.any(|entry| entry.hosts.has_address(address));
        }
        let name = host.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        entries.any(|entry| entry.hosts.has_name(name))
    }
}

impl Entry {
    fn read(entry: &str) -> Result<Self, &'static str> {
        // A network and an address come first: both of IPv6 have colons that begin no port.
        if let Some((address, prefix)) = entry.split_once('/') {
            return Ok(Self {
                hosts: Hosts::Network(Network::read(address, prefix)?),
                port: None,
            });
        }
        if let Ok(address) = entry.parse() {
            return Ok(Self {
                hosts: Hosts::Network(Network::of(address)),
                port: None,
            });
        }
        let (host, port) = match entry.rsplit_once(':') {
            // The colon is one of an address in brackets.
            Some(_) if entry.ends_with(']') => (entry, None),
            Some((host, port)) => (host, Some(read_port(port)?)),
            None => (entry, None),
        };
        let hosts = Hosts::read(host)?;
        Ok(Self { hosts, port })
    }
}

impl Hosts {
    fn read(host: &str) -> Result<Self, &'static str> {
        if host == "*" {
            return Ok(Self::All);
        }
        if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']').and_then(|it| it.parse().ok());
            let address = address.filter(IpAddr::is_ipv6);
            let address = address.ok_or("a pair of brackets without an IPv6 address")?;
            return Ok(Self::Network(Network::of(address)));
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Network(Network::of(address.into())));
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let (name, below) = match host.strip_prefix('*') {
            Some(rest) => (rest.strip_prefix('.').ok_or(WILDCARD)?, true),
            None => (host.strip_prefix('.').unwrap_or(&host), false),
        };
        check_name(name)?;
        let name = name.to_owned();
        Ok(if below {
            Self::Below(name)
        } else {
            Self::Within(name)
        })
    }

    fn has_name(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Within(domain) => name == domain || is_below(name, domain),
            Self::Below(domain) => is_below(name, domain),
            Self::Network(_) => false,
        }
    }

    fn has_address(&self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Network(network) => network.has(address),
            Self::Within(_) | Self::Below(_) => false,
        }
    }
}

impl Network {
    /// A single address. An IPv4-mapped address counts as the IPv4 address.
    fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            prefix: bits(address),
        }
    }

    fn read(address: &str, prefix: &str) -> Result<Self, &'static str> {
        let address: IpAddr = address
            .parse()
            .map_err(|_| "a network that does not begin with an IP address")?;
        let prefix: u8 = Some(prefix)
            .filter(|prefix| prefix.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|prefix| prefix.parse().ok())
            .filter(|prefix| *prefix <= bits(address))
            .ok_or("a network whose prefix is none, or is longer than an address")?;
        let canonical = address.to_canonical();
        // A mapped network is one of IPv4, unless it is wider than all of those.
        let mapped_by = bits(address) - bits(canonical);
        Ok(match prefix.checked_sub(mapped_by) {
            Some(prefix) => Self {
                address: canonical,
                prefix,
            },
            None => Self { address, prefix },
        })
    }

    fn has(self, address: IpAddr) -> bool {
        let common = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        common >= self.prefix.into()
    }
}

const WILDCARD: &str = "a `*` that stands neither alone nor before a name's first dot";

fn read_port(port: &str) -> Result<u16, &'static str> {
    Some(port)
        .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|port| port.parse().ok())
        .filter(|port| *port != 0)
        .ok_or("a host with a port that is none")
}

/// Refuses a name that cannot be the host of a URI.
fn check_name(name: &str) -> Result<(), &'static str> {
    if !name.is_ascii() {
        return Err("a name that is not ASCII; in URIs it is spelled `xn--..`");
    }
    if name.contains('*') {
        return Err(WILDCARD);
    }
    let in_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(in_names) {
        return Err("a name with characters that are in none");
    }
    if name.split('.').any(str::is_empty) {
        return Err("a name with an empty part");
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a part of an IP address; a network is written as 10.0.0.0/8");
    }
    Ok(())
}

fn is_below(name: &str, domain: &str) -> bool {
    let rest = name.strip_suffix(domain);
    rest.is_some_and(|rest| rest.ends_with('.'))
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(list: &str, uri: &str) -> bool {
        let (exempt, useless) = Exempt::read(list);
        assert_eq!(useless, [], "{list:?}");
        let uri: Uri = uri.parse().unwrap();
        let default = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        exempt.covers(&uri, uri.port_u16().unwrap_or(default))
    }

    #[test]
    fn a_list_is_read_as_curl_and_go_read_it() {
        for (list, uri, direct) in [
            ("example.com", "http://example.com/", true),
            ("example.com", "http://EXAMPLE.com:81/", true),
            ("EXAMPLE.com", "http://www.example.com/", true),
            ("example.com", "http://notexample.com/", false),
            ("example.com", "http://com/", false),
            ("example.com", "http://example.com.evil.test/", false),
            ("localhost", "http://localhost:8080/", true),
            ("a_b-c.test", "http://a_b-c.test/", true),
            // The name of a dot is that without it.
            (".example.com", "http://example.com/", true),
            (".example.com", "http://www.example.com/", true),
            ("example.com.", "http://example.com/", true),
            ("example.com", "http://example.com./", true),
            (".example.com.", "http://www.example.com./", true),
            // With a wildcard, as Go has it: the subdomains alone.
            ("*.example.com", "http://www.example.com/", true),
            ("*.Example.com.", "http://a.b.example.com/", true),
            ("*.example.com", "http://example.com/", false),
            ("*.example.com", "http://wwwexample.com/", false),
            ("*.example.com:81", "http://www.example.com:81/", true),
            ("*.example.com:81", "http://www.example.com/", false),
            // Separators.
            ("a.test b.test", "http://b.test/", true),
            ("a.test b.test", "http://a.test/", true),
            (" a.test ,\tb.test,, ", "https://b.test/", true),
            ("a.test,b.test", "http://c.test/", false),
            // Ports.
            ("example.com:81", "http://www.example.com:81/", true),
            ("example.com:81", "http://example.com/", false),
            ("example.com:80", "http://example.com/", true),
            ("example.com:443", "https://example.com/", true),
            ("example.com:81", "http://notexample.com:81/", false),
            // Addresses.
            ("10.1.2.3", "http://10.1.2.3:81/", true),
            ("10.1.2.3", "http://10.1.2.4/", false),
            ("10.1.2.3", "http://www.10.1.2.3.test/", false),
            ("10.1.2.3:81", "http://10.1.2.3:81/", true),
            ("10.1.2.3:81", "http://10.1.2.3/", false),
            ("::1", "http://[::1]/", true),
            ("0:0::1", "http://[::1]/", true),
            ("[::1]", "http://[::1]:81/", true),
            ("[::1]:81", "http://[::1]:81/", true),
            ("[::1]:81", "http://[::1]:82/", false),
            ("127.0.0.1", "http://localhost/", false),
            // Networks.
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.9.9.9/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("10.0.0.0/9", "http://10.128.0.0/", false),
            ("0.0.0.0/0", "http://10.1.2.3/", true),
            ("0.0.0.0/0", "http://[::1]/", false),
            ("10.1.2.3/32", "http://10.1.2.3/", true),
            ("fd00::/8", "http://[fdff::1]/", true),
            ("fd00::/8", "http://[fe00::1]/", false),
            ("::/0", "http://[fe00::1]/", true),
            // A mapped address is the IPv4 address that it maps.
            ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/", true),
            ("10.1.2.3", "http://[::ffff:a01:203]/", true),
            ("::ffff:10.1.2.3", "http://10.1.2.3/", true),
            ("[::ffff:10.1.2.3]:80", "http://10.1.2.3/", true),
            ("::ffff:10.0.0.0/104", "http://10.1.2.3/", true),
            ("::ffff:10.0.0.0/104", "http://11.1.2.3/", false),
            // Everything.
            ("*", "http://example.com/", true),
            ("*", "http://127.0.0.1/", true),
            ("a,*", "https://[::1]/", true),
            ("*:81", "http://example.com:81/", true),
            ("*:81", "http://example.com/", false),
            // Nothing.
            ("", "http://localhost/", false),
            ("", "http://127.0.0.1/", false),
            (" , ", "http://example.com/", false),
        ] {
            assert_eq!(covers(list, uri), direct, "{list:?} {uri}");
        }
    }

    #[test]
    fn what_can_match_nothing_is_told_and_the_rest_is_kept() {
        for entry in [
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8:80",
            "10.0.0/8",
            "fd00::/129",
            "[fd00::]/8",
            "example.com/8",
            "/8",
            "10.0.",
            "192.168",
            "10.*",
            "10.0.0.256",
            "example.com:",
            "example.com:0",
            "example.com:65536",
            "example.com:+80",
            "example.com:http",
            "example.*",
            "*example.com",
            "**",
            "*.",
            "*.*.example.com",
            ".",
            "..",
            "a..test",
            "..example.com",
            ":80",
            "[::1",
            "[::1]80",
            "[10.0.0.1]",
            "[example.com]",
            "::1]",
            "1::2::3",
            "fe80::1%eth0",
            "http://example.com",
            "http:example.com",
            "user@example.com",
            "a.test;b.test",
            "<local>",
            "b\u{fc}cher.test",
        ] {
            let list = format!("a.test,  {entry} b.test");
            let (exempt, useless) = Exempt::read(&list);
            let places: Vec<_> = useless.iter().map(|it| it.place).collect();
            assert_eq!(places, [2], "{entry}");
            assert_eq!(exempt.0.len(), 2, "{entry}");
        }
    }

    proptest! {
        #[test]
        fn every_entry_is_kept_or_told(list in "[a-z0-9.:*/\\[\\]%, -]{0,40}") {
            let entries = list.split([',', ' ']).filter(|entry| !entry.is_empty()).count();
            let (exempt, useless) = Exempt::read(&list);
            prop_assert_eq!(exempt.0.len() + useless.len(), entries);
        }

        #[test]
        fn nothing_panics(list in ".*") {
            _ = Exempt::read(&list);
        }
    }
}
