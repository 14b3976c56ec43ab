use std::process::Command;

/// A client under measurement.
#[allow(clippy::struct_excessive_bools, reason = "they are a row of a table")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// What its figures are kept under.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) variant: &'static str,
    /// Whether it tries a 503 again.
    pub(crate) retries: bool,
    /// Whether the quick form measures it.
    pub(crate) quick: bool,
    /// Whether it can send a stream.
    pub(crate) sends_streams: bool,
    /// Whether it can leave a body uncollected.
    pub(crate) reads_streams: bool,
    /// Whether its circuit breaker, as it is by default, opens when one request in ten fails.
    pub(crate) breaks: bool,
}

/// What a client runs as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// A binary of this workspace.
    Binary(&'static str),
    /// A script in `foreign`, by its interpreter. Only the time it takes can be compared.
    Script(&'static str, &'static str),
}

impl Peer {
    const fn new(
        id: &'static str,
        name: &'static str,
        binary: &'static str,
        variant: &'static str,
    ) -> Self {
        Self {
            id,
            name,
            program: Program::Binary(binary),
            variant,
            retries: false,
            quick: false,
            sends_streams: true,
            reads_streams: true,
            breaks: false,
        }
    }

    const fn script(
        id: &'static str,
        name: &'static str,
        interpreter: &'static str,
        file: &'static str,
    ) -> Self {
        let mut peer = Self::new(id, name, "", "-");
        peer.program = Program::Script(interpreter, file);
        peer
    }

    const fn retries(mut self) -> Self {
        self.retries = true;
        self
    }

    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    const fn sends_no_streams(mut self) -> Self {
        self.sends_streams = false;
        self
    }

    const fn reads_no_streams(mut self) -> Self {
        self.reads_streams = false;
        self
    }

    const fn breaks(mut self) -> Self {
        self.breaks = true;
        self
    }

    /// Whether it is one of this project's.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.program, Program::Binary("ours"))
    }

    /// Whether it can run here: what a script needs may be absent.
    pub(crate) fn is_there(&self) -> bool {
        let Program::Script(interpreter, file) = self.program else {
            return true;
        };
        let script = format!("tests/peers/foreign/{file}");
        let check = Command::new(interpreter).args([&script, "check"]).output();
        check.is_ok_and(|output| output.status.success())
    }
}

/// What the others are compared with.
pub(crate) const RAW: Peer = Peer::new("raw", "raw hyper", "raw", "-").quick();

/// The same with the one header that the client adds: in no table, for what of the client's that is.
pub(crate) const RAW_AGENT: Peer = Peer::new(
    "raw-user-agent",
    "raw hyper, with a `User-Agent`",
    "raw",
    "user-agent",
);

/// The whole stack, as a tower service.
pub(crate) const CLIENT: Peer = Peer::new("client", "client, as a service", "ours", "client")
    .retries()
    .quick();

pub(crate) const SESSION: Peer = Peer::new("session", "session", "ours", "session").quick();

pub(crate) const SESSION_RETRY: Peer =
    Peer::new("session-retry", "session + retry", "ours", "session-retry")
        .retries()
        .quick();

pub(crate) const SEND: Peer = Peer::new("client-send", "client, `send`", "ours", "client-send")
    .retries()
    .quick();

pub(crate) const FETCH: Peer = Peer::new("client-fetch", "client, `fetch`", "ours", "client-fetch")
    .retries()
    .quick()
    .reads_no_streams();

/// The whole stack in a program that has nothing else: in no table, for what of it is in memory.
pub(crate) const ALONE: Peer =
    Peer::new("client-alone", "client, alone", "ours-client", "client").retries();

/// The whole stack without its deadline and its timeouts: in no table, for what these cost.
pub(crate) const UNTIMED: Peer = Peer::new(
    "client-untimed",
    "client, untimed",
    "ours",
    "client-untimed",
);

/// The whole stack with a small buffer for reading: in no table, for what its connections hold.
pub(crate) const SMALL: Peer = Peer::new(
    "client-small",
    "client, small buffers",
    "ours",
    "client-small",
);

/// The session with retries, and with room to keep a whole upload: in no table, for what that costs.
pub(crate) const REPLAY: Peer = Peer::new(
    "session-replay",
    "session + retry, keeping all",
    "ours",
    "session-replay",
);

pub(crate) const HYPER_UTIL: Peer =
    Peer::new("hyper-util", "hyper-util", "peer-hyper-util", "bare").quick();

pub(crate) const HYPER_UTIL_RETRY: Peer = Peer::new(
    "hyper-util-retry",
    "hyper-util + tower::retry",
    "peer-hyper-util",
    "retry",
)
.retries();

pub(crate) const REQWEST: Peer = Peer::new("reqwest", "reqwest", "peer-reqwest", "default");

pub(crate) const REQWEST_MIDDLEWARE: Peer = Peer::new(
    "reqwest-middleware",
    "reqwest-middleware + reqwest-retry",
    "peer-reqwest-middleware",
    "-",
)
.retries()
.sends_no_streams();

/// The one of Microsoft, with the pipeline that it has by default.
pub(crate) const MS_FETCH: Peer = Peer::new("fetch", "Microsoft's fetch", "peer-fetch", "standard")
    .retries()
    .breaks();

pub(crate) const AIOHTTP: Peer = Peer::script(
    "aiohttp",
    "Python: aiohttp + aiohttp-retry",
    "python3",
    "aiohttp_retry_client.py",
);

pub(crate) const UNDICI: Peer = Peer::script(
    "undici",
    "Node: undici's RetryAgent",
    "node",
    "undici_retry_agent.cjs",
);

pub(crate) const PEERS: [Peer; 17] = [
    RAW,
    SESSION,
    SESSION_RETRY,
    CLIENT,
    SEND,
    FETCH,
    HYPER_UTIL,
    HYPER_UTIL_RETRY,
    Peer::new(
        "tower-resilience",
        "hyper-util + tower-resilience",
        "peer-tower-resilience",
        "-",
    )
    .retries()
    // Its requests have to be `Clone`.
    .sends_no_streams(),
    REQWEST,
    Peer::new(
        "reqwest-never",
        "reqwest, without its retries",
        "peer-reqwest",
        "never",
    ),
    REQWEST_MIDDLEWARE,
    Peer::new(
        "tower-http-client",
        "tower-http-client + tower::retry",
        "peer-tower-http-client",
        "-",
    )
    .retries(),
    MS_FETCH,
    Peer::new(
        "fetch-minimal",
        "Microsoft's fetch, its minimal pipeline",
        "peer-fetch",
        "minimal",
    ),
    AIOHTTP,
    UNDICI,
];
