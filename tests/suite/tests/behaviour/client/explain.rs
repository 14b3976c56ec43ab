//! What a client tells of a request before it is sent, beside what comes of it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use client::{
    Body, BodyReplay, Client, ClientBuilder, Deadline, ExpectedVersion, ExplainedLayer, Hedged,
    Http2, Idempotence, Jar, PoolConfig, Processed, Proxy, Redirects, RequestBuilder, RetryPolicy,
    Route, StopReason, ThroughputFloor, Timeouts,
    budget::Unlimited,
    retry_layer::{NoHedge, RetryOwner, breaker::Breaker, hedge::Hedging, pause::Pause},
};
use futures_core::Stream;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use test_support::{MemoryConnector, always};
use tower::{service_fn, util::MapRequestLayer};

use super::support::over;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A stream of this many bytes, of unknown length.
fn stream(bytes: usize) -> impl Stream<Item = Result<Bytes, io::Error>> {
    tokio_stream::once(Ok(Bytes::from(vec![b'x'; bytes])))
}

/// The requests of the table below.
fn requests(client: &Client) -> Vec<(&'static str, RequestBuilder)> {
    let url = "http://peer/";
    let once = RetryPolicy::builder().max_attempts(1);
    vec![
        ("GET", client.get(url)),
        ("POST", client.post(url).body("x")),
        (
            "POST with a key",
            client.post(url).body("x").idempotency_key(),
        ),
        (
            "POST with its own key",
            client.post(url).header("idempotency-key", "7"),
        ),
        ("POST with a mark", client.post(url).body("x").idempotent()),
        ("GET without retries", client.get(url).no_retry()),
        ("GET of an owner", client.get(url).extension(RetryOwner)),
        ("GET of one attempt", client.get(url).retry(once)),
        (
            "PUT of a short stream",
            client.put(url).body(Body::stream(stream(100))),
        ),
        (
            "PUT that is made anew",
            client
                .put(url)
                .body(Body::from_fn(|| Body::stream(stream(100)))),
        ),
        (
            "PUT of many bytes",
            client.put(url).body(Bytes::from(vec![b'x'; 1 << 20])),
        ),
    ]
}

/// A client over a server that fails each attempt in this way, and how many attempts there were.
fn failing(outcome: fn() -> io::Result<StatusCode>) -> (Client, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let service = service_fn(move |request: Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            // The body is read, since a request that was not sent whole is not sent again.
            http_body_util::BodyExt::collect(request.into_body())
                .await
                .map_err(io::Error::other)?;
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = outcome()?;
            Ok::<_, io::Error>(response)
        }
    });
    // One budget for all that is tried here would be used up.
    let policy = RetryPolicy::builder().budget(Unlimited);
    let client = Client::builder().retry(policy).build_with_service(service);
    (client.expect("the settings are valid"), sent)
}

