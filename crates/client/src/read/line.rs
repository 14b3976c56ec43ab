use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_core::Stream;

use super::{
    ByteStream,
    split::{Ends, Splitter, TooLong},
};
use crate::{Error, error::Kind};

/// The lines of a body as bytes, without a byte order mark at the beginning. It ends after the
/// first error.
#[derive(Debug)]
pub(super) struct LineReader {
    stream: ByteStream,
    splitter: Splitter,
    /// Whether the first line was returned.
    begun: bool,
    ended: bool,
}

/// The longest line by default, in bytes.
const MAX_LENGTH: usize = 1024 * 1024;

impl LineReader {
    pub(super) fn new(stream: ByteStream, ends: Ends) -> Self {
        Self {
            stream,
            splitter: Splitter::new(ends, MAX_LENGTH),
            begun: false,
            ended: false,
        }
    }

    pub(super) fn limit(&mut self) -> &mut usize {
        self.splitter.limit()
    }

    pub(super) fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        while !self.ended {
            match self.splitter.next() {
                Ok(None) => {}
                Ok(Some(line)) => return Poll::Ready(Some(Ok(self.unmarked(line)))),
                Err(TooLong) => return Poll::Ready(Some(Err(self.too_long("a line")))),
            }
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(piece)) => self.splitter.push(piece),
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    let last = self
                        .splitter
                        .last()
                        .map_err(|TooLong| self.too_long("a line"));
                    return Poll::Ready(last.transpose().map(|line| Ok(self.unmarked(line?))));
                }
            }
        }
        Poll::Ready(None)
    }

    pub(super) fn too_long(&mut self, what: &'static str) -> Error {
        let limit = *self.splitter.limit();
        self.fail(Kind::TooLong { what, limit })
    }

    /// Ends the lines, and makes an error of this kind.
    pub(super) fn fail(&mut self, kind: Kind) -> Error {
        self.ended = true;
        self.stream.fail(kind)
    }

    fn unmarked(&mut self, mut line: Bytes) -> Bytes {
        if !self.begun && line.starts_with(b"\xef\xbb\xbf") {
            line.advance(3);
        }
        self.begun = true;
        line
    }
}
