//! Several servers behind one client: tower's `balance::p2c` sends each attempt to the less loaded of
//! two, and the retries stand above it, so that the next attempt may go elsewhere.
//!
//! `cargo run --example balance` has three servers of its own, one of which is unwell at first.
//! `cargo run --example balance -- HOST:PORT...` asks what stands behind these names, as DNS says.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    env,
    error::Error,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use client::{Body, Client, Exponential, RetryPolicy};
use futures_util::{Stream, stream};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::HOST, uri::Authority};
use session_layer::{Connector, Session, SessionBody};
use tokio::{
    net::{TcpListener, lookup_host},
    sync::mpsc,
    task::JoinSet,
    time,
};
use tower::{
    ServiceExt,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::Change,
    load::{CompleteOnResponse, PendingRequests},
    util::BoxCloneService,
};

type Failure = Box<dyn Error + Send + Sync>;

const CALLS: usize = 60;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut servers: Vec<String> = env::args().skip(1).collect();
    if servers.is_empty() {
        servers = start_servers().await?;
    }
    // One pool for all servers. Its errors tell the retries whether anything was sent.
    let session = Session::new(Connector::new());
    let balance = Balance::new(discover(servers, session.clone()));
    let policy = RetryPolicy::builder()
        .max_attempts(4)
        .backoff(Exponential::new(Duration::from_millis(20)));
    let client = Client::builder()
        .retry(policy)
        // A balance is one service that all calls share.
        .build_with_service(Buffer::new(balance, CALLS))?;

    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(client.get("http://balanced/").fetch());
    }
    let mut answers = BTreeMap::new();
    let mut again = 0;
    while let Some(answer) = calls.join_next().await {
        let answer = answer??;
        again += answer.retry_report().attempts().len().saturating_sub(1);
        let text = format!("{}, {}", answer.status(), answer.text()?);
        *answers.entry(text).or_insert(0) += 1;
    }
    for (text, count) in answers {
        println!("{count:>3} times {text}");
    }
    println!("attempts that followed another: {again}");
    client.close().await;
    session.close(Duration::from_secs(5)).await;
    Ok(())
}

/// Tells which servers there are, and from then on which come and go. While the lookup fails, those
/// that are known stay.
fn discover(names: Vec<String>, session: Session<Body>) -> impl Stream<Item = Found> + Unpin {
    let (changes, mut receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut known = BTreeSet::new();
        while !changes.is_closed() {
            if let Ok(found) = look_up(&names).await {
                for gone in &known - &found {
                    let _ = changes.send(Ok(Change::Remove(gone)));
                }
                for address in &found - &known {
                    let host = Authority::try_from(address.to_string()).expect("it is one");
                    let to_it = move |request| send_to(&host, request);
                    let server = session.clone().map_request(to_it).boxed_clone();
                    let server = PendingRequests::new(server, CompleteOnResponse::default());
                    let _ = changes.send(Ok(Change::Insert(address, server)));
                }
                known = found;
            }
            time::sleep(Duration::from_secs(5)).await;
        }
    });
    stream::poll_fn(move |cx| receiver.poll_recv(cx))
}

type Found = Result<Change<SocketAddr, PendingRequests<Server>>, Infallible>;
type Server = BoxCloneService<Request<Body>, Response<SessionBody>, session_layer::Error>;

/// A name may have several addresses; an address is not looked up.
async fn look_up(names: &[String]) -> io::Result<BTreeSet<SocketAddr>> {
    let mut addresses = BTreeSet::new();
    for name in names {
        addresses.extend(lookup_host(name).await?);
    }
    Ok(addresses)
}

/// Sends a request to one address, in the name that the caller used.
fn send_to(address: &Authority, mut request: Request<Body>) -> Request<Body> {
    let mut parts = request.uri().clone().into_parts();
    let name = parts.authority.replace(address.clone());
    if let Some(Ok(name)) = name.map(|it| HeaderValue::from_str(it.as_str())) {
        request.headers_mut().entry(HOST).or_insert(name);
    }
    *request.uri_mut() = Uri::from_parts(parts).expect("another host makes no other URI invalid");
    request
}

/// Three servers, of which the first refuses its first five requests.
async fn start_servers() -> io::Result<Vec<String>> {
    let mut addresses = Vec::new();
    for number in 1..=3 {
        let asked = Arc::new(AtomicU32::new(0));
        let answer = async move || {
            if number == 1 && asked.fetch_add(1, Ordering::Relaxed) < 5 {
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            Ok(format!("from server {number}"))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.push(listener.local_addr()?.to_string());
        let router = Router::new().route("/", get(answer));
        tokio::spawn(axum::serve(listener, router).into_future());
    }
    Ok(addresses)
}
