//! What a fleet of clients does to a server in overload, through the real client, on virtual time.
//!
//! - `cargo run --release --example storm` compares retry policies and budgets, this project's and others'.
//! - `storm --clients 500 --rate 20 --policy my.toml` calculates what a fleet with your configuration does: how large its bursts
//!   are, how many requests the server gets for each call, and when it recovers. With `--max-amplification 1.6` the exit status is
//!   not 0 if that is exceeded, so that CI can check it.
//! - `storm lint my.toml` names settings that contradict each other.
//!
//! `storm --help` shows all options.

mod arguments;
mod calculator;
mod chart;
mod lint;
mod page;
mod policy;
mod scenarios;
mod variants;

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use self::arguments::{Command, HELP};

/// How the program ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Exit {
    Fine = 0,
    /// A limit was exceeded, or settings contradict each other.
    Exceeded = 1,
    /// The command line or a file is not valid.
    Usage = 2,
}

fn main() -> ExitCode {
    let mut text = String::new();
    let exit = program(env::args_os(), &mut text);
    // A reader that takes only a part of it is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(exit as u8)
}

/// Does what the command line says, and writes into the text what is to be printed.
fn program(line: impl IntoIterator<Item = OsString>, text: &mut String) -> Exit {
    let done = match Command::parse(line) {
        Ok(Command::Help) => {
            text.push_str(HELP);
            Ok(Exit::Fine)
        }
        Ok(Command::Compare) => {
            text.push_str(&page::tables(&scenarios::compare()));
            Ok(Exit::Fine)
        }
        Ok(Command::Plots(folder)) => page::write(&folder).map(|()| Exit::Fine),
        Ok(Command::Calculate(question)) => calculator::run(&question, text),
        Ok(Command::Lint(question)) => lint::run(&question, text),
        Err(why) => Err(format!("{why}\nsee `storm --help`")),
    };
    done.unwrap_or_else(|why| {
        text.push_str("storm: ");
        text.push_str(&why);
        text.push('\n');
        Exit::Usage
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// A file that is gone when the test is over.
    struct Policy(PathBuf);

    impl Policy {
        fn new(name: &str, text: &str) -> Self {
            let name = format!("storm-{}-{name}.toml", std::process::id());
            let path = env::temp_dir().join(name);
            fs::write(&path, text).expect("the temporary directory can be written to");
            Self(path)
        }
    }

    impl Drop for Policy {
        fn drop(&mut self) {
            fs::remove_file(&self.0).ok();
        }
    }

    fn run(line: &str) -> (Exit, String) {
        let mut text = String::new();
        let line = line.split_whitespace().map(OsString::from);
        let exit = program(line, &mut text);
        (exit, text)
    }

    const SMALL: &str = "--clients 20 --patience 1";

    #[test]
    fn a_fleet_without_a_budget_is_above_the_limit_and_never_recovers() {
        let policy = Policy::new("naive", "retry = { budget = \"none\" }");
        let file = policy.0.display();
        let limits = "--max-amplification 2 --max-recovery 30";
        let (exit, text) = run(&format!("storm --policy {file} {SMALL} {limits}"));
        assert_eq!(exit, Exit::Exceeded, "{text}");
        assert!(text.contains("recovery       never"), "{text}");
        assert!(text.contains("the amplification is more than 2"), "{text}");
        assert!(text.contains("does not recover within 30s"), "{text}");
        // Without a limit it is only told.
        let (exit, _) = run(&format!("storm --policy {file} {SMALL}"));
        assert_eq!(exit, Exit::Fine);
    }

    #[test]
    fn the_same_seed_has_the_same_figures_and_another_one_others() {
        let policy = Policy::new("default", "");
        let of = |seed| {
            let file = policy.0.display();
            run(&format!("storm --policy {file} {SMALL} --seed {seed}"))
        };
        let (exit, text) = of(1);
        assert_eq!(exit, Exit::Fine, "{text}");
        assert_eq!(of(1).1, text);
        assert_ne!(of(2).1, text);
    }

    #[test]
    fn an_attempt_waits_for_as_long_as_its_configuration_says() {
        let policy = Policy::new("patience", "timeouts = { head = \"250ms\" }");
        let line = format!("storm --policy {} --clients 2", policy.0.display());
        let (_, text) = run(&line);
        assert!(text.contains("an attempt waits for 250ms"), "{text}");
    }

    #[test]
    fn lint_fails_unless_each_finding_is_allowed() {
        let policy = Policy::new("lint", "pool = { idle_timeout = \"75s\" }");
        let line = format!(
            "storm lint {} --peer-keep-alive 75 --also-retries 3",
            policy.0.display()
        );
        let (exit, text) = run(&line);
        assert_eq!(exit, Exit::Exceeded);
        assert!(
            text.starts_with("contradiction: the idle timeout (75s)"),
            "{text}"
        );
        assert!(
            text.contains("one call may become 9 requests [nested-retries]"),
            "{text}"
        );
        let allowed = format!("{line} --allow nested-retries --allow idle-outlasts-peer");
        assert_eq!(
            run(&allowed),
            (Exit::Fine, "0 found, 2 allowed\n".to_owned())
        );
    }

    #[test]
    fn a_file_that_is_not_valid_is_named() {
        let policy = Policy::new("wrong", "retries = 3");
        let (exit, text) = run(&format!("storm lint {}", policy.0.display()));
        assert_eq!(exit, Exit::Usage);
        assert!(text.contains("unknown field `retries`"), "{text}");
    }
}
