use std::{
    cell::Cell,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// What the server knows.
#[derive(Default)]
pub(crate) struct Server {
    connections: Cell<u64>,
    requests: Cell<u64>,
    /// Requests to the paths that fail now and then.
    flaky: Cell<u64>,
    faults: Cell<u64>,
}

const GREETING: &[u8] = b"hello, world!";
const CHUNK: usize = 16 * 1024;
const DOWNLOAD: usize = 100 * 1024 * 1024;

impl Server {
    pub(crate) fn count_connection(&self) {
        self.connections.set(self.connections.get() + 1);
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Chunks> {
        self.requests.set(self.requests.get() + 1);
        match request.uri().path() {
            path if path.starts_with("/flaky/") => self.flaky(path),
            "/download" => Response::new(Chunks::new(DOWNLOAD)),
            "/upload" => {
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.frame().await {}
                Response::new(Chunks::once(GREETING))
            }
            "/stats" => {
                let [connections, requests, faults] =
                    [&self.connections, &self.requests, &self.faults].map(Cell::get);
                let stats = format!("{connections} {requests} {faults}");
                Response::new(Chunks::once(stats))
            }
            _ => Response::new(Chunks::once(GREETING)),
        }
    }

    /// `/flaky/EVERY/BYTES`: one of `EVERY` requests fails, with a body of `BYTES`.
    fn flaky(&self, path: &str) -> Response<Chunks> {
        let mut numbers = path.split('/').filter_map(|part| part.parse().ok());
        let (every, bytes) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(0));
        self.flaky.set(self.flaky.get() + 1);
        if self.flaky.get() % every > 0 {
            return Response::new(Chunks::once(GREETING));
        }
        self.faults.set(self.faults.get() + 1);
        let mut response = Response::new(Chunks::new(usize::try_from(bytes).unwrap_or(0)));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }
}

/// A body of known length in pieces.
pub(crate) struct Chunks {
    piece: Bytes,
    left: usize,
}

impl Chunks {
    fn new(left: usize) -> Self {
        let piece = Bytes::from(vec![b'd'; CHUNK.min(left)]);
        Self { piece, left }
    }

    fn once(bytes: impl Into<Bytes>) -> Self {
        let piece = bytes.into();
        let left = piece.len();
        Self { piece, left }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.piece.slice(..self.piece.len().min(self.left));
        self.left -= piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
