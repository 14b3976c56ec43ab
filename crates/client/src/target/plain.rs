//! Recognizes URLs that the parser would leave unchanged.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `Url` would leave the text unchanged: absolute, a lower-case scheme, no userinfo, a
/// canonical host and port, no characters to escape, and no dot segments.
pub(super) fn is_plain(text: &str) -> bool {
    let (rest, default_port) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (rest, 80),
        (None, Some(rest)) => (rest, 443),
        (None, None) => return false,
    };
    !rest.contains("/.")
        && rest.bytes().all(|byte| {
            matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')
                || b"-._~:/?[]!$&()*+,;=%".contains(&byte)
        })
        && !rest.contains("%2e")
        && !rest.contains("%2E")
        && rest
            .split(['/', '?'])
            .next()
            .is_some_and(|authority| is_plain_authority(authority, default_port))
}

fn is_plain_authority(authority: &str, default_port: u16) -> bool {
    if let Some((address, port)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        // `Url` writes an IPv4 address inside differently.
        let is_written_so = |it: Ipv6Addr| !address.contains('.') && it.to_string() == address;
        return address.parse().is_ok_and(is_written_so) && is_plain_port(port, default_port);
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    is_plain_host(host) && is_plain_port(port, default_port)
}

fn is_plain_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    // With such a last label, `Url` reads the whole host as an IPv4 address. Only its canonical
    // form is plain: four decimal numbers without leading zeros.
    if last.starts_with(|first: char| first.is_ascii_digit()) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    name.split('.')
        .all(|label| !label.is_empty() && !label.starts_with("xn--"))
        && !host
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || b"%[]".contains(&byte))
}

/// Whether `Url` would keep this port with its colon, or that there is none.
fn is_plain_port(port: &str, default_port: u16) -> bool {
    if port.is_empty() {
        return true;
    }
    port.strip_prefix(':').is_some_and(|digits| {
        digits.starts_with(|first| matches!(first, '1'..='9'))
            && digits.parse().is_ok_and(|port: u16| port != default_port)
    })
}
