/// The progress of a download or an upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// How many bytes were written: of a download to its destination, of an upload to the
    /// connection, which may have some hundred KiB of them in its buffers.
    pub written: u64,
    /// How many bytes there will be, if known: of a download if the server announced the length and
    /// the body is not decoded as it comes, of an upload if its body announces its length. A
    /// download by [`download_to`](crate::RequestBuilder::download_to) is decoded after all bytes
    /// have come, so both numbers count encoded bytes then.
    pub total: Option<u64>,
    /// How many of the written bytes an earlier run of the program had left, for a
    /// [download](crate::RequestBuilder::download_to) that goes on from there; otherwise 0.
    pub resumed_from: u64,
    /// How often it has begun anew from 0 bytes. A download that goes on where it broke does not
    /// count; an upload counts each further attempt that sends anything, but no hedge of one.
    pub restarts: u32,
}
