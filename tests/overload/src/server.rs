use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::Empty;
use tokio::time::{Instant, sleep_until};
use tower_service::Service;

use crate::{
    figures::Counts,
    storm::{Storm, Trouble},
};

/// The server as a client calls it: a service that is always ready. An attempt for which the client has no more patience ends
/// with [`TimedOut`].
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    storm: Storm,
    start: Instant,
    /// When the server will have answered all that it has taken.
    free_at: Mutex<Instant>,
    counts: Arc<Counts>,
}

/// What becomes of a request that has come.
#[derive(Clone, Copy, Debug)]
enum Fate {
    AnsweredAt(Instant),
    Refused {
        status: StatusCode,
        retry_after: Option<u64>,
    },
}

/// The cause of an attempt that ran out of its time.
#[derive(Clone, Copy, Debug)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer in time")
    }
}

impl std::error::Error for TimedOut {}

/// The future of an attempt.
pub type Answering = Pin<Box<dyn Future<Output = io::Result<Response<Empty<Bytes>>>> + Send>>;

impl Server {
    pub(crate) fn new(storm: &Storm, start: Instant, counts: Arc<Counts>) -> Self {
        Self {
            shared: Arc::new(Shared {
                storm: storm.clone(),
                start,
                free_at: Mutex::new(start),
                counts,
            }),
        }
    }
}

impl Shared {
    /// Takes a request that comes now.
    fn take(&self, now: Instant) -> Fate {
        self.counts.attempt(now - self.start);
        let in_trouble = |at: Instant| self.storm.trouble_range().contains(&(at - self.start));
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = now.max(*free_at);
        let mut refusal = Fate::Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
        };
        let (percent, limit) = match self.storm.trouble {
            Trouble::Slow { percent } => (percent, None),
            Trouble::Shedding {
                status,
                percent,
                limit,
                retry_after,
            } => {
                refusal = Fate::Refused {
                    status,
                    retry_after: Some(retry_after),
                };
                (percent, Some(limit))
            }
            Trouble::Refusing if in_trouble(now) => return refusal,
            Trouble::Refusing => (100, None),
        };
        let share = if in_trouble(begin) {
            f64::from(percent) / 100.0
        } else {
            1.0
        };
        let answer = Duration::from_secs_f64(1.0 / (self.storm.capacity * share));
        if limit.is_some_and(|limit| begin - now > limit) {
            *free_at = begin + answer / 10;
            return refusal;
        }
        *free_at = begin + answer;
        Fate::AnsweredAt(*free_at)
    }
}

impl<B> Service<Request<B>> for Server {
    type Response = Response<Empty<Bytes>>;
    type Error = io::Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Answering {
        let now = Instant::now();
        let fate = self.shared.take(now);
        let gives_up = self.shared.storm.patience.map(|patience| now + patience);
        Box::pin(async move {
            let mut response = Response::new(Empty::new());
            match (fate, gives_up) {
                (Fate::AnsweredAt(done), Some(gives_up)) if done > gives_up => {
                    sleep_until(gives_up).await;
                    return Err(io::Error::new(io::ErrorKind::TimedOut, TimedOut));
                }
                (Fate::AnsweredAt(done), _) => sleep_until(done).await,
                (
                    Fate::Refused {
                        status,
                        retry_after,
                    },
                    _,
                ) => {
                    *response.status_mut() = status;
                    if let Some(seconds) = retry_after {
                        response.headers_mut().insert(RETRY_AFTER, seconds.into());
                    }
                }
            }
            Ok(response)
        })
    }
}
