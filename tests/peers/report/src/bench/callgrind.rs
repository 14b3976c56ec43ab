use std::path::Path;

use super::{Bench, each, number_after};
use crate::{Result, case::Case, peers::Peer};

impl Bench {
    /// Instructions of user space for one request of the measured phase.
    pub(crate) fn instructions(&self, peer: Peer, case: &Case) -> Result<f64> {
        let log = self.callgrind(peer, case, Path::new("/dev/null"))?;
        Ok(number_after(&log, "Collected : ")? / each(case.requests))
    }

    /// Writes where they are spent, for `callgrind_annotate`; returns callgrind's summary.
    pub(crate) fn callgrind(&self, peer: Peer, case: &Case, output: &Path) -> Result<String> {
        let tool = [
            "valgrind",
            "--vgdb=no",
            "--tool=callgrind",
            "--collect-atstart=no",
            "--toggle-collect=harness::run::measured_phase*",
            &format!("--callgrind-out-file={}", output.display()),
        ];
        let (_, log) = self.run(&tool, peer, case)?;
        Ok(log)
    }
}
