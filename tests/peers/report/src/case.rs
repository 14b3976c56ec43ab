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
            "h2" => Self::busy(protocol, 16, 3_200),
            _ => Self::new(protocol, 2_000, "warm=100"),
        }
    }

    /// GETs with four headers of their own.
    pub(crate) fn headers(protocol: &'static str) -> Self {
        let case = Self::get(protocol);
        Self {
            settings: format!("{} headers=4", case.settings),
            ..case
        }
    }

    /// GETs, so many of them at a time.
    pub(crate) fn busy(protocol: &'static str, workers: usize, requests: usize) -> Self {
        let warm = 20 * workers;
        Self::new(protocol, requests, format!("warm={warm} workers={workers}"))
    }

    /// GETs over HTTP/2, so many of them at a time, on connections that carry no more than so many streams.
    pub(crate) fn streams(workers: usize, streams: usize, requests: usize) -> Self {
        let mut case = Self::busy("h2", workers, requests);
        case.settings = format!("{} streams={streams}", case.settings);
        case
    }

    /// GETs to several hosts in turn, on connections that have been used before: what opening them
    /// left behind is with malloc's first allocations.
    pub(crate) fn hosts(hosts: usize) -> Self {
        Self::new("h1", 2_000, format!("hosts={hosts} warm={hosts}"))
    }

    /// The first GET to each of several hosts.
    pub(crate) fn cold(hosts: usize) -> Self {
        Self::new("h1", hosts, format!("hosts={hosts} cold=1"))
    }

    /// Connections that stand idle, one for each host.
    pub(crate) fn idle(protocol: &'static str, hosts: usize) -> Self {
        Self::new(protocol, 0, format!("hosts={hosts}"))
    }

    /// GETs of which one in `every` is answered by 503 at first, with a body of so many bytes.
    pub(crate) fn flaky(every: usize, bytes: usize) -> Self {
        let requests = 100 * every;
        Self::new(
            "h1",
            requests.min(4_000),
            format!("path=/flaky/{every}/{bytes} warm=100"),
        )
    }

    /// PUTs of 1 MiB, as bytes or as a stream of frames.
    pub(crate) fn upload(frame: usize) -> Self {
        let bytes = 1024 * 1024;
        Self::new(
            "h1",
            20,
            format!("path=/upload warm=2 upload={bytes} frame={frame}"),
        )
    }

    /// A GET of 100 MiB.
    pub(crate) fn download() -> Self {
        Self::new("h1", 1, "path=/download cold=1")
    }

    /// One small GET, for what a process needs before it does anything.
    pub(crate) fn once() -> Self {
        Self::new("h1", 1, "cold=1")
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

    /// The same, cut into so many slices of the measured requests each.
    pub(crate) fn slices(mut self, slices: usize) -> Self {
        self.settings = format!("{} slices={slices}", self.settings);
        self
    }

    /// The arguments after the protocol and the port.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let requests = format!("requests={}", self.requests);
        let settings = self.settings.split_whitespace().map(str::to_owned);
        settings.chain([requests]).collect()
    }
}
