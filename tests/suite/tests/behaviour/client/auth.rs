//! Tokens that are fetched and renewed, Digest, and ids.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use client::{Body, Client, Token, TokenSource, token_fn};
use http::HeaderName;
use test_support::{MemoryConnector, Reply, answer};
use tokio::time::sleep;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A source that counts, and takes a second for each token.
#[derive(Clone, Default)]
struct Counting {
    fetches: Arc<AtomicUsize>,
    lifetime: Option<Duration>,
    fails: bool,
}

impl TokenSource for Counting {
    async fn token(&self) -> Result<Token, BoxError> {
        let number = self.fetches.fetch_add(1, Relaxed) + 1;
        sleep(Duration::from_secs(1)).await;
        if self.fails {
            return Err("the token endpoint is down".into());
        }
        let token = Token::new(format!("token-{number}"));
        Ok(match self.lifetime {
            Some(lifetime) => token.expires_in(lifetime),
            None => token,
        })
    }
}

/// A peer that takes only this token, and answers with the body it got.
fn taking(valid: &'static str) -> MemoryConnector {
    MemoryConnector::new(answer(move |request| {
        if request.header("authorization") == Some(valid) {
            Reply::status(200).body(request.body.clone())
        } else {
            Reply::status(401).body("who?")
        }
    }))
}

