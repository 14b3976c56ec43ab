//! Redirects by the policies of tower-http.

use std::{
    collections::HashSet,
    error::Error as _,
    sync::{Arc, Mutex},
};

use client::{Body, Client, RedirectAction, Redirects};
use http::{HeaderMap, Method, Request, Uri};
use retry_layer::BoxError;
use test_support::{MemoryConnector, Reply, answer};
use tower_http::follow_redirect::policy::{
    Action, Attempt, FilterCredentials, Limited, Policy, PolicyExt as _, SameOrigin, Standard,
    clone_body_fn, redirect_fn,
};

/// A peer that counts down: `/3` leads to `/2` and so on, and `/0` is the end. `/to/..` leads to that URL.
fn counting_down() -> MemoryConnector {
    MemoryConnector::new(answer(|request| {
        let path = request.path();
        let location = match path.strip_prefix("/to/") {
            Some(url) => url.to_owned(),
            None => match path.trim_start_matches('/').parse() {
                Ok(0_u32) | Err(_) => return Reply::status(200).body(request.body.clone()),
                Ok(left) => format!("/{}", left - 1),
            },
        };
        Reply::status(307).header("Location", location)
    }))
}

fn client(connector: &MemoryConnector, redirects: Redirects) -> Client {
    let builder = Client::builder().redirects(redirects);
    builder.build_with_connector(connector.clone()).unwrap()
}

/// The targets that are asked until the call ends, and the status it ends with.
async fn walk(url: &str, redirects: Redirects) -> (Vec<String>, u16) {
    let connector = counting_down();
    let response = client(&connector, redirects).get(url).send().await.unwrap();
    let log = connector.log();
    let asked = log.targets().into_iter().map(ToOwned::to_owned);
    (asked.collect(), response.status().as_u16())
}

fn targets<const N: usize>(targets: [&str; N]) -> Vec<String> {
    targets.map(ToOwned::to_owned).to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_limited_policy_stops_and_each_call_has_its_own() {
    let connector = counting_down();
    let client = client(&connector, Redirects::default().policy(Limited::new(2)));
    for _ in 0..2 {
        let stopped = client.get("http://peer/3").fetch().await.unwrap();
        assert_eq!(stopped.status(), 307);
        assert_eq!(stopped.redirected().unwrap().hops().len(), 2);
        let ended = client.get("http://peer/2").fetch().await.unwrap();
        assert_eq!(ended.status(), 200);
    }
    let none = Redirects::default().policy(Limited::new(0));
    let request = client.get("http://peer/1").redirects(none);
    let stopped = request.fetch().await.unwrap();
    assert_eq!(stopped.status(), 307);
    assert!(stopped.redirected().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_same_origin_is_followed_and_no_other() {
    let redirects = || Redirects::default().policy(SameOrigin::new());
    let (asked, status) = walk("http://peer/1", redirects()).await;
    assert_eq!((asked, status), (targets(["/1", "/0"]), 200));
    let (asked, status) = walk("http://peer/to/http://other/0", redirects()).await;
    assert_eq!((asked.len(), status), (1, 307));
}

#[tokio::test(start_paused = true)]
async fn both_of_and_and_one_of_or_have_to_allow_a_redirect() {
    let both = || Limited::new(1).and::<_, Body, BoxError>(SameOrigin::new());
    let (asked, status) = walk("http://peer/2", Redirects::default().policy(both())).await;
    assert_eq!((asked, status), (targets(["/2", "/1"]), 307));
    let elsewhere = "http://peer/to/http://other/0";
    let (_, status) = walk(elsewhere, Redirects::default().policy(both())).await;
    assert_eq!(status, 307);

    let either = || SameOrigin::new().or::<_, Body, BoxError>(Limited::new(1));
    let (_, status) = walk("http://peer/3", Redirects::default().policy(either())).await;
    assert_eq!(status, 200);
    let (_, status) = walk(elsewhere, Redirects::default().policy(either())).await;
    assert_eq!(status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_closure_sees_what_is_asked_and_its_error_is_the_cause() {
    type Asked = (u16, Method, Method, Uri, Uri);
    let seen = Arc::new(Mutex::new(Vec::<Asked>::new()));
    let policy = {
        let seen = seen.clone();
        redirect_fn(move |attempt: &Attempt<'_>| {
            seen.lock().unwrap().push((
                attempt.status().as_u16(),
                attempt.previous_method().clone(),
                attempt.method().clone(),
                attempt.previous().clone(),
                attempt.location().clone(),
            ));
            match attempt.location().path() {
                "/0" => Err("not the end".into()),
                _ => Ok(Action::Follow),
            }
        })
    };
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/2" => Reply::status(303).header("Location", "1?a=b"),
        _ => Reply::status(302).header("Location", "//PEER:80/0"),
    }));
    let client = client(&connector, Redirects::default().policy(policy));
    let error = client
        .put("http://peer/2")
        .body("x")
        .send()
        .await
        .unwrap_err();
    assert!(error.is_redirect(), "{error}");
    assert_eq!(error.source().unwrap().to_string(), "not the end");
    assert_eq!(error.retry_report().unwrap().attempts().len(), 2);
    let uri = Uri::from_static;
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (
                303,
                Method::PUT,
                Method::GET,
                uri("http://peer/2"),
                uri("http://peer/1?a=b")
            ),
            (
                302,
                Method::GET,
                Method::GET,
                uri("http://peer/1?a=b"),
                uri("http://peer/0")
            ),
        ]
    );
}

