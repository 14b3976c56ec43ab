//! A body that breaks, and a server that answers the requests for the rest in any way: what arrives is one version of the
//! resource from its first byte on, never a mix of two.

#![no_main]

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use libfuzzer_sys::fuzz_target;
use retry_layer::{ReplayBody, RetryLayer, RetryPolicy, resume::ResumeLayer};
use tokio::{runtime, time::timeout};
use tower::{Layer, ServiceExt, service_fn};

const LENGTH: usize = 64;
const NAMES: [&str; 6] = [
    "content-range",
    "etag",
    "content-length",
    "content-encoding",
    "accept-ranges",
    "content-type",
];

/// How the server answers: the kind, two numbers that move the range, where the body breaks, and the headers of a lie.
type Answer<'a> = (u8, u8, u8, u8, &'a [u8]);

fuzz_target!(|answers: Vec<Answer<'_>>| {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    let read = async { timeout(Duration::from_secs(86_400), download(&answers)).await };
    runtime.block_on(read).expect("it ends");
});

async fn download(answers: &[Answer<'_>]) {
    // No server breaks off more often than that.
    let script: VecDeque<_> = answers.iter().take(64).copied().collect();
    let server = Rc::new(RefCell::new(Server {
        script,
        lies: false,
    }));
    let state = Rc::clone(&server);
    let service = service_fn(move |request: Request<ReplayBody<Empty<Bytes>>>| {
        let response = state.borrow_mut().answer(request.headers());
        async move { Ok::<_, Infallible>(response) }
    });
    let policy = RetryPolicy::builder()
        .seed(1)
        .build()
        .expect("the settings make sense");
    let service = ResumeLayer::new(policy.clone()).layer(RetryLayer::new(policy).layer(service));
    let response = service
        .oneshot(Request::new(Empty::new()))
        .await
        .expect("nothing fails");

    let is_whole = response.status() == StatusCode::OK;
    let mut body = response.into_body();
    let mut received = Vec::new();
    let end = loop {
        match body.frame().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(frame)) => received.extend(frame.into_data().unwrap_or_default()),
        }
    };
    if server.borrow().lies || !is_whole {
        return;
    }
    let is_one_version = (0..2).any(|version| resource(version).starts_with(&received));
    assert!(is_one_version, "{received:?}");
    if end.is_ok() {
        assert_eq!(received.len(), LENGTH, "a body that ends well is whole");
    }
}

/// Two versions have no byte in common at any offset.
fn resource(version: u8) -> Vec<u8> {
    (0..LENGTH)
        .map(|at| (at as u8).wrapping_mul(7).wrapping_add(version * 101))
        .collect()
}

struct Server<'a> {
    script: VecDeque<Answer<'a>>,
    /// It said of bytes that they are others than they are.
    lies: bool,
}

impl Server<'_> {
    fn answer(&mut self, asked: &HeaderMap) -> Response<Pieces> {
        let Some((kind, left, right, cut, data)) = self.script.pop_front() else {
            return head(StatusCode::SERVICE_UNAVAILABLE, 0)
                .body(Pieces::default())
                .expect("it is valid");
        };
        let first = asked
            .get(header::RANGE)
            .map(|range| first_of(range.to_str().expect("it was sent")));
        let version = u8::from(kind & 8 != 0);
        let from = match kind % 4 {
            // What was asked for, more than that, or what begins behind it.
            0 => first.map(|first| (first, LENGTH)),
            1 => first.map(|first| (first.saturating_sub(usize::from(left)), LENGTH)),
            2 => first.map(|first| {
                (
                    first.saturating_add(usize::from(left % 4)),
                    LENGTH - usize::from(right) % LENGTH,
                )
            }),
            // All of it.
            _ => None,
        };
        if kind & 0x70 == 0x70 {
            self.lies = true;
            let mut response = Response::new(Pieces::cut(&resource(version), cut));
            *response.status_mut() = [
                StatusCode::OK,
                StatusCode::PARTIAL_CONTENT,
                StatusCode::RANGE_NOT_SATISFIABLE,
            ][usize::from(left % 3)];
            *response.headers_mut() = fuzz::headers(data, &NAMES);
            return response;
        }
        if kind & 0x70 == 0x60 {
            let response = head(StatusCode::RANGE_NOT_SATISFIABLE, version);
            return response
                .header(header::CONTENT_RANGE, format!("bytes */{LENGTH}"))
                .body(Pieces::default())
                .expect("it is valid");
        }
        let whole = resource(version);
        match from.and_then(|(from, to)| {
            Some((
                from,
                to,
                whole.get(from..to).filter(|part| !part.is_empty())?,
            ))
        }) {
            Some((from, to, part)) => head(StatusCode::PARTIAL_CONTENT, version)
                .header(
                    header::CONTENT_RANGE,
                    format!("bytes {from}-{}/{LENGTH}", to - 1),
                )
                .header(header::CONTENT_LENGTH, part.len())
                .body(Pieces::cut(part, cut)),
            None => head(StatusCode::OK, version)
                .header(header::CONTENT_LENGTH, LENGTH)
                .body(Pieces::cut(&whole, cut)),
        }
        .expect("it is valid")
    }
}

fn head(status: StatusCode, version: u8) -> http::response::Builder {
    Response::builder()
        .status(status)
        .header(header::ETAG, format!("\"{version}\""))
}

/// The first offset of `bytes=5-` or `bytes=5-9`.
fn first_of(range: &str) -> usize {
    let (first, _) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .expect("one range of bytes");
    first.parse().expect("a number")
}

#[derive(Default)]
struct Pieces(VecDeque<io::Result<Bytes>>);

impl Pieces {
    /// The bytes in two pieces, of which the second may be missing: then the body breaks, or just ends.
    fn cut(bytes: &[u8], at: u8) -> Self {
        let (kept, rest) = bytes.split_at(usize::from(at % 64).min(bytes.len()));
        let end = match at / 64 {
            0 => Some(Err(io::ErrorKind::ConnectionReset.into())),
            1 => None,
            _ => Some(Ok(Bytes::copy_from_slice(rest))),
        };
        Self(
            [Ok(Bytes::copy_from_slice(kept))]
                .into_iter()
                .chain(end)
                .collect(),
        )
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
    }
}
