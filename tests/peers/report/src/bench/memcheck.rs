use super::{Bench, each, number_after};
use crate::{Result, case::Case, peers::Peer};

/// Allocations, as malloc is asked for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) allocations: f64,
    pub(crate) bytes: f64,
    /// What was allocated when the process ended.
    pub(crate) live: f64,
}

impl Bench {
    /// What one request allocates: the difference between two runs, since memcheck counts whole
    /// ones.
    pub(crate) fn memory(
        &self,
        peer: Peer,
        few: &Case,
        many: &Case,
        between: usize,
    ) -> Result<Memory> {
        let (few, many) = (self.heap(peer, few)?, self.heap(peer, many)?);
        let each = each(between);
        Ok(Memory {
            allocations: (many.allocations - few.allocations) / each,
            bytes: (many.bytes - few.bytes) / each,
            live: (many.live - few.live) / each,
        })
    }

    /// The same, for a case whose runs differ by their number of requests.
    pub(crate) fn memory_of(&self, peer: Peer, case: &Case) -> Result<Memory> {
        let requests = case.requests;
        let many = case.clone().requests(2 * requests);
        self.memory(peer, case, &many, requests)
    }

    fn heap(&self, peer: Peer, case: &Case) -> Result<Memory> {
        let tool = [
            "valgrind",
            "--vgdb=no",
            "--tool=memcheck",
            "--leak-check=no",
            "--undef-value-errors=no",
        ];
        let (_, log) = self.run(&tool, peer, case)?;
        let usage = "total heap usage: ";
        let total = log
            .split_once(usage)
            .ok_or("memcheck tells no heap usage")?
            .1;
        Ok(Memory {
            allocations: number_after(&log, usage)?,
            bytes: number_after(total, "frees, ")?,
            live: number_after(&log, "in use at exit: ")?,
        })
    }
}
