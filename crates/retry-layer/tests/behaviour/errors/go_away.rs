//! Connections that go away from under a call: HTTP/2 over a pipe in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{Request, Response, Uri};
use http_body_util::Empty;
use retry_layer::{
    AttemptRecord, ReplayBody, ResponseExt, RetryLayer, RetryPolicy, RetryReport, WaitReason,
    budget::{Budget, Cost},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::Mutex,
    task::JoinSet,
    time::Instant,
};
use tower::{Layer, Service, ServiceExt, service_fn};

type Body = Empty<Bytes>;

/// A budget of so many tokens that counts what is taken, and earns nothing.
#[derive(Debug)]
struct Counting {
    holding: u32,
    taken: AtomicU32,
}

impl Counting {
    fn holding(tokens: u32) -> Self {
        Self {
            holding: tokens,
            taken: AtomicU32::new(0),
        }
    }

    fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Budget for Counting {
    fn deposit(&self, _: &Uri) {}

    fn withdraw(&self, _: &Uri, _: Cost, _: Instant) -> bool {
        let take = |taken: u32| (taken < self.holding).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    fn refund(&self, _: &Uri, _: Cost) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    let mut frame = vec![0, 0, length, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A server whose connections serve this many requests each, as nginx's do by
/// `keepalive_requests`: it goes away with the last one, and drops what came after.
struct Server {
    requests_per_connection: u32,
    /// How many requests were made of it.
    asked: AtomicU32,
    /// How many requests reached it, those that it did not process included.
    reached: AtomicU32,
    /// The connection that all share, with its number.
    current: Mutex<(u32, Option<SendRequest<Bytes>>)>,
}

impl Server {
    fn new(requests_per_connection: u32) -> Arc<Self> {
        Arc::new(Self {
            requests_per_connection,
            asked: AtomicU32::new(0),
            reached: AtomicU32::new(0),
            current: Mutex::default(),
        })
    }

    async fn connection(self: Arc<Self>, mut pipe: DuplexStream) -> std::io::Result<()> {
        pipe.read_exact(&mut [0; 24]).await?;
        pipe.write_all(&frame(4, 0, 0, &[])).await?;
        let mut served = 0;
        loop {
            let mut header = [0; 9];
            pipe.read_exact(&mut header).await?;
            let [a, b, c, kind, _, id @ ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            pipe.read_exact(&mut payload).await?;
            if kind != HEADERS {
                continue;
            }
            self.reached.fetch_add(1, Ordering::Relaxed);
            // What is in flight already is not seen any more: it arrives together.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let stream = u32::from_be_bytes(id);
            if served < self.requests_per_connection {
                served += 1;
                // `:status: 200` of the static table; the end of the headers and of the stream.
                pipe.write_all(&frame(HEADERS, 5, stream, &[0x88])).await?;
            }
            if served == self.requests_per_connection {
                let last = if served == 0 { 0 } else { stream };
                let mut payload = last.to_be_bytes().to_vec();
                payload.extend([0; 4]);
                pipe.write_all(&frame(GOAWAY, 0, 0, &payload)).await?;
                // The client closes it when it has seen that.
                while pipe.read(&mut [0; 256]).await? > 0 {}
                return Ok(());
            }
        }
    }

    async fn sender(self: &Arc<Self>) -> (u32, SendRequest<Bytes>) {
        let mut current = self.current.lock().await;
        let (number, sender) = &mut *current;
        if let Some(sender) = sender.clone() {
            if let Ok(ready) = sender.ready().await {
                return (*number, ready);
            }
        }
        let (near, far) = duplex(64 * 1024);
        tokio::spawn(Arc::clone(self).connection(far));
        let (opened, connection) = client::handshake(near).await.unwrap();
        tokio::spawn(connection);
        *number += 1;
        *sender = Some(opened.clone());
        (*number, opened.ready().await.unwrap())
    }

    async fn exchange(self: Arc<Self>) -> Result<Response<Body>, h2::Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let request = Request::post("http://peer/").body(()).unwrap();
        let (number, mut sender) = self.sender().await;
        let outcome = match sender.send_request(request, true) {
            Ok((response, _)) => response.await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            let mut current = self.current.lock().await;
            if current.0 == number {
                current.1 = None;
            }
        }
        outcome.map(|response| response.map(|_| Body::new()))
    }

    fn client(
        self: &Arc<Self>,
        policy: RetryPolicy,
    ) -> impl Service<
        Request<Body>,
        Response = Response<Body>,
        Error = h2::Error,
        Future = impl Future<Output = Result<Response<Body>, h2::Error>> + Send + use<>,
    > + Clone
    + Send
    + use<> {
        let server = Arc::clone(self);
        let service =
            service_fn(move |_: Request<ReplayBody<Body>>| Arc::clone(&server).exchange());
        RetryLayer::new(policy).layer(service)
    }
}

/// So many calls at once, and the reports of those that were answered.
async fn calls(server: &Arc<Server>, policy: RetryPolicy, number: u32) -> Vec<RetryReport> {
    let client = server.client(policy);
    let mut calls = JoinSet::new();
    for _ in 0..number {
        let request = Request::post("http://peer/").body(Body::new()).unwrap();
        calls.spawn(client.clone().oneshot(request));
    }
    let mut reports = Vec::new();
    while let Some(outcome) = calls.join_next().await {
        if let Ok(response) = outcome.unwrap() {
            reports.push(response.retry_report());
        }
    }
    reports
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_succeed_though_each_connection_serves_a_few() {
    for (requests_per_connection, tokens) in [(10, 32), (20, 0), (50, 0)] {
        let server = Server::new(requests_per_connection);
        let budget = Arc::new(Counting::holding(tokens));
        let policy = RetryPolicy::builder()
            .budget(Arc::clone(&budget))
            .seed(1)
            .build()
            .unwrap();
        let reports = calls(&server, policy, 32).await;
        assert_eq!(reports.len(), 32, "{requests_per_connection} a connection");
        let charged: u32 = reports
            .iter()
            .map(|it| it.transparent_retries().saturating_sub(1))
            .sum();
        assert_eq!(budget.taken(), charged, "all but the first of each call");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_all_is_asked_twice_a_call_on_an_empty_budget() {
    const CALLS: u32 = 100;
    for tokens in [0, 20] {
        let server = Server::new(0);
        let policy = RetryPolicy::builder()
            .budget(Counting::holding(tokens))
            .seed(1)
            .build()
            .unwrap();
        assert!(calls(&server, policy, CALLS).await.is_empty());
        let asked = server.asked.load(Ordering::Relaxed);
        assert_eq!(asked, 2 * CALLS + tokens);
    }
}

#[tokio::test(start_paused = true)]
async fn the_report_counts_what_went_away() {
    let server = Server::new(0);
    let policy = || {
        let two = RetryPolicy::builder().max_attempts(2).seed(1);
        two.build().unwrap()
    };
    let error = server
        .client(policy())
        .oneshot(Request::post("http://peer/").body(Body::new()).unwrap())
        .await
        .unwrap_err();
    assert!(error.is_go_away());
    assert_eq!(server.reached.load(Ordering::Relaxed), 1 + 5 + 1);

    let server = Server::new(1);
    let reports = calls(&server, policy(), 3).await;
    let made: Vec<_> = reports
        .iter()
        .map(RetryReport::transparent_retries)
        .collect();
    assert!(made.contains(&2), "{made:?}");
    for report in reports {
        let reasons = report.attempts().iter().filter_map(AttemptRecord::wait);
        assert!(
            reasons
                .into_iter()
                .all(|it| it.reason() == WaitReason::TransparentRetry)
        );
    }
}
