//! What it takes to keep a body for another attempt, and to send it again: 1 MiB, in one piece and
//! in 16, over a service that reads all of it.
//!
//! ```text
//! cargo bench -p retry-layer --bench replay
//! ```
#![allow(clippy::unwrap_used, reason = "a benchmark fails by its panic")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use retry_layer::{Backoff, Exponential, Retry, RetryPolicy, budget::Unlimited};
use tokio::runtime::{Builder, Runtime};
use tower::{Service, service_fn};

const LENGTH: usize = 1024 * 1024;
const FRAMES: usize = 16;

criterion_group!(benches, replay);
criterion_main!(benches);

fn replay(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        // A wait between attempts takes no time.
        .start_paused(true)
        .build()
        .unwrap();
    let whole = Bytes::from(vec![b'b'; LENGTH]);
    let bytes = || Full::new(whole.clone());
    let stream = || {
        Frames(
            (0..FRAMES)
                .map(|_| whole.slice(..LENGTH / FRAMES))
                .collect(),
        )
    };

    for (attempts, refused) in [("one attempt", 0), ("two attempts", 1)] {
        criterion.bench_function(&format!("replay/bytes, {attempts}"), |bench| {
            bench.iter(|| send(&runtime, bytes(), refused));
        });
        criterion.bench_function(&format!("replay/a stream, {attempts}"), |bench| {
            bench.iter(|| send(&runtime, stream(), refused));
        });
    }
}

/// Sends it to a service that refuses so many attempts.
fn send<B>(runtime: &Runtime, body: B, mut refused: usize)
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
{
    let peer = service_fn(move |request: Request<_>| {
        let status = match refused.checked_sub(1) {
            Some(left) => {
                refused = left;
                StatusCode::SERVICE_UNAVAILABLE
            }
            None => StatusCode::OK,
        };
        read(request, status)
    });
    let policy = RetryPolicy::builder()
        .backoff(Backoff::from(Exponential::new(Duration::from_millis(1))))
        .budget(Unlimited)
        .replay_limit(LENGTH)
        .build()
        .unwrap();
    let mut retry = Retry::new(peer, policy);
    let response = runtime.block_on(retry.call(Request::put("/").body(body).unwrap()));
    assert_eq!(black_box(response).unwrap().status(), StatusCode::OK);
}

async fn read<B>(
    request: Request<B>,
    status: StatusCode,
) -> Result<Response<Empty<Bytes>>, Infallible>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(length, LENGTH);
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}

/// A stream whose length is not known.
struct Frames(VecDeque<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }
}
