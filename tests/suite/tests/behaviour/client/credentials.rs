//! Which credentials arrive where when a call is led from origin to origin: asserted at the peer.

use client::{Client, ClientBuilder, CrossOrigin, Redirects, RequestBuilder, Token, token_fn};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use test_support::{MemoryConnector, Reply, answer};
use tower::ServiceBuilder;

/// A peer at all origins. `/start` redirects to `away`, `/away` back to `home`, `/home` answers.
fn peer(away: &'static str, home: &'static str) -> MemoryConnector {
    MemoryConnector::new(answer(move |request| match request.path() {
        "/start" => Reply::status(307).header("Location", away),
        "/away" => Reply::status(307).header("Location", home),
        _ => Reply::status(200),
    }))
}

/// Kinds of credentials: how they are given, and the header that they arrive in.
type Kind = (
    &'static str,
    &'static str,
    fn(ClientBuilder) -> ClientBuilder,
    fn(&Client, &'static str) -> RequestBuilder,
);

const SECRET: &str = "c4n4ry";

fn plain(client: &Client, url: &'static str) -> RequestBuilder {
    client.get(url)
}

fn unchanged(builder: ClientBuilder) -> ClientBuilder {
    builder
}

fn secret() -> HeaderValue {
    HeaderValue::from_static(SECRET)
}

fn kinds() -> Vec<Kind> {
    vec![
        (
            "client bearer",
            "authorization",
            |it| it.bearer(SECRET),
            plain,
        ),
        (
            "client basic",
            "authorization",
            |it| it.basic("me", SECRET),
            plain,
        ),
        (
            "client token source",
            "authorization",
            |it| it.auth(token_fn(|| async { Ok(Token::new(SECRET)) })),
            plain,
        ),
        (
            "client x-api-key",
            "x-api-key",
            |it| it.default_header("x-api-key", secret()),
            plain,
        ),
        (
            "client header that nobody would take for a secret",
            "x-tenant",
            |it| it.default_header("x-tenant", secret()),
            plain,
        ),
        (
            "client cookies",
            "cookie",
            |it| {
                let mut cookies = HeaderMap::new();
                cookies.append("cookie", HeaderValue::from_static("a=1"));
                cookies.append("cookie", secret());
                it.default_headers(cookies)
            },
            plain,
        ),
        (
            "request authorization",
            "authorization",
            unchanged,
            |client, url| client.get(url).header("authorization", secret()),
        ),
        ("request cookies", "cookie", unchanged, |client, url| {
            client
                .get(url)
                .header("cookie", "a=1")
                .append_header("cookie", secret())
        }),
        (
            "request x-api-key",
            "x-api-key",
            unchanged,
            |client, url| client.get(url).header("x-api-key", secret()),
        ),
        (
            "request header flagged",
            "x-own",
            unchanged,
            |client, url| {
                let mut value = secret();
                value.set_sensitive(true);
                client.get(url).header("x-own", value)
            },
        ),
        (
            "request header listed",
            "x-listed",
            |it| {
                let listed = [HeaderName::from_static("x-listed")];
                it.redirects(
                    Redirects::default()
                        .allow_downgrade()
                        .sensitive_headers(listed),
                )
            },
            |client, url| client.get(url).header("x-listed", secret()),
        ),
        ("userinfo", "authorization", unchanged, |client, url| {
            let with = url.replacen("://", &format!("://me:{SECRET}@"), 1);
            client.get(with)
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_credential_reaches_another_origin_nor_comes_back_from_there() {
    for (start, away, home) in [
        // Another host, port and scheme, and subdomains both ways.
        (
            "http://a.example/start",
            "http://b.example/away",
            "http://a.example/home",
        ),
        (
            "http://a.example/start",
            "http://a.example:81/away",
            "http://a.example/home",
        ),
        (
            "http://a.example/start",
            "https://a.example/away",
            "http://a.example/home",
        ),
        (
            "http://a.example:443/start",
            "https://a.example/away",
            "http://a.example:443/home",
        ),
        (
            "http://a.example/start",
            "http://x.a.example/away",
            "http://a.example/home",
        ),
        (
            "http://x.a.example/start",
            "http://a.example/away",
            "http://x.a.example/home",
        ),
        (
            "http://a.example/start",
            "//b.example/away",
            "//a.example/home",
        ),
        (
            "http://a.example/start",
            "http://me:pw@b.example/away",
            "http://me:pw@a.example/home",
        ),
    ] {
        for (what, header, configure, ask) in kinds() {
            let connector = peer(away, home);
            let builder = Client::builder().redirects(Redirects::default().allow_downgrade());
            let client = configure(builder)
                .build_with_connector(connector.clone())
                .unwrap();
            let response = ask(&client, start).fetch().await.unwrap();
            assert_eq!(response.status(), 200, "{what}");
            let log = connector.log();
            let [first, rest @ ..] = &log.requests[..] else {
                panic!("nothing was sent");
            };
            assert!(first.headers.contains_key(header), "{what} at {start}");
            assert_eq!(rest.len(), 2);
            for request in rest {
                assert!(
                    !request.headers.contains_key(header),
                    "{what} from {start} by {away} to {}",
                    request.target
                );
                let head = String::from_utf8_lossy(&request.raw_head).into_owned();
                assert!(
                    !head.contains(SECRET) && !head.contains('@'),
                    "{what}: {head}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn over_any_hops_a_credential_is_sent_until_the_origin_changes() {
    const ORIGINS: [&str; 3] = [
        "http://a.example",
        "http://a.example:81",
        "https://b.example",
    ];
    fn origin(digit: char) -> &'static str {
        ORIGINS[digit.to_digit(10).expect("the way is one of digits") as usize]
    }
    // The path is what is left of the way: each hop goes to the origin of its first digit.
    let connector = MemoryConnector::new(answer(|request| {
        let mut rest = request.path()[1..].chars();
        match rest.next() {
            Some(next) => {
                Reply::status(302).header("Location", format!("{}/{}", origin(next), rest.as_str()))
            }
            None => Reply::status(200),
        }
    }));
    let client = Client::builder()
        .redirects(Redirects::default().allow_downgrade())
        .bearer(SECRET)
        .build_with_connector(connector.clone())
        .unwrap();
    for way in 0..3_u32.pow(5) {
        let digits = (0..5).map(|place| char::from_digit(way / 3_u32.pow(place) % 3, 10));
        let way: String = digits.map(|digit| digit.expect("it is below 10")).collect();
        let (first, rest) = way.split_at(1);
        let first = first.chars().next().unwrap();
        let seen = connector.log().requests.len();
        client
            .get(format!("{}/{rest}", origin(first)))
            .header("x-api-key", SECRET)
            .fetch()
            .await
            .unwrap();
        let at_home = way.chars().take_while(|digit| *digit == first).count();
        let log = connector.log();
        for header in ["authorization", "x-api-key"] {
            let sent: Vec<_> = log.requests[seen..]
                .iter()
                .map(|request| request.headers.contains_key(header))
                .collect();
            let expected: Vec<_> = (0..5).map(|hop| hop < at_home).collect();
            assert_eq!(sent, expected, "{header} on the way {way}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_credential_stays_within_its_origin() {
    for (what, header, configure, ask) in kinds() {
        let connector = peer("/away", "http://A.example:80/home");
        let client = configure(Client::builder())
            .build_with_connector(connector.clone())
            .unwrap();
        ask(&client, "http://a.example/start")
            .fetch()
            .await
            .unwrap();
        let log = connector.log();
        assert_eq!(log.requests.len(), 3);
        for request in &log.requests {
            assert!(
                request.headers.contains_key(header),
                "{what}: {}",
                request.target
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_the_base_url_goes_nowhere_else_by_whatever_way() {
    let connector = peer("http://api.example/home", "");
    let client = Client::builder()
        .base_url("http://api.example/v1/")
        .unwrap()
        .bearer(SECRET)
        .default_header("x-tenant", "7")
        .build_with_connector(connector.clone())
        .unwrap();
    client.get("orders").fetch().await.unwrap();
    client
        .get("http://other.example/orders")
        .fetch()
        .await
        .unwrap();
    client
        .get("https://api.example/v1/orders")
        .fetch()
        .await
        .unwrap();
    // Somebody else's redirect leads there.
    client
        .get("http://other.example/start")
        .fetch()
        .await
        .unwrap();
    let log = connector.log();
    let authorized: Vec<_> = log
        .requests
        .iter()
        .map(|it| (it.target.as_str(), it.headers.contains_key("authorization")))
        .collect();
    assert_eq!(
        authorized,
        [
            ("/v1/orders", true),
            ("/orders", false),
            ("/v1/orders", false),
            ("/start", false),
            ("/home", false),
        ]
    );
    assert!(
        log.requests[1..]
            .iter()
            .all(|it| it.header("x-tenant").is_none())
    );
    let agents = log
        .requests
        .iter()
        .filter(|it| it.header("user-agent").is_some());
    assert_eq!(agents.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_by_any_slashes_leaves_the_origin_and_its_credentials() {
    for location in [
        "///b/on",
        "\\\\b/on",
        "/\\b/on",
        "/\t/b/on",
        " //me:own@b/on ",
    ] {
        let connector = MemoryConnector::new(answer(move |request| match request.path() {
            "/start" => Reply::status(302).header("location", location),
            _ => Reply::status(200),
        }));
        let client = Client::builder()
            .build_with_connector(connector.clone())
            .unwrap();
        let request = client.get("http://a/start").bearer("own");
        request.send().await.unwrap();
        let log = connector.log();
        let sent = log.requests.iter().map(|it| {
            (
                it.header("host").unwrap(),
                it.path(),
                it.header("authorization").is_some(),
            )
        });
        assert_eq!(
            sent.collect::<Vec<_>>(),
            [("a", "/start", true), ("b", "/on", false)],
            "{location:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_its_own_in_place_of_the_clients() {
    let connector = peer("", "");
    let client = Client::builder()
        .bearer("client")
        .default_header("accept", "text/plain")
        .build_with_connector(connector.clone())
        .unwrap();
    let own = |request: RequestBuilder| request.header("accept", "text/html");
    own(client.get("http://a/x").header("authorization", "own"))
        .fetch()
        .await
        .unwrap();
    own(client.get("http://user:pass@a/x"))
        .fetch()
        .await
        .unwrap();
    client.get("http://a/x").fetch().await.unwrap();
    let log = connector.log();
    let sent = |name| log.requests.iter().map(move |it| it.header(name).unwrap());
    assert!(sent("authorization").eq(["own", "Basic dXNlcjpwYXNz", "Bearer client"]));
    assert!(sent("accept").eq(["text/html", "text/html", "text/plain"]));
}

#[tokio::test(start_paused = true)]
async fn layers_of_the_attempts_see_that_a_call_was_led_away() {
    let connector = peer("http://b.example/away", "http://a.example/home");
    let signing = ServiceBuilder::new().map_request(|mut request: Request<_>| {
        if request.extensions().get::<CrossOrigin>().is_none() {
            request.headers_mut().insert("x-signature", secret());
        }
        request
    });
    let client = Client::builder()
        .attempt_layer(signing)
        .build_with_connector(connector.clone())
        .unwrap();
    client.get("http://a.example/start").fetch().await.unwrap();
    let log = connector.log();
    let signed = log
        .requests
        .iter()
        .map(|it| it.headers.contains_key("x-signature"));
    assert!(signed.eq([true, false, false]));
}

#[test]
fn what_cannot_be_a_header_is_an_error_that_tells_no_secret() {
    for builder in [
        Client::builder().bearer("c4n4ry\n"),
        Client::builder().basic("c4n4ry:x", "c4n4ry"),
        Client::builder().default_header("x-own", "c4n4ry\r\n"),
        Client::builder().default_header("c4n4ry name", "x"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.is_builder());
        assert!(
            !format!("{error} {error:?}").contains("c4n4ry"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn what_is_meant_for_a_proxy_reaches_no_origin() {
    let connector = peer("/away", "http://A.example:80/home");
    let client = Client::builder()
        .build_with_connector(connector.clone())
        .unwrap();
    let request = client.get("http://a.example/start");
    let request = request.header("proxy-authorization", secret());
    request.fetch().await.unwrap();
    let log = connector.log();
    assert_eq!(log.requests.len(), 3);
    for request in &log.requests {
        assert!(!request.headers.contains_key("proxy-authorization"));
    }
}
