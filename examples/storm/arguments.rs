//! The command line.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use client::lint::Surroundings;
use http::StatusCode;
use lexopt::{Arg, Parser, ValueExt as _};
use overload::{Storm, Trouble};

use crate::scenarios;

pub(crate) const HELP: &str = "\
Simulates a fleet of clients and a server in overload, through the real client.

Usage: storm                          compare policies and budgets
       storm --plots DIR              the same, as DIR/storm.md and plots
       storm --policy FILE [OPTIONS]  a fleet with this configuration
       storm lint FILE [OPTIONS]      settings that contradict each other

  --clients N            clients of the fleet (100)
  --rate N               calls per second of each client (8)
  --capacity N           answers per second of the server (1.25 x the calls)
  --remaining PERCENT    what is left of it in the trouble (30)
  --trouble SECONDS      how long that lasts (10)
  --shedding             the server refuses what would wait for over 0.5 s
  --patience SECONDS     how long an attempt waits (the file's head timeout)
  --seed N               another sequence of chances (0)
  --max-amplification X  fail above X requests for each call (worst second)
  --max-recovery SECONDS fail if it recovers later, or never
  --peer-keep-alive S    lint: the server closes idle connections after S
  --also-retries N       lint: others too make N attempts of each request
  --allow NAME           lint: a finding that is accepted

Exit status: 0 fine, 1 a limit exceeded or a finding, 2 usage.
";

pub(crate) enum Command {
    Help,
    Compare,
    /// Writes the page and its plots into this folder.
    Plots(PathBuf),
    Calculate(Box<Question>),
    Lint(Box<LintQuestion>),
}

/// A fleet with one configuration.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) policy: PathBuf,
    pub(crate) storm: Storm,
    pub(crate) patience: Option<Duration>,
    pub(crate) max_amplification: Option<f64>,
    pub(crate) max_recovery: Option<usize>,
}

/// A configuration that is to be checked.
#[derive(Debug)]
pub(crate) struct LintQuestion {
    pub(crate) policy: PathBuf,
    pub(crate) surroundings: Surroundings,
    pub(crate) allowed: Vec<String>,
}

#[derive(Default)]
struct Given {
    plots: Option<PathBuf>,
    policy: Option<PathBuf>,
    lint: Option<PathBuf>,
    is_lint: bool,
    clients: Option<u32>,
    rate: Option<f64>,
    capacity: Option<f64>,
    remaining: Option<u8>,
    trouble: Option<Duration>,
    sheds: bool,
    patience: Option<Duration>,
    seed: u64,
    max_amplification: Option<f64>,
    max_recovery: Option<usize>,
    surroundings: Surroundings,
    allowed: Vec<String>,
}

impl Command {
    /// Reads a command line, the name of the program first.
    pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut parser = Parser::from_iter(line);
        let given = Given::read(&mut parser).map_err(|error| error.to_string())?;
        match given {
            Some(given) => given.command(),
            None => Ok(Self::Help),
        }
    }
}

