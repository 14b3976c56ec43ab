use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    iter,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::HeaderName};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use retry_layer::{AttemptOutcome, ResponseExt, RetryReport, WaitReason, transport};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tower::{Service, ServiceExt};

/// How many requests are under way at the same time.
pub const IN_FLIGHT: u32 = 32;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Far longer than any answer takes on loopback, with all its attempts.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests of one kind.
#[derive(Clone, Debug)]
pub struct Load {
    method: Method,
    url: String,
    name: String,
    until: Until,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Count(u32),
    Moment(Instant),
}

impl Load {
    /// Requests with ids that start with `name`.
    #[must_use]
    pub fn new(method: Method, url: &str, name: &str) -> Self {
        Self {
            method,
            url: url.to_owned(),
            name: name.to_owned(),
            until: Until::Count(0),
        }
    }

    /// So many of them.
    #[must_use]
    pub fn count(mut self, requests: u32) -> Self {
        self.until = Until::Count(requests);
        self
    }

    /// As many as there come until then.
    #[must_use]
    pub fn until(mut self, moment: Instant) -> Self {
        self.until = Until::Moment(moment);
        self
    }

    fn is_over(&self, number: u32) -> bool {
        match self.until {
            Until::Count(requests) => number >= requests,
            Until::Moment(moment) => Instant::now() >= moment,
        }
    }

    fn request(&self, number: u32) -> Request<Full<Bytes>> {
        let body = if self.method == Method::POST {
            "one"
        } else {
            ""
        };
        Request::builder()
            .method(self.method.clone())
            .uri(&self.url)
            .header(REQUEST_ID, format!("{}-{number}", self.name))
            .body(Full::from(body))
            .expect("all parts are valid")
    }

    /// Sends them.
    ///
    /// # Panics
    ///
    /// If the URL is none.
    pub async fn send<S, B>(self, service: S) -> Outcome
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Error + Send + Sync,
        S::Future: Send,
        B: Body<Data = Bytes> + Send,
        B::Error: Error + Send + Sync + 'static,
    {
        let next = Arc::new(AtomicU32::new(0));
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (service, next, load) = (service.clone(), Arc::clone(&next), self.clone());
            workers.spawn(async move {
                let mut outcome = Outcome::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if load.is_over(number) {
                        return outcome;
                    }
                    let answer = ask(service.clone(), load.request(number));
                    outcome.add(timeout(PATIENCE, answer).await);
                }
            });
        }
        let mut all = Outcome::default();
        while let Some(outcome) = workers.join_next().await {
            all.merge(outcome.expect("a worker does not panic"));
        }
        all.took = begun.elapsed();
        all
    }
}

async fn ask<S, B>(service: S, request: Request<Full<Bytes>>) -> Result<RetryReport, String>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Error + 'static,
    B: Body,
    B::Error: Error + 'static,
{
    let response = service
        .oneshot(request)
        .await
        .map_err(|error| describe(&error))?;
    let report = response.retry_report();
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    response
        .into_body()
        .collect()
        .await
        .map_err(|error| format!("body: {}", describe(&error)))?;
    Ok(report)
}

/// The class that the layer gives to an error, and its chain of sources.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = transport::classify(error).as_str().to_owned();
    for cause in iter::successors(Some(error), |error| (*error).source()) {
        let _ = write!(text, " / {cause}");
    }
    text
}

/// What became of a load.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// Answered, and well.
    pub successes: u32,
    /// All others.
    pub failures: u32,
    /// How often each kind of failure came, and after which classes a request was sent again.
    kinds: BTreeMap<String, u32>,
    again: BTreeMap<String, u32>,
    took: Duration,
}

impl Outcome {
    fn add(&mut self, result: Result<Result<RetryReport, String>, impl Error>) {
        match result {
            Ok(Ok(report)) => {
                self.successes += 1;
                for attempt in report.attempts() {
                    let Some(wait) = attempt.wait() else { continue };
                    let class = match attempt.outcome() {
                        AttemptOutcome::Error(class) => class.as_str().to_owned(),
                        other => other.to_string(),
                    };
                    let how = match wait.reason() {
                        WaitReason::TransparentRetry => "transparent",
                        _ => "retried after a wait",
                    };
                    *self.again.entry(format!("{class}, {how}")).or_default() += 1;
                }
            }
            Ok(Err(failure)) => self.fail(failure),
            Err(_) => self.fail(format!("no answer within {PATIENCE:?}")),
        }
    }

    fn fail(&mut self, kind: String) {
        self.failures += 1;
        *self.kinds.entry(kind).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.successes += other.successes;
        self.failures += other.failures;
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (how, count) in other.again {
            *self.again.entry(how).or_default() += count;
        }
    }

    /// Prints it, under this headline.
    pub fn print(&self, what: &str) {
        let Self {
            successes,
            failures,
            took,
            ..
        } = self;
        println!("\n{what}: {successes} answered, {failures} failed, in {took:.1?}");
        for (kind, count) in self.again.iter().chain(&self.kinds) {
            println!("  {count:>6}  {kind}");
        }
    }
}
