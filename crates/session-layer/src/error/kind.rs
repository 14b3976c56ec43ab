use std::time::Duration;

use crate::TooSlow;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Uri(&'static str),
    Headers(&'static str),
    Dns,
    Connect,
    Proxy,
    Tls,
    PoolTimeout(Duration),
    QueueFull(usize),
    Closed,
    Aborted,
    Unsent,
    Stale(Sent),
    Broken,
    Unprocessed,
    Reset,
    Timeout(Phase, Duration),
    TooSlow(TooSlow),
    Protocol(&'static str),
    TooLarge(&'static str),
    RequestBody,
    ResponseBody,
}

/// How much of a request was written to its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sent {
    Nothing,
    /// A part of it, or all.
    Something,
}

/// What a request was waiting for when a timeout ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// A place in the pool, or a stream on its HTTP/2 connection. The request was not sent.
    Queue,
    /// The addresses of the host's name. With a connector other than this crate's, this is part of
    /// `Connect`.
    Dns,
    /// The connection to be opened: TCP, a proxy, TLS.
    Connect,
    /// The head of the response; or, before that, the peer to take more of the request body.
    Head,
    /// The next bytes of the response body.
    Body,
}
