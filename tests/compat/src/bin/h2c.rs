//! A client that outlives HTTP/2 connections, against a server that ends each after so many requests.
//!
//! `tests/real-peers/h2c` starts that server and runs this; the arguments are its origin, and the address on which
//! it finds the upstream of `/count`, which runs in here. It runs on one thread unless `--threads` follows: on more,
//! hyper's client now and then loses a request on a connection that is ending, which then waits for ever. That is no
//! outcome that could be retried, only a timeout of the attempt helps, and after it a POST may have been executed.

use std::{env, error::Error, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use retry_layer::{
    Exponential, RetryLayer, RetryPolicy,
    attempt_timeout::{AttemptError, AttemptTimeoutLayer},
};
use test_compat::{IN_FLIGHT, Load, Upstream, retrying_session};
use tokio::runtime::Builder;
use tower::{Service, ServiceBuilder};

type Failure = Box<dyn Error + Send + Sync>;

const REQUESTS: u32 = 10_000;

/// Far longer than any answer takes on loopback.
const ATTEMPT: Duration = Duration::from_secs(5);

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (origin, upstream, mut runtime) = match *arguments.as_slice() {
        [origin, upstream] => (origin, upstream, Builder::new_current_thread()),
        [origin, upstream, "--threads"] => (origin, upstream, Builder::new_multi_thread()),
        _ => return Err("usage: h2c ORIGIN UPSTREAM [--threads]".into()),
    };
    runtime
        .enable_all()
        .build()?
        .block_on(run(origin, upstream))
}

async fn run(origin: &str, upstream: &str) -> Result<ExitCode, Failure> {
    let upstream = Upstream::start(upstream).await?;
    let get = format!("{origin}/");
    let post = format!("{origin}/count");

    println!("{REQUESTS} requests, {IN_FLIGHT} in flight");
    let plain = load(Method::GET, &get, "plain").send(client()).await;
    plain.print("GET, without the layer");
    let retried = load(Method::GET, &get, "retried").send(retrying()?).await;
    retried.print("GET, with the layer");

    let plain_post = load(Method::POST, &post, "plain").send(client()).await;
    plain_post.print("POST, without the layer");
    let _ = upstream.print("plain");
    let retried_post = load(Method::POST, &post, "retried").send(retrying()?).await;
    retried_post.print("POST, with the layer");
    let counted = upstream.print("retried");

    let session = load(Method::GET, &get, "session")
        .send(retrying_session(true)?)
        .await;
    session.print("GET, with the layer over a session");
    let session_post = load(Method::POST, &post, "session")
        .send(retrying_session(true)?)
        .await;
    session_post.print("POST, with the layer over a session");
    let session_counted = upstream.print("session");

    // Without a failure in the plain client, the server did not do what this is about.
    let proven = plain.failures > 0
        && retried.failures == 0
        && retried_post.failures == 0
        && session.failures == 0
        && session_post.failures == 0
        && [counted, session_counted]
            .iter()
            .all(|it| it.twice == 0 && it.once == REQUESTS);
    println!("\n{}", if proven { "as expected" } else { "FAILED" });
    Ok(if proven {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// hyper-util's client by HTTP/2 with prior knowledge; its own retries are off.
fn client<B>() -> Client<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .retry_canceled_requests(false)
        .timer(TokioTimer::new())
        .build_http()
}

/// The same client with the retry layer as it comes, but for the backoff, which loopback need not bear.
fn retrying() -> Result<
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<Incoming>,
        Error = AttemptError<legacy::Error>,
        Future: Send,
    > + Clone
    + Send
    + 'static,
    Failure,
> {
    let backoff = Exponential::from(Duration::from_millis(5));
    let policy = RetryPolicy::builder().backoff(backoff).build()?;
    Ok(ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(AttemptTimeoutLayer::new(ATTEMPT))
        .service(client()))
}

fn load(method: Method, url: &str, name: &str) -> Load {
    Load::new(method, url, name).count(REQUESTS)
}
