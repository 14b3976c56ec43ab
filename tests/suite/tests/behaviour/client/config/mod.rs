//! Clients that are set up by a configuration.

mod environment;
mod keys;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use client::{
    Backoff, Class, Classifier, Client, ClientBuilder, ClientConfig, Exponential, Jitter, Outcome,
    PoolConfig, RedirectAction, Redirects, RetryPolicy, TimeoutPhase, Timeouts, Token,
    classifier_fn, token_fn,
};
use http::StatusCode;
use test_support::{MemoryConnector, Reply, always, answer, sequence};
use tokio::time::Instant;
use tower::util::MapRequestLayer;

fn from_toml(text: &str) -> Result<ClientConfig, toml::de::Error> {
    toml::from_str(text)
}

fn client(text: &str, connector: &MemoryConnector) -> Client {
    let config = from_toml(text).expect("the configuration is valid");
    ClientBuilder::from_config(config)
        .expect("its values are valid")
        .build_with_connector(connector.clone())
        .expect("its settings are valid")
}

const EVERYTHING: &str = r#"
base_url = "http://peer/v2/"
deadline = "1m 30s"
max_body = 1048576
decompression = false
user_agent = "config/1"
request_id = "x-request-id"
attempt_id = "x-attempt-id"
bearer = "token"

[headers]
accept = "text/plain"

[retry]
max_attempts = 4
statuses = [503, 418]
methods = ["GET", "POST"]
max_retry_after = "2m"
honor_retry_after = true
budget_percent = 50
replay_limit = 1024
replay_memory = 65536
drain = { bytes = 1024, time = "10ms" }
transparent_retries = false

[retry.backoff]
base = "200ms"
throttled_base = "2s"
factor = 1.5
cap = "10s"
jitter = "none"

[redirects]
follow = true
limit = 3
allow_downgrade = false
sensitive_headers = ["x-own"]

[pool]
max_connections = 100
max_connections_per_origin = 20
max_waiting = 50
queue_timeout = "3s"
idle_timeout = "30s"
max_lifetime = "none"
max_requests_per_connection = 1000
http1_read_buffer = 2048

[timeouts]
connect = "2s"
head = "500ms"
body_idle = "none"
"#;

#[tokio::test(start_paused = true)]
async fn every_setting_is_read_and_does_what_it_says() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(418),
        Reply::status(418),
        Reply::status(418),
        Reply::status(200).body("there"),
    ]));
    let client = client(EVERYTHING, &connector);
    let began = Instant::now();
    let response = client.post("orders").fetch().await.unwrap();
    assert_eq!(response.body(), "there");
    // Without jitter, so exactly 200 ms, 300 ms and 450 ms.
    assert_eq!(began.elapsed(), Duration::from_millis(950));
    let log = connector.log();
    let request = &log.requests[3];
    for (name, value) in [
        ("user-agent", "config/1"),
        ("authorization", "Bearer token"),
        ("accept", "text/plain"),
    ] {
        assert_eq!(request.header(name), Some(value));
    }
    assert!(request.header("x-request-id").is_some() && request.header("x-attempt-id").is_some());
    assert_eq!(request.target, "/v2/orders");

    let slow = MemoryConnector::new(answer(|_| Reply::stall()));
    let error = self::client(EVERYTHING, &slow)
        .get("x")
        .no_retry()
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Head));
    assert!(error.to_string().contains("500ms"), "{error}");
    let looping = MemoryConnector::new(answer(|_| Reply::status(302).header("Location", "x")));
    let error = self::client(EVERYTHING, &looping)
        .get("x")
        .fetch()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("more than 3 redirects"),
        "{error}"
    );
}

/// Retries 423, which neither a default nor a number in a file does.
fn locked() -> impl Classifier {
    classifier_fn(|outcome: &Outcome<'_>| match outcome.status() {
        Some(StatusCode::LOCKED) => Class::Ambiguous,
        _ => Class::Final,
    })
}

