/// How far a download or an upload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// How many bytes were written: of a download to where it goes, of an upload to the connection,
    /// which may have some hundred KiB of them in its buffers.
    pub written: u64,
    /// How many there will be, if that is known: of a download if the server said so and they are not
    /// decoded as they come, of an upload if its body announces its length. What
    /// [`download_to`](crate::RequestBuilder::download_to) loads is decoded when all is there, so both
    /// figures are those of the encoded bytes then.
    pub total: Option<u64>,
    /// How many of the written bytes an earlier run of the program had left, for a
    /// [download](crate::RequestBuilder::download_to) that goes on from there; else 0.
    pub resumed_from: u64,
    /// How often it has begun anew, from 0 bytes on. A download that goes on where it broke has not;
    /// an upload has with each further attempt that sends anything.
    pub restarts: u32,
}
