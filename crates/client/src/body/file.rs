use std::{
    fs::{File, Metadata},
    io::{self, ErrorKind, SeekFrom},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::AsyncSeekExt as _,
    task::{JoinHandle, spawn_blocking},
};

use crate::error::BoxError;

/// A file as it was found, from which the body of each attempt is read.
#[derive(Debug)]
pub(super) struct Found {
    origin: Origin,
    /// Where the body begins in the file, in bytes.
    start: u64,
    stamp: Stamp,
}

#[derive(Debug)]
enum Origin {
    /// Each attempt opens the file.
    Path(PathBuf),
    /// All attempts read from this handle, and none of them moves its position.
    Open(Arc<File>),
}

/// What is compared to notice that a file has changed.
#[derive(Debug, Eq, PartialEq)]
struct Stamp {
    length: u64,
    /// `None` where the file system does not record it.
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        if !metadata.is_file() {
            let why = "this is no regular file, so its length is not known";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        Ok(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

impl Found {
    pub(super) async fn look(path: &Path) -> io::Result<Self> {
        let metadata = tokio::fs::metadata(path).await?;
        Ok(Self {
            origin: Origin::Path(path.to_owned()),
            start: 0,
            stamp: Stamp::of(&metadata)?,
        })
    }

    /// Takes the rest of an open file, from its present position on.
    pub(super) async fn take(mut file: tokio::fs::File) -> io::Result<Self> {
        let start = file.seek(SeekFrom::Current(0)).await?;
        let file = file.into_std().await;
        blocking(move || {
            let stamp = Stamp::of(&file.metadata()?)?;
            // So a handle that was opened only for writing fails here, and not while the body is
            // sent.
            read_at(&file, &mut [0], start)?;
            Ok(Self {
                origin: Origin::Open(Arc::new(file)),
                start,
                stamp,
            })
        })
        .await
    }

    fn length(&self) -> u64 {
        self.stamp.length.saturating_sub(self.start)
    }

    fn open(&self) -> io::Result<Arc<File>> {
        let file = match &self.origin {
            Origin::Path(path) => Arc::new(File::open(path)?),
            Origin::Open(file) => file.clone(),
        };
        self.check(&file)?;
        Ok(file)
    }

    fn check(&self, file: &File) -> io::Result<()> {
        let now = Stamp::of(&file.metadata()?)?;
        if now == self.stamp {
            Ok(())
        } else {
            Err(changed())
        }
    }

    /// Reads the next piece of a body into an empty buffer. The piece that completes the body is
    /// given only if the file is still as it was found.
    fn read(&self, file: &File, from: u64, left: u64, buffer: &mut BytesMut) -> io::Result<Bytes> {
        let most = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        buffer.resize(most, 0);
        let read = read_at(file, buffer, from)?;
        if read == 0 {
            return Err(changed());
        }
        let piece = buffer.split_to(read).freeze();
        buffer.clear();
        if u64::try_from(read).is_ok_and(|read| read == left) {
            self.check(file)?;
        }
        Ok(piece)
    }
}

fn changed() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "the file has changed since the request was made",
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Reads at this offset of the file, whatever offsets other attempts read at. Returns 0 at the end.
fn read_at(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    loop {
        match read_once(file, buffer, from) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(unix)]
fn read_once(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, from)
}

// Moves the position of the handle too, which nothing here depends on.
#[cfg(windows)]
fn read_once(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, from)
}

#[cfg(not(any(unix, windows)))]
fn read_once(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

/// The content of a file, which is opened when the body is first polled.
pub(super) struct FileBody {
    found: Arc<Found>,
    state: State,
    /// How many bytes were not read yet.
    left: u64,
}

enum State {
    Closed,
    Reading(JoinHandle<io::Result<Read>>),
    Open(Source),
    Ended,
}

/// An open file, and a buffer that is reused once its last piece was sent.
struct Source {
    file: Arc<File>,
    buffer: BytesMut,
}

/// The result of a read.
struct Read {
    piece: Bytes,
    source: Source,
}

/// How much is read at once, in bytes: each read runs on a blocking thread.
const PIECE: usize = 64 * 1024;

impl FileBody {
    pub(super) fn new(found: Arc<Found>) -> Self {
        Self {
            left: found.length(),
            state: State::Closed,
            found,
        }
    }

    /// Reads the next piece on a blocking thread.
    fn read(&self, source: Option<Source>) -> JoinHandle<io::Result<Read>> {
        let (found, left) = (self.found.clone(), self.left);
        spawn_blocking(move || {
            let mut source = match source {
                Some(source) => source,
                None => Source {
                    file: found.open()?,
                    buffer: BytesMut::new(),
                },
            };
            let from = found.stamp.length.saturating_sub(left);
            let piece = found.read(&source.file, from, left, &mut source.buffer)?;
            Ok(Read { piece, source })
        })
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            if self.left == 0 {
                self.state = State::Ended;
            }
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Closed => self.state = State::Reading(self.read(None)),
                State::Open(source) => self.state = State::Reading(self.read(Some(source))),
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let Read { piece, source } = read.map_err(io::Error::other)??;
                    let read = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                    self.left = self.left.saturating_sub(read);
                    self.state = State::Open(source);
                    return Poll::Ready(Ok(Some(piece)));
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
        // After an error the state is `Ended`.
        let read = ready!(self.poll_read(cx)).map_err(Into::into);
        Poll::Ready(read.map(|data| data.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
