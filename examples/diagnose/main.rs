//! Provokes each kind of error on loopback, and shows what there is to tell of it: the line, the chain of
//! causes, the kind, the report of the attempts, and the fields of the last attempt's span.
//!
//! `cargo run --example diagnose` shows all, `-- tls deadline` those whose kind or name has one of the
//! words in it.

mod cases;
mod peers;
mod spans;

use std::{collections::BTreeSet, process::ExitCode};

use client::{Error, ErrorKind};
use tracing_subscriber::layer::SubscriberExt as _;

use self::{cases::Case, spans::Spans};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    let seen = show(&wanted).await;
    let missing = missing(&seen);
    if wanted.is_empty() && !missing.is_empty() {
        eprintln!("not provoked: {missing:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs the cases one after the other; returns the kinds of their errors.
async fn show(wanted: &[String]) -> BTreeSet<&'static str> {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _here = tracing::subscriber::set_default(subscriber);
    let mut seen = BTreeSet::new();
    for Case { name, error } in cases::all() {
        let is_wanted = |kind: &str| {
            wanted.is_empty()
                || wanted
                    .iter()
                    .any(|it| name.contains(it) || kind.contains(it))
        };
        spans.clear();
        let error = error.await;
        seen.insert(error.kind().as_str());
        if is_wanted(error.kind().as_str()) {
            tell(name, &error, &spans);
        }
    }
    seen
}

fn tell(name: &str, error: &Error, spans: &Spans) {
    println!("{name}");
    println!("  line    {error}");
    println!("  chain   {error:#}");
    print!("  kind    {}", error.kind());
    if let Some(phase) = error.deadline_phase() {
        print!(", while: {phase:?}");
    }
    println!();
    if let Some(report) = error.retry_report() {
        println!("  report  {report}");
    }
    if let Some(fields) = spans.last() {
        println!("  span    {fields}");
    }
    println!();
}

fn missing(seen: &BTreeSet<&str>) -> Vec<&'static str> {
    let kinds = ErrorKind::ALL.iter().map(|kind| kind.as_str());
    kinds.filter(|kind| !seen.contains(kind)).collect()
}

#[cfg(test)]
#[tokio::test]
async fn each_kind_of_error_is_provoked() {
    let seen = show(&["nothing is shown".to_owned()]).await;
    assert_eq!(missing(&seen), Vec::<&str>::new());
}
