//! A client with a jar: what goes with each attempt, each redirect and each endpoint.

use std::{fmt::Write as _, io};

use client::{Client, ClientBuilder, Jar, Redirects};
use http::{HeaderValue, StatusCode, Uri};
use session_layer::Session;
use test_suite::Captured;
use test_support::{Connect, MemoryConnector, Reply, always, answer, sequence};
use tower::layer::util::Identity;

const CANARY: &str = "c4n4ry";

/// The ways in which a stack is made; a jar is in each at the same place.
type Build = fn(ClientBuilder, &MemoryConnector) -> Client;

const WAYS: [(&str, Build); 3] = [
    ("plain", |builder, connector| {
        builder
            .build_with_connector(connector.clone())
            .expect("the settings are valid")
    }),
    ("layers", |builder, connector| {
        builder
            .layer(Identity::new())
            .attempt_layer(Identity::new())
            .build_with_connector(connector.clone())
            .expect("the settings are valid")
    }),
    ("service", |builder, connector| {
        builder
            .build_with_service(Session::new(connector.clone()))
            .expect("the settings are valid")
    }),
];

fn over(connector: &MemoryConnector, jar: &Jar) -> Client {
    Client::builder()
        .cookies(jar.clone())
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// A jar that has this cookie for this host.
fn holding(host: &str, cookie: &str) -> Jar {
    let jar = Jar::new();
    put(&jar, host, cookie);
    jar
}

fn put(jar: &Jar, host: &str, cookie: &str) {
    let uri: Uri = format!("http://{host}/").parse().expect("it is a URI");
    jar.insert(cookie, &uri).expect("it may be kept");
}

/// The host and the cookies of each request; no text where there are none.
fn sent(connector: &MemoryConnector) -> Vec<(String, String)> {
    let log = connector.log();
    let header =
        |request: &test_support::Request, name| request.header(name).unwrap_or_default().to_owned();
    let sent = log
        .requests
        .iter()
        .map(|it| (header(it, "host"), header(it, "cookie")));
    sent.collect()
}

/// The cookies of each request.
fn cookies(connector: &MemoryConnector) -> Vec<String> {
    sent(connector).into_iter().map(|(_, it)| it).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_is_rotated_by_a_503_goes_with_the_next_attempt() {
    for (way, build) in WAYS {
        for fetches in [true, false] {
            let connector = MemoryConnector::new(sequence([
                Reply::status(503).header("Set-Cookie", "id=2"),
                Reply::status(200).body("there"),
            ]));
            let jar = holding("peer", "id=1");
            let client = build(Client::builder().cookies(jar.clone()), &connector);
            let request = client.get("http://peer/");
            let text = if fetches {
                request.fetch().await.unwrap().text()
            } else {
                request.send().await.unwrap().text().await
            };
            assert_eq!(text.unwrap(), "there");
            assert_eq!(cookies(&connector), ["id=1", "id=2"], "{way}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_redirect_sets_goes_with_the_next_hop_and_to_no_other_host() {
    for (way, build) in WAYS {
        let connector = MemoryConnector::new(answer(|request| match request.path() {
            "/login" => Reply::status(303)
                .header("Location", "/home")
                .header("Set-Cookie", "session=s"),
            "/home" => Reply::status(302)
                .header("Location", "http://other/")
                .header("Set-Cookie", "seen=1; Path=/home"),
            _ => Reply::status(302).header("Location", "http://peer/home/end"),
        }));
        let jar = holding("other", "own=o");
        let builder = Client::builder().redirects(Redirects::limited(3));
        let client = build(builder.cookies(jar.clone()), &connector);
        let response = client.post("http://peer/login").send().await;
        // The last redirect is one too many.
        assert!(response.unwrap_err().is_redirect(), "{way}");
        let expected = [
            ("peer", ""),
            ("peer", "session=s"),
            ("other", "own=o"),
            ("peer", "seen=1; session=s"),
        ];
        let expected = expected.map(|(host, cookies)| (host.to_owned(), cookies.to_owned()));
        assert_eq!(sent(&connector), expected, "{way}");
        assert_eq!(jar.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_of_the_request_is_merged_and_stays_at_its_origin() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/same" => Reply::status(302).header("Location", "/away"),
        "/away" => Reply::status(302).header("Location", "http://other/back"),
        "/back" => Reply::status(302).header("Location", "http://peer/end"),
        _ => Reply::status(200),
    }));
    let jar = holding("peer", "jar=p");
    put(&jar, "peer", "both=jar");
    put(&jar, "other", "jar=o");
    let client = over(&connector, &jar);
    let request = client.get("http://peer/same").header("cookie", "both=own");
    assert_eq!(request.fetch().await.unwrap().status(), StatusCode::OK);
    assert_eq!(
        cookies(&connector),
        [
            "both=own; jar=p",
            "both=own; jar=p",
            "jar=o",
            // It came back by somebody else's redirect: only the jar knows the host.
            "jar=p; both=jar",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_without_cookies_has_none_wherever_a_redirect_leads() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/" => Reply::status(302)
            .header("location", "http://other/there")
            .header("set-cookie", "first=1"),
        _ => Reply::status(200).header("set-cookie", "second=1"),
    }));
    for (_, build) in WAYS {
        let jar = holding("other", "theirs=1");
        let client = build(Client::builder().cookies(jar.clone()), &connector);
        let request = client.get("http://peer/");
        let request = request.extension(client::cookies::NoCookies);
        request.fetch().await.unwrap();
        assert_eq!(jar.len(), 1);
    }
    assert!(cookies(&connector).iter().all(String::is_empty));
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_has_the_cookies_of_its_own_host() {
    let connector = MemoryConnector::new(answer(|request| {
        let host = request.header("host").expect("there is one");
        let status = if host == "b" { 200 } else { 503 };
        Reply::status(status).header("Set-Cookie", format!("from={host}"))
    }));
    let jar = holding("a", "id=a");
    put(&jar, "b", "id=b");
    let client = Client::builder()
        .cookies(jar.clone())
        .endpoints(["http://a/", "http://b/"])
        .unwrap()
        .build_with_connector(connector.clone())
        .unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("x").fetch().await.unwrap().status(), 200);
    }
    assert_eq!(
        cookies(&connector),
        ["id=a", "id=b", "id=a; from=a", "id=b; from=b",]
    );
}

#[tokio::test(start_paused = true)]
async fn clients_that_share_a_session_have_a_jar_each() {
    let connector = MemoryConnector::new(answer(|request| {
        let user = request.path().trim_start_matches('/');
        Reply::status(200).header("Set-Cookie", format!("user={user}"))
    }));
    let session = Session::new(connector.clone());
    let client = || {
        Client::builder()
            .cookies(Jar::new())
            .build_with_service(session.clone())
            .unwrap()
    };
    let (alice, bob) = (client(), client());
    for _ in 0..2 {
        alice.get("http://peer/alice").fetch().await.unwrap();
        bob.get("http://peer/bob").fetch().await.unwrap();
    }
    assert_eq!(cookies(&connector), ["", "", "user=alice", "user=bob"]);
    assert_eq!(connector.log().accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn clients_that_share_a_session_know_its_errors() {
    let connector = MemoryConnector::new(always(200, "there"));
    connector.script([Connect::Refuse, Connect::Accept]);
    let client = Client::builder()
        .build_with_service(Session::new(connector.clone()))
        .unwrap();
    // It had not been sent, so it may be sent again, whatever its method.
    let response = client.post("http://peer/").body("x").fetch().await;
    assert_eq!(response.unwrap().body(), "there");

    connector.refuse();
    let error = client.get("http://other/").send().await.unwrap_err();
    assert!(error.is_connect(), "{error}");
    assert_eq!(error.origin(), Some("http://other:80"));
}

#[tokio::test(start_paused = true)]
async fn a_jar_over_a_service_without_retries_is_refused() {
    let service = tower::service_fn(|_: http::Request<client::Body>| async {
        Ok::<_, io::Error>(http::Response::new(client::ResponseBody::default()))
    });
    let built = Client::builder()
        .cookies(Jar::new())
        .build_from_service(service);
    let error = built.unwrap_err();
    assert!(error.is_builder());
    assert!(error.to_string().contains("cookies"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_cookie_is_shown_by_a_debug_or_a_log() {
    let (log, _guard) = Captured::start();
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).header("Set-Cookie", format!("id={CANARY}; Path=/")),
        // One that may not be kept.
        Reply::status(404).header("Set-Cookie", format!("id={CANARY}; Domain=other")),
    ]));
    let jar = holding("peer", &format!("first={CANARY}"));
    let builder = Client::builder().cookies(jar.clone());
    let mut shown = format!("{jar:?} {builder:?}");
    let client = builder.build_with_connector(connector.clone()).unwrap();
    let response = client.get("http://peer/").send().await.unwrap();
    write!(shown, "{client:?} {response:?}").unwrap();
    let error = response.error_for_status_with_body().await.unwrap_err();
    write!(shown, "{error} {error:?}").unwrap();
    shown += &log.text();
    // It was there to be told, and the events came.
    let both = format!("first={CANARY}; id={CANARY}");
    assert_eq!(cookies(&connector).last(), Some(&both));
    assert!(shown.contains("cookie refused"), "{shown}");
    assert!(!shown.contains(CANARY), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_default_cookie_header_and_the_jar_are_one_header() {
    let connector = MemoryConnector::new(always(200, ""));
    let jar = holding("peer", "jar=p");
    let client = Client::builder()
        .cookies(jar)
        .base_url("http://peer/")
        .unwrap()
        .default_header("cookie", HeaderValue::from_static("own=1"))
        .build_with_connector(connector.clone())
        .unwrap();
    client.get("").fetch().await.unwrap();
    assert_eq!(cookies(&connector), ["own=1; jar=p"]);
}
