//! Which host a URL leads to, whatever its path says.

use client::Client;
use http::{Request, Uri};
use test_support::{
    MemoryConnector, Reply, always, answer,
    http2::{Peer, Stream},
};
use tower::Service as _;

fn at_base(connector: &MemoryConnector) -> Client {
    Client::builder()
        .base_url("http://user:password@api.example:81/v2/")
        .expect("the base is valid")
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

fn hosts(connector: &MemoryConnector) -> Vec<String> {
    let log = connector.log();
    let host = |uri: &Uri| uri.authority().map(ToString::to_string);
    log.dialled.iter().filter_map(host).collect()
}

#[tokio::test(start_paused = true)]
async fn the_path_of_a_uri_never_chooses_the_host() {
    for path in [
        "/orders?x=1",
        "//evil.example/x",
        "///evil.example/x",
        "/\\evil.example/x",
        "/\\/evil.example/x",
        "//user@evil.example:80/x",
        "/http://evil.example/x",
        "/../../x",
        "/x?//evil.example/",
    ] {
        let connector = MemoryConnector::new(always(200, "x"));
        let mut client = at_base(&connector);
        let uri: Uri = path.parse().unwrap();
        assert_eq!(uri.host(), None, "{path}");
        client.get(&uri).fetch().await.unwrap();
        let request = Request::get(uri).body(client::Body::empty()).unwrap();
        client.call(request).await.unwrap();
        let log = connector.log();
        assert_eq!(hosts(&connector)[0], "api.example:81", "{path}");
        for request in &log.requests {
            assert_eq!(request.header("host"), Some("api.example:81"), "{path}");
            assert_eq!(request.target, path, "as it was asked for");
            assert!(request.header("authorization").is_some(), "the base's own");
        }
        assert_eq!(log.requests.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_uri_without_a_path_or_with_more_than_ascii_is_made_fit_to_be_sent() {
    for (uri, target) in [
        ("http://peer?x=1", "/?x=1"),
        ("http://peer/ä/%C3%A4?ä=1", "/%C3%A4/%C3%A4?%C3%A4=1"),
        ("/ä", "/%C3%A4"),
    ] {
        let connector = MemoryConnector::new(always(200, "x"));
        let uri: Uri = uri.parse().unwrap();
        let request = Request::get(&uri).body(client::Body::empty()).unwrap();
        at_base(&connector).call(request).await.unwrap();
        assert_eq!(connector.log().requests[0].target, target);
    }
}

#[tokio::test(start_paused = true)]
async fn a_uri_without_a_scheme_is_refused_if_it_names_a_host_or_has_no_path() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = at_base(&connector);
    for text in ["evil.example", "evil.example:80", "*"] {
        let uri: Uri = text.parse().unwrap();
        let error = client.get(uri).fetch().await.unwrap_err();
        assert!(error.is_builder(), "{text}: {error:?}");
    }
    assert!(connector.log().dialled.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_absolute_uri_names_its_host_and_gets_no_credentials_of_the_base() {
    let connector = MemoryConnector::new(always(200, "x"));
    let uri = Uri::from_static("http://other.example/x");
    at_base(&connector).get(uri).fetch().await.unwrap();
    assert_eq!(
        connector.log().requests[0].header("host"),
        Some("other.example")
    );
    assert_eq!(connector.log().requests[0].header("authorization"), None);
}

#[tokio::test(start_paused = true)]
async fn text_leads_elsewhere_only_if_it_says_so_plainly() {
    for text in [
        "/\\evil.example/x",
        "\\\\evil.example/x",
        "\\/evil.example/x",
        "/\t/evil.example/x",
        " //evil.example/x",
        "/\n\\evil.example/x",
    ] {
        let connector = MemoryConnector::new(always(200, "x"));
        let request = at_base(&connector).get(text);
        let error = request.fetch().await.unwrap_err();
        assert!(error.is_builder(), "{text:?}: {error:?}");
        assert!(connector.log().dialled.is_empty(), "{text:?}");
    }
    // A network-path reference (RFC 3986, section 4.2).
    let connector = MemoryConnector::new(always(200, "x"));
    let client = at_base(&connector);
    client.get("//other.example/x").fetch().await.unwrap();
    assert_eq!(
        connector.log().requests[0].header("host"),
        Some("other.example")
    );
    assert_eq!(connector.log().requests[0].header("authorization"), None);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_looks_like_a_number_is_one_or_is_refused() {
    for (text, host) in [
        ("http://127.1/", Some("127.0.0.1")),
        ("http://2130706433/", Some("127.0.0.1")),
        ("http://0x7f.0.0.1/", Some("127.0.0.1")),
        ("http://0177.0.0.1/", Some("127.0.0.1")),
        ("http://127.0.0.1./", Some("127.0.0.1")),
        ("http://[0:0::1]/", Some("[::1]")),
        ("http://[::ffff:1.2.3.4]/", Some("[::ffff:102:304]")),
        ("http://256.1.1.1/", None),
        ("http://1.2.3.4.5/", None),
        ("http://a.0x/", None),
        ("http://[1.2.3.4]/", None),
        ("http://[::1]x/", None),
        ("http://[::1%25eth0]/", None),
        ("http://xn--a/", None),
        ("http://b.xn--a/", None),
    ] {
        let connector = MemoryConnector::new(always(200, "x"));
        let client = Client::builder()
            .build_with_connector(connector.clone())
            .unwrap();
        let result = client.get(text).fetch().await;
        let log = connector.log();
        let dialled = log.dialled.first().and_then(Uri::host);
        assert_eq!(dialled, host, "{text}");
        let refused = result.is_err_and(|error| error.is_builder());
        assert_eq!(refused, host.is_none(), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn options_may_be_about_the_server_as_a_whole_and_nothing_else_may() {
    let connector = MemoryConnector::new(always(200, ""));
    let mut client = at_base(&connector);
    let whole = Uri::builder().scheme("http").authority("peer");
    let whole = whole.path_and_query("*").build().unwrap();
    let requests = [
        client.options("orders?x=1").asterisk_form(),
        client.options("http://user:pass@peer/a?b").asterisk_form(),
        client.options(Uri::from_static("*")),
        client.options(&whole),
    ];
    for request in requests {
        assert_eq!(request.fetch().await.unwrap().status(), 200);
    }
    let request = Request::options(whole.clone()).body(client::Body::empty());
    client.call(request.unwrap()).await.unwrap();
    let log = connector.log();
    assert_eq!(log.targets(), ["*"; 5]);
    let hosts: Vec<_> = log.requests.iter().map(|it| it.header("host")).collect();
    let (base, peer) = (Some("api.example:81"), Some("peer"));
    assert_eq!(hosts, [base, peer, base, peer, peer]);

    for refused in [
        client.get("orders").asterisk_form(),
        client.post(Uri::from_static("*")),
        client.delete(&whole),
    ] {
        let error = refused.fetch().await.unwrap_err();
        assert!(error.is_builder(), "{error:?}");
    }
    assert_eq!(connector.log().requests.len(), 5);

    // A redirect leads on from the root, and text is a path as ever.
    let moved = MemoryConnector::new(answer(|request| match &*request.target {
        "*" => Reply::status(307).header("Location", "there"),
        _ => Reply::status(200),
    }));
    let client = at_base(&moved);
    let response = client.options("").asterisk_form().fetch().await.unwrap();
    assert_eq!(response.url(), "http://api.example:81/there");
    client.options("*").fetch().await.unwrap();
    assert_eq!(moved.log().targets(), ["*", "/there", "/v2/*"]);
}

#[tokio::test(start_paused = true)]
async fn over_http2_the_server_as_a_whole_is_an_asterisk_too() {
    let handler = |stream: Stream| async move {
        let path = stream.request.uri().path().to_owned();
        stream.answer(200, path);
    };
    let peer = Peer::new(h2::server::Builder::new(), handler);
    let client = Client::builder()
        .http2(client::Http2::default().prior_knowledge(true))
        .build_with_connector(peer.connector())
        .unwrap();
    let request = client.options("http://peer/a").asterisk_form();
    assert_eq!(request.fetch().await.unwrap().body(), "*");
}
