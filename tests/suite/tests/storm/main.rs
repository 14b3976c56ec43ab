//! Many requests over a simulated network, in virtual time: a calm one, on which the limits hold as the servers
//! count, and one in a storm of restarts, partitions and held messages, on which nothing is lost or left behind.
//!
//! A binary of its own, since it keeps the processor busy for long: tests beside it that measure real time would fail.
//!
//! What is random follows from a seed, which is printed. The hour is not part of the usual run:
//!
//! ```text
//! cargo test --release -p test-suite --test storm -- --ignored --nocapture
//! STORM_SEED=7 STORM_MINUTES=10 cargo test --release -p test-suite --test storm -- --ignored --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

mod callers;
mod ledger;
mod network;
mod server;
mod weather;

use std::{env, time::Duration};

use self::{
    network::{Network, Report},
    weather::{Calm, Storm},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn on_a_calm_network_every_server_sees_the_limits_kept() {
    let report = Network::new(1).run(20 * SECOND, &mut Calm);
    assert!(report.answered() > 1_000, "{report}");
    // A server that goes may cross a request; it says so, or has closed an idle connection.
    let crossed = report.failed_by("refused") + report.failed_by("stale");
    assert_eq!(report.failed(), crossed, "{report}");
    assert!(report.reached_the_limits(), "{report}");
    assert!(report.longest_excess() <= network::NEWS, "{report}");
}

#[test]
fn in_a_storm_every_call_ends_in_time_and_nothing_is_left_behind() {
    for seed in 1..=2 {
        weathered(&Network::new(seed).run(20 * SECOND, &mut Storm::new(seed)));
    }
}

#[test]
#[ignore = "an hour of virtual time"]
fn an_hour_of_storm_leaves_nothing_behind() {
    let seed = number("STORM_SEED").unwrap_or_else(|| fastrand::u64(..));
    let minutes = number("STORM_MINUTES").unwrap_or(60);
    let minutes = u32::try_from(minutes).unwrap();
    let report = Network::new(seed).run(60 * minutes * SECOND, &mut Storm::new(seed));
    println!("{report}");
    weathered(&report);
}

/// The other promises are kept or broken on the way.
fn weathered(report: &Report) {
    assert!(report.answered() > 300, "{report}");
    assert!(report.failed() > 0, "it was no storm: {report}");
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap())
}
