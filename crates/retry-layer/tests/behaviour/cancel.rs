//! A call is dropped at each of its await points: nothing of it stays behind.

use std::{sync::Arc, time::Duration};

use http::Request;
use retry_layer::{Jitter, Retry, RetryPolicy, budget::FixedBudget};
use tokio::{runtime::Handle, time::advance};
use tokio_test::task;
use tower::ServiceExt;

use crate::support::{Frames, Knowing, Peer, Refused, status};

/// Two refused responses whose bodies hang, between them waits, then an answer that takes a while:
/// every state of the future is met.
fn peer() -> Peer {
    let slow = Duration::from_millis(20);
    let refused = || status(503).body(Refused::hanging()).taking(slow);
    Peer::new([refused(), refused(), status(200).taking(slow)])
}

const TOKENS: u64 = 5;

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_poll_pays_back_and_leaves_nothing() {
    let step = Duration::from_millis(5);
    let mut polls = 0;
    for dropped_at in 1.. {
        let peer = peer();
        let budget = Arc::new(FixedBudget::new(u32::try_from(TOKENS).unwrap(), 100).unwrap());
        let policy = RetryPolicy::builder()
            .classifier(Knowing::standard())
            .jitter(Jitter::None)
            .budget(Arc::clone(&budget))
            .replay_memory(8)
            .build()
            .unwrap();
        let retry = Retry::new(peer.handle(), policy.clone());
        let request = Request::put("http://peer/")
            .body(Frames::new(["rows"]))
            .unwrap();
        let mut call = task::spawn(retry.oneshot(request));
        let mut ready = false;
        for _ in 0..dropped_at {
            ready = call.poll().is_ready();
            if ready {
                break;
            }
            advance(step).await;
        }
        let sent = u64::try_from(peer.seen().len()).unwrap();
        drop(call);

        // A token for each retry that was sent, and none for one that only waited.
        let retries = sent.saturating_sub(1);
        let earned = u64::from(ready);
        let balance = budget.millitokens();
        assert_eq!(
            balance,
            (TOKENS - retries + earned) * 1_000,
            "dropped at poll {dropped_at}"
        );
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
        if !ready {
            assert!(
                peer.dropped_bodies().len() as u64 >= retries,
                "no response is held"
            );
        }

        // All room of the replay memory is there again: this body needs it whole.
        let after = Peer::new([status(503), status(200)]);
        let request = Request::put("http://peer/")
            .body(Frames::new(["12345678"]))
            .unwrap();
        let response = Retry::new(after.handle(), policy)
            .oneshot(request)
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "dropped at poll {dropped_at}");
        if ready {
            break;
        }
        polls = dropped_at;
    }
    assert!(polls > 20, "{polls} polls met every state");
}
