//! The pause that one answer sets for all requests.

mod line;
mod quota;
mod rules;

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use retry_layer::{
    Deadline, ReplayBody,
    health::{Ledger, PartitionKey},
    pause::{Pause, PauseBuilder, PauseError, PauseLayer, Paused, SharedPause},
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::support::{Failure, Peer, RefusedBody, Reply, status};

const SECOND: Duration = Duration::from_secs(1);

type Sent = Request<ReplayBody<Empty<Bytes>>>;
type Answer = Result<Response<RefusedBody>, PauseError<Failure>>;

/// Pauses over a scripted peer.
struct Stack {
    pause: Pause,
    peer: Peer,
    service: SharedPause<Peer>,
}

type Call = Pin<Box<dyn Future<Output = Answer>>>;

impl Stack {
    fn new(builder: PauseBuilder, replies: impl IntoIterator<Item = Reply>) -> Self {
        let peer = Peer::new(replies);
        let pause = builder.build().unwrap();
        let service = PauseLayer::new(pause.clone()).layer(peer.handle());
        Self {
            pause,
            peer,
            service,
        }
    }

    /// A call that is not polled yet.
    fn call(&self, request: Sent) -> Call {
        Box::pin(self.service.clone().oneshot(request))
    }

    async fn ask(&self) -> Answer {
        self.call(request("http://peer/")).await
    }

    /// How long the partition is paused.
    fn paused_for(&self) -> Option<Duration> {
        let health = self.pause.ledger().health(&key());
        health.paused_until().map(|until| until - Instant::now())
    }

    fn waiting(&self) -> usize {
        self.pause.ledger().health(&key()).waiting()
    }

    /// The paths that the peer was asked for, in their order.
    fn paths(&self) -> Vec<String> {
        let seen = self.peer.seen().into_iter();
        seen.map(|it| it.uri.path().to_owned()).collect()
    }
}

fn builder() -> PauseBuilder {
    let ledger = Ledger::builder().seed(1).build().unwrap();
    Pause::builder().ledger(ledger)
}

fn key() -> PartitionKey {
    PartitionKey::of(&Uri::from_static("http://peer/"))
}

fn request(uri: &str) -> Sent {
    let request = Request::get(uri).body(ReplayBody::passing(Empty::new()));
    request.unwrap()
}

fn due_within(uri: &str, time: Duration) -> Sent {
    let mut request = request(uri);
    request.extensions_mut().insert(Deadline::within(time));
    request
}

/// A response of status 429 that says when to come back.
fn throttled(seconds: u64) -> Reply {
    status(429).header("retry-after", seconds.to_string())
}

fn refusal(answer: Answer) -> Paused {
    answer.unwrap_err().into_inner().unwrap_err()
}
