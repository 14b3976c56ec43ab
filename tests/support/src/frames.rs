//! HTTP/2 frames as bytes, right or wrong, and a peer that reads and writes them one by one
//! ([RFC 9113, section 4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)).
//!
//! [`http2::Peer`](crate::http2::Peer) stands on the `h2` crate and can only do what that allows. This module has no
//! such bounds: a test builds the bytes of a frame and decides when they are written.
//!
//! ```
//! use test_support::frames::{self, Peer};
//!
//! let connector = frames::Connector::new(|_, mut peer: Peer| async move {
//!     while let Some(stream) = peer.request().await {
//!         peer.write(&frames::answer(stream, b"hello")).await;
//!     }
//! });
//! // .. give a clone of it to a client with prior knowledge of HTTP/2 ..
//! assert_eq!(connector.connections(), 0);
//! ```

use std::{
    fmt,
    future::{self, Future},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tower_service::Service;

use crate::memory::MemoryStream;

/// The types of frames that RFC 9113 defines.
pub mod kind {
    #![allow(missing_docs, reason = "they have the names of the specification")]

    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The flags of frames.
pub mod flag {
    #![allow(missing_docs, reason = "they have the names of the specification")]

    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

/// The identifiers of settings.
pub mod setting {
    #![allow(missing_docs, reason = "they have the names of the specification")]

    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// `:status: 200`, as an index into the static table of RFC 7541.
pub const STATUS_200: u8 = 0x88;

/// The length of the client's connection preface, without its SETTINGS.
const PREFACE: usize = 24;

/// Returns a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len())
        .expect("a payload of a test is small")
        .to_be_bytes();
    let mut frame = length.to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Returns a header field as RFC 7541 has it in section 6.2.2: literal, without an index, without Huffman coding.
#[must_use]
pub fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let mut field = vec![0];
    for string in [name.as_bytes(), value] {
        field.extend(length(string.len()));
        field.extend(string);
    }
    field
}

/// The length of a string, as an integer with a prefix of seven bits (RFC 7541, section 5.1).
fn length(length: usize) -> Vec<u8> {
    const PREFIX: usize = 127;
    let Some(mut rest) = length.checked_sub(PREFIX) else {
        return vec![u8::try_from(length).expect("it is below the prefix")];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("it is a remainder") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("it is below 128"));
    bytes
}

/// Returns a whole HEADERS frame of `:status: 200` and these fields.
#[must_use]
pub fn head(stream: u32, flags: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    let mut block = vec![STATUS_200];
    block.extend(fields.concat());
    frame(kind::HEADERS, flag::END_HEADERS | flags, stream, &block)
}

/// Returns a DATA frame; with `ends`, the last one of its stream.
#[must_use]
pub fn data(stream: u32, ends: bool, bytes: &[u8]) -> Vec<u8> {
    let flags = if ends { flag::END_STREAM } else { 0 };
    frame(kind::DATA, flags, stream, bytes)
}

/// Returns a whole response: 200 and this body.
#[must_use]
pub fn answer(stream: u32, body: &[u8]) -> Vec<u8> {
    [head(stream, 0, &[]), data(stream, true, body)].concat()
}

/// Returns a SETTINGS frame.
#[must_use]
pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (identifier, value) in pairs {
        payload.extend(identifier.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(kind::SETTINGS, 0, 0, &payload)
}

/// Returns an `RST_STREAM` frame.
#[must_use]
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// Returns a PING frame; with `ack`, the answer to one.
#[must_use]
pub fn ping(ack: bool, payload: [u8; 8]) -> Vec<u8> {
    let flags = if ack { flag::ACK } else { 0 };
    frame(kind::PING, flags, 0, &payload)
}

/// Returns a GOAWAY frame.
#[must_use]
pub fn go_away(last_stream: u32, code: u32) -> Vec<u8> {
    let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
    frame(kind::GOAWAY, 0, 0, &payload)
}

/// Returns a `WINDOW_UPDATE` frame.
#[must_use]
pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// A frame that came.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream that it is about, 0 for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Returns the error code of an `RST_STREAM` or a GOAWAY.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        let code = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(code.try_into().ok()?))
    }
}

/// The peer's end of a connection. Reads keep what came in [`seen`](Self::seen).
#[derive(Debug)]
pub struct Peer {
    read: ReadHalf<DuplexStream>,
    write: WriteHalf<DuplexStream>,
    /// All frames that came so far, in their order.
    pub seen: Vec<Frame>,
}

impl Peer {
    /// Begins a connection: sends its first bytes, reads the client's preface.
    async fn begin(io: DuplexStream, first: &[u8]) -> Option<Self> {
        let (mut read, mut write) = tokio::io::split(io);
        write.write_all(first).await.ok()?;
        let mut preface = [0; PREFACE];
        read.read_exact(&mut preface).await.ok()?;
        Some(Self {
            read,
            write,
            seen: Vec::new(),
        })
    }

    /// Writes bytes. A client that has closed the connection is no error.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.write.write_all(bytes).await;
    }

    /// Reads the next frame, and acknowledges it if it is the client's settings; `None` when the client has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let mut payload = vec![0; length];
        self.read.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        let frame = Frame {
            kind,
            flags,
            stream,
            payload,
        };
        self.seen.push(frame.clone());
        if kind == kind::SETTINGS && !frame.has(flag::ACK) {
            self.write(&self::frame(kind::SETTINGS, flag::ACK, 0, &[]))
                .await;
        }
        Some(frame)
    }

    /// Reads up to a frame of this type.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Reads up to the next request's head, and returns its stream.
    pub async fn request(&mut self) -> Option<u32> {
        Some(self.next_of(kind::HEADERS).await?.stream)
    }

    /// Reads up to the answer to a PING of this payload; `false` if the client closes before.
    pub async fn pong(&mut self, payload: [u8; 8]) -> bool {
        while let Some(frame) = self.next_of(kind::PING).await {
            if frame.has(flag::ACK) && frame.payload == payload {
                return true;
            }
        }
        false
    }

    /// Answers every request with this body until the client closes.
    pub async fn answer_all(&mut self, body: &[u8]) {
        while let Some(stream) = self.request().await {
            self.write(&answer(stream, body)).await;
        }
    }

    /// Ends the peer's half of the connection.
    pub async fn hang_up(&mut self) {
        let _ = self.write.shutdown().await;
    }

    /// Reads until the client closes, and returns all frames that ever came.
    pub async fn into_seen(mut self) -> Vec<Frame> {
        while self.next().await.is_some() {}
        self.seen
    }
}

