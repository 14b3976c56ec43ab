use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public Internet, and so leads neither to this host nor into its
/// network.
///
/// Not public is what the registries of special-purpose addresses (RFC 6890) keep from being
/// forwarded globally: unspecified (`0.0.0.0/8`, `::`), loopback, private, shared
/// (`100.64.0.0/10`), link-local with the clouds' metadata at `169.254.169.254`, unique local,
/// protocol assignments, documentation, benchmarking, multicast, broadcast and reserved. So is
/// `168.63.129.16`, which looks public and is the host of each virtual machine of Azure.
///
/// An IPv6 address that leads to an IPv4 address is public if that one is: IPv4-mapped, NAT64
/// (`64:ff9b::/96`), 6to4 and Teredo. The NAT64 prefix for local use (`64:ff9b:1::/48`) and the
/// old IPv4-compatible addresses are not, whatever they contain; a NAT64 prefix of a network's own
/// cannot be told from other addresses.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The host of a virtual machine of Azure.
const AZURE_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, private, loopback; multicast, reserved and broadcast.
        [0 | 10 | 127 | 224.., ..] => true,
        // Shared between a provider and its customers.
        [100, second, ..] => (64..128).contains(&second),
        // Link-local.
        [169, second, ..] => second == 254,
        // Private.
        [172, second, ..] => (16..32).contains(&second),
        // Private; the old relays of 6to4; protocol assignments, documentation.
        [192, second, third, _] => matches!((second, third), (168, _) | (88, 99) | (0, 0 | 2)),
        // Benchmarking, documentation.
        [198, second, third, _] => matches!((second, third), (18 | 19, _) | (51, 100)),
        // Documentation.
        [203, second, third, _] => (second, third) == (0, 113),
        _ => false,
    };
    !special && address != AZURE_HOST
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // IPv4-mapped; NAT64; 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Teredo: its server, and its client with all bits inverted.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            is_public_v4(embedded(high, low)) && is_public_v4(embedded(!client_high, !client_low))
        }
        // Protocol assignments, benchmarking and ORCHID among them; documentation, twice.
        [0x2001, 0..0x200 | 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => false,
        // All that is global unicast now; the rest is special, or reserved.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first and the last address of each range, and the public ones beside it.
    #[test]
    fn special_addresses_are_not_public_and_their_neighbours_are() {
        for (public, addresses) in [
            (false, "0.0.0.0 0.0.0.1 0.255.255.255"),
            (true, "1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255"),
            (false, "10.0.0.0 10.255.255.255"),
            (true, "11.0.0.0 100.63.255.255"),
            (false, "100.64.0.0 100.100.100.200 100.127.255.255"),
            (true, "100.128.0.0 126.255.255.255"),
            (false, "127.0.0.0 127.0.0.1 127.1.2.3 127.255.255.255"),
            (true, "128.0.0.0 168.63.129.15 168.63.129.17"),
            (false, "168.63.129.16"),
            (true, "169.253.255.255"),
            (false, "169.254.0.0 169.254.169.254 169.254.255.255"),
            (true, "169.255.0.0 172.15.255.255"),
            (false, "172.16.0.0 172.31.255.255"),
            (true, "172.32.0.0 191.255.255.255"),
            (false, "192.0.0.0 192.0.0.192 192.0.0.255"),
            (true, "192.0.1.0 192.0.1.255"),
            (false, "192.0.2.0 192.0.2.255"),
            (true, "192.0.3.0 192.88.98.255"),
            (false, "192.88.99.0 192.88.99.255"),
            (true, "192.88.100.0 192.167.255.255"),
            (false, "192.168.0.0 192.168.255.255"),
            (true, "192.169.0.0 198.17.255.255"),
            (false, "198.18.0.0 198.19.255.255"),
            (true, "198.20.0.0 198.51.99.255"),
            (false, "198.51.100.0 198.51.100.255"),
            (true, "198.51.101.0 203.0.112.255"),
            (false, "203.0.113.0 203.0.113.255"),
            (true, "203.0.114.0 223.255.255.255"),
            (false, "224.0.0.0 224.0.0.251 239.255.255.255"),
            (false, "240.0.0.0 255.255.255.254 255.255.255.255"),
            // Unspecified, loopback, IPv4-compatible.
            (false, ":: ::1 ::2 ::127.0.0.1 ::8.8.8.8"),
            // IPv4-mapped, and IPv4-translated, which is for routers.
            (false, "::ffff:127.0.0.1 ::ffff:0.0.0.0 ::ffff:a9fe:a9fe"),
            (true, "::ffff:8.8.8.8"),
            (false, "::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8"),
            // NAT64, and the prefix for local use.
            (false, "64:ff9b::127.0.0.1 64:ff9b::10.0.0.1"),
            (true, "64:ff9b::8.8.8.8"),
            (
                false,
                "64:ff9b::1:808:808 64:ff9b:1::8.8.8.8 64:ff9b:1:ffff::1",
            ),
            // Discard, SRv6, and what is not given out.
            (false, "100::1 100:0:0:1::1 1fff:: 4000::1 5f00::1 8000::1"),
            // Teredo: a private client, a private server, and both public.
            (false, "2001:0:808:808::f5ff:fffe 2001:0:a00:1::f7f7:f7f7"),
            (true, "2001:0:808:808::f7f7:f7f7"),
            // Protocol assignments: anycast, benchmarking, ORCHID.
            (
                false,
                "2001:1::1 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1",
            ),
            (
                true,
                "2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1",
            ),
            (false, "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            // 6to4.
            (
                false,
                "2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101::1 2002:a9fe:a9fe::1",
            ),
            (true, "2002:808:808::1"),
            (
                true,
                "2000:: 2003::1 2606:4700:4700::1111 2a00:1450::1 3ffe:ffff::1",
            ),
            (false, "3fff:: 3fff:fff:ffff::1"),
            (true, "3fff:1000::1"),
            // Unique local, with the metadata of AWS and of Google; link-local; site-local.
            (false, "fc00::1 fd00:ec2::254 fd20:ce::254 fdff:ffff::1"),
            (false, "fe80::1 febf::1 fec0::1 feff::1"),
            (false, "ff00:: ff02::1 ff0e::1"),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_ipv6_address_is_only_as_public_as_the_ipv4_one_it_leads_to(
            bits: u32,
            other: u32,
            rest: u64,
        ) {
            let (address, other) = (Ipv4Addr::from(bits), Ipv4Addr::from(other));
            let public = is_public(address.into());
            let low = u128::from(bits);
            let mapped = (0xffff_u128 << 32) | low;
            let nat64 = (0x64_ff9b_u128 << 96) | low;
            let six_to_four = (0x2002_u128 << 112) | (low << 80) | u128::from(rest);
            for leading in [mapped, nat64, six_to_four].map(Ipv6Addr::from) {
                prop_assert_eq!(is_public(leading.into()), public, "{}", leading);
            }
            let local_nat64 = (0x64_ff9b_0001_u128 << 80) | low;
            for never in [low, local_nat64].map(Ipv6Addr::from) {
                prop_assert!(!is_public(never.into()), "{}", never);
            }
            let teredo = |server: Ipv4Addr, client: Ipv4Addr| {
                let (server, client) = (server.to_bits(), !client.to_bits());
                let bits = (0x2001_u128 << 112) | (u128::from(server) << 64) | u128::from(client);
                is_public(Ipv6Addr::from(bits).into())
            };
            let both = public && is_public(other.into());
            prop_assert_eq!(teredo(address, other), both);
            prop_assert_eq!(teredo(other, address), both);
        }
    }
}
