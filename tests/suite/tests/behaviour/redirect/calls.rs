//! Redirects: the methods, bodies, limits and schemes, and what becomes of the connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use client::{
    Body, Client, ClientBuilder, RedirectAction, Redirects, RetryPolicy, RetryReport, StopReason,
    TimeoutPhase,
};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use test_support::{Connection, MemoryConnector, Reply, always, answer};
use tokio::time::Instant;
use tower::{ServiceExt as _, layer::util::Identity};

/// A peer that answers `/status/..` by a redirect to `location`, and anything else by its method
/// and body.
fn redirecting(location: &'static str) -> MemoryConnector {
    MemoryConnector::new(answer(move |request| {
        match request.path().strip_prefix("/status/") {
            Some(status) => Reply::status(status.parse().expect("it is a number"))
                .header("Location", location)
                .body("moved"),
            None => Reply::status(200).body(request.body.clone()),
        }
    }))
}

fn over(connector: &MemoryConnector) -> Client {
    with(connector, Client::builder())
}

fn with(connector: &MemoryConnector, builder: ClientBuilder) -> Client {
    builder
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

#[tokio::test(start_paused = true)]
async fn method_and_body_go_along_as_the_status_says() {
    for (status, method, becomes) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "PATCH", "PATCH"),
        (303, "PUT", "GET"),
        (303, "DELETE", "GET"),
        (308, "DELETE", "DELETE"),
        (303, "HEAD", "HEAD"),
        (301, "HEAD", "HEAD"),
        (302, "GET", "GET"),
        (303, "GET", "GET"),
        (307, "OPTIONS", "OPTIONS"),
    ] {
        let connector = redirecting("/there");
        let has_body = !["GET", "HEAD", "OPTIONS"].contains(&method);
        let method: Method = method.parse().unwrap();
        let mut request = over(&connector)
            .request(method, format!("http://peer/status/{status}"))
            .header("x-kept", "1");
        if has_body {
            request = request
                .header("content-type", "text/plain")
                .header("content-language", "en")
                .body("body");
        }
        let response = request.fetch().await.unwrap();
        assert_eq!(response.status(), 200, "{status}");
        assert_eq!(response.url(), "http://peer/there");
        let log = connector.log();
        let last = &log.requests[1];
        assert_eq!(last.method.as_str(), becomes, "{status}");
        assert_eq!(last.header("x-kept"), Some("1"));
        let kept = has_body && becomes != "GET";
        assert_eq!(last.body, if kept { "body" } else { "" });
        for name in ["content-type", "content-language", "content-length"] {
            assert_eq!(last.headers.contains_key(name), kept, "{status} {name}");
        }
        assert_eq!(last.header("referer"), None);
        assert_eq!(log.accepted, 1, "the redirect's body was read to its end");
    }
}

#[tokio::test(start_paused = true)]
async fn other_statuses_and_a_redirect_without_a_location_are_answers() {
    for status in [300, 304, 305, 306] {
        let connector = redirecting("/there");
        let url = format!("http://peer/status/{status}");
        let response = over(&connector).get(url).fetch().await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.redirected().is_none());
    }
    let connector = MemoryConnector::new(always(302, "nowhere"));
    let response = over(&connector).get("http://peer/").fetch().await.unwrap();
    assert_eq!(
        (response.status(), &**response.body()),
        (StatusCode::FOUND, &b"nowhere"[..])
    );
    let sent = over(&connector).get("http://peer/").send().await.unwrap();
    assert_eq!(sent.text().await.unwrap(), "nowhere");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_sent_again_makes_the_redirect_the_answer() {
    let stream = || {
        let once = tokio_stream::once(Ok::<_, std::io::Error>(Bytes::from("body")));
        Body::stream(once)
    };
    let keeps_nothing = RetryPolicy::builder().replay_limit(0);
    for status in [301, 307, 308] {
        let connector = redirecting("/there");
        let client = with(&connector, Client::builder().retry(keeps_nothing.clone()));
        let url = format!("http://peer/status/{status}");
        let response = client.put(&url).body(stream()).fetch().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.body(), "moved");

        let once = client.put(&url).no_retry().body(stream()).fetch().await;
        assert_eq!(once.unwrap().status(), status);

        // One that is made anew goes along, and one that is left out need not be had again.
        let made = client.put(&url).body_with(stream).fetch().await.unwrap();
        assert_eq!(made.body(), "body");
    }
    let connector = redirecting("/there");
    let see_other = over(&connector)
        .post("http://peer/status/303")
        .body(stream());
    assert_eq!(see_other.fetch().await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_kept_goes_along_on_each_hop() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/a" => Reply::status(307).header("Location", "/b"),
        "/b" => Reply::status(308).header("Location", "/c"),
        _ => Reply::status(200).body(request.body.clone()),
    }));
    for fetched in [true, false] {
        let pieces = ["a ", "stream"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        let body = Body::stream(tokio_stream::iter(pieces));
        let request = over(&connector).post("http://peer/a").body(body);
        let text = if fetched {
            request.fetch().await.unwrap().text().unwrap()
        } else {
            request.send().await.unwrap().text().await.unwrap()
        };
        assert_eq!(text, "a stream");
    }
}

