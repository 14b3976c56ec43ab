use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

type Guard = dyn Fn(&str, IpAddr) -> bool + Send + Sync;

/// All guards of a resolver; an address has to pass each of them.
#[derive(Clone, Default)]
pub(super) struct Guards(Vec<Arc<Guard>>);

impl Guards {
    pub(super) fn push(&mut self, guard: impl Fn(&str, IpAddr) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(guard));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the addresses that are refused, and returns the first of them.
    pub(super) fn retain(&self, host: &str, addresses: &mut Vec<SocketAddr>) -> Option<IpAddr> {
        let mut refused = None;
        addresses.retain(|address| {
            let passes = self.pass(host, address.ip());
            if !passes {
                refused.get_or_insert(address.ip());
            }
            passes
        });
        refused
    }

    fn pass(&self, host: &str, address: IpAddr) -> bool {
        // An IPv4-mapped address leads to the IPv4 address, so the guard gets that one: a
        // comparison with 127.0.0.1 then holds for both spellings.
        let address = address.to_canonical();
        self.0.iter().all(|guard| guard(host, address))
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} guards", self.0.len())
    }
}
