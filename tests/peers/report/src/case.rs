/// What a client is put through.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) protocol: &'static str,
    /// How many requests are measured, for a case that is measured once.
    pub(crate) requests: usize,
    settings: String,
}

impl Case {
    /// GETs of 13 bytes: over HTTP/1 one after the other on one connection, over HTTP/2 on 16
    /// streams of one.
    pub(crate) fn get(protocol: &'static str) -> Self {
        match protocol {
            "h2" => Self::new(protocol, 3_200, "warm=320 workers=16"),
            _ => Self::new(protocol, 2_000, "warm=100"),
        }
    }

    /// GETs to several hosts in turn, on open connections.
    pub(crate) fn hosts(hosts: usize) -> Self {
        Self::new(
            "h1",
            hosts.max(2_000),
            format!("hosts={hosts} warm={hosts}"),
        )
    }

    /// The first GET to each of several hosts.
    pub(crate) fn cold(hosts: usize) -> Self {
        Self::new("h1", hosts, format!("hosts={hosts} cold=1"))
    }

    /// Connections that stand idle, one for each host.
    pub(crate) fn idle(protocol: &'static str, hosts: usize) -> Self {
        Self::new(protocol, 0, format!("hosts={hosts}"))
    }

    /// GETs of which one in ten is answered by 503 at first.
    pub(crate) fn flaky(path: &'static str) -> Self {
        Self::new("h1", 1_000, format!("path={path} warm=200"))
    }

    pub(crate) fn upload() -> Self {
        Self::new(
            "h1",
            20,
            format!("path=/upload warm=2 upload={}", 1024 * 1024),
        )
    }

    pub(crate) fn download() -> Self {
        Self::new("h1", 1, "path=/download")
    }

    fn new(protocol: &'static str, requests: usize, settings: impl Into<String>) -> Self {
        Self {
            protocol,
            requests,
            settings: settings.into(),
        }
    }

    /// The same with another number of measured requests.
    pub(crate) fn requests(mut self, requests: usize) -> Self {
        self.requests = requests;
        self
    }

    /// The arguments after the protocol and the port.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let requests = format!("requests={}", self.requests);
        let settings = self.settings.split_whitespace().map(str::to_owned);
        settings.chain([requests]).collect()
    }
}
