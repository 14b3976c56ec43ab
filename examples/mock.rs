//! How to test code that takes a `Client`: over a fake, over a mock that is driven step by step,
//! over an axum router, and over a real socket.
//!
//! `cargo run --example mock` runs the four, `cargo test --example mock` runs them as tests.

use std::{error::Error, time::Duration};

use axum::{Json, Router, extract::Query, routing::get};
use bytes::Bytes;
use client::{
    Body, Client,
    testing::{Answer, Failure, Fake},
};
use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tokio::{runtime, time::Instant};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{path, query_param},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The code under test: it takes a `Client`, and does not care what is below.
struct Shop {
    client: Client,
    url: String,
}

#[derive(Deserialize, Serialize)]
struct Wanted<T> {
    item: T,
}

#[derive(Deserialize, Serialize)]
struct Price {
    cents: u32,
}

impl Shop {
    fn new(client: Client, url: impl Into<String>) -> Self {
        let url = url.into();
        Self { client, url }
    }

    async fn price_of(&self, item: &str) -> Result<u32, client::Error> {
        let request = self.client.get(&self.url).query(&Wanted { item });
        let answer = request.fetch().await?.error_for_status()?;
        let price: Price = answer.json()?;
        Ok(price.cents)
    }
}

fn main() -> Result<(), BoxError> {
    let mut runtime = runtime::Builder::new_current_thread();
    runtime.enable_all();
    let begun = std::time::Instant::now();
    runtime.start_paused(true).build()?.block_on(async {
        a_fake_answers_in_order().await?;
        a_mock_answers_step_by_step().await
    })?;
    println!("   … of which {:.1?} were real", begun.elapsed());
    runtime.start_paused(false);
    runtime.build()?.block_on(an_axum_router_answers())?;
    runtime.build()?.block_on(a_server_answers())?;
    println!("all as asserted");
    Ok(())
}

/// Over a fake: the answers are a list, the client's own retries, deadline and decoding stand above
/// it, and what was asked can be looked at. The clock is paused, so that no wait takes any time.
async fn a_fake_answers_in_order() -> Result<(), BoxError> {
    let fake = Fake::new([
        Answer::new(503).header("retry-after", "60"),
        Answer::from(Failure::Connect),
        Answer::json(&Price { cents: 125 }),
    ]);
    let shop = Shop::new(fake.client(), "http://shop.example/price");

    assert_eq!(shop.price_of("tea").await?, 125);
    let asked = fake.requests();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|it| it.uri().query() == Some("item=tea")));

    // In one line: a status, and then nothing but silence until the deadline.
    let silent = Client::fake([Answer::new(500), Answer::never(), Answer::never()]);
    let error = Shop::new(silent, "http://shop.example/price")
        .price_of("tea")
        .await
        .err()
        .ok_or("nothing was answered")?;
    assert!(error.is_timeout());
    println!("a fake: {error}");
    Ok(())
}

/// Over tower-test's mock, with the client's own retries in between. The clock is paused: it jumps
/// to the end of a wait as soon as nothing else is left to do.
async fn a_mock_answers_step_by_step() -> Result<(), BoxError> {
    let (service, mut server) = tower_test::mock::pair::<Request<Body>, Response<Full<Bytes>>>();
    let client = Client::builder().build_with_service(service)?;
    let shop = Shop::new(client, "http://shop.example/price");
    let call = tokio::spawn(async move { shop.price_of("tea").await });

    let (request, respond) = server.next_request().await.ok_or("no request came")?;
    assert_eq!(request.uri(), "http://shop.example/price?item=tea");
    let busy = Response::builder()
        .status(StatusCode::SERVICE_UNAVAILABLE)
        .header(RETRY_AFTER, "60")
        .body(Full::default())?;
    respond.send_response(busy);
    let refused = Instant::now();

    let (_, respond) = server
        .next_request()
        .await
        .ok_or("it was not tried again")?;
    let waited = refused.elapsed();
    // Never earlier than the server asked for, and up to a tenth or 5 s later.
    assert!(waited >= Duration::from_secs(60), "{waited:?}");
    assert!(waited <= Duration::from_secs(66), "{waited:?}");
    respond.send_response(Response::new(r#"{"cents": 125}"#.into()));

    assert_eq!(call.await??, 125);
    println!("a mock: tried again after {waited:.1?} …");
    Ok(())
}

/// Over an axum router, without a socket and without retries.
async fn an_axum_router_answers() -> Result<(), BoxError> {
    let price = async |Query(wanted): Query<Wanted<String>>| match wanted.item.as_str() {
        "tea" => Ok(Json(Price { cents: 125 })),
        _ => Err((StatusCode::NOT_FOUND, "not sold here")),
    };
    let client = Client::from_service(Router::new().route("/price", get(price)));
    let shop = Shop::new(client, "http://shop.example/price");

    assert_eq!(shop.price_of("tea").await?, 125);
    let error = shop
        .price_of("gold")
        .await
        .err()
        .ok_or("gold is not sold here")?;
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    assert_eq!(error.body().map(Bytes::as_ref), Some(&b"not sold here"[..]));
    println!("an axum router: {error}");
    Ok(())
}

/// Over a real socket: all of the client, its pool and timeouts included.
async fn a_server_answers() -> Result<(), BoxError> {
    let server = MockServer::start().await;
    Mock::given(path("/price"))
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/price"))
        .and(query_param("item", "tea"))
        .respond_with(ResponseTemplate::new(200).set_body_json(Price { cents: 125 }))
        .expect(1)
        .mount(&server)
        .await;
    let client = Client::new();
    let shop = Shop::new(client.clone(), format!("{}/price", server.uri()));

    assert_eq!(shop.price_of("tea").await?, 125);
    server.verify().await;
    let stats = client.stats();
    assert_eq!((stats.opened, stats.reused), (1, 1));
    println!(
        "a server: {} connection for {} requests",
        stats.opened,
        stats.opened + stats.reused
    );
    client.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_fake_refuses_is_tried_again() -> Result<(), BoxError> {
        a_fake_answers_in_order().await
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_waited_for() -> Result<(), BoxError> {
        a_mock_answers_step_by_step().await
    }

    #[tokio::test]
    async fn a_failed_status_is_an_error_with_its_body() -> Result<(), BoxError> {
        an_axum_router_answers().await
    }

    #[tokio::test]
    async fn a_retry_reuses_the_connection() -> Result<(), BoxError> {
        a_server_answers().await
    }
}
