//! Requests that are passed on, by the rules for gateways: RFC 9110, section 7.6, and 7.8.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request as AxumRequest, State},
    response::Response as AxumResponse,
};
use bytes::Bytes;
use client::{
    Client, ClientBuilder, Error, Jar, TimeoutPhase, Timeouts,
    http::{
        HeaderMap, HeaderName, Method, Request, Response, StatusCode, Version, request, uri::Scheme,
    },
    testing::{Answer, Failure, Fake},
};
use http_body::Frame;
use http_body_util::{BodyExt as _, Channel, StreamBody};
use hyper_util::rt::TokioIo;
use test_support::{Port, Reply, Server, always, sequence};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A client with all that it could add of its own, over a fake.
fn upstream(fake: &Fake) -> Client {
    Client::builder()
        .base_url("http://user:secret@10.0.0.7:8080/ignored/")
        .unwrap()
        .default_header("x-default", "1")
        .bearer("secret")
        .cookies(Jar::new())
        .build_with_fake(fake)
        .unwrap()
}

fn received(method: &Method, uri: &str) -> request::Builder {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "shop.example")
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

/// Forwards a request with these headers; gives what the upstream saw.
async fn seen(headers: &[(&str, &str)]) -> Request<Bytes> {
    let fake = Fake::new([200]);
    let mut request = received(&Method::GET, "/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(String::new()).unwrap();
    upstream(&fake).forward(request).send().await.unwrap();
    fake.requests().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_request_is_passed_on_with_nothing_of_the_clients_own() {
    let seen = seen(&[
        ("accept", "*/*"),
        ("cookie", "a=1"),
        ("authorization", "Basic eA=="),
    ])
    .await;
    assert_eq!(names(seen.headers()), ["accept", "authorization", "cookie"]);
    assert_eq!(seen.headers()["authorization"], "Basic eA==");
    assert_eq!(seen.headers()["cookie"], "a=1");
}

#[tokio::test(start_paused = true)]
async fn no_cookie_is_added_and_none_is_kept() {
    let fake = Fake::from_fn(|_| Answer::new(200).header("set-cookie", "evil=1"));
    let jar = Jar::new();
    let builder = Client::builder().base_url("http://up/").unwrap();
    let client = builder.cookies(jar.clone()).build_with_fake(&fake).unwrap();
    for _ in 0..2 {
        let request = received(&Method::GET, "/").body(String::new()).unwrap();
        let response = client.forward(request).send().await.unwrap();
        assert_eq!(response.headers()["set-cookie"], "evil=1");
    }
    assert!(!fake.requests()[1].headers().contains_key("cookie"));
    assert!(jar.is_empty());
    client.get("/").fetch().await.unwrap();
    assert!(!jar.is_empty(), "it works otherwise");
}

#[tokio::test(start_paused = true)]
async fn the_target_is_the_upstreams_and_never_the_one_that_the_caller_names() {
    for (uri, sent) in [
        ("/", "http://10.0.0.7:8080/"),
        (
            "/a/../b//c?x=%2f&y",
            "http://10.0.0.7:8080/a/../b//c?x=%2f&y",
        ),
        ("//evil.example/x", "http://10.0.0.7:8080//evil.example/x"),
        ("http://evil.example/x?y", "http://10.0.0.7:8080/x?y"),
        ("https://evil.example", "http://10.0.0.7:8080/"),
    ] {
        let fake = Fake::new([200]);
        let request = received(&Method::GET, uri).body(String::new()).unwrap();
        upstream(&fake).forward(request).send().await.unwrap();
        assert_eq!(fake.requests()[0].uri(), sent, "{uri}");
    }
    let fake = Fake::new([200, 200]);
    let request = || received(&Method::GET, "/x?y").body(String::new()).unwrap();
    let to = fake
        .client()
        .forward(request())
        .to("https://other:9/ignored");
    to.send().await.unwrap();
    assert_eq!(fake.requests()[0].uri(), "https://other:9/x?y");
    let error = fake.client().forward(request()).send().await.unwrap_err();
    assert!(error.is_builder(), "{error}");
}

#[tokio::test]
async fn an_options_for_the_whole_server_is_passed_on_as_one() {
    let server = Server::start(always(200, "")).await;
    let client = Client::builder().base_url(server.url("/")).unwrap();
    let client = client.build().unwrap();
    let request = received(&Method::OPTIONS, "*").body(String::new()).unwrap();
    client.forward(request).send().await.unwrap();
    assert_eq!(server.log().requests[0].target, "*");
}

// 7.6.1

#[tokio::test(start_paused = true)]
async fn what_is_for_one_connection_is_removed_from_the_request() {
    let seen = seen(&[
        ("connection", "close, X-Listed"),
        ("connection", "x-again"),
        ("x-listed", "1"),
        ("x-again", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "deflate"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("trailer", "x-sum"),
        ("x-kept", "1"),
    ])
    .await;
    assert_eq!(names(seen.headers()), ["trailer", "x-kept"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_for_one_connection_is_removed_from_the_response() {
    let answer = Answer::new(200)
        .header("connection", "keep-alive, x-listed")
        .header("keep-alive", "timeout=5")
        .header("x-listed", "1")
        .header("proxy-authenticate", "Basic")
        .header("proxy-authentication-info", "x")
        .header("upgrade", "h2c")
        .header("server", "up")
        .header("content-encoding", "gzip")
        .body("not decoded");
    let client = upstream(&Fake::new([answer]));
    let request = received(&Method::GET, "/").body(String::new()).unwrap();
    let response = client.forward(request).send().await.unwrap();
    let left = ["content-encoding", "date", "server"];
    assert_eq!(names(response.headers()), left);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "not decoded");
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_date_gets_the_time_at_which_it_came() {
    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let dated = Answer::new(200).header("date", OLD);
    let client = upstream(&Fake::new([Answer::new(200), dated]));
    let mut values = Vec::new();
    for _ in 0..2 {
        let request = received(&Method::GET, "/").body(String::new()).unwrap();
        let response = client.forward(request).send().await.unwrap();
        values.push(response.headers()["date"].to_str().unwrap().to_owned());
    }
    let came = httpdate::parse_http_date(&values[0]).unwrap();
    assert!(came.elapsed().unwrap() < Duration::from_secs(60));
    assert_eq!(values[1], OLD, "it stays as it came");
}

#[tokio::test(start_paused = true)]
async fn that_trailers_are_taken_is_said_anew() {
    let seen = seen(&[("te", "trailers, deflate;q=0.5"), ("connection", "te")]).await;
    assert_eq!(seen.headers()["te"], "trailers");
    assert_eq!(seen.headers()["connection"], "te");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_asks_for_an_upgrade_says_which() {
    let answer = Answer::new(426)
        .header("upgrade", "HTTP/3")
        .header("connection", "upgrade");
    let client = upstream(&Fake::new([answer]));
    let request = received(&Method::GET, "/").body(String::new()).unwrap();
    let response = client.forward(request).send().await.unwrap();
    assert_eq!(response.headers()["upgrade"], "HTTP/3");
    assert_eq!(response.headers()["connection"], "upgrade");
}

#[tokio::test(start_paused = true)]
async fn an_expectation_is_passed_on() {
    assert_eq!(
        seen(&[("expect", "100-continue")]).await.headers()["expect"],
        "100-continue"
    );
}

// 7.6.2

#[tokio::test(start_paused = true)]
async fn max_forwards_counts_down_for_trace_and_options_alone() {
    for (method, came, sent) in [
        (Method::OPTIONS, "10", "9"),
        (Method::TRACE, "1", "0"),
        (
            Method::OPTIONS,
            "99999999999999999999999",
            "18446744073709551614",
        ),
        (Method::OPTIONS, "many", "many"),
        (Method::GET, "0", "0"),
    ] {
        let fake = Fake::new([200]);
        let request = received(&method, "/").header("max-forwards", came);
        let request = request.body(String::new()).unwrap();
        upstream(&fake).forward(request).send().await.unwrap();
        assert_eq!(
            fake.requests()[0].headers()["max-forwards"],
            sent,
            "{method}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn at_zero_the_gateway_answers_and_a_trace_reflects_no_secret() {
    for method in [Method::OPTIONS, Method::TRACE] {
        let fake = Fake::new([500]);
        let request = received(&method, "/x")
            .header("max-forwards", "0")
            .header("cookie", "secret=1")
            .header("authorization", "Basic secret");
        let request = request.body(String::new()).unwrap();
        let response = upstream(&fake).forward(request).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(fake.requests().is_empty());
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if method == Method::TRACE {
            assert_eq!(head.headers["content-type"], "message/http");
            let expected = "TRACE /x HTTP/1.1\r\nhost: shop.example\r\nmax-forwards: 0\r\n\r\n";
            assert_eq!(body, expected);
        } else {
            assert!(body.is_empty());
        }
    }
}

// 7.6.3, and RFC 7239

#[tokio::test(start_paused = true)]
async fn via_names_the_gateway_and_the_version_that_came_both_ways() {
    for (version, via) in [
        (Version::HTTP_10, "1.0 fred, 1.0 edge"),
        (Version::HTTP_11, "1.0 fred, 1.1 edge"),
        (Version::HTTP_2, "1.0 fred, 2 edge"),
    ] {
        let fake = Fake::new([200]);
        let request = received(&Method::GET, "/")
            .version(version)
            .header("via", "1.0 fred");
        let request = request.body(String::new()).unwrap();
        let forward = upstream(&fake).forward(request).via("edge");
        let response = forward.send().await.unwrap();
        assert_eq!(fake.requests()[0].headers()["via"], via);
        assert_eq!(response.headers()["via"], "1.1 edge");
    }
    let request = received(&Method::GET, "/").body(String::new()).unwrap();
    let error = upstream(&Fake::new([200]))
        .forward(request)
        .via("not a token");
    assert!(error.send().await.unwrap_err().is_builder());
}

#[tokio::test(start_paused = true)]
async fn the_way_is_passed_on_added_to_or_forgotten_by_choice() {
    let fake = Fake::from_fn(|_| 200);
    let client = upstream(&fake);
    let request = || {
        let request = received(&Method::GET, "/")
            .header("forwarded", "for=a")
            .header("x-forwarded-for", "a")
            .header("x-forwarded-for", "b")
            .header("x-forwarded-host", "first.example");
        request.body(String::new()).unwrap()
    };
    client.forward(request()).send().await.unwrap();
    let seen = fake.requests().pop().unwrap();
    assert_eq!(seen.headers()["forwarded"], "for=a");
    assert!(!seen.headers().contains_key("x-forwarded-proto"));

    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let forward = client
        .forward(request())
        .peer(v6)
        .received_over(Scheme::HTTPS);
    forward.forwarded().x_forwarded().send().await.unwrap();
    let seen = fake.requests().pop().unwrap();
    let forwarded = "for=a, for=\"[::1]\";host=shop.example;proto=https";
    assert_eq!(seen.headers()["forwarded"], forwarded);
    assert_eq!(seen.headers()["x-forwarded-for"], "a, b, ::1");
    assert_eq!(seen.headers()["x-forwarded-host"], "first.example");
    assert_eq!(seen.headers()["x-forwarded-proto"], "https");

    let forward = client
        .forward(request())
        .peer(Ipv4Addr::LOCALHOST)
        .distrust_forwarded();
    forward.x_forwarded().send().await.unwrap();
    let seen = fake.requests().pop().unwrap();
    assert!(!seen.headers().contains_key("forwarded"));
    assert_eq!(seen.headers()["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen.headers()["x-forwarded-host"], "shop.example");
}

#[tokio::test]
async fn the_host_is_the_upstreams_or_the_callers_by_choice() {
    let server = Server::start(always(200, "")).await;
    let client = Client::builder().base_url(server.url("/")).unwrap();
    let client = client.build().unwrap();
    let request = || received(&Method::GET, "/").body(String::new()).unwrap();
    client.forward(request()).send().await.unwrap();
    client
        .forward(request())
        .preserve_host()
        .send()
        .await
        .unwrap();
    // Over HTTP/2 the URI has it.
    let by_http2 = Request::get("https://two.example/").version(Version::HTTP_2);
    let by_http2 = by_http2.body(String::new()).unwrap();
    client
        .forward(by_http2)
        .preserve_host()
        .send()
        .await
        .unwrap();
    let log = server.log();
    let hosts: Vec<_> = log
        .requests
        .iter()
        .map(|it| it.header("host").unwrap())
        .collect();
    assert_eq!(
        hosts,
        [
            &server.addr().to_string()[..],
            "shop.example",
            "two.example"
        ]
    );
}

// RFC 9112, section 3.2.2, and RFC 9113, section 8.3.1
#[tokio::test(start_paused = true)]
async fn a_host_beside_a_target_that_names_one_is_ignored() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let fake = Fake::new([200]);
        let request = received(&Method::GET, "http://user@target.example:81/").version(version);
        let request = request.body(String::new()).unwrap();
        let forward = upstream(&fake).forward(request).preserve_host();
        forward.forwarded().x_forwarded().send().await.unwrap();
        let seen = fake.requests().remove(0);
        let headers = seen.headers();
        assert_eq!(headers["host"], "target.example:81");
        assert_eq!(headers["x-forwarded-host"], "target.example:81");
        let forwarded = "for=unknown;host=\"target.example:81\";proto=http";
        assert_eq!(headers["forwarded"], forwarded);
    }
}

// RFC 9113, section 8.2.3
#[tokio::test(start_paused = true)]
async fn cookies_that_came_on_several_lines_are_sent_on_one() {
    let seen = seen(&[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "")]).await;
    let cookies: Vec<_> = seen.headers().get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_passed_on_is_the_callers_fault() {
    for (method, uri, coding, status) in [
        (Method::CONNECT, "a:80", "chunked", 501),
        // RFC 9112, sections 3.2.3 and 3.2.4
        (Method::GET, "a:80", "chunked", 400),
        (Method::GET, "*", "chunked", 400),
        // RFC 9112, section 6.1: the coding would be lost, and the content is in it.
        (Method::POST, "/", "gzip, chunked", 501),
        (Method::POST, "/", "identity", 501),
    ] {
        let fake = Fake::new([200]);
        let request = received(&method, uri).header("transfer-encoding", coding);
        let request = request.body(String::from("content")).unwrap();
        let sent = upstream(&fake).forward(request).send().await;
        let error = sent.expect_err(coding);
        assert_eq!(error.gateway_status(), status, "{error}");
        assert!(error.is_builder());
        assert!(fake.requests().is_empty());
    }
    for coding in ["chunked", " Chunked "] {
        assert_eq!(
            seen(&[("transfer-encoding", coding)]).await.uri().path(),
            "/"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_and_failures_are_the_callers_and_retries_the_clients() {
    for status in [302, 307, 404, 401] {
        let fake = Fake::from_fn(move |_| Answer::new(status).header("location", "/other"));
        let client = Client::builder()
            .base_url("http://up/")
            .unwrap()
            .error_for_status(true);
        let client = client.build_with_fake(&fake).unwrap();
        let request = received(&Method::GET, "/").body(String::new()).unwrap();
        assert_eq!(
            client.forward(request).send().await.unwrap().status(),
            status
        );
        assert_eq!(fake.requests().len(), 1);
    }
    let fake = Fake::new([503, 200]);
    let request = received(&Method::PUT, "/")
        .body(String::from("content"))
        .unwrap();
    assert_eq!(
        upstream(&fake)
            .forward(request)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(fake.requests()[1].body(), "content");
}

#[tokio::test(start_paused = true)]
async fn an_error_says_what_the_caller_is_told() {
    for (failure, status) in [
        (Failure::Connect, 502),
        (Failure::Dns, 502),
        (Failure::Broken, 502),
        (Failure::Protocol, 502),
        (Failure::Timeout(TimeoutPhase::Head), 504),
        (Failure::Timeout(TimeoutPhase::Connect), 504),
        (Failure::Timeout(TimeoutPhase::Deadline), 504),
        (Failure::Timeout(TimeoutPhase::Queue), 503),
        (Failure::QueueFull, 503),
        (Failure::Closed, 503),
        (Failure::Builder, 500),
    ] {
        assert_eq!(Error::from(failure).gateway_status(), status, "{failure:?}");
    }
    let client = upstream(&Fake::from_fn(|_| Answer::never()));
    let request = received(&Method::GET, "/").body(String::new()).unwrap();
    let forward = client.forward(request).timeout(Duration::from_secs(3));
    assert_eq!(forward.send().await.unwrap_err().gateway_status(), 504);
    let request =
        received(&Method::GET, "/").body(StreamBody::new(tokio_stream::once(
            Err::<Frame<Bytes>, _>("the caller left"),
        )));
    let error = client.forward(request.unwrap()).send().await.unwrap_err();
    assert_eq!(error.gateway_status(), 400, "{error}");
}

// Over sockets, with axum in front.

async fn handle(State(client): State<Client>, request: AxumRequest) -> AxumResponse {
    match client.forward(request).send().await {
        Ok(response) => response.map(axum::body::Body::new),
        Err(error) => {
            let mut response = AxumResponse::new(axum::body::Body::empty());
            *response.status_mut() = error.gateway_status();
            response
        }
    }
}

async fn gateway(builder: ClientBuilder, upstream: impl std::fmt::Display) -> SocketAddr {
    let builder = builder.base_url(format!("http://{upstream}/")).unwrap();
    let app = Router::new()
        .fallback(handle)
        .with_state(builder.build().unwrap());
    serve(app).await
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

#[tokio::test]
async fn each_piece_of_a_body_is_passed_on_when_it_comes_both_ways() {
    let echo = Router::new().fallback(async |body: axum::body::Body| body);
    let upstream = serve(echo).await;
    let gateway = gateway(Client::builder(), upstream).await;
    let (mut sender, body) = Channel::<Bytes>::new(1);
    sender.send_data("0".into()).await.unwrap();
    let client = Client::new();
    let request = client
        .post(format!("http://{gateway}/"))
        .body(client::Body::new(body));
    let mut response = request.send().await.unwrap();
    for piece in ["0", "1", "2"] {
        assert_eq!(response.chunk().await.unwrap().unwrap(), piece);
        let next = char::from(piece.as_bytes()[0] + 1).to_string();
        sender.send_data(next.into()).await.unwrap();
    }
}

#[tokio::test]
async fn trailers_are_passed_on() {
    let app = Router::new().fallback(async |request: AxumRequest| {
        assert_eq!(request.headers()["te"], "trailers");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        let frames = [
            Frame::data(Bytes::from("content")),
            Frame::trailers(trailers),
        ];
        let frames = frames.map(Ok::<_, std::convert::Infallible>);
        let body = StreamBody::new(tokio_stream::iter(frames));
        let mut response = Response::new(axum::body::Body::new(body));
        response
            .headers_mut()
            .insert("trailer", "x-sum".parse().unwrap());
        response
    });
    let gateway = gateway(Client::builder(), serve(app).await).await;
    let client = Client::new();
    let request = client.get(format!("http://{gateway}/"));
    let request = request.header("te", "trailers").header("connection", "te");
    let body = request.send().await.unwrap().into_inner().into_body();
    let collected = body.collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "42");
}

#[tokio::test]
async fn an_upgrade_is_passed_on_with_the_bytes_behind_it() {
    let app = Router::new().fallback(async |mut request: AxumRequest| {
        assert_eq!(request.headers()["upgrade"], "echo");
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            let mut piece = [0; 5];
            io.read_exact(&mut piece).await.unwrap();
            io.write_all(&piece).await.unwrap();
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "echo");
        response.body(axum::body::Body::empty()).unwrap()
    });
    let gateway = gateway(Client::builder(), serve(app).await).await;
    let client = Client::new();
    let request = client.get(format!("http://{gateway}/"));
    let request = request
        .header("connection", "upgrade")
        .header("upgrade", "echo");
    let mut response = request.send().await.unwrap().into_inner();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "echo");
    let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    io.write_all(b"hello").await.unwrap();
    let mut back = Vec::new();
    io.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"hello");
}

#[tokio::test]
async fn a_caller_that_asks_to_continue_is_answered_and_its_body_passed_on() {
    let echo = Router::new().fallback(async |body: Bytes| body);
    let gateway = gateway(Client::builder(), serve(echo).await).await;
    let mut caller = TcpStream::connect(gateway).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    caller.write_all(head.as_bytes()).await.unwrap();
    let mut read = vec![0; 25];
    caller.read_exact(&mut read).await.unwrap();
    assert_eq!(read, b"HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"ok").await.unwrap();
    let mut rest = String::new();
    caller.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
    assert!(rest.contains("ok"), "{rest}");
}

#[tokio::test]
async fn a_response_of_an_older_version_goes_out_in_the_connections_own() {
    let old = Reply::raw("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let server = Server::start(sequence([old])).await;
    let gateway = gateway(Client::builder(), server.addr()).await;
    let client = Client::new();
    let response = client
        .get(format!("http://{gateway}/"))
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(response.body(), "ok");
}

#[tokio::test]
async fn a_server_that_is_gone_or_silent_is_a_502_or_a_504() {
    let gone = Port::free();
    let client = Client::new();
    let to_gone = gateway(Client::builder(), gone.addr()).await;
    let request = client.post(format!("http://{to_gone}/")).no_retry();
    assert_eq!(request.fetch().await.unwrap().status(), 502);

    let silent = serve(Router::new().fallback(std::future::pending::<()>)).await;
    let limits = Timeouts::default().head(Duration::from_millis(30));
    let to_silent = gateway(Client::builder().timeouts(limits), silent).await;
    let request = client.post(format!("http://{to_silent}/")).no_retry();
    assert_eq!(request.fetch().await.unwrap().status(), 504);
}