#[tokio::test(start_paused = true)]
async fn code_adds_a_classifier_layers_and_credentials_to_what_is_configured() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(423),
        Reply::status(418),
        Reply::status(423),
        Reply::status(200).body("there"),
    ]));
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let text = EVERYTHING.replace("bearer = \"token\"", "");
    let client = ClientBuilder::from_config(from_toml(&text).unwrap())
        .unwrap()
        .map_retry(|policy| policy.map_classifier(|configured| configured.or(locked())))
        .attempt_layer(MapRequestLayer::new(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            request
        }))
        .auth(token_fn(|| ready(Ok(Token::new("fetched")))))
        .build_with_connector(connector.clone())
        .unwrap();
    let began = Instant::now();
    let response = client.get("orders").fetch().await.unwrap();
    assert_eq!(response.body(), "there");
    // The waits are those of the file still.
    assert_eq!(began.elapsed(), Duration::from_millis(950));
    assert_eq!(attempts.load(Ordering::Relaxed), 4);
    let last = connector.log().requests.pop().unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer fetched"));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_is_laid_over_what_code_has_set() {
    let redirects = Redirects::limited(7).decide(|redirect| match redirect.to().path() {
        "/stop" => RedirectAction::Stop,
        _ => RedirectAction::Follow,
    });
    let builder = Client::builder()
        .retry(
            RetryPolicy::builder()
                .max_attempts(2)
                .classifier(locked())
                .backoff(
                    Backoff::from(Exponential::from(Duration::from_secs(1))).jitter(Jitter::None),
                ),
        )
        .redirects(redirects)
        .timeouts(Timeouts::default().head(Duration::from_secs(7)))
        .pool(PoolConfig::default().max_connections(3));
    let one = from_toml("deadline = \"9s\"\n[retry]\nattempts = 4\n[timeouts]\nconnect = \"1s\"");
    let other = from_toml("[redirects]\nlimit = 1\n[pool]\nmax_waiting = 5");
    let builder = builder.config(one.unwrap()).unwrap();
    let builder = builder.config(other.unwrap()).unwrap();
    let told = format!("{builder:?}");
    for kept in ["head: Some(7s)", "max_connections: 3", "deadline: Some(9s)"] {
        assert!(told.contains(kept), "{kept}: {told}");
    }

    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/locked" => Reply::status(423),
        "/" => Reply::status(302).header("Location", "/stop"),
        _ => Reply::status(302).header("Location", "/again"),
    }));
    let client = builder.build_with_connector(connector).unwrap();
    let began = Instant::now();
    let response = client.get("http://peer/locked").fetch().await.unwrap();
    assert_eq!(response.retry_report().attempts().len(), 4);
    assert_eq!(began.elapsed(), Duration::from_secs(7));
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.status(), 302, "code has decided");
    let error = client.get("http://peer/loop").fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("more than 1 redirects"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_default_header_takes_the_place_of_what_is_built_in() {
    let gzip = |request: &test_support::Request| {
        let asked = request.header("accept-encoding");
        Reply::status(200).body(asked.unwrap_or("nothing").to_owned())
    };
    let connector = MemoryConnector::new(answer(gzip));
    let by_code = Client::builder()
        .default_header("user-agent", "mine/1")
        .default_header("Accept-Encoding", "identity");
    let by_file = "headers = { User-Agent = \"mine/1\", accept-encoding = \"identity\" }";
    let by_file = ClientBuilder::from_config(from_toml(by_file).unwrap()).unwrap();
    for builder in [by_code, by_file] {
        let client = builder.build_with_connector(connector.clone()).unwrap();
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.body(), "identity");
        let agent = |log: test_support::Log| log.requests[log.requests.len() - 1].clone();
        let sent = agent(connector.log());
        assert_eq!(sent.header("user-agent"), Some("mine/1"));
        // What a request says for itself comes first.
        let request = client.get("http://peer/").header("user-agent", "own/1");
        let request = request.header("accept-encoding", "br");
        assert_eq!(request.fetch().await.unwrap().body(), "br");
        let sent = agent(connector.log());
        assert_eq!(sent.header("user-agent"), Some("own/1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_turns_on_what_code_has_turned_off_and_back() {
    let hinted = || {
        MemoryConnector::new(sequence([
            Reply::status(503).header("retry-after", "60"),
            Reply::status(200),
        ]))
    };
    let deaf = || RetryPolicy::builder().ignore_retry_after();
    let hearing = RetryPolicy::builder;
    for (code, file, waits) in [
        (deaf(), "", false),
        (deaf(), "honor_retry_after = true", true),
        (deaf(), "honor_retry_after = false", false),
        (hearing(), "", true),
        (hearing(), "honor_retry_after = false", false),
    ] {
        let config = from_toml(&format!("[retry]\n{file}")).unwrap();
        let builder = Client::builder().retry(code).config(config).unwrap();
        let client = builder.build_with_connector(hinted()).unwrap();
        let began = Instant::now();
        client.get("http://peer/").fetch().await.unwrap();
        let waited = began.elapsed() >= Duration::from_secs(60);
        assert_eq!(waited, waits, "{file}");
    }

    let stale = || {
        MemoryConnector::new(sequence([
            Reply::status(200),
            Reply::close(),
            Reply::status(200),
        ]))
    };
    let counted = || RetryPolicy::builder().without_transparent_retries();
    for (code, file, transparent_retries) in [
        (counted(), "", 0),
        (counted(), "transparent_retries = true", 1),
        (RetryPolicy::builder(), "", 1),
        (RetryPolicy::builder(), "transparent_retries = false", 0),
    ] {
        let config = from_toml(&format!("[retry]\n{file}")).unwrap();
        let builder = Client::builder().retry(code).config(config).unwrap();
        let client = builder.build_with_connector(stale()).unwrap();
        client.get("http://peer/").fetch().await.unwrap();
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(
            response.retry_report().transparent_retries(),
            transparent_retries,
            "{file}"
        );
    }

    let builder = Client::builder().cookies(client::Jar::new());
    let builder = builder.record_metrics().record_paths();
    let off = "cookies = false\nmetrics = false\nrecord_paths = false";
    let told = format!("{:?}", builder.config(from_toml(off).unwrap()).unwrap());
    for off in ["jar: None", "facade: None", "paths: Redacted"] {
        assert!(told.contains(off), "{off}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_backoff_leaves_the_rest_as_code_has_set_it() {
    let ms = Duration::from_millis;
    let exponential = Exponential::new(ms(100)).factor(3).cap(ms(5000));
    let exponential = || Backoff::from(exponential.throttled_base(ms(200))).jitter(Jitter::None);
    let fixed = || Backoff::fixed(ms(40));
    for (code, file, waits) in [
        (exponential(), "factor = 2.0", [100, 200, 400]),
        (exponential(), "base = \"200ms\"", [200, 600, 1800]),
        (exponential(), "cap = \"250ms\"", [100, 250, 250]),
        (exponential(), "throttled_base = \"1s\"", [100, 300, 900]),
        (exponential(), "", [100, 300, 900]),
        (fixed(), "cap = \"30ms\"", [30, 30, 30]),
        (fixed(), "jitter = \"none\"", [40, 40, 40]),
        (fixed(), "base = \"10ms\"", [10, 20, 40]),
    ] {
        let config = from_toml(&format!("[retry.backoff]\n{file}")).unwrap();
        let policy = RetryPolicy::builder().max_attempts(4).backoff(code);
        let builder = Client::builder().retry(policy).config(config).unwrap();
        let connector = MemoryConnector::new(answer(|_| Reply::status(503)));
        let client = builder.build_with_connector(connector).unwrap();
        let response = client.get("http://peer/").fetch().await.unwrap();
        let report = response.retry_report();
        let waited = report
            .attempts()
            .iter()
            .filter_map(client::AttemptRecord::wait);
        let waited: Vec<_> = waited.map(|wait| wait.delay()).collect();
        assert_eq!(waited, waits.map(ms), "{file}");
    }
}

/// What an error and its causes say.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let lines: Vec<_> = causes.map(ToString::to_string).collect();
    lines.join(": ")
}

#[test]
fn what_code_or_a_file_cannot_set_together_is_refused_by_name() {
    let statuses = from_toml("[retry]\nstatuses = [503]").unwrap();
    let policy = RetryPolicy::builder().classifier(locked());
    let built = Client::builder().retry(policy).config(statuses);
    let error = built.and_then(ClientBuilder::build).unwrap_err();
    assert!(told(&error).contains("classifier"), "{error}");

    // What was wrong before is not hidden by what is right.
    let error = Client::builder()
        .retry(RetryPolicy::builder().max_attempts(0))
        .config(from_toml("[retry]\nattempts = 2").unwrap())
        .unwrap()
        .map_retry(|policy| policy.max_attempts(3))
        .build()
        .unwrap_err();
    assert!(told(&error).contains("0 attempts"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_habits_of_aiohttp_retry_stay_below_a_configuration() {
    let connector = MemoryConnector::new(always(418, ""));
    let text = "[retry]\nmax_attempts = 2\nstatuses = [418]";
    let client = Client::builder()
        .retry(RetryPolicy::aiohttp_retry())
        .config(from_toml(text).unwrap())
        .unwrap()
        .build_with_connector(connector.clone())
        .unwrap();
    let began = Instant::now();
    client.post("http://peer/").fetch().await.unwrap();
    assert_eq!(connector.log().requests.len(), 2);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_is_the_default() {
    let connector = MemoryConnector::new(always(503, ""));
    let empty = client("", &connector);
    let response = empty.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.retry_report().attempts().len(), 3);
    let default = Client::builder();
    let config = ClientBuilder::from_config(ClientConfig::default()).unwrap();
    let told = |builder: &ClientBuilder| format!("{builder:?}");
    assert_eq!(told(&config), told(&default));

    let silent = client("user_agent = \"\"\n[redirects]\nfollow = false", &connector);
    silent.get("http://peer/").no_retry().fetch().await.unwrap();
    let last = connector.log().requests.pop().unwrap();
    assert!(last.header("user-agent").is_none());
}

#[test]
fn json_is_read_as_well() {
    let config: ClientConfig = serde_json::from_str(
        r#"{"endpoints": ["http://a", "http://b"], "deadline": "none",
            "basic": {"user": "me", "password": "c4n4ry"}, "retry": {"attempts": 2}}"#,
    )
    .unwrap();
    assert!(!format!("{config:?}").contains("c4n4ry"));
    ClientBuilder::from_config(config).unwrap().build().unwrap();
}

#[test]
fn an_unknown_key_or_a_bad_value_is_an_error_that_names_it() {
    for (text, words) in [
        ("base_ur = \"http://a\"", &["`base_ur`", "`base_url`"][..]),
        (
            "[retry]\nmax_attemps = 3",
            &["`max_attemps`", "`max_attempts`"],
        ),
        ("[retry.backoff]\nbas = \"1s\"", &["`bas`", "`base`"]),
        ("[pool]\nmax = 1", &["`max`", "`max_connections`"]),
        ("[timeouts]\nread = \"1s\"", &["`read`", "`body_idle`"]),
        ("[redirects]\nmax = 1", &["`max`", "`limit`"]),
        ("danger_accept_invalid_certs = true", &["unknown field"]),
        (
            "deadline = \"5 parsecs\"",
            &["5 parsecs", "\"500ms\", or \"none\""],
        ),
        (
            "deadline = 5",
            &["integer `5`", "a duration such as \"2s\""],
        ),
        ("deadline = \"-2s\"", &["-2s"]),
        (
            "[retry]\nmax_retry_after = \"none\"",
            &["\"none\"", "a duration"],
        ),
        ("[retry]\nattempts = -1", &["-1"]),
        (
            "[retry.backoff]\njitter = \"some\"",
            &["`some`", "`decorrelated`"],
        ),
        ("[basic]\nuser = \"me\"", &["`password`"]),
    ] {
        let error = from_toml(text).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (text, words) in [
        ("base_url = \"ftp://a\"", "not ftp"),
        ("endpoints = []", "at least one endpoint"),
        (
            "base_url = \"http://a\"\nendpoints = [\"http://b\"]",
            "`base_url` and `endpoints`",
        ),
        (
            "bearer = \"t\"\nbasic = { user = \"a\", password = \"b\" }",
            "`bearer` and `basic`",
        ),
        ("[retry]\nmethods = [\"G E T\"]", "retry.methods: "),
        ("[retry]\nattempts = 0", "0 attempts"),
        ("[retry]\nstatuses = [99]", "from 100 to 999"),
        ("[retry.backoff]\ncap = \"1ms\"", "below the base"),
        (
            "[redirects]\nsensitive_headers = [\"a b\"]",
            "redirects.sensitive_headers: ",
        ),
        (
            "[redirects]\nfollow = false\nlimit = 1",
            "`redirects.limit`",
        ),
        ("[hedge]\npercentile = 40", "hedge: the percentile"),
        (
            "[hedge]\nafter = \"1s\"\npercentile = 90",
            "`hedge.after` and `hedge.percentile`",
        ),
        (
            "[hedge]\nafter = \"1s\"\nmin_answers = 9",
            "`hedge.after` and `hedge.min_answers`",
        ),
        ("request_id = \"a b\"", "request_id: "),
        ("user_agent = \"a\\nb\"", "`user_agent`"),
        ("[headers]\n\"a b\" = \"c4n4ry\"", "default header's name"),
        ("[headers]\na = \"c4n4ry\\n\"", "default header a"),
        ("deadline = \"0s\"", "deadline must be longer"),
        ("[timeouts]\nhead = \"0s\"", "head"),
        ("[pool]\nmax_connections = 0", "max_connections"),
    ] {
        let config = from_toml(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let built = ClientBuilder::from_config(config).and_then(ClientBuilder::build);
        let error = built.map(|_| text).unwrap_err();
        assert!(error.is_builder(), "{text}: {error:?}");
        let told = told(&error);
        assert!(told.contains(words), "{text}: {told}");
        assert!(!told.contains("c4n4ry"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_away_what_the_client_adds() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/moved" => Reply::status(302).header("location", "/end"),
        _ => Reply::status(200),
    }));
    let client = Client::builder()
        .base_url("http://peer/")
        .unwrap()
        .default_header("x-team", "a")
        .default_header("x-kept", "b")
        .bearer("token")
        .request_id(http::HeaderName::from_static("x-request"))
        .attempt_id(http::HeaderName::from_static("x-attempt"))
        .build_with_connector(connector.clone())
        .unwrap();
    let names = [
        "x-team",
        "authorization",
        "user-agent",
        "accept-encoding",
        "x-request",
        "x-attempt",
    ];
    let request = names.iter().fold(client.get("moved"), |request, name| {
        request.header(*name, "own").without_header(*name)
    });
    request.fetch().await.unwrap();
    client.get("end").fetch().await.unwrap();
    let log = connector.log();
    assert_eq!(log.requests.len(), 3);
    for request in &log.requests[..2] {
        for name in names {
            assert_eq!(request.header(name), None, "{name}");
        }
        assert_eq!(request.header("x-kept"), Some("b"));
    }
    for name in names {
        assert!(log.requests[2].header(name).is_some(), "{name}");
    }
    let error = client.get("end").without_header("a b").fetch().await;
    assert!(error.unwrap_err().is_builder());
}

#[tokio::test(start_paused = true)]
async fn a_client_for_https_alone_sends_nothing_in_the_clear() {
    let connector = MemoryConnector::new(answer(|_| {
        Reply::status(302).header("location", "http://peer/")
    }));
    let client = |builder: ClientBuilder| {
        let builder = builder.https_only(true);
        builder.build_with_connector(connector.clone()).unwrap()
    };
    let plain = client(Client::builder());
    let endpoints = Client::builder().endpoints(["http://peer/"]).unwrap();
    for call in [
        plain.get("http://peer/").fetch(),
        client(endpoints).get("x").fetch(),
    ] {
        let error = call.await.unwrap_err();
        assert!(error.is_builder(), "{error}");
        assert!(error.to_string().contains("`https_only`"), "{error}");
        assert_eq!(connector.log().requests.len(), 0);
    }
    // A redirect leads there, although downgrades are allowed.
    let redirects = Redirects::default().allow_downgrade();
    let moved = client(Client::builder().redirects(redirects));
    let error = moved.get("https://peer/").fetch().await.unwrap_err();
    assert!(error.to_string().contains("`https_only`"), "{error}");
    assert_eq!(connector.log().requests.len(), 1);
    let bare = Client::builder().https_only(true);
    let service = tower::service_fn(async |_: http::Request<client::Body>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    });
    assert!(bare.build_from_service(service).unwrap_err().is_builder());
}
