//! A thread with a runtime, two clients, and the calls that it makes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use client::{
    Backoff, Client, Error, Exponential, Http2, PoolConfig, Response, RetryPolicy, Stats, Timeouts,
    budget::Unlimited, http::StatusCode,
};
use fastrand::Rng;
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    call::{Call, HEADER},
    figures::{Figures, add},
    server::{Executed, Protocol},
};

/// How many calls each worker has under way, over both protocols together.
const IN_FLIGHT: usize = 200;

const CONNECTIONS: usize = 40;

/// One call of so many is dropped before its end.
const CANCELS: u32 = 20;

const SECOND: Duration = Duration::from_secs(1);

/// The deadline of a call; far longer than all its attempts take.
const DEADLINE: Duration = Duration::from_secs(120);

/// A call that has no outcome then hangs.
const PATIENCE: Duration = Duration::from_secs(150);

/// What the calls of one client share.
#[derive(Clone)]
struct Caller {
    client: Client,
    worker: usize,
    address: SocketAddr,
    numbers: Arc<AtomicUsize>,
    end: Instant,
    figures: Arc<Figures>,
    executed: Arc<Executed>,
}

/// Keeps calls under way until `end`, and looks at what is left then.
pub(crate) fn run(
    worker: usize,
    seed: u64,
    servers: &[(Protocol, SocketAddr)],
    end: Instant,
    figures: &Arc<Figures>,
    executed: &Arc<Executed>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let (mut callers, numbers) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        let mut clients = Vec::new();
        for (protocol, address) in servers {
            let caller = Caller {
                client: client(*protocol),
                worker,
                address: *address,
                numbers: numbers.clone(),
                end,
                figures: figures.clone(),
                executed: executed.clone(),
            };
            clients.push(caller.client.clone());
            for number in 0..IN_FLIGHT / servers.len() {
                let id = (worker * servers.len() + clients.len()) * IN_FLIGHT + number;
                let rng = Rng::with_seed(seed.wrapping_mul(31).wrapping_add(id as u64));
                callers.spawn(caller.clone().call_until_the_end(rng));
            }
        }
        while let Some(ended) = callers.join_next().await {
            figures.leaked("callers that panicked", usize::from(ended.is_err()));
        }
        for client in clients {
            look_at(&client, figures).await;
        }
        let tasks = eventually(|| Handle::current().metrics().num_alive_tasks()).await;
        figures.leaked("tasks", tasks);
    });
}

fn client(protocol: Protocol) -> Client {
    let backoff = Backoff::from(Exponential::from(Duration::from_millis(10))).cap(SECOND);
    let policy = RetryPolicy::builder()
        .max_attempts(40)
        .backoff(backoff)
        .budget(Unlimited)
        .build();
    let timeouts = Timeouts::default()
        .connect(2 * SECOND)
        .head(2 * SECOND)
        .body_idle(SECOND);
    let pool = PoolConfig::default()
        .max_connections(CONNECTIONS)
        .queue_timeout(60 * SECOND);
    Client::builder()
        .pool(pool)
        .timeouts(timeouts)
        .deadline(DEADLINE)
        .retry(policy.expect("the settings are valid"))
        .http2(Http2::default().prior_knowledge(protocol == Protocol::Http2))
        .build()
        .expect("the settings are valid")
}

/// Counts what is still in use, closes the client, and counts what is still open.
async fn look_at(client: &Client, figures: &Figures) {
    let left = |count: fn(&Stats) -> usize| eventually(move || count(&client.stats()));
    figures.leaked("streams", left(|stats| stats.streams).await);
    figures.leaked("requests that wait", left(|stats| stats.waiting).await);
    figures.leaked("connections in use", left(|stats| stats.in_use).await);
    figures.leaked("connects", left(|stats| stats.connecting).await);
    client.close_within(SECOND).await;
    figures.leaked("connections", left(|stats| stats.open).await);
}

/// Waits until a count is 0, for as long as ten seconds, and returns what it is then.
async fn eventually(count: impl Fn() -> usize) -> usize {
    for _ in 0..1_000 {
        if count() == 0 {
            break;
        }
        sleep(SECOND / 100).await;
    }
    count()
}

impl Caller {
    async fn call_until_the_end(self, mut rng: Rng) {
        while Instant::now() < self.end {
            let call = Call {
                worker: self.worker,
                number: self.numbers.fetch_add(1, Ordering::Relaxed),
                size: [3, 100, 20_000, 70_000]
                    .get(rng.usize(..4))
                    .copied()
                    .unwrap_or(1),
            };
            let is_post = rng.bool();
            add(&self.figures.calls);
            let cancel = (rng.u32(..CANCELS) == 0).then(|| Duration::from_millis(rng.u64(..400)));
            let outcome = self.ask(call, is_post);
            if let Some(after) = cancel {
                if timeout(after, outcome).await.is_err() {
                    add(&self.figures.cancelled);
                }
                continue;
            }
            match timeout(PATIENCE, outcome).await {
                Ok(outcome) => self.judge(call, is_post, outcome),
                Err(_) => self.figures.lost("no outcome, and no deadline either"),
            }
        }
    }

    async fn ask(&self, call: Call, is_post: bool) -> Result<Response<Bytes>, Error> {
        let url = format!("http://{}/", self.address);
        let request = if is_post {
            self.client.post(url).body(call.answer())
        } else {
            self.client.get(url)
        };
        request.header(HEADER, call.to_header()).fetch().await
    }

    fn judge(&self, call: Call, is_post: bool, outcome: Result<Response<Bytes>, Error>) {
        let figures = &self.figures;
        let response = match outcome {
            Ok(response) => response,
            Err(error) if is_post => return figures.failed(&kind_of(&error)),
            Err(error) => return figures.lost(&format!("{error:?}")),
        };
        let attempts = response.retry_report().attempts().len();
        let more = u64::try_from(attempts.saturating_sub(1)).unwrap_or(0);
        figures.again.fetch_add(more, Ordering::Relaxed);
        match (response.status(), is_post) {
            (StatusCode::OK, _) => {
                if *response.body() != call.answer() {
                    return figures.wrong("the body of another call, or a part of one");
                }
                if is_post && self.executed.of(call) != 1 {
                    return figures.wrong("a POST that was answered and not executed once");
                }
                add(&figures.answered);
            }
            (status, true) => figures.failed(&status.to_string()),
            (status, false) => figures.lost(&status.to_string()),
        }
    }
}

/// The kind of an error, without ids and addresses.
fn kind_of(error: &Error) -> String {
    error.kind().as_str().to_owned()
}
