use std::collections::BTreeMap;

use super::{Bench, each};
use crate::{Result, case::Case, peers::Peer};

/// System calls by their names.
pub(crate) type Calls = BTreeMap<String, f64>;

impl Bench {
    /// System calls of one request: the difference between two runs.
    pub(crate) fn syscalls(&self, peer: Peer, case: &Case) -> Result<Calls> {
        let requests = case.requests;
        let few = self.all_syscalls(peer, case)?;
        let mut calls = self.all_syscalls(peer, &case.clone().requests(2 * requests))?;
        for (name, count) in &mut calls {
            *count = (*count - few.get(name).unwrap_or(&0.0)) / each(requests);
        }
        Ok(calls)
    }

    fn all_syscalls(&self, peer: Peer, case: &Case) -> Result<Calls> {
        let (_, log) = self.run(&["strace", "-f", "-c", "-U", "calls,name"], peer, case)?;
        let calls: Calls = log.lines().filter_map(call).collect();
        if calls.contains_key("total") {
            Ok(calls)
        } else {
            Err(format!("strace tells no total: {log}").into())
        }
    }
}

/// A line of its table: a number and a name.
fn call(line: &str) -> Option<(String, f64)> {
    let mut words = line.split_whitespace();
    let (count, name) = (words.next()?.parse().ok()?, words.next()?);
    Some((name.to_owned(), count))
}