type Serve = dyn Fn(usize, Peer) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// Connects to peers that live in the same process, for tests with a paused clock. Clones count together.
#[derive(Clone)]
pub struct Connector {
    serve: Arc<Serve>,
    first: Vec<u8>,
    connections: Arc<AtomicUsize>,
}

impl Connector {
    /// Returns a connector that runs `serve` for each connection, with the number of the connection from 0.
    pub fn new<H, F>(serve: H) -> Self
    where
        H: Fn(usize, Peer) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            serve: Arc::new(move |number, peer| Box::pin(serve(number, peer))),
            first: settings(&[]),
            connections: Arc::default(),
        }
    }

    /// Lets each connection begin with these settings instead of none.
    #[must_use]
    pub fn settings(self, pairs: &[(u16, u32)]) -> Self {
        self.begin_with(settings(pairs))
    }

    /// Lets each connection begin with these bytes instead of the peer's SETTINGS.
    #[must_use]
    pub fn begin_with(mut self, bytes: Vec<u8>) -> Self {
        self.first = bytes;
        self
    }

    /// Returns how many connections were opened so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Service<Uri> for Connector {
    type Response = MemoryStream;
    type Error = io::Error;
    type Future = future::Ready<io::Result<MemoryStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let (serve, first) = (self.serve.clone(), self.first.clone());
        tokio::spawn(async move {
            if let Some(peer) = Peer::begin(far, &first).await {
                serve(number, peer).await;
            }
        });
        future::ready(Ok(MemoryStream::of(TokioIo::new(near))))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("first", &self.first)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
