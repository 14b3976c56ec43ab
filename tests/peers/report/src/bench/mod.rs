use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Result, case::Case, peers::Peer, server::Server};

/// Where the binaries and their server are.
pub(crate) struct Bench {
    directory: PathBuf,
    port: String,
}

/// Allocations, as malloc is asked for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) allocations: f64,
    pub(crate) bytes: f64,
    /// What was allocated when the process ended.
    pub(crate) live: f64,
}

/// What a run says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) connections: f64,
    pub(crate) attempts: f64,
    /// In kB.
    pub(crate) peak_rss: f64,
}

impl Bench {
    pub(crate) fn new(directory: PathBuf, server: &Server) -> Self {
        let port = server.port.to_string();
        Self { directory, port }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Instructions of user space for one request of the measured phase.
    pub(crate) fn instructions(&self, peer: Peer, case: &Case) -> Result<f64> {
        let log = self.callgrind(peer, case, Path::new("/dev/null"))?;
        Ok(number_after(&log, "Collected : ")? / each(case.requests))
    }

    /// Writes where they are spent, for `callgrind_annotate`; returns callgrind's summary.
    pub(crate) fn callgrind(&self, peer: Peer, case: &Case, output: &Path) -> Result<String> {
        let tool = [
            "valgrind",
            "--tool=callgrind",
            "--collect-atstart=no",
            "--toggle-collect=harness::run::measured_phase*",
            &format!("--callgrind-out-file={}", output.display()),
        ];
        let (_, log) = self.run(&tool, peer, case)?;
        Ok(log)
    }

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

    fn heap(&self, peer: Peer, case: &Case) -> Result<Memory> {
        let tool = [
            "valgrind",
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

    /// System calls of one request: the difference between two runs.
    pub(crate) fn syscalls(&self, peer: Peer, case: &Case) -> Result<f64> {
        let few = self.all_syscalls(peer, &case.clone().requests(case.requests))?;
        let many = self.all_syscalls(peer, &case.clone().requests(2 * case.requests))?;
        Ok((many - few) / each(case.requests))
    }

    fn all_syscalls(&self, peer: Peer, case: &Case) -> Result<f64> {
        let (_, log) = self.run(&["strace", "-f", "-c", "-U", "calls,name"], peer, case)?;
        let total = log
            .lines()
            .rev()
            .find(|line| line.trim_end().ends_with("total"));
        let total = total.ok_or("strace tells no total")?;
        number_after(total, "")
    }

    /// Runs it without a tool.
    pub(crate) fn told(&self, peer: Peer, case: &Case) -> Result<Told> {
        let (output, _) = self.run(&[], peer, case)?;
        Ok(Told {
            connections: number_after(&output, "connections ")?,
            attempts: number_after(&output, "attempts ")?,
            peak_rss: number_after(&output, "peak-rss ")?,
        })
    }

    /// Runs a peer, below a tool or not; returns what it wrote to its output and to its log.
    fn run(&self, tool: &[&str], peer: Peer, case: &Case) -> Result<(String, String)> {
        let binary = self.directory.join(peer.binary);
        let mut command = match tool {
            [] => Command::new(binary),
            [name, options @ ..] => {
                let mut command = Command::new(name);
                command.args(options).arg(binary);
                command
            }
        };
        let output = command
            .args([peer.variant, case.protocol, &self.port])
            .args(case.arguments())
            .output()
            .map_err(|error| format!("{tool:?} {peer:?}: {error}"))?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(format!("{tool:?} {peer:?} {case:?}: {}\n{log}", output.status).into());
        }
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), log))
    }
}

/// A number as a divisor.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn each(number: usize) -> f64 {
    number as f64
}

/// The number that follows, which may have commas between its digits.
fn number_after(text: &str, label: &str) -> Result<f64> {
    let missing = || format!("no {label:?} in {text}");
    let (_, rest) = text.split_once(label).ok_or_else(missing)?;
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(|it| it.is_ascii_digit() || *it == ',')
        .filter(char::is_ascii_digit)
        .collect();
    Ok(digits.parse().map_err(|_| missing())?)
}
