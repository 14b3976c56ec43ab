//! Which requests are hedged, and what a hedge sends.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, channel::Channel};
use retry_layer::{
    AttemptHeader, BodyFactory, IdempotencyKeys, Idempotent, NoHedge, NoRetry, Retry, RetryPolicy,
    hedge::{HedgeLayer, Hedging},
};
use tower::{Layer, ServiceExt};

use super::{begin, get, hedging, ms, policy, send, stack, up_to};
use crate::support::{
    Frames,
    timed::{TimedPeer, after},
};

fn slow() -> TimedPeer {
    TimedPeer::playing([after(1_000), after(10), after(10), after(10)])
}

fn request(method: Method, body: &'static str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = "http://peer/".parse().unwrap();
    request
}

async fn sent(request: Request<Full<Bytes>>) -> usize {
    let peer = slow();
    send(&stack(&peer, policy(hedging())), request).await;
    peer.seen().len()
}

#[tokio::test(start_paused = true)]
async fn a_post_is_hedged_only_with_a_key_or_a_marker() {
    for method in [Method::POST, Method::PATCH] {
        assert_eq!(sent(request(method.clone(), "row")).await, 1);
        let mut marked = request(method.clone(), "row");
        marked.extensions_mut().insert(Idempotent);
        assert_eq!(sent(marked).await, 2);
        let mut keyed = request(method, "row");
        let key = http::HeaderValue::from_static("\"8e03978e\"");
        keyed.headers_mut().insert("idempotency-key", key);
        assert_eq!(sent(keyed).await, 2);
    }
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        assert_eq!(sent(request(method, "row")).await, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_generated_key_is_the_same_on_the_attempt_and_its_hedge() {
    let peer = slow();
    let keyed = policy(hedging()).idempotency_keys(IdempotencyKeys::new());
    send(&stack(&peer, keyed), request(Method::POST, "row")).await;
    let keys: Vec<_> = peer
        .seen()
        .iter()
        .map(|seen| seen.headers["idempotency-key"].clone())
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_retried_is_never_hedged() {
    let mut unwanted = get();
    unwanted.extensions_mut().insert(NoRetry);
    assert_eq!(sent(unwanted).await, 1);
    let mut unwanted = get();
    unwanted.extensions_mut().insert(NoHedge);
    assert_eq!(sent(unwanted).await, 1);
    let peer = slow();
    send(&stack(&peer, policy(hedging()).max_attempts(1)), get()).await;
    assert_eq!(peer.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_the_request_decides_in_place_of_the_layers() {
    let mut without = get();
    without.extensions_mut().insert(RetryPolicy::default());
    assert_eq!(sent(without).await, 1);

    let peer = slow();
    let mut with = get();
    let own = policy(Hedging::after(ms(300))).build().unwrap();
    with.extensions_mut().insert(own);
    send(&stack(&peer, RetryPolicy::builder()), with).await;
    assert_eq!(peer.sent_at(), [0, 300]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_sends_the_same_body() {
    let peer = slow();
    send(&stack(&peer, policy(up_to(2))), request(Method::PUT, "row")).await;
    for seen in peer.seen() {
        assert_eq!(seen.body, "row");
    }
    assert_eq!(peer.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_streams_is_hedged_once_it_was_read_whole() {
    let peer = slow();
    let hedge = HedgeLayer::new().layer(peer.handle());
    let service = Retry::new(hedge, policy(hedging()).build().unwrap());
    let (mut sender, body) = Channel::<Bytes>::new(4);
    let body = body.boxed();
    let call = tokio::spawn(service.oneshot(Request::put("http://peer/").body(body).unwrap()));
    sender.send_data(Bytes::from("ro")).await.unwrap();
    tokio::time::sleep(ms(150)).await;
    assert_eq!(peer.seen().len(), 1, "at 100 it is still being sent");
    sender.send_data(Bytes::from("w")).await.unwrap();
    drop(sender);
    call.await.unwrap().unwrap();
    assert_eq!(peer.sent_at(), [0, 200]);
    assert_eq!(peer.seen()[0].body, "row");
    assert_eq!(peer.seen()[1].body, "row");
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_a_body_that_streams_is_hedged_once_it_was_read_whole() {
    let peer = slow();
    let hedge = HedgeLayer::new().layer(peer.handle());
    let at_once = policy(Hedging::after(Duration::ZERO)).build().unwrap();
    let service = Retry::new(hedge, at_once);
    let (mut sender, body) = Channel::<Bytes>::new(4);
    let request = Request::put("http://peer/").body(body.boxed()).unwrap();
    let call = tokio::spawn(service.oneshot(request));
    tokio::time::sleep(ms(150)).await;
    assert_eq!(peer.seen().len(), 1, "the body is still being sent");
    sender.send_data(Bytes::from("row")).await.unwrap();
    drop(sender);
    call.await.unwrap().unwrap();
    let seen = peer.seen();
    assert_eq!((seen.len(), &*seen[1].body), (2, &b"row"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_tunnel_is_never_hedged() {
    let mut upgrade = get();
    let protocol = http::HeaderValue::from_static("websocket");
    upgrade.headers_mut().insert("upgrade", protocol);
    assert_eq!(sent(upgrade).await, 1);
    let mut connect = request(Method::CONNECT, "");
    connect.extensions_mut().insert(Idempotent);
    assert_eq!(sent(connect).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_kept_is_sent_once_unless_it_can_be_made_anew() {
    let peer = slow();
    let hedge = HedgeLayer::new().layer(peer.handle());
    let policy = policy(hedging()).replay_limit(4).build().unwrap();
    let service = Retry::new(hedge, policy);
    let body = Frames::new(["more", "than", "fits"]);
    let request = Request::put("http://peer/").body(body).unwrap();
    service.clone().oneshot(request).await.unwrap();
    assert_eq!(peer.seen().len(), 1);

    let peer = slow();
    let service = Retry::new(
        HedgeLayer::new().layer(peer.handle()),
        service.policy().clone(),
    );
    let make = || Frames::new(["more", "than", "fits"]);
    let mut request = Request::put("http://peer/").body(make()).unwrap();
    request.extensions_mut().insert(BodyFactory::new(make));
    service.oneshot(request).await.unwrap();
    assert_eq!(peer.seen().len(), 2);
    assert_eq!(peer.seen()[1].body, "morethanfits");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_altered_as_an_attempt_is_and_knows_that_it_is_one() {
    let peer = TimedPeer::playing([after(1_000), after(1_000), after(10)]);
    let altered = policy(up_to(2))
        .attempt_header(AttemptHeader::numbered("x-attempt".parse().unwrap()))
        .before_attempt(|number, parts| {
            // Each begins with what the caller made.
            assert!(!parts.headers.contains_key("x-exchange"));
            parts.headers.append("x-exchange", number.into());
            parts.uri = format!("http://peer-{number}/").parse().unwrap();
        });
    send(&stack(&peer, altered), get()).await;
    let seen = peer.seen();
    for (index, seen) in seen.iter().enumerate() {
        let number = index + 1;
        assert_eq!(seen.headers["x-exchange"], number.to_string());
        assert_eq!(seen.uri.to_string(), format!("http://peer-{number}/"));
    }
    assert_eq!(seen[0].attempt, None);
    let hedge = |index: usize| {
        let attempt = seen[index].attempt.unwrap();
        (attempt.number(), attempt.hedge().unwrap().get())
    };
    assert_eq!(hedge(1), (2, 1));
    assert_eq!(hedge(2), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn two_layers_do_not_hedge_the_hedges() {
    let peer = slow();
    let inner = HedgeLayer::new().layer(peer.handle());
    let outer = HedgeLayer::new().layer(inner);
    let service = Retry::new(outer, policy(up_to(1)).build().unwrap());
    service.oneshot(get()).await.unwrap();
    assert_eq!(peer.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_that_hedges_the_layer_passes_everything() {
    let peer = TimedPeer::playing([after(10).byte_after(5_000)]);
    let start = tokio::time::Instant::now();
    let service = Retry::new(
        HedgeLayer::new().layer(peer.handle()),
        RetryPolicy::default(),
    );
    service.oneshot(get()).await.unwrap();
    assert_eq!(start.elapsed(), ms(10), "the head is not held back");
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_the_request_takes_nothing_of_the_call_along() {
    // A layer above that follows redirects sends the copy by a call of its own.
    let peer = TimedPeer::playing([after(10)]);
    let mut service = stack(&peer, policy(hedging()));
    let mut call = begin(&mut service, get()).await;
    (&mut call).await.unwrap();
    let request = call.as_mut().take_request().unwrap();
    assert!(request.extensions().is_empty());
}
