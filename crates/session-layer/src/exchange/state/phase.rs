/// What carries an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carrier {
    /// A connection that carries no other exchange meanwhile. What the exchange waits for is seen on
    /// the socket.
    Connection,
    /// An HTTP/2 stream. The socket does not tell which of the streams waits, and closing it would
    /// end all of them.
    Stream,
}

/// When the response began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Began {
    /// After hyper had taken the whole request.
    InTime,
    /// Before that: the peer has not read the whole of the request, as far as is known.
    Early,
}

/// How far an exchange is, as the timers of its connection see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum ExchangePhase {
    /// No exchange is under way.
    Idle = 0,
    /// hyper has not taken the request body to its end.
    Sending = 1,
    /// The request was taken, and its response has no head yet.
    Head = 2,
    /// The response body is being read.
    Body = 3,
    /// The exchange is over, but the upload of its request body is not.
    Orphan = 4,
    /// The response body was dropped. The connection reads the rest, so that it can be reused.
    Draining = 5,
}