fn streamed(pieces: &[&'static str]) -> Body {
    let pieces: Vec<_> = pieces.iter().map(|it| Ok(Bytes::from(*it))).collect();
    Body::stream(tokio_stream::iter::<Vec<Result<_, std::io::Error>>>(pieces))
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_kept_goes_along_with_its_length_whatever_the_method() {
    let builders: [fn() -> ClientBuilder; 2] = [Client::builder, || {
        Client::builder()
            .request_id("x-id".parse().expect("it is a name"))
            .bearer("token")
    }];
    for builder in builders {
        for method in [Method::PUT, Method::POST] {
            let connector = MemoryConnector::new(answer(|request| {
                let number: u32 = request.path()[1..].parse().expect("it is a number");
                Reply::status(308).header("Location", format!("/{}", number + 1))
            }));
            let client = with(&connector, builder());
            let seen = connector.clone();
            let request = || client.request(method.clone(), "http://peer/0");
            let pieces = streamed(&["first, ", "second, ", "third"]);
            let limited = request().body(pieces).redirects(Redirects::limited(3));
            assert!(limited.send().await.unwrap_err().is_redirect());
            let log = seen.log();
            assert_eq!(log.requests.len(), 4);
            for request in &log.requests {
                assert_eq!(request.body, "first, second, third");
                assert_eq!(request.method, method);
            }

            let length = "known length";
            let known = tokio_stream::once(Ok::<_, std::io::Error>(Bytes::from(length)));
            let known = Body::stream_with_length(known, length.len() as u64);
            let connector = redirecting("/there");
            let client = with(&connector, builder());
            let request = client.request(method.clone(), "http://peer/status/307");
            let response = request.body(known).fetch().await.unwrap();
            assert_eq!(response.body(), length);
            let last = connector.log().requests.pop().unwrap();
            assert_eq!(last.header("content-length"), Some("12"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_failed_at_first_goes_along_too() {
    let asked = AtomicUsize::new(0);
    let connector = MemoryConnector::new(answer(move |request| match request.path() {
        "/there" if asked.fetch_add(1, Ordering::Relaxed) == 0 => Reply::status(503),
        "/there" => Reply::status(200).body(request.body.clone()),
        _ if asked.load(Ordering::Relaxed) == 0 => {
            Reply::status(307).header("Location", "http://other/there")
        }
        _ => Reply::status(503),
    }));
    let request = over(&connector)
        .put("http://peer/")
        .body(streamed(&["bo", "dy"]));
    let response = request.fetch().await.unwrap();
    assert_eq!(response.body(), "body");
    assert_eq!(response.retry_report().attempts().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_redirect_too_many_is_an_error_that_says_what_to_do() {
    let connector = MemoryConnector::new(answer(|request| {
        let number: u32 = request.path()[1..].parse().expect("it is a number");
        Reply::status(302).header("Location", format!("/{}", number + 1))
    }));
    for (redirects, followed) in [
        (Redirects::default(), 10),
        (Redirects::limited(2), 2),
        (Redirects::limited(0), 0),
    ] {
        let client = with(&connector, Client::builder().redirects(redirects));
        let before = connector.log().requests.len();
        let error = client.get("http://peer/0").send().await.unwrap_err();
        assert!(error.is_redirect(), "{error:?}");
        let attempts = match followed {
            0 => "1 attempt".to_owned(),
            _ => format!("{} attempts", followed + 1),
        };
        assert_eq!(
            error.to_string(),
            format!(
                "GET http://peer:80: more than {followed} redirects; see `Redirects::limited` \
                 ({attempts})"
            )
        );
        assert_eq!(connector.log().requests.len() - before, followed + 1);
    }
    let looping = MemoryConnector::new(answer(|_| Reply::status(307).header("Location", "/")));
    let error = over(&looping)
        .get("http://peer/")
        .fetch()
        .await
        .unwrap_err();
    assert!(error.is_redirect());
}

#[tokio::test(start_paused = true)]
async fn a_redirect_that_is_an_answer_is_fetched_again_if_its_body_breaks() {
    let cut = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 5\r\n\r\nmo";
    for client_wide in [true, false] {
        let connector = MemoryConnector::new(move |mut connection: Connection| async move {
            connection.read_request().await;
            if connection.number() == 0 {
                connection.write(cut).await;
            } else {
                let location = [("Location", "/there")];
                connection.respond_with(302, &location, "moved").await;
            }
            connection.close().await;
        });
        let request = if client_wide {
            with(&connector, Client::builder().redirects(Redirects::none())).get("http://peer/")
        } else {
            over(&connector)
                .get("http://peer/")
                .redirects(Redirects::none())
        };
        let response = request.fetch().await.unwrap();
        assert_eq!(response.status(), 302);
        assert_eq!(response.body(), "moved");
        assert_eq!(response.retry_report().attempts().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_or_a_request_may_follow_none() {
    let connector = redirecting("/there");
    let client = with(&connector, Client::builder().redirects(Redirects::none()));
    let url = "http://peer/status/302";
    let response = client.get(url).fetch().await.unwrap();
    assert_eq!(
        (response.status(), &**response.body()),
        (StatusCode::FOUND, &b"moved"[..])
    );
    let followed = client
        .get(url)
        .redirects(Redirects::limited(1))
        .fetch()
        .await;
    assert_eq!(followed.unwrap().status(), 200);
    let client = over(&connector);
    let response = client
        .get(url)
        .redirects(Redirects::none())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(response.url(), "http://peer/status/302");
}

#[tokio::test(start_paused = true)]
async fn only_http_and_https_are_followed_and_never_back_from_https() {
    for (from, to, words) in [
        ("http://peer", "file:///etc/passwd", "the scheme file"),
        ("http://peer", "ftp://peer/", "the scheme ftp"),
        ("http://peer", "gopher://peer/", "the scheme gopher"),
        ("http://peer", "http://peer:99999/", "not a valid URL"),
        ("https://peer", "http://peer/", "Redirects::allow_downgrade"),
    ] {
        let connector = redirecting(to);
        let error = over(&connector)
            .get(format!("{from}/status/302"))
            .fetch()
            .await
            .unwrap_err();
        assert!(
            error.is_redirect() && error.to_string().contains(words),
            "{error}"
        );
        assert_eq!(connector.log().requests.len(), 1);
    }
    let connector = redirecting("http://peer/there");
    let allowed = Redirects::default().allow_downgrade();
    let client = with(&connector, Client::builder().redirects(allowed));
    let response = client.get("https://peer/status/302").fetch().await.unwrap();
    assert_eq!(response.url(), "http://peer/there");
    let connector = redirecting("https://peer/there");
    let response = over(&connector).get("http://peer/status/302").fetch().await;
    assert_eq!(response.unwrap().url(), "https://peer/there");
}

#[tokio::test(start_paused = true)]
async fn a_function_decides_about_each_redirect() {
    let connector = redirecting("http://other/there?q");
    for (action, expected) in [
        (RedirectAction::Follow, Some(200)),
        (RedirectAction::Stop, Some(303)),
        (RedirectAction::Refuse, None),
    ] {
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = asked.clone();
        let rules = Redirects::default().decide(move |redirect| {
            assert_eq!(redirect.status(), 303);
            assert_eq!(redirect.method(), Method::GET);
            assert!(redirect.is_cross_origin() && redirect.number() == 1);
            assert!(!format!("{redirect:?}").contains("there"));
            let urls = (redirect.from().to_string(), redirect.to().to_string());
            noted.lock().expect("no panic").push(urls);
            action
        });
        let client = with(&connector, Client::builder().redirects(rules));
        let answer = client.post("http://peer/status/303").fetch().await;
        assert_eq!(
            answer.as_ref().ok().map(|it| it.status().as_u16()),
            expected
        );
        assert_eq!(
            answer.is_err_and(|error| error.is_redirect()),
            expected.is_none()
        );
        assert_eq!(
            *asked.lock().unwrap(),
            [(
                "http://peer/status/303".into(),
                "http://other/there?q".into()
            )]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_tells_its_redirects_and_the_last_fragment() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/a" => Reply::status(301).header("Location", "http://other/b#first"),
        "/b" => Reply::status(302).header("Location", "c?x=1"),
        _ => Reply::status(200),
    }));
    let response = over(&connector).get("http://peer/a").send().await.unwrap();
    assert_eq!(response.url(), "http://other/c?x=1");
    let redirected = response.redirected().unwrap();
    assert_eq!(redirected.fragment(), Some("first"));
    let hops: Vec<_> = redirected
        .hops()
        .iter()
        .map(|hop| (hop.status().as_u16(), hop.uri().to_string()))
        .collect();
    assert_eq!(
        hops,
        [
            (301, "http://peer/a".into()),
            (302, "http://other/b".into())
        ]
    );
    assert_eq!(connector.log().requests[1].target, "/b");
}

#[tokio::test(start_paused = true)]
async fn each_hop_has_its_own_attempts_and_all_share_the_deadline() {
    let connector = MemoryConnector::new({
        let seen = AtomicUsize::new(0);
        answer(move |request| {
            let again = seen.fetch_add(1, Ordering::Relaxed) % 2 == 0;
            match request.path() {
                _ if again => Reply::status(503),
                "/a" => Reply::status(307).header("Location", "/b"),
                _ => Reply::status(200),
            }
        })
    });
    let response = over(&connector).get("http://peer/a").fetch().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.retry_report().attempts().len(), 4);
    assert_eq!(connector.log().targets(), ["/a", "/a", "/b", "/b"]);

    let slow = MemoryConnector::new(answer(|_| {
        Reply::status(302)
            .header("Location", "/on")
            .delay(Duration::from_secs(2))
    }));
    let began = Instant::now();
    let error = over(&slow)
        .get("http://peer/")
        .timeout(Duration::from_secs(5))
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
    assert_eq!(began.elapsed(), Duration::from_secs(5));

    // A wait that would outlive what is left of the deadline is not begun.
    let busy = MemoryConnector::new(answer(|request| match request.path() {
        "/a" => Reply::status(302)
            .header("Location", "/b")
            .delay(Duration::from_secs(4)),
        _ => Reply::status(503).header("Retry-After", "3"),
    }));
    let began = Instant::now();
    let client = with(&busy, Client::builder().deadline(Duration::from_secs(5)));
    let response = client.get("http://peer/a").fetch().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), began.elapsed().as_secs()),
        (503, 4)
    );
}

/// Without its waits, which are random.
fn timeline(report: Option<&RetryReport>) -> Vec<String> {
    let attempts = report.expect("there is one").attempts();
    attempts.iter().map(|it| it.outcome().to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_report_of_a_call_has_the_attempts_of_all_hops_however_it_ends() {
    let busy = AtomicUsize::new(0);
    let connector = MemoryConnector::new(answer(move |request| match request.path() {
        "/busy" if busy.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Reply::status(503),
        "/busy" => Reply::status(302).header("Location", "/found"),
        "/found" => Reply::status(200),
        "/to-none" => Reply::status(302).header("Location", "/none"),
        "/to-slow" => Reply::status(302).header("Location", "/slow"),
        "/slow" => Reply::status(200).delay(Duration::from_secs(9)),
        "/to-refused" => Reply::status(302).header("Location", "/refused"),
        "/refused" => Reply::status(302).header("Location", "ftp://peer/"),
        _ => Reply::close(),
    }));
    for custom in [false, true] {
        let builder = Client::builder();
        let builder = if custom {
            builder.layer(Identity::new())
        } else {
            builder
        };
        let client = with(&connector, builder);
        let response = client.get("http://peer/busy").fetch().await.unwrap();
        let report = response.retry_report();
        assert_eq!(timeline(Some(&report)), ["503", "302", "200"]);
        assert_eq!(report.stop(), StopReason::Answered);

        let call = client.get("http://peer/to-none").no_retry();
        let error = call.send().await.unwrap_err();
        assert_eq!(timeline(error.retry_report()).len(), 2);
        assert!(error.to_string().contains("2 attempts"), "{error}");

        let error = client
            .get("http://peer/to-refused")
            .send()
            .await
            .unwrap_err();
        assert!(error.is_redirect());
        assert_eq!(timeline(error.retry_report()), ["302", "302"]);

        let slow = client
            .get("http://peer/to-slow")
            .timeout(Duration::from_secs(1));
        let error = slow.send().await.unwrap_err();
        assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
        let seen = timeline(error.retry_report());
        assert_eq!(seen.first().map(String::as_str), Some("302"));
    }
}

#[tokio::test(start_paused = true)]
async fn little_of_a_redirects_body_is_read() {
    // The first comes with its head, the second is too long, the third never ends.
    for (body, connections) in [(60_000, 1), (1_000_000, 2), (usize::MAX, 2)] {
        let connector = MemoryConnector::new(move |mut connection: Connection| async move {
            while let Some(request) = connection.read_request().await {
                if request.path() != "/a" {
                    connection.respond(200, "there").await;
                    continue;
                }
                let length = if body == usize::MAX { 9_000 } else { body };
                let sent = if body == usize::MAX { 10 } else { length };
                connection
                    .write(format!(
                        "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: {length}\r\n\r\n"
                    ))
                    .await;
                connection.write("x".repeat(sent)).await;
            }
        });
        let began = Instant::now();
        for mode in ["fetch", "send"] {
            let client = over(&connector);
            let request = client.get("http://peer/a");
            let text = match mode {
                "fetch" => request.fetch().await.unwrap().text().unwrap(),
                _ => request.send().await.unwrap().text().await.unwrap(),
            };
            assert_eq!(text, "there");
        }
        assert_eq!(connector.log().accepted, 2 * connections, "{body}");
        assert!(began.elapsed() <= Duration::from_millis(110));
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_followed_in_each_kind_of_stack() {
    let router = || {
        use axum::{response::Redirect, routing::get};
        axum::Router::new()
            .route("/", get(async || Redirect::temporary("/there")))
            .route("/there", get(async || "there"))
    };
    let bare = Client::from_service(router());
    let with_retries = Client::builder().build_with_service(router()).unwrap();
    let connector = redirecting("/there");
    let layered = Client::builder()
        .layer(tower::timeout::TimeoutLayer::new(Duration::from_secs(1)))
        .build_with_connector(connector)
        .unwrap();
    for client in [bare, with_retries] {
        assert_eq!(
            client.get("http://any/").fetch().await.unwrap().body(),
            "there"
        );
        let sent = client.get("http://any/").send().await.unwrap();
        assert_eq!(sent.text().await.unwrap(), "there");
    }
    let request = Request::get("http://any/status/302")
        .body(http_body_util::Empty::<Bytes>::new())
        .unwrap();
    assert_eq!(layered.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_marked_to_be_sent_once_is_sent_once_per_hop() {
    #[derive(Clone)]
    struct Own;
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/a" => Reply::status(307).header("Location", "http://other/b"),
        _ => Reply::status(503),
    }));
    let layer = tower::ServiceBuilder::new().map_request(|request: Request<Body>| {
        let crossed = request.extensions().get::<client::CrossOrigin>().is_some();
        assert_eq!(crossed, request.uri().host() == Some("other"));
        assert_eq!(crossed, request.extensions().get::<Own>().is_none());
        request
    });
    let client = with(&connector, Client::builder().layer(layer));
    let mut request = client.put("http://peer/a").no_retry().build().unwrap();
    request.extensions_mut().insert(Own);
    assert_eq!(client.oneshot(request).await.unwrap().status(), 503);
    assert_eq!(connector.log().targets(), ["/a", "/b"]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_the_request_holds_on_each_hop() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/a" => Reply::status(307).header("Location", "http://other/b"),
        _ => Reply::status(503),
    }));
    let policy = RetryPolicy::builder().max_attempts(2);
    let client = over(&connector);
    let response = client
        .get("http://peer/a")
        .retry(policy)
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(connector.log().targets(), ["/a", "/b", "/b"]);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_of_the_last_attempt_takes_all_of_the_request_along() {
    #[derive(Clone)]
    struct Own;
    let tries = Arc::new(AtomicUsize::new(0));
    let connector = MemoryConnector::new(answer(move |request| {
        let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
        match request.path() {
            "/a" if first => Reply::status(503),
            "/a" => Reply::status(307).header("Location", "/b"),
            _ => Reply::status(200),
        }
    }));
    let policy = RetryPolicy::builder()
        .max_attempts(2)
        .without_transparent_retries();
    let client = with(&connector, Client::builder().retry(policy));
    let mut request = client
        .put("http://peer/a")
        .header("x-kept", "1")
        .body("body")
        .build()
        .unwrap();
    request.extensions_mut().insert(Own);
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let log = connector.log();
    assert_eq!(log.targets(), ["/a", "/a", "/b"]);
    assert_eq!(log.requests[2].header("x-kept"), Some("1"));
    assert_eq!(log.requests[2].body, "body");
}

#[tokio::test(start_paused = true)]
async fn a_key_of_one_request_does_not_go_along_with_a_redirect() {
    let connector = redirecting("/there");
    for (status, keys) in [(303, 0), (307, 1)] {
        let call = over(&connector).post(format!("http://peer/status/{status}"));
        call.idempotency_key().body("body").fetch().await.unwrap();
        let log = connector.log();
        let [.., first, last] = &log.requests[..] else {
            panic!("there are two");
        };
        let key = |request: &test_support::Request| {
            request.header("idempotency-key").map(ToOwned::to_owned)
        };
        assert!(key(first).is_some());
        assert_eq!(key(last).iter().count(), keys, "{status}");
        assert_ne!(key(first), key(last));
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_header_of_one_origin_is_not_sent_to_another() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/a" => Reply::status(302).header("Location", "/b"),
        "/b" => Reply::status(302).header("Location", "http://other:81/c"),
        _ => Reply::status(200),
    }));
    let client = over(&connector);
    let request = client
        .get("http://peer/a")
        .header("host", HeaderValue::from_static("virtual"));
    let response = request.fetch().await.unwrap();
    assert_eq!(*response.url(), Uri::from_static("http://other:81/c"));
    let log = connector.log();
    let hosts: Vec<_> = log
        .requests
        .iter()
        .map(|it| it.header("host").unwrap())
        .collect();
    assert_eq!(hosts, ["virtual", "virtual", "other:81"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_between_two_hops_leaves_nothing() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        while connection.read_request().await.is_some() {
            let head = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 9\r\n\r\nhalf";
            connection.write(head).await;
        }
    });
    let client = over(&connector);
    let call = client.get("http://peer/a").send();
    let dropped = tokio::time::timeout(Duration::from_millis(20), call).await;
    assert!(dropped.is_err(), "the body was waited for");
    connector.wait_for(|log| log.open == 0).await;
    assert_eq!(connector.log().targets(), ["/a"]);
    assert_eq!(client.stats().open, 0);
}
