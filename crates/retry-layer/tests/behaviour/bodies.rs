//! Request bodies that are made anew, and what all calls together may keep of the others.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use retry_layer::{
    BodyFactory, Jitter, ResponseExt, RetryPolicy, RetryPolicyBuilder, StopReason,
    budget::Unlimited,
};
use tokio_test::{assert_pending, task};

use crate::support::{Frames, Knowing, Peer, send, status};

fn builder() -> RetryPolicyBuilder {
    RetryPolicy::builder()
        .classifier(Knowing::standard())
        .jitter(Jitter::None)
        .budget(Unlimited)
}

fn put<B>(body: B) -> Request<B> {
    Request::put("http://peer/").body(body).unwrap()
}

/// A body of a known length that counts how often it was made.
struct Announced {
    frames: Frames,
    len: u64,
}

impl Body for Announced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        pin!(&mut self.frames).as_mut().poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len)
    }
}

fn announced(text: &'static str) -> Announced {
    Announced {
        frames: Frames::new([text]),
        len: text.len() as u64,
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_made_anew_for_each_attempt_and_not_kept() {
    let made = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&made);
    let mut request = put(announced("rows"));
    request.extensions_mut().insert(BodyFactory::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        announced("rows")
    }));
    let peer = Peer::new([status(503), status(503), status(200)]);
    // Nothing may be kept, and nothing has to be.
    let policy = builder().replay_limit(0).replay_memory(0).build().unwrap();
    let response = send(&peer, policy.clone(), request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(made.load(Ordering::Relaxed), 2, "the first one was there");
    for seen in peer.seen() {
        assert_eq!((seen.body, seen.length), (Bytes::from("rows"), Some(4)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_does_not_stop_a_body_that_can_be_made() {
    let mut request = put(Frames::new(["a", "b"]));
    let make = BodyFactory::new(|| Frames::new(["a", "b"]));
    request.extensions_mut().insert(make);
    let peer = Peer::new([status(503).reading(1), status(200)]);
    let policy = builder().build().unwrap();
    let response = send(&peer, policy.clone(), request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(peer.seen()[1].body, "ab");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_made_with_another_length_fails_and_is_not_sent() {
    let mut request = put(announced("rows"));
    let make = BodyFactory::new(|| announced("more rows"));
    request.extensions_mut().insert(make);
    let peer = Peer::new([status(503), status(200)]);
    let policy = builder().build().unwrap();
    let failure = send(&peer, policy.clone(), request).await.unwrap_err();
    assert_eq!(peer.seen().len(), 2);
    assert_eq!(peer.seen()[1].length, Some(4), "what was announced first");
    assert_eq!(peer.seen()[1].body, "");
    let report = failure.report.unwrap();
    assert_eq!(report.stop(), StopReason::ErrorNotRetryable);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_all_calls_have_no_room_for_is_sent_once() {
    let policy = builder().replay_memory(5).build().unwrap();
    let small = Peer::new([status(503), status(200)]);
    let response = send(&small, policy.clone(), put(Frames::new(["12345"])))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);

    // The room of a call that is over is free again, and this one needs more than there is.
    let large = Peer::new([status(503)]);
    let response = send(&large, policy.clone(), put(Frames::new(["123", "456"])))
        .await
        .unwrap();
    assert_eq!(
        response.retry_report().stop(),
        StopReason::BodyNotReplayable
    );
    assert_eq!(
        large.seen()[0].body,
        "123456",
        "it is sent whole all the same"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_holds_its_room_until_it_is_dropped() {
    let policy = builder().replay_memory(5).build().unwrap();
    let waiting = Peer::new([status(503)]);
    let mut call = task::spawn(send(&waiting, policy.clone(), put(Frames::new(["12345"]))));
    assert_pending!(call.poll());
    assert_eq!(waiting.seen().len(), 1);

    let other = Peer::new([status(503), status(503), status(200)]);
    let response = send(&other, policy.clone(), put(Frames::new(["1"])))
        .await
        .unwrap();
    assert_eq!(
        response.retry_report().stop(),
        StopReason::BodyNotReplayable
    );
    drop(call);
    let response = send(&other, policy.clone(), put(Frames::new(["1"])))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn what_a_call_kept_is_free_when_its_answer_is_given_out() {
    let policy = builder().replay_memory(5).build().unwrap();
    let peer = Peer::new([status(200), status(503), status(200)]);
    let response = send(&peer, policy.clone(), put(Frames::new(["12345"])))
        .await
        .unwrap();
    let again = send(&peer, policy.clone(), put(Frames::new(["12345"])))
        .await
        .unwrap();
    assert_eq!(again.status(), 200);
    drop(response);
}
