//! Which attempt is sent when, and whose answer is the call's.

use std::sync::Arc;

use retry_layer::{
    Class,
    budget::{FixedBudget, GrpcThrottle},
    hedge::Hedging,
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task};
use tower::ServiceExt;

use super::{begin, get, hedging, ms, policy, send, stack, up_to};
use crate::support::timed::{TimedPeer, after};

#[tokio::test(start_paused = true)]
async fn what_is_answered_in_time_is_sent_once() {
    let peer = TimedPeer::playing([after(99)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    assert_eq!((outcome.status(), outcome.took), (200, ms(99)));
    assert_eq!(outcome.body, 1);
    assert_eq!(peer.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_is_the_calls_and_the_other_attempt_is_dropped() {
    for (answers, takes) in [
        ([after(1_000), after(50)], 150),
        ([after(130), after(900)], 130),
    ] {
        let peer = TimedPeer::playing(answers);
        let outcome = send(&stack(&peer, policy(hedging())), get()).await;
        assert_eq!((outcome.status(), outcome.took), (200, ms(takes)));
        assert_eq!(peer.sent_at(), [0, 100]);
        assert_eq!(peer.alive(), 0, "both are over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_a_byte_does_not_win_over_a_hedge_that_has_one() {
    let peer = TimedPeer::playing([after(10).byte_after(800), after(20)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    assert_eq!(outcome.took, ms(120));
    assert_eq!(peer.sent_at(), [0, 100]);
    assert_eq!(peer.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_is_held_back_for_its_first_byte_and_for_no_longer_than_allowed() {
    // Both servers send their head at once, and the first event of a stream much later.
    let peer = TimedPeer::playing([after(10).byte_after(60_000), after(10).byte_after(60_000)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    assert_eq!(outcome.took, ms(1_010));
    assert_eq!(outcome.body, 1, "it is there in its time");
    assert_eq!(peer.alive(), 0);

    let peer = TimedPeer::playing([after(10).byte_after(60_000)]);
    let at_once = policy(hedging().first_byte_within(ms(50)));
    let outcome = send(&stack(&peer, at_once), get()).await;
    assert_eq!(
        outcome.took,
        ms(10),
        "no hedge could come before its time is over"
    );
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_body_is_answered_by_its_head() {
    let peer = TimedPeer::playing([after(10).without_body().status(204)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    assert_eq!((outcome.status(), outcome.took), (204, ms(10)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_or_failed_answer_yields_to_the_attempt_that_may_succeed() {
    let fails = [
        after(120).status(503),
        after(120).error(Class::Ambiguous),
        after(120).error(Class::Permanent),
        after(120).breaks(),
    ];
    for failing in fails {
        // The attempt itself fails while its hedge is under way, and the other way round.
        let peer = TimedPeer::playing([failing.clone(), after(300)]);
        let outcome = send(&stack(&peer, policy(hedging())), get()).await;
        assert_eq!(
            (outcome.status(), outcome.took),
            (200, ms(400)),
            "{failing:?}"
        );
        assert_eq!(peer.alive(), 0);

        let peer = TimedPeer::playing([after(900), failing.clone()]);
        let outcome = send(&stack(&peer, policy(hedging())), get()).await;
        assert_eq!(
            (outcome.status(), outcome.took),
            (200, ms(900)),
            "{failing:?}"
        );
        assert_eq!(peer.alive(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_answer_that_is_no_success_wins_too() {
    let peer = TimedPeer::playing([after(1_000), after(50).status(404)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    assert_eq!((outcome.status(), outcome.took), (404, ms(150)));
}

#[tokio::test(start_paused = true)]
async fn where_all_fail_the_outcome_is_that_of_the_first() {
    let peer = TimedPeer::playing([after(300).status(500), after(50).status(503)]);
    let outcome = send(&stack(&peer, policy(hedging()).max_attempts(2)), get()).await;
    assert_eq!((outcome.status(), outcome.took), (500, ms(300)));
    assert_eq!(outcome.body, 1, "with its body");
    assert_eq!(peer.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_all_fail_the_longest_wait_that_one_asks_for_is_kept() {
    let asks = |millis, seconds| after(millis).status(503).header("retry-after", seconds);
    let cases = [
        ([after(300).error(Class::Ambiguous), asks(50, "7")], 7_300),
        ([after(300).status(500), asks(50, "7")], 7_300),
        ([asks(300, "9"), asks(50, "7")], 9_300),
        ([asks(300, "7"), asks(50, "9")], 9_300),
        ([after(300).status(500), after(50).status(500)], 1_300),
    ];
    for ([attempt, hedge], again) in cases {
        let peer = TimedPeer::playing([attempt, hedge, after(10)]);
        let outcome = send(&stack(&peer, policy(hedging())), get()).await;
        assert_eq!(outcome.status(), 200);
        // Up to a tenth is added to what the server asks for.
        let sent = peer.sent_at()[2];
        assert!((again..=again * 11 / 10).contains(&sent), "{sent}, {again}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_that_fails_is_a_failure_for_the_budget() {
    for (answers, lost) in [
        ([after(300).status(503), after(50).status(503)], 2),
        ([after(900), after(50).status(503)], 1),
        ([after(150).status(503), after(300)], 1),
        ([after(150), after(300)], 0),
    ] {
        let peer = TimedPeer::playing(answers);
        // A success brings nothing that could be seen.
        let throttle = Arc::new(GrpcThrottle::new(10, 1).unwrap());
        let policy = policy(hedging()).max_attempts(2).budget(throttle.clone());
        send(&stack(&peer, policy), get()).await;
        assert_eq!(throttle.millitokens() / 1_000, 10 - lost, "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_delay_is_retried_and_not_hedged() {
    let peer = TimedPeer::playing([after(40).status(503), after(40)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    assert_eq!(outcome.status(), 200);
    assert_eq!(peer.sent_at(), [0, 1_040], "after the backoff");
}

#[tokio::test(start_paused = true)]
async fn a_failure_ends_the_hedging_of_its_attempt() {
    let peer = TimedPeer::playing([after(150).status(503), after(900)]);
    send(&stack(&peer, policy(up_to(2))), get()).await;
    assert_eq!(peer.sent_at(), [0, 100], "no third one at 200");
}

#[tokio::test(start_paused = true)]
async fn hedges_count_as_attempts_and_the_next_attempt_is_hedged_as_well() {
    let slow = || after(500).status(503);
    let peer = TimedPeer::playing([slow(), slow(), slow(), slow()]);
    let outcome = send(&stack(&peer, policy(hedging()).max_attempts(4)), get()).await;
    assert_eq!(outcome.status(), 503);
    // The race is over at 600; the retry follows a second later, and is hedged too.
    assert_eq!(peer.sent_at(), [0, 100, 1_600, 1_700]);

    let peer = TimedPeer::playing([slow(), slow(), slow()]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    assert_eq!(outcome.status(), 503);
    assert_eq!(
        peer.sent_at(),
        [0, 100, 1_600],
        "of three attempts none is left"
    );
}

#[tokio::test(start_paused = true)]
async fn no_hedge_is_sent_when_the_deadline_has_come() {
    for (deadline, sent) in [(100, vec![0]), (101, vec![0, 100])] {
        let peer = TimedPeer::playing([after(1_000), after(1_000)]);
        let policy = policy(hedging()).deadline(ms(deadline));
        send(&stack(&peer, policy), get()).await;
        assert_eq!(peer.sent_at(), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_waits_until_the_service_is_ready_and_holds_nothing_up() {
    let peer = TimedPeer::playing([after(300)]);
    peer.ready_once(None);
    let budget = Arc::new(FixedBudget::new(10, 100).unwrap());
    let policy = policy(hedging()).budget(budget.clone());
    let stack = stack(&peer, policy);
    let mut call = task::spawn(stack.clone().oneshot(get()));
    assert_pending!(call.poll());
    advance(ms(100)).await;
    assert_pending!(call.poll());
    assert_eq!(budget.millitokens(), 9_000, "the hedge has its token");
    advance(ms(200)).await;
    assert_eq!(assert_ready!(call.poll()).unwrap().status(), 200);
    assert_eq!(budget.millitokens(), 10_000, "given back");
    assert_eq!(peer.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_get_ready_for_a_hedge_fails_no_attempt() {
    let peer = TimedPeer::playing([after(300)]);
    peer.ready_once(Some(Class::Ambiguous));
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    assert_eq!((outcome.status(), outcome.took), (200, ms(300)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_at_any_moment_leaves_nothing() {
    for millis in [0, 50, 100, 120, 150, 250] {
        let peer = TimedPeer::playing([
            after(10).byte_after(900).rest_after(500),
            after(20).byte_after(300).rest_after(500),
        ]);
        let budget = Arc::new(FixedBudget::new(10, 100).unwrap());
        let stack = stack(&peer, policy(hedging()).budget(budget.clone()));
        let mut call = task::spawn(stack.clone().oneshot(get()));
        assert_pending!(call.poll());
        for _ in 0..millis / 10 {
            advance(ms(10)).await;
            assert_pending!(call.poll());
        }
        let sent = u64::try_from(peer.seen().len()).unwrap();
        assert_eq!(sent, if millis < 100 { 1 } else { 2 });
        drop(call);
        assert_eq!(peer.alive(), 0, "{millis}");
        assert_eq!(budget.millitokens(), 10_000 - (sent - 1) * 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loser_that_is_dropped_in_mid_body_leaves_nothing_and_spoils_no_byte() {
    // The hedge brings its head first, and no byte; then the attempt is answered.
    let peer = TimedPeer::playing([
        after(150).rest_after(200),
        after(10).byte_after(500).rest_after(500),
    ]);
    let stack = stack(&peer, policy(hedging()));
    let start = Instant::now();
    let response = stack.clone().oneshot(get()).await.unwrap();
    assert_eq!(start.elapsed(), ms(150));
    assert_eq!(peer.alive(), 1, "only the body that is being read");
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    assert_eq!(body.to_bytes(), ".");
    assert_eq!(start.elapsed(), ms(350));
    assert_eq!(peer.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_hedged_until_a_hundred_answers_have_come() {
    let peer = TimedPeer::new(|number| after(if number % 10 == 9 { 500 } else { 10 }));
    let hedging = Hedging::learned();
    let stack = stack(&peer, policy(hedging));
    for call in 0..100 {
        send(&stack, get()).await;
        assert_eq!(peer.seen().len(), call + 1);
    }
    // Less than 95 of 100 are fast, so the slow ones are usual.
    let mut calls = 100;
    while calls < 200 {
        send(&stack, get()).await;
        calls += 1;
    }
    assert_eq!(peer.seen().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_streaming_server_teaches_nothing_and_its_first_byte_does() {
    // Each head comes at once, and the first byte 200 ms later: by the heads each request would be
    // sent twice.
    let peer = TimedPeer::new(|_| after(1).byte_after(200));
    let stack = stack(&peer, policy(Hedging::learned()));
    for _ in 0..300 {
        let outcome = send(&stack, get()).await;
        assert_eq!(outcome.took, ms(201), "the head comes with the first byte");
    }
    assert_eq!(peer.seen().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_called_only_on_the_instance_that_was_ready() {
    // The peer panics otherwise; three hedges, one after the other.
    let peer = TimedPeer::playing([after(900), after(900), after(900), after(50)]);
    let mut stack = stack(&peer, policy(up_to(3)).max_attempts(4));
    let response = begin(&mut stack, get()).await.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(peer.sent_at(), [0, 100, 200, 300]);
    assert_eq!(peer.alive(), 1);
}
