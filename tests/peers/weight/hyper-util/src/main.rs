//! The smallest program that sends a GET by hyper-util's client.

use std::{env, error::Error};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("URL")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let response = client.request(request).await?;
        println!("{}", response.status());
        let body = response.into_body().collect().await?.to_bytes();
        println!("{} bytes", body.len());
        Ok(())
    })
}
