//! Many tasks and a server that admits so many requests in each second and refuses the rest.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use retry_layer::{
    ReplayBody, Retry, RetryPolicy,
    budget::Unlimited,
    health::{Ledger, PartitionKey},
    pause::{Pause, SharedPause},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{Service, ServiceExt, service_fn};

const LATENCY: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

type Sent = Request<ReplayBody<Empty<Bytes>>>;
type Answer = Response<Empty<Bytes>>;

/// A server with a quota for each second, and what it has seen.
pub(super) struct Quota {
    start: Instant,
    per_second: u32,
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    second: u64,
    used: u32,
    pub(super) sent: u32,
    pub(super) admitted: u32,
}

impl Quota {
    pub(super) fn new(per_second: u32) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            per_second,
            counts: Mutex::default(),
        })
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }

    fn admits(&self) -> bool {
        let second = self.start.elapsed().as_secs();
        let mut counts = self.counts.lock().unwrap();
        if counts.second != second {
            (counts.second, counts.used) = (second, 0);
        }
        counts.sent += 1;
        let admits = counts.used < self.per_second;
        if admits {
            counts.used += 1;
            counts.admitted += 1;
        }
        admits
    }

    pub(super) fn service(
        self: &Arc<Self>,
    ) -> impl Service<Sent, Response = Answer, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + use<> {
        let quota = Arc::clone(self);
        service_fn(move |_: Sent| {
            let quota = Arc::clone(&quota);
            async move {
                sleep(LATENCY / 2).await;
                let admits = quota.admits();
                sleep(LATENCY / 2).await;
                let mut response = Response::new(Empty::new());
                if !admits {
                    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                    // Whole seconds, as the header has them: until the next one, rounded up.
                    response.headers_mut().insert("retry-after", 1.into());
                }
                Ok(response)
            }
        })
    }
}

/// How the calls went.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) sent: u32,
    pub(super) admitted: u32,
    pub(super) calls: usize,
    pub(super) refused_calls: usize,
    pub(super) median: Duration,
    pub(super) longest: Duration,
    pub(super) took: Duration,
}

impl Figures {
    pub(super) fn sent_for_each_admitted(&self) -> f64 {
        f64::from(self.sent) / f64::from(self.admitted)
    }
}

fn policy(seed: u64) -> RetryPolicy {
    let policy = RetryPolicy::builder().budget(Unlimited).seed(seed);
    policy.build().unwrap()
}

/// So many tasks make so many calls each, one after the other.
async fn run<S>(quota: &Quota, service: S, tasks: usize, calls: usize) -> Figures
where
    S: Service<Request<Empty<Bytes>>, Response = Answer, Future: Send> + Clone + Send + 'static,
    S::Error: std::fmt::Debug + Send,
{
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let service = service.clone();
        running.spawn(async move {
            let mut waits = Vec::new();
            let mut refused = 0;
            for _ in 0..calls {
                let begun = Instant::now();
                let request = Request::get("http://peer/").body(Empty::new()).unwrap();
                let answer = service.clone().oneshot(request).await.unwrap();
                refused += usize::from(answer.status() != StatusCode::OK);
                waits.push(begun.elapsed());
            }
            (waits, refused)
        });
    }
    let (mut waits, mut refused_calls) = (Vec::new(), 0);
    for (of_task, refused) in running.join_all().await {
        waits.extend(of_task);
        refused_calls += refused;
    }
    waits.sort();
    let Counts { sent, admitted, .. } = quota.counts();
    Figures {
        sent,
        admitted,
        calls: waits.len(),
        refused_calls,
        median: waits[waits.len() / 2],
        longest: waits[waits.len() - 1],
        took: begun.elapsed(),
    }
}

fn pause(seed: u64) -> Pause {
    let ledger = Ledger::builder().seed(seed).build().unwrap();
    Pause::builder().ledger(ledger).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn with_a_pause_a_thousand_tasks_send_hardly_more_than_their_quota_admits() {
    for seed in 1..=2 {
        let quota = Quota::new(50);
        let service = Retry::new(SharedPause::new(quota.service(), pause(seed)), policy(seed));
        let figures = run(&quota, service, 1_000, 20).await;
        println!(
            "with a pause: {figures:?}, {:.3}",
            figures.sent_for_each_admitted()
        );
        assert!(figures.sent_for_each_admitted() <= 1.1, "{figures:?}");
        assert!(figures.longest <= 3 * figures.median, "{figures:?}");
        assert!(
            figures.refused_calls * 1_000 <= figures.calls,
            "{figures:?}"
        );
        // The server's quota is not left unused either.
        assert!(figures.took <= 600 * SECOND, "{figures:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_pause_they_send_several_times_as_much() {
    let quota = Quota::new(50);
    let service = Retry::new(quota.service(), policy(1));
    let figures = run(&quota, service, 1_000, 20).await;
    println!(
        "without: {figures:?}, {:.3}",
        figures.sent_for_each_admitted()
    );
    assert!(figures.sent_for_each_admitted() > 2.0, "{figures:?}");
}

/// Two tenants of one client, each with a quota of its own: one asks for far more than its own, the
/// other for one request a second. Returns the longest wait of the other.
async fn quiet_tenant(pause: Pause) -> Duration {
    let quotas = [Quota::new(10), Quota::new(10)];
    let [busy, quiet] = [&quotas[0], &quotas[1]]
        .map(|quota| Retry::new(SharedPause::new(quota.service(), pause.clone()), policy(1)));
    let request = |tenant| {
        let request = Request::get("http://peer/").header("x-tenant", tenant);
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    let mut running = JoinSet::new();
    for _ in 0..50 {
        let busy = busy.clone();
        running.spawn(async move {
            loop {
                let _ = busy.clone().oneshot(request("busy")).await;
            }
        });
    }
    let mut longest = Duration::ZERO;
    for _ in 0..60 {
        sleep(SECOND).await;
        let begun = Instant::now();
        let answer = quiet.clone().oneshot(request("quiet")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        longest = longest.max(begun.elapsed());
    }
    longest
}

/// Why pauses are off unless they are asked for: by default the partition is the origin.
#[tokio::test(start_paused = true)]
async fn a_tenant_waits_for_the_quota_of_another_unless_each_has_a_partition() {
    let longest = quiet_tenant(pause(1)).await;
    assert!(longest > 2 * SECOND, "{longest:?}");
    let ledger = Ledger::builder().key_by(|head| {
        let tenant = head.headers().get("x-tenant")?.to_str().ok()?;
        Some(PartitionKey::named(tenant))
    });
    let pause = Pause::builder().ledger(ledger.build().unwrap());
    assert_eq!(quiet_tenant(pause.build().unwrap()).await, LATENCY);
}
