/// A client under measurement, as one variant of a binary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) binary: &'static str,
    pub(crate) variant: &'static str,
    /// Whether it tries a 503 again.
    pub(crate) retries: bool,
    /// Whether the quick form measures it.
    pub(crate) quick: bool,
    /// Whether it can leave a body uncollected.
    pub(crate) streams: bool,
}

impl Peer {
    const fn new(name: &'static str, binary: &'static str, variant: &'static str) -> Self {
        Self {
            name,
            binary,
            variant,
            retries: false,
            quick: false,
            streams: true,
        }
    }

    const fn retries(mut self) -> Self {
        self.retries = true;
        self
    }

    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    const fn collects(mut self) -> Self {
        self.streams = false;
        self
    }
}

/// What the others are compared with.
pub(crate) const RAW: Peer = Peer::new("raw hyper", "raw", "-").quick();

pub(crate) const PEERS: [Peer; 10] = [
    RAW,
    Peer::new("session", "ours", "session").quick(),
    Peer::new("session + retry", "ours", "session-retry")
        .retries()
        .quick(),
    Peer::new("client, as a service", "ours", "client")
        .retries()
        .quick(),
    Peer::new("client, `send`", "ours", "client-send")
        .retries()
        .quick(),
    Peer::new("client, `fetch`", "ours", "client-fetch")
        .retries()
        .quick()
        .collects(),
    Peer::new("hyper-util", "peer-hyper-util", "bare").quick(),
    Peer::new("hyper-util + tower::retry", "peer-hyper-util", "retry").retries(),
    Peer::new("reqwest", "peer-reqwest", "-"),
    Peer::new(
        "reqwest-middleware + reqwest-retry",
        "peer-reqwest-middleware",
        "-",
    )
    .retries(),
];
