use std::sync::{Mutex, PoisonError};

use super::*;

/// Notes what it is told, with the arguments.
#[derive(Debug, Default)]
struct Recorder {
    told: Mutex<Vec<String>>,
    grants: bool,
    counts: bool,
}

impl Recorder {
    fn note(&self, what: String) {
        self.lock().push(what);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget for Recorder {
    fn deposit(&self, uri: &Uri) {
        self.note(format!("deposit {uri}"));
    }

    fn withdraw(&self, uri: &Uri, cost: Cost, _now: Instant) -> bool {
        self.note(format!("withdraw {uri} {cost:?}"));
        self.grants
    }

    fn refund(&self, uri: &Uri, cost: Cost) {
        self.note(format!("refund {uri} {cost:?}"));
    }

    fn deposit_after_retry(&self, uri: &Uri, last: Cost) {
        self.note(format!("deposit after {uri} {last:?}"));
    }

    fn failure(&self, uri: &Uri, attempt: u32) {
        self.note(format!("failure {uri} {attempt}"));
    }

    fn settle(&self, uri: &Uri, cost: Cost) {
        self.note(format!("settle {uri} {cost:?}"));
    }

    fn counts_calls(&self) -> bool {
        self.counts
    }

    fn enter(&self) {
        self.note("enter".to_owned());
    }

    fn leave(&self) {
        self.note("leave".to_owned());
    }
}

fn peer() -> Uri {
    Uri::from_static("http://peer/")
}

#[test]
fn a_budget_that_several_own_is_told_everything() {
    let recorder = Arc::new(Recorder::default());
    let uri = peer();
    Budget::deposit(&recorder, &uri);
    assert!(!Budget::withdraw(
        &recorder,
        &uri,
        Cost::Retry,
        Instant::now()
    ));
    Budget::refund(&recorder, &uri, Cost::Throttled);
    Budget::deposit_after_retry(&recorder, &uri, Cost::TimedOut);
    Budget::failure(&recorder, &uri, 3);
    Budget::settle(&recorder, &uri, Cost::Retry);
    Budget::enter(&recorder);
    Budget::leave(&recorder);
    assert!(!Budget::counts_calls(&recorder));
    assert_eq!(
        recorder.taken(),
        [
            "deposit http://peer/",
            "withdraw http://peer/ Retry",
            "refund http://peer/ Throttled",
            "deposit after http://peer/ TimedOut",
            "failure http://peer/ 3",
            "settle http://peer/ Retry",
            "enter",
            "leave",
        ]
    );

    let recorder = Arc::new(Recorder {
        grants: true,
        counts: true,
        ..Recorder::default()
    });
    assert!(Budget::withdraw(
        &recorder,
        &uri,
        Cost::Retry,
        Instant::now()
    ));
    assert!(Budget::counts_calls(&recorder));
}

#[test]
fn a_budget_that_overrides_deposits_for_retried_calls_and_counts_none() {
    let budget = FixedBudget::new(10, 100).unwrap();
    let uri = peer();
    assert!(budget.withdraw(&uri, Cost::Retry, Instant::now()));
    budget.deposit_after_retry(&uri, Cost::Retry);
    assert_eq!(budget.millitokens(), 10_000);
    assert!(!budget.counts_calls());
}

#[test]
fn a_retry_is_paid_back_until_it_is_sent_and_over_afterwards() {
    let recorder = Arc::new(Recorder {
        grants: true,
        ..Recorder::default()
    });
    let budget: Arc<dyn Budget> = recorder.clone();
    let take = || Withdrawal::take(&budget, &peer(), Cost::Throttled, Instant::now()).unwrap();
    drop(take());
    assert_eq!(
        recorder.taken(),
        [
            "withdraw http://peer/ Throttled",
            "refund http://peer/ Throttled"
        ]
    );
    let mut sent = take();
    sent.spend();
    drop(sent);
    assert_eq!(
        recorder.taken(),
        [
            "withdraw http://peer/ Throttled",
            "settle http://peer/ Throttled"
        ]
    );
}

#[test]
fn a_retry_that_is_not_granted_is_not_paid_back() {
    let recorder = Arc::new(Recorder::default());
    let budget: Arc<dyn Budget> = recorder.clone();
    assert!(Withdrawal::take(&budget, &peer(), Cost::Retry, Instant::now()).is_none());
    assert_eq!(recorder.taken(), ["withdraw http://peer/ Retry"]);
}

#[test]
fn a_throttled_retry_costs_half_a_token_and_any_other_a_whole_one() {
    let costs = [Cost::Retry, Cost::TimedOut, Cost::Throttled];
    assert_eq!(costs.map(Cost::millitokens), [1_000, 1_000, 500]);
}

#[test]
fn without_a_bound_every_retry_is_granted() {
    let uri = peer();
    assert!((0..10_000).all(|_| Unlimited.withdraw(&uri, Cost::Retry, Instant::now())));
}

#[tokio::test(start_paused = true)]
async fn hedges_take_the_upper_half_and_leave_the_lower_one_to_retries() {
    let budgets: [(Box<dyn Budget>, usize, usize); 4] = [
        // Of 5 tokens: at 5, 4 and 3 half of them are there.
        (Box::new(SuccessBudget::default()), 3, 2),
        (Box::new(FixedBudget::new(10, 10).unwrap()), 6, 4),
        (Box::new(AwsBudget::v2_1()), 18, 17),
        (Box::new(ConcurrencyShare::new(0, 4).unwrap()), 3, 1),
    ];
    let uri = Uri::from_static("http://peer/");
    let now = Instant::now();
    for (budget, hedges, retries) in budgets {
        let granted = |cost| {
            let asked = (0..1_000).take_while(|_| budget.withdraw(&uri, cost, now));
            asked.count()
        };
        assert_eq!(granted(Cost::Hedge), hedges, "{budget:?}");
        assert_eq!(granted(Cost::Retry), retries, "{budget:?}");
        budget.refund(&uri, Cost::Retry);
        assert_eq!(granted(Cost::Hedge), 0, "{budget:?}");
    }
}
