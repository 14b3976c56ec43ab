use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::{
    runtime,
    time::{Instant, sleep, timeout},
};
use tower::{Service, ServiceExt};

use crate::{
    figures::{Counts, Figures},
    server::Server,
    storm::Storm,
};

/// How long the last calls have to end.
const LAST: Duration = Duration::from_secs(600);

impl Storm {
    /// Has a fleet of clients call the server, each made of the server and a seed of its own, and returns what came of it. It
    /// runs on a runtime of its own, whose clock is virtual: it takes the time to calculate it.
    #[must_use]
    pub fn run<S, R>(&self, make: impl Fn(Server, u64) -> S) -> Figures
    where
        S: Service<Request<Empty<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        R: Send + 'static,
    {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without input and output needs nothing of the system");
        runtime.block_on(self.rage(make))
    }

    async fn rage<S, R>(&self, make: impl Fn(Server, u64) -> S) -> Figures
    where
        S: Service<Request<Empty<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        R: Send + 'static,
    {
        let start = Instant::now();
        let counts = Arc::new(Counts::new(self));
        let server = Server::new(self, start, counts.clone());
        let clients: Vec<_> = (0..self.clients)
            .map(|number| {
                let seed = self.seed.wrapping_mul(1_000_003) + u64::from(number);
                let client = Caller {
                    service: make(server.clone(), seed),
                    random: Rng::with_seed(seed),
                    rate: self.rate,
                    patience: self.good_within,
                    start,
                    end: start + self.end(),
                    counts: counts.clone(),
                };
                tokio::spawn(client.call_on())
            })
            .collect();
        for client in clients {
            client.await.expect("a client does not panic");
        }
        sleep(LAST).await;
        counts.figures()
    }
}

struct Caller<S> {
    service: S,
    random: Rng,
    rate: f64,
    patience: Duration,
    start: Instant,
    end: Instant,
    counts: Arc<Counts>,
}

impl<S, R> Caller<S>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    /// Makes calls at random times until the end. None waits for the one before it.
    async fn call_on(mut self) {
        while Instant::now() < self.end {
            let pause = -(1.0 - self.random.f64()).ln() / self.rate;
            sleep(Duration::from_secs_f64(pause)).await;
            let (service, counts) = (self.service.clone(), self.counts.clone());
            let (start, patience) = (self.start, self.patience);
            tokio::spawn(async move {
                let began = start.elapsed();
                counts.call(began);
                let mut request = Request::new(Empty::new());
                *request.uri_mut() = http::Uri::from_static("http://peer/");
                // Whoever has waited for so long leaves, and takes the call along.
                let answer = timeout(patience, service.oneshot(request)).await;
                if let Ok(Ok(response)) = answer {
                    if response.status().is_success() {
                        counts.success(began, start.elapsed());
                    }
                }
            });
        }
    }
}
