//! What the errors of a client say.

use std::{error::Error as _, time::Duration};

use client::{Client, Jitter, PoolConfig, RetryPolicy, TimeoutPhase, Timeouts, TlsOptions, budget};
use test_support::{MemoryConnector, Reply, always, answer, sequence};

#[test]
fn no_error_of_a_builder_says_twice_what_its_causes_say() {
    let client = Client::new();
    let policy = || RetryPolicy::builder().max_attempts(0);
    let built = |builder: client::ClientBuilder| builder.build().unwrap_err();
    let asked = |request: client::RequestBuilder| request.build().unwrap_err();
    let get = || client.get("http://a/");
    let long = "x".repeat(70_000);
    let unequal = [("a", vec![vec![1]])];
    let mut errors = vec![
        built(Client::builder().retry(policy())),
        built(Client::builder().retry(RetryPolicy::builder().statuses([99]))),
        built(Client::builder().retry(RetryPolicy::builder().jitter(Jitter::Proportional(101)))),
        built(Client::builder().pool(PoolConfig::default().max_connections(0))),
        built(Client::builder().timeouts(Timeouts::default().head(Duration::ZERO))),
        built(Client::builder().http2(client::Http2::default().max_concurrent_streams(0))),
        built(Client::builder().deadline(Duration::ZERO)),
        built(Client::builder().user_agent("a\nb")),
        built(Client::builder().default_header("a", "a\nb")),
        Client::builder().base_url("peer").unwrap_err(),
        Client::builder()
            .tls(TlsOptions::new().only_added_roots())
            .unwrap_err(),
        client::Error::from(client::Proxy::all("ftp://a/").unwrap_err()),
        client::Error::from(TlsOptions::new().add_roots_pem("no PEM").unwrap_err()),
        client::Error::from(budget::FixedBudget::new(10, 0).unwrap_err()),
        asked(get().retry(policy())),
        asked(get().query(&unequal)),
        asked(get().query(&[("a", &long)])),
        asked(get().form(&unequal)),
        asked(get().json(&std::collections::HashMap::from([(vec![1], 2)]))),
        asked(get().header("a b", "x")),
        asked(get().header("a", "a\nb")),
        asked(client.get("http://a:99999/")),
        asked(client.get(format!("http://a/{long}"))),
    ];
    for (text, build) in [
        ("[retry]\nbudget_percent = 0", false),
        ("[retry]\nmax_attempts = 0", true),
        ("[proxy]\nall = \"ftp://a/\"", false),
        ("[tls]\nroots_pem = \"none\"", false),
        ("base_url = \"peer\"", false),
    ] {
        let config: client::ClientConfig = toml::from_str(text).unwrap();
        let builder = client::ClientBuilder::from_config(config);
        errors.push(match builder {
            Ok(builder) if build => built(builder),
            builder => builder.unwrap_err(),
        });
    }
    for error in errors {
        assert!(error.is_builder(), "{error:?}");
        let mut said = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            for before in &said {
                assert!(
                    !before.contains(&text) && !text.contains(before),
                    "{said:?}: {text}"
                );
            }
            said.push(text);
            cause = error.source();
        }
    }
}

use super::support::{Order, over};

#[tokio::test(start_paused = true)]
async fn an_error_names_method_origin_cause_and_attempts_in_one_line() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.refuse();
    let client = over(&connector);
    let error = client
        .get("http://user:secret@peer:81/path?token=secret")
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET http://peer:81: cannot connect (3 attempts)"
    );
    assert!(error.source().is_some());
    let everything = format!("{error:?} {client:?}");
    assert!(
        !everything.contains("secret") && !everything.contains("user:"),
        "{everything}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_says_why_it_was_not_tried_again_and_what_was_free() {
    let connector = MemoryConnector::new(sequence([Reply::reset()]));
    let error = over(&connector)
        .post("http://peer/")
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "POST http://peer:80: the connection broke before the response came \
         (1 attempt; not_idempotent)"
    );
    let connector = MemoryConnector::new(sequence([
        Reply::status(200),
        Reply::reset(),
        Reply::reset(),
    ]));
    let client = over(&connector);
    client.get("http://peer/").fetch().await.unwrap();
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("(3 attempts, 1 transparent retry)"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_here_is_not_blamed_on_something_else() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let error = over(&connector)
        .post("http://peer/")
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Head));
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<std::io::Error>());
    assert_eq!(
        cause.map(std::io::Error::kind),
        Some(std::io::ErrorKind::TimedOut)
    );
}

#[tokio::test(start_paused = true)]
async fn every_error_of_a_request_names_it() {
    let connector = MemoryConnector::new(always(404, "no"));
    let client = Client::builder()
        .max_body(2)
        .build_with_connector(connector.clone())
        .unwrap();
    let get = || client.get("http://peer/secret-path");
    let mut errors = vec![
        get().fetch().await.unwrap().error_for_status().unwrap_err(),
        get().send().await.unwrap().error_for_status().unwrap_err(),
        get().fetch().await.unwrap().json::<Order>().unwrap_err(),
        get()
            .send()
            .await
            .unwrap()
            .json::<Order>()
            .await
            .unwrap_err(),
    ];
    let connector = MemoryConnector::new(sequence([Reply::truncated_body(9, "x")]));
    let client = over(&connector);
    let get = || client.get("http://peer/secret-path");
    let mut response = get().send().await.unwrap();
    response.chunk().await.unwrap();
    errors.push(response.chunk().await.unwrap_err());
    errors.push(get().fetch().await.unwrap_err());
    errors.push(
        get()
            .timeout(Duration::from_nanos(1))
            .fetch()
            .await
            .unwrap_err(),
    );
    client.close().await;
    errors.push(get().fetch().await.unwrap_err());
    for error in errors {
        assert!(
            error.to_string().starts_with("GET http://peer:80: "),
            "{error}"
        );
        assert!(
            !format!("{error} {error:?}").contains("secret"),
            "{error:?}"
        );
        assert_eq!(error.url().unwrap(), "http://peer/secret-path");
    }
}

#[tokio::test(start_paused = true)]
async fn the_url_of_an_error_is_the_last_one_asked_and_has_no_userinfo() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/start" => Reply::status(302).header("Location", "http://me:pw@other/there?q"),
        _ => Reply::close(),
    }));
    let client = over(&connector);
    let error = client.get("http://me:pw@peer/start").send().await;
    assert_eq!(error.unwrap_err().url().unwrap(), "http://other/there?q");
    let error = client.get("relative").send().await.unwrap_err();
    assert_eq!(error.url(), None);
}
