use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

#[cfg(feature = "br")]
use async_compression::tokio::bufread::BrotliDecoder;
#[cfg(feature = "deflate")]
use async_compression::tokio::bufread::DeflateDecoder;
#[cfg(feature = "gzip")]
use async_compression::tokio::bufread::GzipDecoder;
#[cfg(feature = "deflate")]
use async_compression::tokio::bufread::ZlibDecoder;
#[cfg(feature = "zstd")]
use async_compression::{codecs, tokio::bufread::ZstdDecoder, zstd::DParameter};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use session_layer::ConnectionInfo;
use sync_wrapper::SyncWrapper;
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::coop::poll_proceed,
};
use tokio_util::io::poll_read_buf;

use super::{DecodeLimits, coding::Coding, input::Input};
use crate::{
    Error, ResponseBody,
    body::{Place, Wrapper},
    error::Kind,
};

/// A body from which one content coding is removed.
///
/// It ends only after the encoded body has ended too, and at the byte where the decoder expects
/// that. So its connection is free again by then, and no bytes that follow are dropped unseen.
pub(crate) struct Decoded {
    coding: Coding,
    /// Not every decoder is `Sync`, and a body should be.
    reader: SyncWrapper<Reader>,
    state: State,
    output: BytesMut,
    /// How many bytes were decoded so far, and how many may be.
    total: u64,
    limits: DecodeLimits,
    connection: Option<ConnectionInfo>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing was read yet: the first byte tells whether there is a body, and its format.
    Unread,
    Decoding,
    /// The decoder has ended, and the encoded body has to end too.
    Ending,
    Ended,
}

/// Why decoding ended before the body did.
enum Failed {
    Decoder(io::Error),
    Limit(Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Decoder(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Limit(error)
    }
}

/// How much is decoded at once, in bytes: what each coding of a body buffers beside its decoder.
const PIECE: usize = 16 * 1024;

/// The least free space for another piece, in bytes.
const LEAST: usize = PIECE / 4;

/// The largest window that a decoder of `zstd` may be asked to hold, as a power of two: 8 MiB
/// ([RFC 9659, section 3](https://www.rfc-editor.org/rfc/rfc9659#section-3)).
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG: u32 = 23;

impl Decoded {
    pub(super) fn new(coding: Coding, body: ResponseBody, limits: DecodeLimits) -> Self {
        let connection = body.connection().cloned();
        Self {
            coding,
            reader: SyncWrapper::new(Reader::Plain(Input::new(body))),
            state: State::Unread,
            output: BytesMut::new(),
            total: 0,
            limits,
            connection,
        }
    }

    /// How many encoded bytes have come over the connection.
    fn encoded(&mut self) -> u64 {
        self.reader.get_mut().input().encoded_bytes()
    }

    /// Counts decoded bytes, and fails beyond the limits.
    fn count(&mut self, bytes: usize) -> Result<(), Error> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.total = self.total.saturating_add(bytes);
        let encoded = self.encoded();
        let checked = self.limits.check(self.total, encoded);
        checked.map_err(|limit| Error::new(Kind::DecodesToTooMuch(limit)))
    }

