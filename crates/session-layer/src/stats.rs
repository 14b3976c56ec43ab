/// The figures of a pool at one moment, as [`Session::stats`](crate::Session::stats) gives them.
///
/// Connections are counted from the moment at which their opening begins until their socket is
/// closed, so `open` never exceeds the limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections now: being opened, idle, and in use.
    pub open: usize,
    /// Connections being opened now.
    pub connecting: usize,
    /// Connections that stand idle now.
    pub idle: usize,
    /// Connections that carry a request or a response body now, or are closing.
    pub in_use: usize,
    /// Requests that wait for a connection now.
    pub waiting: usize,
    /// Connections opened so far.
    pub opened: u64,
    /// Requests so far that were given a connection used before.
    pub reused: u64,
    /// Connections closed so far.
    pub closed: u64,
}
