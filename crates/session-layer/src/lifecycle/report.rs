/// What became of the connections that were in use when a session was closed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Those whose exchange came to its end in time.
    pub finished: usize,
    /// Those that were cut off at the deadline.
    pub aborted: usize,
}
