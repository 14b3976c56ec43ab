use std::{sync::Arc, time::Duration};

use harness::Payload;
use http::{Request, Response};
use tokio::time::Sleep;
use tower::{
    retry::{
        Policy,
        backoff::{Backoff as _, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff},
        budget::{Budget, TpsBudget},
    },
    util::rng::HasherRng,
};

/// tower's own parts put together: a budget, a backoff, three attempts, and 503 as what is tried
/// again.
#[derive(Clone)]
pub(crate) struct ThreeAttempts {
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff,
    left: u32,
}

impl Default for ThreeAttempts {
    fn default() -> Self {
        let (min, max) = (Duration::from_millis(1), Duration::from_millis(2));
        let backoff = ExponentialBackoffMaker::new(min, max, 1.0, HasherRng::default())
            .expect("the bounds are valid")
            .make_backoff();
        Self {
            budget: Arc::new(TpsBudget::default()),
            backoff,
            left: 2,
        }
    }
}

impl<R, E> Policy<Request<Payload>, Response<R>, E> for ThreeAttempts {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut Request<Payload>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Sleep> {
        let failed = match result {
            Ok(response) => response.status().is_server_error(),
            Err(_) => true,
        };
        if !failed {
            self.budget.deposit();
            return None;
        }
        if self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &Request<Payload>) -> Option<Request<Payload>> {
        (!request.body().is_stream()).then(|| request.clone())
    }
}