impl Given {
    /// `None` if help is asked for.
    fn read(parser: &mut Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut given = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Long("plots") => given.plots = Some(parser.value()?.into()),
                Arg::Long("policy") => given.policy = Some(parser.value()?.into()),
                Arg::Long("clients") => {
                    given.clients = Some(parser.value()?.parse_with(at_least_one)?);
                }
                Arg::Long("rate") => given.rate = Some(parser.value()?.parse_with(positive)?),
                Arg::Long("capacity") => {
                    given.capacity = Some(parser.value()?.parse_with(positive)?);
                }
                Arg::Long("remaining") => {
                    given.remaining = Some(parser.value()?.parse_with(percent)?);
                }
                Arg::Long("trouble") => given.trouble = Some(parser.value()?.parse_with(seconds)?),
                Arg::Long("shedding") => given.sheds = true,
                Arg::Long("patience") => {
                    given.patience = Some(parser.value()?.parse_with(seconds)?);
                }
                Arg::Long("seed") => given.seed = parser.value()?.parse()?,
                Arg::Long("max-amplification") => {
                    given.max_amplification = Some(parser.value()?.parse_with(positive)?);
                }
                Arg::Long("max-recovery") => given.max_recovery = Some(parser.value()?.parse()?),
                Arg::Long("peer-keep-alive") => {
                    let time = parser.value()?.parse_with(seconds)?;
                    given.surroundings = given.surroundings.peer_keep_alive(time);
                }
                Arg::Long("also-retries") => {
                    let attempts = parser.value()?.parse_with(at_least_one)?;
                    given.surroundings = given.surroundings.attempts_elsewhere(attempts);
                }
                Arg::Long("allow") => given.allowed.push(parser.value()?.string()?),
                Arg::Value(word) if !given.is_lint && word == "lint" => given.is_lint = true,
                Arg::Value(file) if given.is_lint && given.lint.is_none() => {
                    given.lint = Some(file.into());
                }
                Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(argument.unexpected()),
            }
        }
        Ok(Some(given))
    }

    fn command(self) -> Result<Command, String> {
        if self.is_lint {
            let policy = self.lint.ok_or("lint needs a file")?;
            let mut surroundings = self.surroundings;
            // A rate that no duration can express is no call in all.
            if let Some(rate) = self.rate {
                let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
                surroundings = surroundings.call_interval(interval);
            }
            return Ok(Command::Lint(Box::new(LintQuestion {
                policy,
                surroundings,
                allowed: self.allowed,
            })));
        }
        if let Some(folder) = self.plots {
            return Ok(Command::Plots(folder));
        }
        let storm = self.storm();
        let Some(policy) = self.policy else {
            if self.max_amplification.is_some() || self.max_recovery.is_some() {
                return Err("a limit needs a `--policy` that is held to it".to_owned());
            }
            return Ok(Command::Compare);
        };
        Ok(Command::Calculate(Box::new(Question {
            policy,
            storm,
            patience: self.patience,
            max_amplification: self.max_amplification,
            max_recovery: self.max_recovery,
        })))
    }

    fn storm(&self) -> Storm {
        let mut storm = Storm {
            seed: self.seed,
            ..Storm::default()
        };
        storm.clients = self.clients.unwrap_or(storm.clients);
        storm.rate = self.rate.unwrap_or(storm.rate);
        storm.lasts = self.trouble.unwrap_or(storm.lasts);
        let usual = 1.25 * storm.calls_per_second();
        storm.capacity = self.capacity.unwrap_or(usual);
        let percent = self.remaining.unwrap_or(30);
        storm.trouble = if self.sheds {
            scenarios::shedding_by(StatusCode::SERVICE_UNAVAILABLE, percent)
        } else {
            Trouble::Slow { percent }
        };
        storm
    }
}

fn at_least_one(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("it is at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && number > 0.0 => Ok(number),
        Ok(_) => Err("it is more than 0".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn percent(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(number @ 1..=100) => Ok(number),
        Ok(_) | Err(_) => Err("it is from 1 to 100".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = positive(text)?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let line = ["storm"].into_iter().chain(line.split_whitespace());
        Command::parse(line.map(OsString::from))
    }

    #[test]
    fn the_help_fits_one_screen() {
        assert!(HELP.lines().count() <= 24);
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn the_server_is_used_to_four_fifths_unless_its_capacity_is_given() {
        let storm = |line| match parse(line) {
            Ok(Command::Calculate(question)) => question.storm,
            _ => panic!("it is a valid line"),
        };
        let usual = storm("--policy x --clients 500 --rate 20");
        assert!((usual.capacity - 12_500.0).abs() < 1e-9);
        let own = storm("--policy x --capacity 99 --remaining 50");
        assert!((own.capacity - 99.0).abs() < 1e-9);
        assert_eq!(own.trouble, Trouble::Slow { percent: 50 });
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            "--clients 0 --policy x",
            "--rate -1 --policy x",
            "--rate NaN --policy x",
            "--remaining 0 --policy x",
            "--trouble 0 --policy x",
            "--max-amplification 2",
            "lint",
            "lint a b",
            "plots",
            "--unknown",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
