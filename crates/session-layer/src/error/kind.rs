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

/// What a request was waiting for when its time ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// A free place in the pool, or on its HTTP/2 connection, which has not sent it.
    Queue,
    /// The addresses of the name. Of a connector that is not this crate's, `Connect` has it.
    Dns,
    /// The connection: TCP, a proxy, TLS.
    Connect,
    /// The head of the response, or the peer's taking of the request body before it.
    Head,
    /// The next bytes of the response body.
    Body,
}
