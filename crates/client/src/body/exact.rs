use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// A body whose length was announced separately, and which is held to it.
///
/// hyper reads no more of a body than was announced, so it would take a longer one for whole.
/// Therefore the last bytes are given only once the end of the body has been seen.
pub(super) struct Exact<B> {
    inner: B,
    left: u64,
    /// The piece that completes the length.
    last: Option<Bytes>,
    ended: bool,
}

impl<B> Exact<B> {
    pub(super) fn new(inner: B, length: u64) -> Self {
        Self {
            inner,
            left: length,
            last: None,
            ended: false,
        }
    }

    /// Counts a piece; returns it if more has to follow.
    fn count(&mut self, data: Bytes) -> Result<Option<Bytes>, BoxError> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(length).ok_or_else(long)?;
        if self.left > 0 || data.is_empty() {
            return Ok(Some(data));
        }
        self.last = Some(data);
        Ok(None)
    }
}

impl<B> Body for Exact<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while !self.ended {
            if let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                // A body with an announced length has no trailers.
                let Ok(data) = frame.map_err(Into::into)?.into_data() else {
                    continue;
                };
                if let Some(data) = self.count(data)? {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            } else {
                self.ended = true;
                if self.left > 0 {
                    return Poll::Ready(Some(Err(short(self.left))));
                }
            }
        }
        Poll::Ready(self.last.take().map(|last| Ok(Frame::data(last))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.last {
            Some(last) => SizeHint::with_exact(u64::try_from(last.len()).unwrap_or(u64::MAX)),
            // A length of 0 is not announced, because hyper would then not read the body, and not
            // notice one that is longer.
            None if self.left == 0 && !self.ended => SizeHint::new(),
            None => SizeHint::with_exact(self.left),
        }
    }
}

fn short(left: u64) -> BoxError {
    let why = format!("the body ended {left} bytes before the length that was announced");
    io::Error::new(io::ErrorKind::UnexpectedEof, why).into()
}

fn long() -> BoxError {
    let why = "the body is longer than was announced";
    io::Error::new(io::ErrorKind::InvalidData, why).into()
}
