//! Peeking at responses: what classifiers see, and that callers get every byte.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use retry_layer::peek::{Peek, PeekBody, PeekLayer, Peeked};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

/// Yields these pieces; then hangs, fails or ends.
#[derive(Clone)]
struct Script {
    pieces: VecDeque<&'static str>,
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Ends,
    Hangs,
    Fails,
    Trailers,
}

fn script(pieces: &[&'static str], end: End) -> Script {
    Script {
        pieces: pieces.iter().copied().collect(),
        end,
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))));
        }
        match self.end {
            End::Hangs => Poll::Pending,
            End::Ends => Poll::Ready(None),
            End::Fails => {
                self.end = End::Ends;
                Poll::Ready(Some(Err("cut off")))
            }
            End::Trailers => {
                self.end = End::Ends;
                let sum = HeaderValue::from_static("7");
                let trailers = HeaderMap::from_iter([(http::header::ETAG, sum)]);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.end == End::Ends
    }

    fn size_hint(&self) -> SizeHint {
        let left: usize = self.pieces.iter().map(|piece| piece.len()).sum();
        SizeHint::with_exact(left as u64)
    }
}

async fn peek(layer: PeekLayer, body: Script) -> Response<PeekBody<Script>> {
    let service = service_fn(move |_: Request<()>| {
        let body = body.clone();
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let service: Peek<_> = layer.layer(service);
    service.oneshot(Request::new(())).await.unwrap()
}

fn peeked<B>(response: &Response<B>) -> (&[u8], bool) {
    let peeked = response.extensions().get::<Peeked>().unwrap();
    (peeked.prefix(), peeked.is_whole())
}

#[tokio::test(start_paused = true)]
async fn the_prefix_is_bounded_and_every_byte_is_given() {
    for (limit, prefix, whole) in [
        (1, "a", false),
        (2, "ab", false),
        (3, "abc", false),
        (4, "abcd", true),
        (9, "abcd", true),
    ] {
        let response = peek(PeekLayer::new(limit), script(&["ab", "", "cd"], End::Ends)).await;
        assert_eq!(peeked(&response), (prefix.as_bytes(), whole), "{limit}");
        assert_eq!(response.body().size_hint().exact(), Some(4), "{limit}");
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "abcd", "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_length_shrinks_as_the_body_is_read() {
    let mut body = peek(PeekLayer::new(2), script(&["abc", "d"], End::Ends))
        .await
        .into_body();
    for left in [Some(4), Some(1), Some(0)] {
        assert_eq!(body.size_hint().exact(), left);
        assert_eq!(body.is_end_stream(), left == Some(0));
        body.frame().await;
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_are_given_and_are_no_part_of_the_prefix() {
    let response = peek(PeekLayer::new(9), script(&["ab"], End::Trailers)).await;
    assert_eq!(peeked(&response), (&b"ab"[..], true));
    let body = response.into_body().collect().await.unwrap();
    assert!(body.trailers().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_error_comes_where_it_came() {
    let response = peek(PeekLayer::new(9), script(&["ab"], End::Fails)).await;
    assert_eq!(peeked(&response), (&b"ab"[..], false));
    let mut body = response.into_body();
    assert!(!body.is_end_stream());
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "ab"
    );
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "cut off");
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slow_beginning_is_waited_for_no_longer_than_allowed() {
    let start = Instant::now();
    let layer = PeekLayer::new(9).within(Duration::from_millis(30));
    let response = peek(layer, script(&["ab"], End::Hangs)).await;
    assert_eq!(peeked(&response), (&b"ab"[..], false));
    let waited = start.elapsed();
    assert!((30..=32).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_chosen_passes() {
    let layer = PeekLayer::new(9).only(|head| head.headers.contains_key("x-peek"));
    let response = peek(layer, script(&["ab"], End::Hangs)).await;
    assert!(response.extensions().get::<Peeked>().is_none());
}

/// Always has another frame, of this length.
struct Endless(usize);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = Bytes::from_static(b".").slice(..self.0);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

async fn peek_endless(layer: PeekLayer, length: usize) -> Response<PeekBody<Endless>> {
    let service = service_fn(move |_: Request<()>| async move {
        Ok::<_, Infallible>(Response::new(Endless(length)))
    });
    layer
        .layer(service)
        .oneshot(Request::new(()))
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_prefix_of_many_small_frames_takes_time_for_each_of_them_once() {
    const FRAMES: usize = 200_000;
    let began = std::time::Instant::now();
    let layer = PeekLayer::new(FRAMES).within(Duration::from_secs(3_600));
    let response = peek_endless(layer, 1).await;
    assert_eq!(peeked(&response).0.len(), FRAMES);
    let mut body = response.into_body();
    for left in (0..FRAMES).rev() {
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.size_hint().lower(), u64::try_from(left).unwrap());
    }
    // Looking at all frames for each of them took minutes.
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn an_endless_body_of_empty_frames_is_read_no_longer_than_allowed() {
    let layer = PeekLayer::new(9).within(Duration::from_millis(30));
    let service =
        service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Endless(0))) });
    let mut call = tokio_test::task::spawn(layer.layer(service).oneshot(Request::new(())));
    assert!(call.poll().is_pending());
    assert!(call.is_woken(), "it lets others run");
    tokio::time::advance(Duration::from_millis(31)).await;
    let Poll::Ready(Ok(response)) = call.poll() else {
        panic!("the time is over")
    };
    assert_eq!(peeked(&response), (&b""[..], false));
}
