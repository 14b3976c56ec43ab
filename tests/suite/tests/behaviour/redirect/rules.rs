//! Redirects: what leads nowhere, the rules of a call on all its hops, and whom errors name.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use client::{
    Client, ClientBuilder, Error, NoDecompression, RedirectAction, Redirects, RequestBuilder,
};
use http::{Request, StatusCode};
use test_support::{MemoryConnector, Reply, answer};
use tower::util::MapRequestLayer;

fn over(connector: &MemoryConnector) -> Client {
    with(connector, Client::builder())
}

fn with(connector: &MemoryConnector, builder: ClientBuilder) -> Client {
    builder
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// A peer that answers everything by this redirect.
fn redirecting(status: u16, location: &'static str) -> MemoryConnector {
    MemoryConnector::new(answer(move |_| {
        Reply::status(status)
            .header("Location", location)
            .body("moved")
    }))
}

#[tokio::test(start_paused = true)]
async fn an_empty_location_is_no_redirect() {
    for location in ["", " ", "\t "] {
        for (status, method) in [(302, "GET"), (303, "POST"), (307, "POST"), (308, "PUT")] {
            let connector = redirecting(status, location);
            let client = over(&connector);
            let request = || client.request(method.parse().unwrap(), "http://peer/");
            let response = request().body("x").fetch().await.unwrap();
            assert_eq!(response.status(), status, "{location:?}");
            assert_eq!(response.body(), "moved");
            assert!(response.redirected().is_none());
            assert_eq!(connector.log().requests.len(), 1);
            let response = request().send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), "moved");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_idempotent_is_not_sent_twice_to_one_url() {
    for location in [
        "#done",
        "/orders?a=1",
        "?a=1",
        "//PEER/orders?a=1#x",
        "http://peer:80/orders?a=1",
    ] {
        for (status, method) in [(307, "POST"), (308, "POST"), (302, "PATCH"), (301, "LOCK")] {
            let connector = redirecting(status, location);
            let client = over(&connector);
            let request = client.request(method.parse().unwrap(), "http://peer/orders?a=1");
            let response = request.body("order").fetch().await.unwrap();
            assert_eq!(response.status(), status, "{method} {location}");
            assert_eq!(response.body(), "moved");
            assert_eq!(connector.log().requests.len(), 1, "{method} {location}");
        }
    }
    // Nor by a detour.
    let connector = MemoryConnector::new(answer(|request| {
        let next = match request.path() {
            "/a" => "/b",
            "/b" => "http://other/c",
            _ => "http://peer/a",
        };
        Reply::status(307).header("Location", next)
    }));
    let client = over(&connector);
    let request = client.post("http://peer/a").body("order");
    let response = request.fetch().await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.url(), "http://other/c");
    assert_eq!(connector.log().targets(), ["/a", "/b", "/c"]);
}

#[tokio::test(start_paused = true)]
async fn another_method_is_followed_to_the_url_that_it_came_from() {
    // A page that sets a cookie, and a form whose result stands where it was sent to.
    for (status, method) in [(302, "GET"), (307, "PUT"), (303, "POST"), (302, "POST")] {
        let connector = redirecting(status, "#there");
        let client = over(&connector);
        let request = client.request(method.parse().unwrap(), "http://peer/");
        let error = request.fetch().await.unwrap_err();
        assert!(error.is_redirect(), "{error}");
        assert_eq!(connector.log().requests.len(), 11);
    }
}

/// A peer where `/1/2` at one origin leads to `/2` at the second, and so on; what is left over is
/// its answer.
fn chain(origins: &'static [&'static str]) -> MemoryConnector {
    MemoryConnector::new(answer(move |request| {
        let mut steps = request.path()[1..].splitn(2, '/');
        let step = steps.next().unwrap_or_default();
        match step.parse::<usize>() {
            Ok(next) => {
                let rest = steps.next().unwrap_or_default();
                Reply::status(302).header(
                    "Location",
                    format!("{}/{rest}", origins.get(next).expect("there are as many")),
                )
            }
            Err(_) => Reply::status(200).body("inside"),
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_a_request_hold_on_all_hops_also_at_other_origins() {
    const ORIGINS: [&str; 4] = [
        "http://a.example",
        "http://b.example",
        "http://intern.example",
        "https://s.example",
    ];
    // The client's own rules allow all of it.
    let lax = || Redirects::limited(20).allow_downgrade();
    let guard = || {
        lax().decide(|redirect| match redirect.to().host() {
            Some("intern.example") => RedirectAction::Refuse,
            _ => RedirectAction::Follow,
        })
    };
    for (rules, way, sent) in [
        (guard(), "2", 1),
        (guard(), "1/2", 2),
        (guard(), "1/0/1/2", 4),
        (Redirects::limited(1), "1/0", 2),
        (Redirects::limited(2), "1/1/0", 3),
        (Redirects::default(), "1/3/0", 3),
    ] {
        let connector = chain(&ORIGINS);
        let client = with(&connector, Client::builder().redirects(lax()));
        let request = |way: &str| client.get(format!("{}/{way}", ORIGINS[0]));
        let error = request(way).redirects(rules.clone()).fetch().await;
        assert!(error.unwrap_err().is_redirect(), "{way}");
        let error = request(way).redirects(rules).send().await;
        assert!(error.unwrap_err().is_redirect(), "{way}");
        assert_eq!(connector.log().requests.len(), 2 * sent, "{way}");
        assert_eq!(request(way).fetch().await.unwrap().body(), "inside");
    }
}

#[derive(Clone)]
struct OfTheCaller;

#[tokio::test(start_paused = true)]
async fn settings_of_the_call_cross_an_origin_and_its_callers_extensions_do_not() {
    let connector = chain(&["http://a.example", "http://b.example"]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    let look = MapRequestLayer::new(move |request: Request<client::Body>| {
        let extensions = request.extensions();
        note.lock().unwrap().push((
            extensions.get::<OfTheCaller>().is_some(),
            [
                extensions.get::<client::Deadline>().is_some(),
                extensions.get::<retry_layer::Idempotent>().is_some(),
                extensions.get::<NoDecompression>().is_some(),
                extensions.get::<Redirects>().is_some(),
                extensions.get::<client::RetryPolicy>().is_some(),
                extensions.get::<retry_layer::IdempotencyKeys>().is_some(),
                extensions.get::<retry_layer::RetryOwner>().is_some(),
            ],
        ));
        request
    });
    let client = with(&connector, Client::builder().layer(look));
    client
        .get("http://a.example/1")
        .extension(OfTheCaller)
        .extension(retry_layer::RetryOwner)
        .timeout(Duration::from_secs(9))
        .idempotent()
        .idempotency_key()
        .no_decompression()
        .redirects(Redirects::default())
        .retry(client::RetryPolicy::default())
        .fetch()
        .await
        .unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(*seen, [(true, [true; 7]), (false, [true; 7])]);
}

/// A peer whose `/start` leads to `/there`, where this is the answer.
fn leads_to(reply: Reply) -> MemoryConnector {
    MemoryConnector::new(answer(move |request| match request.path() {
        "/start" => Reply::status(303).header("Location", "http://last.example/there"),
        _ => reply.clone(),
    }))
}

fn names_the_last_hop(error: &Error) {
    let url = error.url().map(ToString::to_string);
    assert_eq!(url.as_deref(), Some("http://last.example/there"), "{error}");
    assert_eq!(error.method(), Some(&http::Method::GET), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("GET http://last.example:80: "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn after_a_redirect_each_error_names_the_last_server() {
    let start = |client: &Client| -> RequestBuilder { client.post("http://first.example/start") };
    let folder = std::env::temp_dir().join(format!("client-{}", std::process::id()));
    let folder = folder.with_extension("redirect-rules");
    std::fs::create_dir_all(&folder).unwrap();

    let client = over(&leads_to(Reply::status(404).body("none")));
    let fetched = start(&client).fetch().await.unwrap();
    names_the_last_hop(&fetched.error_for_status().err().unwrap());
    let sent = start(&client).send().await.unwrap();
    names_the_last_hop(&sent.error_for_status().err().unwrap());
    let sent = start(&client).send().await.unwrap();
    let error = sent.error_for_status_with_body().await;
    names_the_last_hop(&error.err().unwrap());

    let client = over(&leads_to(Reply::status(200).body("no JSON")));
    let fetched = start(&client).fetch().await.unwrap();
    names_the_last_hop(&fetched.json::<u32>().unwrap_err());
    let sent = start(&client).send().await.unwrap();
    names_the_last_hop(&sent.json::<u32>().await.unwrap_err());

    let small = Client::builder().max_body(3);
    let client = with(&leads_to(Reply::status(200).body("large")), small);
    names_the_last_hop(&start(&client).fetch().await.unwrap_err());
    let sent = start(&client).send().await.unwrap();
    names_the_last_hop(&sent.bytes().await.unwrap_err());

    let encoded = Reply::status(200).header("content-encoding", "gzip");
    let client = over(&leads_to(encoded.body("no gzip at all")));
    names_the_last_hop(&start(&client).fetch().await.unwrap_err());
    let sent = start(&client).send().await.unwrap();
    names_the_last_hop(&sent.text().await.unwrap_err());

    for breaks in [Reply::truncated_body(20, "cut"), Reply::reset()] {
        let client = over(&leads_to(breaks));
        names_the_last_hop(&start(&client).fetch().await.unwrap_err());
    }
    let client = over(&leads_to(Reply::truncated_body(20, "cut")));
    let sent = async || start(&client).send().await.unwrap();
    names_the_last_hop(&sent().await.bytes().await.unwrap_err());
    let mut response = sent().await;
    response.chunk().await.unwrap();
    names_the_last_hop(&response.chunk().await.unwrap_err());
    let mut stream = sent().await.stream();
    stream.next().await.unwrap().unwrap();
    names_the_last_hop(&stream.next().await.unwrap().unwrap_err());
    names_the_last_hop(&sent().await.copy_to(&mut Vec::new()).await.unwrap_err());
    let saved = sent().await.save_to(folder.join("file")).await;
    names_the_last_hop(&saved.unwrap_err());
    let nowhere = sent().await.save_to(folder.join("none/file")).await;
    names_the_last_hop(&nowhere.unwrap_err());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_requests_options_hold_on_all_hops_without_its_peers_state() {
    use client::RequestOptions;

    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/" => Reply::status(302).header("Location", "http://other/slow"),
        _ => Reply::status(200).delay(Duration::from_secs(100)),
    }));
    let client = over(&connector);
    let asks = |options: RequestOptions| client.get("http://peer/").extension(options).send();
    let patient = RequestOptions::new().only_chosen_timeouts();
    assert_eq!(asks(patient).await.unwrap().status(), 200);
    let error = asks(RequestOptions::new()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
}
