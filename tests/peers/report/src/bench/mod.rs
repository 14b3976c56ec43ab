mod callgrind;
mod memcheck;
mod strace;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) use self::memcheck::Memory;
use crate::{
    Result,
    case::Case,
    peers::{Peer, Program},
    server::Server,
};

/// Where the binaries and their server are.
pub(crate) struct Bench {
    directory: PathBuf,
    port: String,
}

/// What a run says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) connections: f64,
    pub(crate) attempts: f64,
    pub(crate) faults: f64,
    /// In kB.
    pub(crate) peak_rss: f64,
    /// What all requests took of the processor, in nanoseconds.
    pub(crate) cpu: f64,
}

impl Bench {
    pub(crate) fn new(directory: PathBuf, server: &Server) -> Self {
        let port = server.port.to_string();
        Self { directory, port }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs it without a tool.
    pub(crate) fn told(&self, peer: Peer, case: &Case) -> Result<Told> {
        let (output, _) = self.run(&[], peer, case)?;
        Ok(Told {
            connections: number_after(&output, "connections ")?,
            attempts: number_after(&output, "attempts ")?,
            faults: number_after(&output, "faults ")?,
            peak_rss: number_after(&output, "peak-rss ")?,
            cpu: number_after(&output, "cpu-of-all ")?,
        })
    }

    /// Prints what requests cost where two threads share a session..
    pub(crate) fn threads(&self) -> Result<bool> {
        let program = self.directory.join("threads");
        let status = Command::new(program).arg(&self.port).status()?;
        Ok(status.success())
    }

    /// What one request takes of the processor, in nanoseconds, for a case in slices.
    pub(crate) fn cpu(&self, peer: Peer, case: &Case) -> Result<f64> {
        let (output, _) = self.run(&[], peer, case)?;
        number_after(&output, "cpu ")
    }

    /// Runs a peer, below a tool or not; returns what it wrote to its output and to its log.
    ///
    /// It may fail once: a run of all takes too long to lose it for that.
    fn run(&self, tool: &[&str], peer: Peer, case: &Case) -> Result<(String, String)> {
        self.run_once(tool, peer, case).or_else(|error| {
            eprintln!("once more, after {error}");
            self.run_once(tool, peer, case)
        })
    }

    fn run_once(&self, tool: &[&str], peer: Peer, case: &Case) -> Result<(String, String)> {
        let mut words: Vec<_> = tool.iter().map(PathBuf::from).collect();
        match peer.program {
            Program::Binary(name) => words.push(self.directory.join(name)),
            Program::Script(interpreter, file) => {
                words.push(interpreter.into());
                words.push(Path::new("tests/peers/foreign").join(file));
            }
        }
        let mut words = words.into_iter();
        let output = Command::new(words.next().ok_or("nothing is run")?)
            .args(words)
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
pub(crate) fn each(number: usize) -> f64 {
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