fn over(connector: &MemoryConnector, source: Counting) -> Client {
    Client::builder()
        .auth(source)
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_once_and_kept() {
    let (connector, source) = (taking("Bearer token-1"), Counting::default());
    let client = over(&connector, source.clone());
    for _ in 0..3 {
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(source.fetches.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once_and_any_method_sent_again() {
    let (connector, source) = (taking("Bearer token-2"), Counting::default());
    let client = over(&connector, source.clone());
    let response = client
        .post("http://peer/")
        .body("body")
        .fetch()
        .await
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), &**response.body()),
        (200, &b"body"[..])
    );
    assert_eq!(connector.log().requests.len(), 2);
    let report = response.retry_report();
    assert_eq!(
        (report.attempts().len(), report.transparent_retries()),
        (2, 1)
    );
    assert_eq!(source.fetches.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn the_renewed_token_is_tried_exactly_once() {
    let (connector, source) = (taking("Bearer never"), Counting::default());
    let client = over(&connector, source.clone());
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &**response.body()),
        (401, &b"who?"[..])
    );
    assert_eq!(connector.log().requests.len(), 2);
    assert_eq!(source.fetches.load(Relaxed), 2);

    // Not even if another failure comes between.
    let seen = AtomicUsize::new(0);
    let connector = MemoryConnector::new(answer(move |_| {
        let number = seen.fetch_add(1, Relaxed);
        Reply::status([401, 503, 401, 200][number])
    }));
    let response = over(&connector, Counting::default())
        .get("http://peer/")
        .fetch()
        .await;
    assert_eq!(response.unwrap().status(), 401);
    assert_eq!(connector.log().requests.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn requests_at_the_same_time_share_one_fetch_and_one_renewal() {
    let (connector, source) = (taking("Bearer token-2"), Counting::default());
    let client = over(&connector, source.clone());
    let calls: Vec<_> = (0..20)
        .map(|_| tokio::spawn(client.get("http://peer/").fetch()))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(source.fetches.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_not_sent() {
    let source = Counting {
        lifetime: Some(Duration::from_secs(60)),
        ..Counting::default()
    };
    let connector = taking("Bearer token-1");
    let client = over(&connector, source.clone());
    for (pause, fetches) in [(0, 1), (59, 1), (1, 2)] {
        sleep(Duration::from_secs(pause)).await;
        client.get("http://peer/").no_retry().fetch().await.unwrap();
        assert_eq!(source.fetches.load(Relaxed), fetches);
    }
    let last = connector.log().requests.pop().unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer token-2"));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_fails_all_who_waited_for_it_and_nobody_after() {
    let source = Counting {
        fails: true,
        ..Counting::default()
    };
    let connector = taking("");
    let client = over(&connector, source.clone());
    let calls: Vec<_> = (0..5)
        .map(|_| tokio::spawn(client.get("http://peer/").fetch()))
        .collect();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "GET http://peer:80: no token could be fetched to authorize the request (1 attempt)"
        );
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "the token endpoint is down");
    }
    assert_eq!(source.fetches.load(Relaxed), 1);
    client.get("http://peer/").fetch().await.unwrap_err();
    assert_eq!(source.fetches.load(Relaxed), 2);
    assert!(connector.log().requests.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_it_fetches_leaves_the_turn_to_the_next() {
    let (connector, source) = (taking("Bearer token-2"), Counting::default());
    let client = over(&connector, source.clone());
    let mut first = tokio_test::task::spawn(client.get("http://peer/").fetch());
    assert!(first.poll().is_pending());
    let second = tokio::spawn(client.get("http://peer/").fetch());
    sleep(Duration::from_millis(500)).await;
    drop(first);
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
    assert_eq!(source.fetches.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_takes_longer_than_its_call_is_there_for_the_next() {
    let (connector, source) = (taking("Bearer token-1"), Counting::default());
    let client = over(&connector, source.clone());
    let call = || {
        client
            .get("http://peer/")
            .timeout(Duration::from_millis(300))
    };
    for _ in 0..3 {
        assert!(call().fetch().await.unwrap_err().is_timeout());
    }
    assert_eq!(call().fetch().await.unwrap().status(), 200);
    assert_eq!(source.fetches.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_fetch_gave_while_nobody_waited_is_taken_if_it_still_holds() {
    for (lifetime, fails, wait, fetches) in
        [(60, false, 30, 1), (60, false, 90, 2), (60, true, 30, 2)]
    {
        let source = Counting {
            lifetime: Some(Duration::from_secs(lifetime)),
            fails,
            ..Counting::default()
        };
        let client = over(&taking(""), source.clone());
        let call = client.get("http://peer/").timeout(Duration::from_millis(1));
        call.no_retry().fetch().await.unwrap_err();
        sleep(Duration::from_secs(wait)).await;
        let _ = client.get("http://peer/").no_retry().fetch().await;
        assert_eq!(source.fetches.load(Relaxed), fetches, "after {wait} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_token_fetch_is_given_up_and_a_dropped_clients_dropped() {
    let fetches = Arc::new(());
    let source = token_fn({
        let fetches = fetches.clone();
        move || {
            let fetch = fetches.clone();
            async move {
                std::future::pending::<()>().await;
                drop(fetch);
                Ok(Token::new("t"))
            }
        }
    });
    let client = Client::builder()
        .auth(source)
        .build_with_connector(taking(""))
        .unwrap();
    let began = tokio::time::Instant::now();
    client.get("http://peer/").fetch().await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    let call = client.get("http://peer/").timeout(Duration::from_millis(1));
    call.fetch().await.unwrap_err();
    drop(client);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&fetches), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_sent_only_once_gets_its_401_and_the_next_a_new_token() {
    let (connector, source) = (taking("Bearer token-2"), Counting::default());
    let client = over(&connector, source.clone());
    let once = client.get("http://peer/").no_retry().fetch().await.unwrap();
    assert_eq!(once.status(), 401);
    let long = tokio_stream::iter((0..3).map(|_| Ok::<_, BoxError>(Bytes::from(vec![0; 40_000]))));
    let streamed = client.put("http://peer/").body(Body::stream(long));
    assert_eq!(streamed.fetch().await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_own_authorization_is_neither_replaced_nor_renewed() {
    let (connector, source) = (taking(""), Counting::default());
    let client = over(&connector, source.clone());
    let request = client.get("http://peer/").header("authorization", "own");
    assert_eq!(request.fetch().await.unwrap().status(), 401);
    assert_eq!(connector.log().requests.len(), 1);
    assert_eq!(source.fetches.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_a_source() {
    let connector = taking("Bearer t");
    let client = Client::builder()
        .auth(token_fn(|| async { Ok(Token::new("t")) }))
        .build_with_connector(connector)
        .unwrap();
    assert_eq!(
        client.get("http://peer/").fetch().await.unwrap().status(),
        200
    );
    let broken = Client::builder()
        .auth(token_fn(|| async { Ok(Token::new("c4n4ry\n")) }))
        .build_with_connector(taking(""))
        .unwrap();
    let error = broken.get("http://peer/").fetch().await.unwrap_err();
    assert!(!format!("{error:?}").contains("c4n4ry"), "{error:?}");
}

/// The example of RFC 7616, section 3.9.1, as far as the client's own nonce allows.
fn digesting() -> MemoryConnector {
    MemoryConnector::new(answer(|request| {
        let challenge = |nonce: &str| {
            Reply::status(401)
                .header("WWW-Authenticate", "Basic realm=\"x\"")
                .header(
                    "WWW-Authenticate",
                    format!(
                        "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                         algorithm=SHA-256, nonce=\"{nonce}\", opaque=\"o\""
                    ),
                )
        };
        match request.header("authorization") {
            None => challenge("one"),
            Some(answer) => {
                assert!(answer.starts_with("Digest username=\"Mufasa\""), "{answer}");
                assert!(!answer.contains("Circle of Life"), "{answer}");
                assert!(answer.contains("uri=\"/dir/index.html?x=1\""), "{answer}");
                match () {
                    () if answer.contains("nc=00000003") => challenge("two"),
                    () if answer.contains("nonce=\"one\"") => Reply::status(200).body("one"),
                    () => Reply::status(200).body("two"),
                }
            }
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn digest_answers_a_challenge_once_it_comes_and_a_new_one_when_it_changes() {
    let connector = digesting();
    let client = Client::builder()
        .digest("Mufasa", "Circle of Life")
        .build_with_connector(connector.clone())
        .unwrap();
    let mut answers = Vec::new();
    for _ in 0..4 {
        let request = client.post("http://peer/dir/index.html?x=1").body("x");
        answers.push(request.fetch().await.unwrap().text().unwrap());
    }
    assert_eq!(answers, ["one", "one", "two", "two"]);
    // One for the first challenge, and one for the second.
    assert_eq!(connector.log().requests.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn digest_answers_for_the_target_that_is_sent() {
    let connector = MemoryConnector::new(answer(|request| {
        let target = format!("uri=\"{}\"", request.target);
        match request.header("authorization") {
            Some(answer) if answer.contains(&target) => Reply::status(200),
            Some(_) => Reply::status(400),
            None => Reply::status(401).header(
                "WWW-Authenticate",
                "Digest realm=\"x\", nonce=\"n\", qop=\"auth\"",
            ),
        }
    }));
    let client = Client::builder()
        .digest("me", "secret")
        .build_with_connector(connector.clone())
        .unwrap();
    for url in ["http://peer", "http://peer?x=1", "http://peer/ä?ä"] {
        let response = client.get(url).fetch().await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn digest_answers_the_first_challenge_that_it_can_however_that_is_written() {
    for (challenge, answered) in [
        (
            "Digest realm=\"x\", nonce=\"n\", qop=\"auth\", algorithm=md5",
            "algorithm=MD5,",
        ),
        (
            "Digest realm=x, nonce=n, qop=auth, algorithm=\"Sha-256-SESS\"",
            "algorithm=SHA-256-sess,",
        ),
        (
            "Digest realm=\"x\", nonce=\"one\", qop=\"auth-int\", \
             Digest realm=\"x\", nonce=\"two\", qop=\"auth\"",
            "nonce=\"two\"",
        ),
        (
            "NTLM, Negotiate YII=, Digest realm=\"x\", nonce=\"two\", qop=\"auth\"",
            "nonce=\"two\"",
        ),
        (
            "Bearer, NTLM TlRM==, Digest realm=\"x\", nonce=\"two\"",
            "nonce=\"two\"",
        ),
        (
            "Digest realm=\"x\", nonce=\"one\", algorithm=ROT13, \
             Basic realm=\"x\", Digest realm=\"x\", nonce=\"two\"",
            "nonce=\"two\"",
        ),
    ] {
        let connector = MemoryConnector::new(answer(move |request| {
            match request.header("authorization") {
                Some(answer) if answer.contains(answered) => Reply::status(200),
                _ => Reply::status(401).header("WWW-Authenticate", challenge),
            }
        }));
        let client = Client::builder()
            .digest("me", "secret")
            .build_with_connector(connector.clone())
            .unwrap();
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.status(), 200, "{challenge}");
    }
}

#[tokio::test(start_paused = true)]
async fn digest_answers_a_realm_that_is_not_ascii_by_the_same_bytes() {
    let connector = MemoryConnector::new(answer(|request| {
        let answer = request.headers.get("authorization");
        match answer.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()) {
            Some(answer) if answer.contains("realm=\"café\"") => Reply::status(200),
            _ => Reply::status(401).header(
                "WWW-Authenticate",
                "Digest realm=\"café\", nonce=\"n\", qop=\"auth\"",
            ),
        }
    }));
    let client = Client::builder()
        .digest("me", "secret")
        .build_with_connector(connector.clone())
        .unwrap();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn digest_is_not_answered_where_a_redirect_has_led_to_nor_on_the_way_back() {
    let connector = MemoryConnector::new(answer(|request| {
        let host = request.header("host").unwrap_or_default();
        match (host, request.path()) {
            ("home", "/start") => Reply::status(307).header("Location", "http://away/on"),
            ("away", "/on") => Reply::status(307).header("Location", "http://home/end"),
            _ => Reply::status(401),
        }
        .header(
            "www-authenticate",
            r#"Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256"#,
        )
    }));
    let client = Client::builder()
        .digest("me", "secret")
        .build_with_connector(connector.clone())
        .expect("the settings are valid");
    // So that there is an answer at hand for the first origin.
    client.get("http://home/x").fetch().await.unwrap();
    let before = connector.log().requests.len();

    let response = client.get("http://home/start").fetch().await.unwrap();

    assert_eq!(response.status(), 401);
    let log = connector.log();
    let sent: Vec<_> = log.requests[before..]
        .iter()
        .map(|it| (it.path(), it.header("authorization").is_some()))
        .collect();
    assert_eq!(sent, [("/start", true), ("/on", false), ("/end", false)]);
}

#[tokio::test(start_paused = true)]
async fn digest_leaves_basic_and_what_it_cannot_answer_as_a_401() {
    for challenge in [
        "Basic realm=\"x\"",
        "Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\"",
        "Digest realm=\"x\", nonce=\"n\", algorithm=ROT13",
        "Digest",
        "=,;\"",
    ] {
        let connector = MemoryConnector::new(answer(move |_| {
            Reply::status(401).header("WWW-Authenticate", challenge)
        }));
        let client = Client::builder()
            .digest("me", "c4n4ry")
            .build_with_connector(connector.clone())
            .unwrap();
        for _ in 0..2 {
            let response = client.get("http://peer/").fetch().await.unwrap();
            assert_eq!(response.status(), 401);
        }
        let log = connector.log();
        assert_eq!(log.requests.len(), 2, "{challenge}");
        assert!(
            log.requests
                .iter()
                .all(|it| it.header("authorization").is_none())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_keeps_its_id_and_each_attempt_has_its_own() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/a" => Reply::status(307).header("Location", "http://other/b"),
        _ => Reply::status(503),
    }));
    let client = Client::builder()
        .request_id(HeaderName::from_static("x-request-id"))
        .attempt_id(HeaderName::from_static("x-attempt-id"))
        .build_with_connector(connector.clone())
        .unwrap();
    client.get("http://peer/a").fetch().await.unwrap();
    client
        .get("http://peer/b")
        .header("x-request-id", "own")
        .fetch()
        .await
        .unwrap();
    let log = connector.log();
    let ids = |name| -> Vec<_> {
        log.requests
            .iter()
            .map(|it| it.header(name).unwrap())
            .collect()
    };
    let calls = ids("x-request-id");
    assert!(
        calls[..4]
            .iter()
            .all(|id| *id == calls[0] && id.len() == 32)
    );
    assert!(calls[4..].iter().all(|id| *id == "own"));
    let mut attempts = ids("x-attempt-id");
    attempts.sort_unstable();
    attempts.dedup();
    assert_eq!(attempts.len(), 7);
}
