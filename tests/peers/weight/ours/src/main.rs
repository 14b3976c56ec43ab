//! The smallest program that sends a GET by a session with retries.

use std::{env, error::Error};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use retry_layer::{ReplayBody, Retry, RetryPolicy};
use session_layer::{Connector, Session, SessionLayer};
use tower_layer::Layer;
use tower_service::Service;

type Client = Retry<Session<ReplayBody<Empty<Bytes>>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("URL")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let session = SessionLayer::default().layer(Connector::new());
        let mut client: Client = Retry::new(session, RetryPolicy::default());
        let request = Request::get(url).body(Empty::new())?;
        let response = client.call(request).await?;
        println!("{}", response.status());
        let body = response.into_body().collect().await?.to_bytes();
        println!("{} bytes", body.len());
        Ok(())
    })
}