/// Refuses what was asked before, as the example in tower-http's own documentation does, and keeps what it sees.
#[derive(Clone, Default)]
struct Watching {
    asked: HashSet<Uri>,
    seen: Arc<Mutex<Vec<(Uri, HeaderMap, usize)>>>,
}

#[derive(Clone)]
struct OfCaller;

impl<B> Policy<B, BoxError> for Watching {
    fn redirect(&mut self, attempt: &Attempt<'_>) -> Result<Action, BoxError> {
        if self.asked.contains(attempt.location()) {
            return Ok(Action::Stop);
        }
        Ok(Action::Follow)
    }

    fn on_request(&mut self, request: &mut Request<B>) {
        self.asked.insert(request.uri().clone());
        let seen = (
            request.uri().clone(),
            request.headers().clone(),
            request.extensions().len(),
        );
        self.seen.lock().unwrap().push(seen);
        // Of these two only the first has an effect.
        let from = request.uri().to_string().parse().unwrap();
        request.headers_mut().insert("x-policy", from);
        *request.uri_mut() = Uri::from_static("http://evil/");
        *request.method_mut() = Method::DELETE;
        request.extensions_mut().clear();
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_sees_all_requests_as_their_caller_made_them_and_alters_the_later_ones() {
    let connector = counting_down();
    let policy = Watching::default();
    let redirects = Redirects::default().policy(policy.clone());
    let client = Client::builder()
        .redirects(redirects)
        .default_header("x-default", "1")
        .build_with_connector(connector.clone())
        .unwrap();
    let request = client.get("http://peer/2").header("x-own", "1");
    let response = request.extension(OfCaller).fetch().await.unwrap();
    assert_eq!(response.status(), 200);

    let seen = policy.seen.lock().unwrap();
    let urls: Vec<_> = seen.iter().map(|(uri, ..)| uri.to_string()).collect();
    assert_eq!(urls, ["http://peer/2", "http://peer/1", "http://peer/0"]);
    for (_, headers, _) in &*seen {
        assert!(headers.contains_key("x-own") && !headers.contains_key("x-default"));
    }
    // What the policy removed of the caller's stays away; it sees no setting of the call.
    let extensions: Vec<_> = seen.iter().map(|(.., extensions)| *extensions).collect();
    assert_eq!(extensions, [1, 1, 0]);
    let log = connector.log();
    assert_eq!(log.targets(), ["/2", "/1", "/0"]);
    let told: Vec<_> = log
        .requests
        .iter()
        .map(|it| it.header("x-policy"))
        .collect();
    assert_eq!(told, [None, Some("http://peer/1"), Some("http://peer/0")]);
    for request in &log.requests {
        assert_eq!(request.method, Method::GET);
        assert_eq!(request.header("x-default"), Some("1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_remembers_stops_a_circle() {
    let connector = MemoryConnector::new(answer(|request| {
        let next = if request.path() == "/a" { "/b" } else { "/a" };
        Reply::status(302).header("Location", next)
    }));
    let redirects = Redirects::default().policy(Watching::default());
    let client = client(&connector, redirects);
    let response = client.get("http://peer/a").fetch().await.unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(connector.log().targets(), ["/a", "/b"]);
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_rules_stay_in_force() {
    // The limit: the policy would go on.
    let connector = counting_down();
    let generous = || Limited::new(100);
    let limited = client(&connector, Redirects::limited(2).policy(generous()));
    let error = limited.get("http://peer/5").send().await.unwrap_err();
    assert!(error.is_redirect(), "{error}");
    assert_eq!(connector.log().targets(), ["/5", "/4", "/3"]);

    // No redirects at all.
    let none = Redirects::none().policy(Action::Follow);
    let (asked, status) = walk("http://peer/1", none).await;
    assert_eq!((asked.len(), status), (1, 307));

    // No way back from https, and no other scheme.
    let other = client(&connector, Redirects::default().policy(Action::Follow));
    for url in [
        "https://peer/to/http://peer/0",
        "http://peer/to/ftp://peer/",
    ] {
        let error = other.get(url).send().await.unwrap_err();
        assert!(error.is_redirect(), "{error}");
    }

    // What the function decides, before the policy is asked.
    let stops = Redirects::default().decide(|_| RedirectAction::Stop);
    let (asked, _) = walk("http://peer/1", stops.policy(Unasked)).await;
    assert_eq!(asked.len(), 1);
}

/// A policy that no call gets to.
#[derive(Clone, Debug)]
struct Unasked;

impl Policy<Body, BoxError> for Unasked {
    fn redirect(&mut self, _: &Attempt<'_>) -> Result<Action, BoxError> {
        unreachable!("the client's rules allow no redirect")
    }
}

#[tokio::test(start_paused = true)]
async fn what_leaves_an_origin_is_gone_before_a_policy_sees_the_request() {
    let connector = counting_down();
    let policy = Watching::default();
    let lax = FilterCredentials::new().block_none();
    let lax = lax.and::<_, Body, BoxError>(policy.clone());
    let client = client(&connector, Redirects::default().policy(lax));
    let request = client
        .get("http://peer/to/http://other/0")
        .header("x-own", "1");
    let request = request
        .header("authorization", "secret")
        .extension(OfCaller);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let seen = policy.seen.lock().unwrap();
    let (_, headers, extensions) = &seen[1];
    assert!(headers.contains_key("x-own") && !headers.contains_key("authorization"));
    assert_eq!(*extensions, 0);
    let last = &connector.log().requests[1];
    assert_eq!(last.header("authorization"), None);
}

#[tokio::test(start_paused = true)]
async fn the_standard_policy_of_tower_http_takes_no_setting_of_the_call_away() {
    let connector = counting_down();
    let client = Client::builder()
        .redirects(Redirects::default().policy(Standard::default()))
        .bearer("secret")
        .build_with_connector(connector.clone())
        .unwrap();
    // It clears the extensions, among which is what keeps the client from sending its token.
    let response = client
        .get("http://peer/to/http://other/to/http://peer/0")
        .send();
    assert_eq!(response.await.unwrap().status(), 200);
    let requests = connector.log().requests;
    let sent: Vec<_> = requests
        .iter()
        .map(|it| it.header("authorization").is_some())
        .collect();
    assert_eq!(sent, [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_sent_again_as_for_a_retry_whatever_a_policy_would_clone() {
    let connector = counting_down();
    let policy = Limited::new(3).and::<_, Body, BoxError>(clone_body_fn(|_: &Body| None));
    let client = client(&connector, Redirects::default().policy(policy));
    let response = client
        .put("http://peer/1")
        .body("body")
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.body(), "body");
}