    fn poll_decode(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Failed>> {
        loop {
            match self.state {
                State::Unread => {
                    let chunk = ready!(self.reader.get_mut().input().poll_chunk(cx))?;
                    let Some(first) = chunk.first().copied() else {
                        self.state = State::Ending;
                        continue;
                    };
                    let input = mem::replace(self.reader.get_mut().input(), Input::empty());
                    self.reader = SyncWrapper::new(Reader::over(input, self.coding, first)?);
                    self.state = State::Decoding;
                }
                State::Decoding => {
                    // Small pieces share one allocation, because each of them keeps all of it.
                    if self.output.capacity() < LEAST {
                        self.output.reserve(PIECE);
                    }
                    // A few encoded bytes may take much work to decode, so this counts against the
                    // task's budget.
                    let budget = ready!(poll_proceed(cx));
                    let reader = Pin::new(self.reader.get_mut());
                    let read = ready!(poll_read_buf(reader, cx, &mut self.output))?;
                    budget.made_progress();
                    if read > 0 {
                        self.count(read)?;
                        return Poll::Ready(Ok(Some(Frame::data(self.output.split().freeze()))));
                    }
                    self.state = State::Ending;
                }
                State::Ending => {
                    if !ready!(self.reader.get_mut().input().poll_chunk(cx))?.is_empty() {
                        let more = "there are bytes after the end of the encoded body";
                        let more = io::Error::new(io::ErrorKind::InvalidData, more);
                        return Poll::Ready(Err(more.into()));
                    }
                    self.state = State::Ended;
                    let trailers = self.reader.get_mut().input().take_trailers();
                    return Poll::Ready(Ok(trailers.map(Frame::trailers)));
                }
                State::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl Wrapper for Decoded {
    fn place(&self) -> Place {
        Place::Decoder(self.coding.name())
    }

    fn inner(&mut self) -> Option<&mut ResponseBody> {
        Some(self.reader.get_mut().input().body_mut())
    }

    fn connection(&self) -> Option<&ConnectionInfo> {
        self.connection.as_ref()
    }

    fn encoded_bytes(&mut self) -> Option<u64> {
        Some(self.encoded())
    }
}

impl Body for Decoded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = ready!(this.poll_decode(cx)).map_err(|error| {
            this.state = State::Ended;
            let of_body = this.reader.get_mut().input().take_error();
            // The rest of the body is dropped, which closes its connection.
            this.reader = SyncWrapper::new(Reader::Plain(Input::empty()));
            of_body.unwrap_or_else(|| match error {
                Failed::Decoder(error) => Error::new(Kind::Coding(this.coding.name())).with(error),
                Failed::Limit(error) => error,
            })
        });
        Poll::Ready(frame.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            SizeHint::new()
        }
    }
}

/// The encoded body, inside its decoder once the format is known.
enum Reader {
    Plain(Input),
    #[cfg(feature = "gzip")]
    Gzip(GzipDecoder<Input>),
    #[cfg(feature = "deflate")]
    Zlib(ZlibDecoder<Input>),
    #[cfg(feature = "deflate")]
    Deflate(DeflateDecoder<Input>),
    #[cfg(feature = "br")]
    Brotli(BrotliDecoder<Input>),
    #[cfg(feature = "zstd")]
    Zstd(ZstdDecoder<Input>),
}

impl Reader {
    /// Makes the decoder of an input that begins with this byte.
    #[cfg_attr(
        not(all(
            feature = "br",
            feature = "deflate",
            feature = "gzip",
            feature = "zstd"
        )),
        allow(
            unused_variables,
            clippy::needless_pass_by_value,
            clippy::unnecessary_wraps,
            reason = "each is needed by one of the codings"
        )
    )]
    fn over(input: Input, coding: Coding, first: u8) -> io::Result<Self> {
        match coding {
            #[cfg(feature = "gzip")]
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(input);
                decoder.multiple_members(true);
                Ok(Self::Gzip(decoder))
            }
            // Servers send zlib's format, which the name means, and also raw deflate.
            #[cfg(feature = "deflate")]
            Coding::Deflate if is_zlib(first) => Ok(Self::Zlib(ZlibDecoder::new(input))),
            #[cfg(feature = "deflate")]
            Coding::Deflate => Ok(Self::Deflate(DeflateDecoder::new(input))),
            #[cfg(feature = "br")]
            Coding::Brotli if is_large_window(first) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the window is larger than 16 MiB",
            )),
            #[cfg(feature = "br")]
            Coding::Brotli => Ok(Self::Brotli(BrotliDecoder::new(input))),
            #[cfg(feature = "zstd")]
            Coding::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let codec = codecs::ZstdDecoder::new_with_params(&[window]);
                let mut decoder = ZstdDecoder::with_codec(input, codec);
                decoder.multiple_members(true);
                Ok(Self::Zstd(decoder))
            }
        }
    }

    fn input(&mut self) -> &mut Input {
        match self {
            Self::Plain(input) => input,
            #[cfg(feature = "gzip")]
            Self::Gzip(decoder) => decoder.get_mut(),
            #[cfg(feature = "deflate")]
            Self::Zlib(decoder) => decoder.get_mut(),
            #[cfg(feature = "deflate")]
            Self::Deflate(decoder) => decoder.get_mut(),
            #[cfg(feature = "br")]
            Self::Brotli(decoder) => decoder.get_mut(),
            #[cfg(feature = "zstd")]
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(input) => Pin::new(input).poll_read(cx, buf),
            #[cfg(feature = "gzip")]
            Self::Gzip(decoder) => Pin::new(decoder).poll_read(cx, buf),
            #[cfg(feature = "deflate")]
            Self::Zlib(decoder) => Pin::new(decoder).poll_read(cx, buf),
            #[cfg(feature = "deflate")]
            Self::Deflate(decoder) => Pin::new(decoder).poll_read(cx, buf),
            #[cfg(feature = "br")]
            Self::Brotli(decoder) => Pin::new(decoder).poll_read(cx, buf),
            #[cfg(feature = "zstd")]
            Self::Zstd(decoder) => Pin::new(decoder).poll_read(cx, buf),
        }
    }
}

/// Whether this is the first byte of zlib's format: the method is 8 ([RFC 1950, section
/// 2.2](https://www.rfc-editor.org/rfc/rfc1950#section-2.2)). Raw deflate begins so only if the
/// padding of a stored block is not zero, which no encoder writes.
#[cfg(feature = "deflate")]
fn is_zlib(first: u8) -> bool {
    first & 0x0f == 8
}

/// Whether this is the first byte of "large window" Brotli, which is not the coding `br` ([RFC
/// 7932, section 9.1](https://www.rfc-editor.org/rfc/rfc7932#section-9.1)). The decoder would
/// accept it, and allocate up to 1 GiB.
#[cfg(feature = "br")]
fn is_large_window(first: u8) -> bool {
    first & 0x7f == 0x11
}
