use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::fs::{File, metadata};
use tokio_util::io::poll_read_buf;

use crate::error::BoxError;

/// A file as it was found, from which the body of each attempt is read.
#[derive(Debug)]
pub(super) struct Found {
    path: PathBuf,
    length: u64,
    /// Not every file system keeps it.
    modified: Option<SystemTime>,
}

impl Found {
    pub(super) async fn look(path: &Path) -> io::Result<Self> {
        let metadata = metadata(path).await?;
        if !metadata.is_file() {
            let why = "this is no regular file, so its length is not known";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(Self {
            path: path.to_owned(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    async fn open(self: Arc<Self>) -> io::Result<File> {
        let file = File::open(&self.path).await?;
        let metadata = file.metadata().await?;
        if metadata.len() == self.length && metadata.modified().ok() == self.modified {
            Ok(file)
        } else {
            Err(changed())
        }
    }
}

fn changed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the file has changed since the request was made",
    )
}

/// The content of a file; it is opened when it is first asked for.
pub(super) struct FileBody {
    state: State,
    left: u64,
    buffer: BytesMut,
}

enum State {
    Found(Arc<Found>),
    Opening(Pin<Box<dyn Future<Output = io::Result<File>> + Send>>),
    Reading(File),
    Ended,
}

/// How much is read at once, in bytes: each read goes through a thread that may block.
const PIECE: usize = 64 * 1024;

impl FileBody {
    pub(super) fn new(found: Arc<Found>) -> Self {
        Self {
            left: found.length,
            state: State::Found(found),
            buffer: BytesMut::new(),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            match &mut self.state {
                State::Found(_) if self.left == 0 => self.state = State::Ended,
                State::Found(found) => self.state = State::Opening(Box::pin(found.clone().open())),
                State::Opening(opening) => {
                    self.state = State::Reading(ready!(opening.as_mut().poll(cx))?);
                }
                State::Reading(file) => {
                    let piece = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
                    self.buffer.reserve(piece);
                    let read = ready!(poll_read_buf(Pin::new(file), cx, &mut self.buffer))?;
                    let left = u64::try_from(read)
                        .ok()
                        .and_then(|read| self.left.checked_sub(read));
                    self.left = left.filter(|_| read > 0).ok_or_else(changed)?;
                    if self.left == 0 {
                        self.state = State::Ended;
                    }
                    return Poll::Ready(Ok(Some(self.buffer.split().freeze())));
                }
                State::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let read = ready!(self.poll_read(cx)).map_err(|error| {
            self.state = State::Ended;
            error.into()
        });
        Poll::Ready(read.map(|data| data.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
