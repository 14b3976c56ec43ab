//! Hints, throttling and budgets, through the layer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use retry_layer::{
    Backoff, Class, Classifier, Exponential, Outcome, Processed, ResponseExt, Retry, RetryPolicy,
    RetryPolicyBuilder, RetryReport, Standard, StopReason, WaitReason,
    budget::{AwsBudget, ConcurrencyShare, FinagleBudget, FixedBudget, GrpcThrottle},
    classify::{Errors, StatusSet, TransportClassifier},
    grpc::GrpcRetry,
    hint::{Hint, Hints},
};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::support::{Failure, Frames, Knowing, Peer, Reply, error, status};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> RetryPolicyBuilder {
    RetryPolicy::builder()
        .classifier(Knowing::standard())
        .backoff(Backoff::fixed(SECOND))
}

async fn call(peer: &Peer, policy: &RetryPolicy, method: Method) -> RetryReport {
    let request = Request::builder().method(method).uri("http://peer/");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    match Retry::new(peer.handle(), policy.clone())
        .oneshot(request)
        .await
    {
        Ok(response) => response.retry_report(),
        Err(failure) => failure.report.unwrap(),
    }
}

/// The first wait of a call that is answered like this at first.
async fn wait(builder: RetryPolicyBuilder, first: Reply) -> (Duration, WaitReason) {
    let peer = Peer::new([first, status(200)]);
    let report = call(&peer, &builder.build().unwrap(), Method::GET).await;
    let wait = report.attempts()[0].wait().unwrap();
    // The clock ticks in milliseconds.
    let late = peer.waits()[0].checked_sub(wait.delay()).unwrap();
    assert!(late <= Duration::from_millis(1), "{late:?}");
    (wait.delay(), wait.reason())
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_waited_for() {
    let limited = status(429).header("ratelimit", r#""a";r=0;t=30"#);
    let (delay, reason) = wait(builder(), limited).await;
    assert!((30 * SECOND..=33 * SECOND).contains(&delay), "{delay:?}");
    assert_eq!(reason, WaitReason::RateLimit);
}

#[tokio::test(start_paused = true)]
async fn no_hint_is_heard_if_there_is_none_to_hear() {
    let limited = || {
        status(503)
            .header("ratelimit", r#""a";r=0;t=30"#)
            .header("retry-after", "30")
    };
    for builder in [
        builder().hints(Hints::none()),
        builder().ignore_retry_after(),
    ] {
        let waited = wait(builder, limited()).await;
        assert_eq!(waited, (SECOND, WaitReason::Backoff));
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_is_retried_over_its_status_after_exactly_the_pushback() {
    let policy = GrpcRetry::new(3, SECOND, SECOND, 1.0)
        .to_builder()
        .unwrap()
        .build()
        .unwrap();
    let unavailable = || status(200).header("grpc-status", "14");
    let pushed = |value: &str| unavailable().header("grpc-retry-pushback-ms", value);

    let peer = Peer::new([pushed("70"), pushed("0"), status(200)]);
    let report = call(&peer, &policy, Method::POST).await;
    assert_eq!(peer.waits(), [Duration::from_millis(70), Duration::ZERO]);
    let wait = report.attempts()[0].wait().unwrap();
    assert_eq!(wait.reason(), WaitReason::Pushback);

    let peer = Peer::new([pushed("-1")]);
    let report = call(&peer, &policy, Method::POST).await;
    assert_eq!(report.stop(), StopReason::RetryForbidden);

    let peer = Peer::new([status(200).header("grpc-status", "5")]);
    let report = call(&peer, &policy, Method::POST).await;
    assert_eq!(report.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pushback_that_says_no_counts_as_a_failure() {
    let budget = Arc::new(GrpcThrottle::new(10, 100).unwrap());
    let policy = GrpcRetry::new(3, SECOND, SECOND, 1.0)
        .to_builder()
        .unwrap()
        .budget(Arc::clone(&budget))
        .build()
        .unwrap();
    let no = status(200)
        .header("grpc-status", "14")
        .header("grpc-retry-pushback-ms", "no");
    call(&Peer::new([no]), &policy, Method::POST).await;
    assert_eq!(budget.millitokens(), 9_000);
}

#[tokio::test(start_paused = true)]
async fn a_final_code_of_grpc_neither_takes_nor_gives_unless_it_is_pushed_back() {
    let budget = Arc::new(GrpcThrottle::new(10, 100).unwrap());
    let policy = GrpcRetry::new(2, SECOND, SECOND, 1.0)
        .to_builder()
        .unwrap()
        .budget(Arc::clone(&budget))
        .build()
        .unwrap();
    let coded = |code: &str| status(200).header("grpc-status", code);
    let left_after = async |reply| {
        call(&Peer::new([reply, coded("5")]), &policy, Method::POST).await;
        budget.millitokens()
    };
    assert_eq!(left_after(coded("14")).await, 9_000, "a failure");
    assert_eq!(left_after(coded("5")).await, 9_000);
    assert_eq!(left_after(coded("7")).await, 9_000);
    assert_eq!(left_after(coded("0")).await, 9_100, "a success");
    assert_eq!(left_after(status(200)).await, 9_200, "in the trailers");
    let pushed = coded("3").header("grpc-retry-pushback-ms", "-1");
    assert_eq!(left_after(pushed).await, 8_200);
}

#[tokio::test(start_paused = true)]
async fn an_invitation_makes_a_final_status_worth_another_attempt() {
    let invited = || status(400).header("x-should-retry", "true");
    let heard = Hints::default().with(Hint::XShouldRetry);
    let waited = wait(builder().hints(heard), invited()).await;
    assert_eq!(waited, (SECOND, WaitReason::Backoff));

    let peer = Peer::new([invited()]);
    let report = call(&peer, &builder().build().unwrap(), Method::GET).await;
    assert_eq!(report.stop(), StopReason::StatusNotRetryable);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_error_is_never_sent_again_at_once() {
    let calm = |processed| error(Class::Throttled(processed));
    let throttled = || {
        let exponential = Exponential::new(Duration::from_millis(1));
        let backoff = Backoff::from(exponential).jitter(retry_layer::Jitter::None);
        builder().backoff(backoff)
    };
    let waited = wait(throttled(), calm(Processed::Never)).await;
    assert_eq!(waited, (SECOND, WaitReason::Throttled));

    let policy = throttled().build().unwrap();
    let peer = Peer::new([calm(Processed::Never), status(200)]);
    let report = call(&peer, &policy, Method::POST).await;
    assert_eq!(report.attempts().len(), 2, "refused: any method");
    let peer = Peer::new([calm(Processed::Possibly)]);
    let report = call(&peer, &policy, Method::POST).await;
    assert_eq!(report.stop(), StopReason::NotIdempotent);
}

#[tokio::test(start_paused = true)]
async fn early_data_is_sent_again_once_for_free() {
    let early = || Reply {
        early_data: true,
        ..status(425)
    };
    let peer = Peer::new([early(), early(), status(200)]);
    let report = call(&peer, &builder().build().unwrap(), Method::POST).await;
    assert_eq!(report.transparent_retries(), 1);
    assert_eq!(peer.waits(), [Duration::ZERO, SECOND]);
}

#[tokio::test(start_paused = true)]
async fn classifiers_that_are_put_together_decide() {
    let classifier = Knowing(
        Standard::default()
            .or(StatusSet::cloudflare())
            .and(Errors::timeout().not()),
    );
    let policy = builder().classifier(classifier).build().unwrap();
    let peer = Peer::new([status(520), status(503), status(200)]);
    let report = call(&peer, &policy, Method::GET).await;
    assert_eq!(report.attempts().len(), 3);
    let peer = Peer::new([crate::support::io_error(std::io::ErrorKind::TimedOut)]);
    let report = call(&peer, &policy, Method::GET).await;
    assert_eq!(report.stop(), StopReason::ErrorNotRetryable);
}

#[tokio::test(start_paused = true)]
async fn an_aws_budget_gets_back_what_a_successful_retry_cost() {
    let budget = Arc::new(AwsBudget::v2_1());
    let policy = builder().budget(Arc::clone(&budget)).build().unwrap();
    let get = |replies: Vec<Reply>| {
        let policy = policy.clone();
        async move { call(&Peer::new(replies), &policy, Method::GET).await }
    };
    get(vec![status(503), status(503), status(200)]).await;
    assert_eq!(budget.tokens(), 486, "the last of two comes back");
    get(vec![status(429), status(200)]).await;
    assert_eq!(budget.tokens(), 486, "throttled: 5, and back");
    get(vec![status(200)]).await;
    assert_eq!(budget.tokens(), 487);
    get(vec![status(503), status(503), status(503)]).await;
    assert_eq!(budget.tokens(), 459);
}

#[tokio::test(start_paused = true)]
async fn a_finagle_budget_gets_one_deposit_for_each_call() {
    let budget = Arc::new(FinagleBudget::new(60 * SECOND, 0, 10_000).unwrap());
    let policy = builder().budget(Arc::clone(&budget)).build().unwrap();
    for replies in [
        vec![status(200)],
        vec![status(404)],
        vec![error(Class::Unprocessed), status(200)],
    ] {
        call(&Peer::new(replies), &policy, Method::GET).await;
    }
    assert_eq!(budget.balance(), 3);
    // Deposits one, takes two.
    let replies = vec![status(503), status(503), status(200)];
    call(&Peer::new(replies), &policy, Method::GET).await;
    assert_eq!(budget.balance(), 2);
    call(&Peer::new([status(503)]), &policy, Method::POST).await;
    assert_eq!(budget.balance(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_share_counts_calls_and_retries_while_they_are_under_way() {
    let share = Arc::new(ConcurrencyShare::new(50, 1).unwrap());
    let policy = builder().budget(Arc::clone(&share)).build().unwrap();
    let slow = || status(503).taking(SECOND);
    let peer = Peer::new((0..40).map(|_| slow()));
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (peer, policy) = (peer.handle(), policy.clone());
            tokio::spawn(async move { call(&peer, &policy, Method::GET).await })
        })
        .collect();
    tokio::time::sleep(SECOND + SECOND / 2).await;
    assert_eq!(share.active(), 4, "half of eight, in their wait");
    tokio::time::sleep(SECOND).await;
    assert_eq!(share.active(), 4, "in their attempt");
    // One after the other fails and counts no more, while those after it still do: only the last
    // finds room for another retry.
    tokio::time::sleep(SECOND).await;
    assert_eq!(share.active(), 1);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!((share.active(), share.limit()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_nothing_behind_in_a_share() {
    let share = Arc::new(ConcurrencyShare::new(100, 1).unwrap());
    let policy = builder().budget(Arc::clone(&share)).build().unwrap();
    // While the first attempt runs, during the wait, and while the second attempt runs.
    for (after, active) in [(500, 0), (1_500, 1), (2_500, 1)] {
        let peer = Peer::new([status(503).taking(SECOND), status(200).taking(9 * SECOND)]);
        let policy = policy.clone();
        let task = tokio::spawn(async move { call(&peer, &policy, Method::GET).await });
        tokio::time::sleep(Duration::from_millis(after)).await;
        assert_eq!(share.active(), active, "{after} ms");
        task.abort();
        assert!(task.await.is_err());
        assert_eq!((share.active(), share.limit()), (0, 1), "{after} ms");
    }
}

#[cfg(feature = "tower")]
#[tokio::test(start_paused = true)]
async fn a_budget_of_tower_plugs_in() {
    use retry_layer::budget::TowerBudget;
    use tower::retry::budget::TpsBudget;

    let budget = TowerBudget::new(TpsBudget::new(10 * SECOND, 0, 1.0));
    let policy = builder().budget(budget).build().unwrap();
    let peer = Peer::new([status(503)]);
    let report = call(&peer, &policy, Method::GET).await;
    assert_eq!(report.stop(), StopReason::BudgetExhausted);
    call(&Peer::new([status(200)]), &policy, Method::GET).await;
    let peer = Peer::new([status(503), status(200)]);
    let report = call(&peer, &policy, Method::GET).await;
    assert_eq!(report.attempts().len(), 2);
}

/// The report of a call whose request brings a policy of its own.
async fn call_with(layer: &Retry<Peer>, own: RetryPolicy, body: &'static str) -> RetryReport {
    let mut request = Request::put("http://peer/")
        .body(Frames::new([body]))
        .unwrap();
    request.extensions_mut().insert(own);
    let response = layer.clone().oneshot(request).await.unwrap();
    response.retry_report()
}

#[tokio::test(start_paused = true)]
async fn a_policy_in_a_request_pays_from_the_layers_budget_unless_it_has_one() {
    let tokens = Arc::new(FixedBudget::new(2, 1).unwrap());
    let layered = builder().budget(Arc::clone(&tokens)).build().unwrap();
    let peer = Peer::new([(); 20].map(|()| status(503)));
    let layer = Retry::new(peer.handle(), layered);

    // Each is built anew, and none has a budget; nor has one that was made of another.
    let built = || builder().max_attempts(2).build().unwrap();
    let derived = || built().to_builder().build().unwrap();
    assert_eq!(call_with(&layer, built(), "").await.attempts().len(), 2);
    assert_eq!(call_with(&layer, derived(), "").await.attempts().len(), 2);
    assert_eq!(tokens.millitokens(), 0);
    for own in [built(), derived()] {
        let report = call_with(&layer, own, "").await;
        assert_eq!(report.stop(), StopReason::BudgetExhausted);
    }

    let own = Arc::new(FixedBudget::new(1, 1).unwrap());
    let with_its_own = builder().budget(Arc::clone(&own)).build().unwrap();
    let derived = with_its_own.to_builder().max_attempts(2).build().unwrap();
    assert_eq!(call_with(&layer, derived, "").await.attempts().len(), 2);
    assert_eq!(own.millitokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_in_a_request_counts_its_calls_with_the_layers_budget() {
    // Three retries are under way at most, and they are of calls that it was told of.
    let share = Arc::new(ConcurrencyShare::new(20, 1).unwrap());
    let layered = builder().budget(share).build().unwrap();
    let slow = || status(503).taking(10 * SECOND);
    let peer = Peer::new([(); 20].map(|()| slow()));
    let layer = Retry::new(peer.handle(), layered);
    let calls = [(); 10].map(|()| {
        let (layer, own) = (layer.clone(), builder().max_attempts(2).build().unwrap());
        tokio::spawn(async move { call_with(&layer, own, "").await })
    });
    let mut retried = 0;
    for call in calls {
        retried += call.await.unwrap().attempts().len() - 1;
    }
    assert_eq!(retried, 2, "a fifth of ten");
}

#[tokio::test(start_paused = true)]
async fn a_requests_policy_without_memory_keeps_bodies_in_the_layers() {
    let layered = builder().replay_memory(4).build().unwrap();
    let peer = Peer::new([(); 20].map(|()| status(503)));
    let layer = Retry::new(peer.handle(), layered);
    let own = builder().max_attempts(2);
    let report = call_with(&layer, own.clone().build().unwrap(), "rows").await;
    assert_eq!(report.attempts().len(), 2);
    let report = call_with(&layer, own.clone().build().unwrap(), "5 row").await;
    assert_eq!(report.stop(), StopReason::BodyNotReplayable);
    let larger = own.replay_memory(5).build().unwrap();
    let report = call_with(&layer, larger, "5 row").await;
    assert_eq!(report.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_policy_in_a_request_draws_its_waits_from_the_layers_seed() {
    let own = || {
        let jittered = builder().backoff(Exponential::new(SECOND));
        jittered.build().unwrap()
    };
    let waits = async || {
        let layered = builder().seed(7).build().unwrap();
        let peer = Peer::new([(); 6].map(|()| status(503)));
        let layer = Retry::new(peer.handle(), layered);
        call_with(&layer, own(), "").await;
        call_with(&layer, own(), "").await;
        peer.waits()
    };
    let first = waits().await;
    assert_eq!(first, waits().await);
    assert_ne!(first[..2], first[3..], "each call draws its own");
}

/// Knows [`Failure`], whichever classifier a policy has.
struct KnowsFailure;

impl TransportClassifier for KnowsFailure {
    fn classify(&self, outcome: &Outcome<'_>, policy: &dyn Classifier) -> Class {
        match outcome.find_error::<Failure>() {
            Some(_) => policy.classify(&outcome.with_error_class(Class::NotSent)),
            None => policy.classify(outcome),
        }
    }

    fn annotate(
        &self,
        error: &mut (dyn std::error::Error + 'static),
        report: RetryReport,
        _policy: &dyn Classifier,
    ) {
        if let Some(failure) = error.downcast_mut::<Failure>() {
            failure.report = Some(report);
        }
    }
}

/// The report of a GET under a policy that its request brings.
async fn call_with_own(peer: &Peer, layer: RetryPolicyBuilder, own: RetryPolicy) -> RetryReport {
    let mut request = Request::get("http://peer/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    request.extensions_mut().insert(own);
    let retry = Retry::new(peer.handle(), layer.build().unwrap());
    match retry.oneshot(request).await {
        Ok(response) => response.retry_report(),
        Err(failure) => failure.report.unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_layers_transport_classifier_holds_for_a_requests_policy() {
    let refused = || error(Class::Ambiguous);
    let layer = || RetryPolicy::builder().transport_classifier(KnowsFailure);
    let own = || RetryPolicy::builder().backoff(Backoff::fixed(SECOND));

    let peer = Peer::new([refused(), status(200)]);
    let report = call_with_own(&peer, layer(), own().build().unwrap()).await;
    assert_eq!(report.stop(), StopReason::Answered);
    assert_eq!(report.attempts().len(), 2);

    let peer = Peer::new([refused()]);
    let once = own().max_attempts(1).build().unwrap();
    let report = call_with_own(&peer, layer(), once).await;
    assert_eq!(report.stop(), StopReason::AttemptsExhausted);
}

#[tokio::test(start_paused = true)]
async fn a_bound_on_deadlines_holds_for_a_policy_that_a_request_brings() {
    let layer = || RetryPolicy::builder().max_deadline(5 * SECOND);
    let waits = |seconds| RetryPolicy::builder().backoff(Backoff::fixed(seconds * SECOND));
    for (own, stop) in [
        (waits(4), StopReason::Answered),
        (waits(5), StopReason::DeadlineTooClose),
        (waits(5).deadline(60 * SECOND), StopReason::DeadlineTooClose),
        (waits(4).deadline(3 * SECOND), StopReason::DeadlineTooClose),
    ] {
        let peer = Peer::new([status(503), status(200)]);
        let report = call_with_own(&peer, layer(), own.build().unwrap()).await;
        assert_eq!(report.stop(), stop);
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_an_owned_service_counts_from_when_its_caller_says() {
    let policy = builder().deadline(3 * SECOND).build().unwrap();
    for (late, stop) in [(1, StopReason::Answered), (2, StopReason::DeadlineTooClose)] {
        let started = Instant::now();
        tokio::time::advance(late * SECOND).await;
        let peer = Peer::new([status(503), status(200)]);
        let mut retry = Retry::new(peer.handle(), policy.clone());
        let request = Request::get("http://peer/")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let ready = ServiceExt::<Request<Empty<Bytes>>>::ready(&mut retry).await;
        ready.unwrap();
        let response = retry.into_call(request, started).await.unwrap();
        assert_eq!(response.retry_report().stop(), stop, "{late} s");
    }
}
