//! Failed statuses as errors, for a whole client and for single requests.

use std::time::Duration;

use bytes::Bytes;
use client::{
    Client, ClientBuilder, ClientConfig, Error, RetryPolicy, Timeouts,
    http::{Request, StatusCode},
    testing::{Answer, Fake},
};
use tokio::time::Instant;
use tower::ServiceExt as _;

const URL: &str = "http://any/";

fn raising(fake: &Fake) -> Client {
    let builder = Client::builder().error_for_status(true);
    builder.build_with_fake(fake).unwrap()
}

fn refusal() -> Answer {
    Answer::new(422)
        .header("x-code", "E17")
        .body("the price is missing")
}

/// What an error made of `refusal` has to tell.
fn assert_refusal(error: &Error) {
    assert!(error.is_status(), "{error}");
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    assert_eq!(error.headers().unwrap()["x-code"], "E17");
    assert_eq!(error.body().unwrap(), "the price is missing");
    assert!(error.retry_report().is_some());
    assert!(error.to_string().starts_with("GET http://any"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_status_is_an_error_of_send_and_fetch_and_execute() {
    let client = raising(&Fake::from_fn(|_| refusal()));
    assert_refusal(&client.get(URL).fetch().await.unwrap_err());
    assert_refusal(&client.get(URL).send().await.unwrap_err());
    let request = Request::get(URL).body(client::Body::empty()).unwrap();
    assert_refusal(&client.execute(request).await.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn only_the_last_response_counts_and_the_retries_are_as_without() {
    for raises in [false, true] {
        let fake = Fake::new([503, 502, 200, 503, 503, 503]);
        let client = Client::builder()
            .error_for_status(raises)
            .build_with_fake(&fake)
            .unwrap();
        assert_eq!(client.get(URL).fetch().await.unwrap().status(), 200);
        assert_eq!(fake.requests().len(), 3);
        let last = client.get(URL).fetch().await;
        assert_eq!(fake.requests().len(), 6);
        match last {
            Ok(response) => assert!(!raises && response.status() == 503),
            Err(error) => {
                assert!(raises && error.status() == Some(StatusCode::SERVICE_UNAVAILABLE));
                assert_eq!(error.retry_report().unwrap().attempts().len(), 3);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_failure_stays_a_response() {
    for status in [200, 204, 301, 304, 399] {
        let client = raising(&Fake::from_fn(move |_| status));
        assert_eq!(client.get(URL).fetch().await.unwrap().status(), status);
        assert_eq!(client.get(URL).send().await.unwrap().status(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_decides_otherwise_in_both_ways() {
    let fake = Fake::from_fn(|_| refusal());
    let request = raising(&fake).get(URL).error_for_status(false);
    let again = request.try_clone().unwrap();
    assert_eq!(request.fetch().await.unwrap().status(), 422);
    assert_eq!(again.send().await.unwrap().status(), 422);
    let request = fake.client().get(URL).error_for_status(true);
    assert_refusal(&request.send().await.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn as_a_service_the_client_gives_responses() {
    let client = raising(&Fake::from_fn(|_| refusal()));
    let request = Request::get(URL).body(client::Body::empty()).unwrap();
    assert_eq!(client.oneshot(request).await.unwrap().status(), 422);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_turns_it_on_and_off() {
    let config = |text: &str| serde_json::from_str::<ClientConfig>(text).unwrap();
    let fake = Fake::from_fn(|_| refusal());
    let builder = ClientBuilder::from_config(config(r#"{"error_for_status": true}"#)).unwrap();
    let client = builder.build_with_fake(&fake).unwrap();
    assert_refusal(&client.get(URL).fetch().await.unwrap_err());
    let builder = Client::builder().error_for_status(true);
    let builder = builder
        .config(config(r#"{"error_for_status": false}"#))
        .unwrap();
    let client = builder.build_with_fake(&fake).unwrap();
    assert_eq!(client.get(URL).fetch().await.unwrap().status(), 422);
    let builder = Client::builder().error_for_status(true);
    let builder = builder.config(config("{}")).unwrap();
    let client = builder.build_with_fake(&fake).unwrap();
    assert!(client.get(URL).fetch().await.unwrap_err().is_status());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_or_breaks_off_is_kept_as_far_as_it_came() {
    let limits = Timeouts::default().body_idle(None);
    let fake = Fake::new([refusal().breaks_off(), refusal().stalls()]);
    let client = Client::builder()
        .error_for_status(true)
        .timeouts(limits)
        .deadline(Duration::from_secs(9))
        .build_with_fake(&fake)
        .unwrap();
    let begun = Instant::now();
    assert_refusal(&client.get(URL).send().await.unwrap_err());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_refusal(&client.get(URL).send().await.unwrap_err());
    assert!(begun.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_large_body_is_kept_in_part_and_one_beyond_the_limit_hides_no_status() {
    let large = Bytes::from(vec![b'x'; 100_000]);
    let fake = Fake::from_fn(move |_| Answer::new(500).body(large.clone()));
    let build = |limit| {
        let once = RetryPolicy::builder().max_attempts(1);
        let builder = Client::builder().error_for_status(true).retry(once);
        builder.max_body(limit).build_with_fake(&fake).unwrap()
    };
    for limit in [1_000_000, 1_000] {
        let client = build(limit);
        let error = client.get(URL).fetch().await.unwrap_err();
        assert!(error.is_status(), "{limit}: {error}");
        let kept = error.body().map(Bytes::len);
        assert_eq!(kept, (limit > 100_000).then_some(8 * 1024));
        let error = client.get(URL).send().await.unwrap_err();
        assert_eq!(error.body().map(Bytes::len), Some(8 * 1024));
    }
}
