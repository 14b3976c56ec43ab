//! A peer that writes frames as it is told, right or wrong
//! ([RFC 9113, section 4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)).

use std::iter;

use test_support::frames;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

pub(crate) use test_support::frames::{
    STATUS_200 as OK, field,
    flag::{ACK, END_HEADERS, END_STREAM},
    frame,
    kind::{
        CONTINUATION, DATA, GOAWAY, HEADERS, PING, PUSH_PROMISE, RST_STREAM, SETTINGS,
        WINDOW_UPDATE,
    },
};

/// The stream of the first request.
pub(crate) const FIRST: u32 = 1;

/// How the connection of a client begins.
const PREFACE: usize = 24;

/// A head with `:status: 200` and these fields, whole.
pub(crate) fn head(flags: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    frames::head(FIRST, flags, fields)
}

/// A SETTINGS frame that allows so many streams at the same time.
pub(crate) fn allow(streams: u32) -> Vec<u8> {
    frames::settings(&[(frames::setting::MAX_CONCURRENT_STREAMS, streams)])
}

pub(crate) fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}

/// A frame that was read.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The peer's end of one connection, frame by frame. It answers the client's SETTINGS and PINGs by
/// itself.
pub(crate) struct Frames {
    read: ReadHalf<DuplexStream>,
    write: WriteHalf<DuplexStream>,
}

impl Frames {
    /// Reads how the client begins. Nothing is written.
    pub(crate) async fn accept(io: DuplexStream) -> Option<Self> {
        let (mut read, write) = tokio::io::split(io);
        read.read_exact(&mut [0; PREFACE]).await.ok()?;
        Some(Self { read, write })
    }

    /// Writes these bytes at once; whether the client is there.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.write.write_all(bytes).await.is_ok()
    }

    /// Reads the next frame, whatever it is; `None` if the client went away.
    pub(crate) async fn any(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?];
        self.read.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// Reads the next frame that it does not answer by itself.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let it = self.any().await?;
            match (it.kind, it.flags) {
                (SETTINGS, 0) => self.write(&settings_ack()).await,
                (PING, 0) => self.write(&frame(PING, ACK, 0, &it.payload)).await,
                (SETTINGS | PING | WINDOW_UPDATE, _) => true,
                _ => return Some(it),
            };
        }
    }
}

/// A whole answer to the request on this stream.
pub(crate) fn fine(stream: u32) -> Vec<u8> {
    frames::answer(stream, b"fine")
}

/// Reads frames up to the next request; returns its stream.
async fn next_request(io: &mut ReadHalf<DuplexStream>) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, _, stream @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        io.read_exact(&mut vec![0; length]).await.ok()?;
        if kind == HEADERS {
            return Some(u32::from_be_bytes(stream));
        }
    }
}

/// Answers every request well.
pub(crate) async fn behave(io: DuplexStream) {
    let (mut read, mut write) = tokio::io::split(io);
    let _ = write.write_all(&frame(SETTINGS, 0, 0, &[])).await;
    let mut preface = [0; PREFACE];
    if read.read_exact(&mut preface).await.is_err() {
        return;
    }
    while let Some(stream) = next_request(&mut read).await {
        if write.write_all(&fine(stream)).await.is_err() {
            return;
        }
    }
}

/// What a peer writes when a request has come.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) first: Vec<u8>,
    /// What follows, so many times.
    pub(crate) then: Vec<u8>,
    pub(crate) times: usize,
}

impl Script {
    pub(crate) fn once(bytes: Vec<u8>) -> Self {
        Self {
            first: bytes,
            then: Vec::new(),
            times: 0,
        }
    }
}

/// Follows the script after the first request, and ends with the client. Returns how many bytes the client took.
pub(crate) async fn misbehave(io: DuplexStream, script: Script) -> usize {
    let (mut read, mut write) = tokio::io::split(io);
    let _ = write.write_all(&frame(SETTINGS, 0, 0, &[])).await;
    let mut preface = [0; PREFACE];
    if read.read_exact(&mut preface).await.is_err() || next_request(&mut read).await.is_none() {
        return 0;
    }
    let drain = tokio::spawn(async move {
        let mut sink = vec![0; 8 * 1024];
        while read.read(&mut sink).await.is_ok_and(|bytes| bytes > 0) {}
    });
    let mut taken = 0;
    for bytes in iter::once(&script.first).chain(iter::repeat_n(&script.then, script.times)) {
        if write.write_all(bytes).await.is_err() {
            break;
        }
        taken += bytes.len();
    }
    let _ = drain.await;
    taken
}
