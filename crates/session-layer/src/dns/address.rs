use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The target of an override: an IP address, with or without a port.
///
/// Without a port, or with port 0, the URL's is dialled; any other port is dialled in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HostAddress(SocketAddr);

impl HostAddress {
    pub(super) fn get(self) -> SocketAddr {
        self.0
    }
}

impl From<SocketAddr> for HostAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl From<IpAddr> for HostAddress {
    fn from(address: IpAddr) -> Self {
        Self(SocketAddr::new(address, 0))
    }
}

impl From<Ipv4Addr> for HostAddress {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for HostAddress {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
    }
}