/// Whether the call makes as many attempts as its explanation says, or fewer for the same reason.
async fn agrees(outcome: fn() -> io::Result<StatusCode>, processed: Processed) {
    let (client, sent) = failing(outcome);
    for (name, request) in requests(&client) {
        let explained = request.explain().expect("the request is valid");
        let rules = explained.retry().expect("the client has retries");
        sent.store(0, Ordering::Relaxed);
        let (report, is_error) = match request.fetch().await {
            Ok(response) => (response.retry_report(), false),
            Err(error) => (error.retry_report().expect("it was tried").clone(), true),
        };
        let attempts = sent.load(Ordering::Relaxed);
        let Some(refusal) = rules.refusal_after(processed) else {
            assert_eq!(attempts, 3, "{name}: {explained}");
            assert_eq!(rules.max_attempts(), 3, "{name}");
            assert_eq!(report.stop(), StopReason::AttemptsExhausted, "{name}");
            continue;
        };
        assert_eq!(attempts, 1, "{name}: {explained}");
        // A response to a request that is sent once has no report.
        if rules.once().is_none() || is_error {
            assert_eq!(report.stop(), refusal, "{name}: {explained}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_tells_what_becomes_of_a_request_that_may_have_been_processed() {
    agrees(|| Ok(StatusCode::BAD_GATEWAY), Processed::Possibly).await;
}

#[tokio::test(start_paused = true)]
async fn it_tells_what_becomes_of_a_request_that_was_not_sent() {
    agrees(
        || Err(io::ErrorKind::ConnectionRefused.into()),
        Processed::Never,
    )
    .await;
}

fn explain(builder: ClientBuilder, url: &str) -> client::Explanation {
    let client = builder.build().expect("the settings are valid");
    client.get(url).explain().expect("the request is valid")
}

#[tokio::test]
async fn nothing_is_sent_for_an_explanation() {
    let connector = MemoryConnector::new(always(200, "there"));
    let client = over(&connector);
    client.get("http://peer/").explain().unwrap();
    assert_eq!(connector.log().accepted, 0);
    assert_eq!(client.stats(), client::Stats::default());
}

#[test]
fn the_settings_of_a_request_come_before_the_clients() {
    let client = Client::builder()
        .deadline(secs(60))
        .timeouts(Timeouts::default().head(secs(5)))
        .build()
        .unwrap();
    let plain = client.get("http://peer/").explain().unwrap();
    assert_eq!(plain.deadline(), Some(secs(60)));
    assert_eq!(plain.limits().head, Some(secs(5)));
    assert_eq!(plain.limits().connect, Some(secs(10)));
    assert_eq!(plain.limits().body_idle, Some(secs(30)));
    assert_eq!(plain.redirects(), Some(10));

    let floor = ThroughputFloor::new(100, secs(2));
    let own = client
        .get("http://peer/")
        .timeout(secs(7))
        .head_timeout(secs(3))
        .idle_timeout(None)
        .connect_timeout(secs(1))
        .download_floor(floor)
        .redirects(Redirects::none())
        .explain()
        .unwrap();
    assert_eq!(own.deadline(), Some(secs(7)));
    assert_eq!(own.limits().head, Some(secs(3)));
    assert_eq!(own.limits().body_idle, None);
    assert_eq!(own.limits().connect, Some(secs(1)));
    assert_eq!(own.limits().download_floor, Some(floor));
    assert_eq!(own.redirects(), None);
    assert!(!own.layers().contains(&ExplainedLayer::Redirects));
}

#[test]
fn a_longer_timeout_lifts_a_head_timeout_that_is_not_chosen() {
    let client = Client::new();
    let request = client.get("http://peer/").timeout(secs(280));
    assert_eq!(request.explain().unwrap().limits().head, None);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_with_the_request_counts() {
    let mut request = Request::get("http://peer/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    request.extensions_mut().insert(Deadline::within(secs(9)));
    let explained = Client::new().explain(&request).unwrap();
    assert_eq!(explained.deadline(), Some(secs(9)));
}

#[test]
fn the_body_of_any_service_request_is_told_by_its_kind() {
    let client = Client::new();
    let of = |request: &Request<Full<Bytes>>| {
        let explained = client.explain(request).unwrap();
        explained.retry().unwrap().body()
    };
    let full = |bytes: usize| {
        Request::put("http://peer/")
            .body(Full::from(vec![0; bytes]))
            .unwrap()
    };
    assert_eq!(of(&full(0)), BodyReplay::Empty);
    assert_eq!(of(&full(1 << 20)), BodyReplay::Kept);

    let stream = client.put("http://peer/").body(Body::stream(stream(10)));
    let rules = stream.explain().unwrap();
    let limit = 64 * 1024;
    assert_eq!(rules.retry().unwrap().body(), BodyReplay::UpTo(limit));
    let long = Body::stream_with_length(self::stream(10), 1 << 20);
    let long = client.put("http://peer/").body(long).explain().unwrap();
    let long = long.retry().unwrap();
    assert_eq!(long.body(), BodyReplay::OnlyInOnePiece(limit));
    let refusal = long.refusal_after(Processed::Never);
    assert_eq!(refusal, Some(StopReason::BodyNotReplayable));
}

#[test]
fn it_tells_the_route_and_the_version() {
    let proxy = Proxy::all("http://proxy:3128").unwrap().no_proxy("direct");
    let builder = || Client::builder().proxy(proxy.clone());
    let through = explain(builder(), "https://peer/");
    assert_eq!(
        *through.route(),
        Route::Proxy("http://proxy:3128".to_owned())
    );
    assert_eq!(through.version(), ExpectedVersion::Negotiated);
    let direct = explain(builder(), "http://direct/");
    assert_eq!(*direct.route(), Route::Direct);
    assert_eq!(direct.version(), ExpectedVersion::Http1);
    let known = Client::builder().http2(Http2::default().prior_knowledge(true));
    assert_eq!(
        explain(known, "http://peer/").version(),
        ExpectedVersion::Http2
    );

    let fake = Client::fake([200]).get("http://peer/").explain().unwrap();
    assert_eq!(*fake.route(), Route::Service);
    assert_eq!(fake.version(), ExpectedVersion::Unknown);
    assert_eq!(fake.limits().head, None);
}

#[test]
fn credentials_and_headers_go_to_own_origins_alone() {
    let builder = || {
        let base = Client::builder().base_url("http://own/v2/").unwrap();
        base.bearer("secret")
    };
    let own = explain(builder(), "orders");
    assert!(own.is_own_origin());
    assert_eq!(own.uri(), "http://own/v2/orders");
    let foreign = explain(builder(), "http://foreign/orders");
    assert!(!foreign.is_own_origin());
    for explained in [own, foreign] {
        let text = explained.to_string();
        assert!(
            !text.contains("secret") && !text.contains("orders"),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_explains_nothing_as_it_sends_nothing() {
    for client in [Client::new(), Client::fake([200])] {
        let request = || client.get("http://peer/");
        assert!(request().explain().is_ok());
        client.close().await;
        assert!(request().explain().unwrap_err().is_closed());
        assert!(request().send().await.unwrap_err().is_closed());
    }
}

#[test]
fn layers_are_told_in_the_order_of_the_stack() {
    let client = Client::builder()
        .layer(MapRequestLayer::new(|request: Request<Body>| request))
        .attempt_layer(MapRequestLayer::new(
            |request: Request<client::AttemptBody>| request,
        ))
        .hedge(Hedging::after(secs(1)))
        .breaker(Breaker::builder())
        .pause(Pause::builder())
        .cookies(Jar::new())
        .build()
        .unwrap();
    let explained = client.get("http://peer/").explain().unwrap();
    assert_eq!(
        explained.layers(),
        [
            ExplainedLayer::Redirects,
            ExplainedLayer::CallLayers(1),
            ExplainedLayer::Retry,
            ExplainedLayer::Hedge,
            ExplainedLayer::AttemptLayers(1),
            ExplainedLayer::Attempt,
            ExplainedLayer::Breaker,
            ExplainedLayer::Pause,
            ExplainedLayer::Cookies,
            ExplainedLayer::Session,
        ]
    );
    let once = client.get("http://peer/").no_retry().explain().unwrap();
    assert!(!once.layers().contains(&ExplainedLayer::Retry));
    assert!(!once.layers().contains(&ExplainedLayer::Hedge));

    let bare = Client::from_service(service_fn(async |_: Request<Body>| {
        Ok::<_, io::Error>(Response::new(Empty::<Bytes>::new()))
    }));
    let bare = bare.get("http://peer/").explain().unwrap();
    assert!(bare.retry().is_none());
    let service = [ExplainedLayer::Redirects, ExplainedLayer::Service];
    assert_eq!(bare.layers(), service);
}

#[test]
fn it_tells_which_requests_are_hedged() {
    let client = Client::builder()
        .hedge(Hedging::after(secs(2)))
        .build()
        .unwrap();
    let hedged = |request: RequestBuilder| {
        let explained = request.explain().unwrap();
        explained.retry().unwrap().hedged()
    };
    let after = Some(Hedged::After(secs(2)));
    assert_eq!(hedged(client.get("http://peer/")), after);
    assert_eq!(hedged(client.get("http://peer/").extension(NoHedge)), None);
    assert_eq!(hedged(client.get("http://peer/").no_retry()), None);
    assert_eq!(hedged(client.post("http://peer/")), None);
    assert_eq!(hedged(client.post("http://peer/").idempotency_key()), after);
    let learning = Client::builder().hedge(Hedging::learned()).build().unwrap();
    let learning = hedged(learning.get("http://peer/"));
    assert_eq!(learning, Some(Hedged::NotYetLearned));
}

#[test]
fn what_could_not_be_sent_is_the_error_that_it_would_be() {
    let client = Client::builder().https_only(true).build().unwrap();
    for url in ["http://peer/", "/relative", "ftp://peer/"] {
        let error = client.get(url).explain().expect_err(url);
        assert!(error.is_builder(), "{error}");
    }
    assert!(client.get("https://peer/").explain().is_ok());
}

#[test]
fn it_says_in_text_why_a_post_is_not_repeated() {
    let client = Client::builder()
        .pool(PoolConfig::default().queue_timeout(secs(3)))
        .build()
        .unwrap();
    let post = client.post("http://peer/secret?token=x").body("x");
    assert_eq!(
        post.explain().unwrap().to_string(),
        "POST http://peer:80, by HTTP/1.1, directly\n\
         deadline: 300s\n\
         timeouts: queue 3s, connect 10s, head 30s, body idle 30s\n\
         redirects: up to 10\n\
         layers: redirects, retries, headers and credentials, session\n\
         retries: up to 3 attempts, 100ms to 200ms apart before jitter\n\
         if it may have been processed: not sent again, since it is not idempotent, has no key and no mark\n\
         if it was not processed: sent again\n\
         if it was refused unprocessed, or met a closed connection: sent again at once, without counting as an attempt\n\
         its body: kept for each attempt\n\
         a server may ask for a wait of up to 120s"
    );
    let keyed = post.idempotency_key().explain().unwrap();
    assert_eq!(keyed.retry().unwrap().idempotence(), Idempotence::Key);
    let text = keyed.to_string();
    assert!(
        text.contains("sent again, by its Idempotency-Key"),
        "{text}"
    );
    let once = client.get("http://peer/").no_retry().explain().unwrap();
    let text = once.to_string();
    assert!(
        text.ends_with("retries: sent once, whatever comes of it: disabled"),
        "{text}"
    );
}
