//! Settings that contradict each other.

use std::fmt::Write as _;

use client::lint::{Finding, Severity};

use crate::{Exit, arguments::LintQuestion, policy};

pub(crate) fn run(question: &LintQuestion, text: &mut String) -> Result<Exit, String> {
    let config = policy::read(&question.policy)?;
    let findings = policy::builder(&config)?.lint(&question.surroundings);
    let is_allowed = |it: &&Finding| question.allowed.iter().any(|name| name == it.name());
    let (allowed, findings): (Vec<_>, Vec<_>) = findings.iter().partition(is_allowed);
    for finding in &findings {
        let severity = match finding.severity() {
            Severity::Contradiction => "contradiction",
            Severity::Risk => "risk",
        };
        let _ = writeln!(text, "{severity}: {finding} [{}]", finding.name());
    }
    let count = findings.len();
    let _ = writeln!(text, "{count} found, {} allowed", allowed.len());
    Ok(if findings.is_empty() {
        Exit::Fine
    } else {
        Exit::Exceeded
    })
}
