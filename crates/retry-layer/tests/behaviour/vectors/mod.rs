//! Runs the cases of `retry.json`, which were taken from specifications and from other libraries' tests.
//!
//! `case` reads the file. The other modules have a function for each kind of case: it builds what the input describes, and
//! compares what that does with what the case expects. What a case leaves out is null.

mod attempts;
mod backoffs;
mod budgets;
mod case;
mod decisions;
mod hedging;
mod hints;
mod resumed;
mod settings;

use serde_json::Value;

use self::case::NamedOnPanic;

/// Cases that describe what another library does and this one does not; the table of differences has the reasons.
const OTHER_CASES: &[(&str, &str)] = &[(
    "telemetry-02",
    "redirects are followed above this layer, and counted there",
)];

#[tokio::test(start_paused = true)]
async fn every_case_holds_or_is_named_as_another_part() {
    let mut run = 0;
    for case in case::all() {
        let (id, kind) = (case["id"].as_str().unwrap(), case["kind"].as_str().unwrap());
        if OTHER_CASES.iter().any(|(other, _)| *other == id) {
            continue;
        }
        let _named = NamedOnPanic(id);
        run_case(kind, &case).await;
        run += 1;
    }
    assert_eq!(run, 185, "cases that were run");
}

async fn run_case(kind: &str, case: &Value) {
    let (input, expect) = (&case["input"], &case["expect"]);
    match kind {
        // Both answers are right, so there is nothing to compare.
        "retry_after_parse" if case["acceptance"] == "either" => {}
        "retry_after_parse" => hints::retry_after(input, expect),
        "clock" => hints::clock(input, expect),
        "wait_header" => hints::wait(input, expect),
        "grpc_pushback" => hints::pushback(input, expect),
        "delay_combine" => hints::combined(case).await,
        "backoff_nojitter" => backoffs::without_jitter(input, expect),
        "jitter_bounds" => backoffs::bounds(input, expect),
        "jitter_fixed_rng" => backoffs::quantile(input, expect),
        "budget_project" => budgets::fixed(input, expect),
        "budget_grpc" => budgets::grpc(input, expect).await,
        "budget_aws" => budgets::aws(input, expect),
        "budget_finagle" => budgets::finagle(input, expect),
        "budget_concurrency" => budgets::concurrency(input, expect),
        "config_validation" => settings::refused(case),
        "max_attempts" => settings::max_attempts(input, expect),
        "attempt_header" => attempts::header(input, expect).await,
        "idempotency_key" => attempts::key(input, expect).await,
        "telemetry" => attempts::telemetry(input, expect).await,
        "decision" => decisions::decision(input, expect).await,
        "resume" => resumed::resume(input, expect).await,
        "hedging" => hedging::hedging(input, expect).await,
        other => panic!("no function runs cases of the kind {other}"),
    }
}
