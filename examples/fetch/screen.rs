//! What the user sees: bars on a terminal, plain lines elsewhere. All of it goes to stderr, without
//! colours.

use std::{
    env,
    io::{IsTerminal as _, Write as _, stderr},
};

use client::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where bars and lines go. Clones share it.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    silent: bool,
}

impl Screen {
    pub(crate) fn new(silent: bool) -> Self {
        // Bars move the cursor, which a file, a pipe and a dumb terminal cannot.
        let draws =
            !silent && stderr().is_terminal() && env::var_os("TERM").is_none_or(|it| it != "dumb");
        let target = if draws {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            silent,
        }
    }

    /// Prints a line, also if it is silent.
    pub(crate) fn say(&self, line: &str) {
        self.bars.suspend(|| print_error(line));
    }

    /// Prints a line unless it is silent.
    pub(crate) fn note(&self, line: &str) {
        if !self.silent {
            self.say(line);
        }
    }

    /// Shows a bar for a file until it is dropped.
    pub(crate) fn bar(&self, name: &str) -> Bar {
        let bar = self.bars.add(ProgressBar::no_length());
        bar.set_style(style(
            "{prefix:22!} {binary_bytes:>11} {binary_bytes_per_sec:>13}",
        ));
        bar.set_prefix(name.to_owned());
        Bar { bar, begins: true }
    }
}

/// Prints a line to stderr. An error is ignored, since stderr may be closed.
pub(crate) fn print_error(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// The bar of one file.
pub(crate) struct Bar {
    bar: ProgressBar,
    begins: bool,
}

impl Bar {
    pub(crate) fn show(&mut self, progress: Progress) {
        if self.begins {
            self.begins = false;
            if let Some(total) = progress.total {
                self.bar.set_length(total);
                self.bar.set_style(style(
                    "{prefix:22!} {wide_bar} {binary_bytes:>11} {binary_bytes_per_sec:>13} {eta:>4}",
                ));
            }
            // What was there already says nothing of the speed.
            self.bar.set_position(progress.written);
            self.bar.reset_eta();
        }
        self.bar.set_position(progress.written);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    style.progress_chars("=> ")
}
