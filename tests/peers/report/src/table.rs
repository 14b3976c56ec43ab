use std::fmt::{self, Display, Write};

/// A table in Markdown.
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Self {
        let text = format!(
            "| {} |\n|{}\n",
            heads.join(" | "),
            "---|".repeat(heads.len())
        );
        Self { text }
    }

    pub(crate) fn row(&mut self, name: &str, cells: &[String]) {
        // Nothing fails in writing to a string.
        let _ = writeln!(self.text, "| {name} | {} |", cells.join(" | "));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Digits {
    /// With commas between the thousands.
    Whole,
    One,
    Two,
    Three,
}

impl Digits {
    pub(crate) fn show(self, value: f64) -> String {
        // No negative zero.
        let half_of_the_last = match self {
            Self::Whole => 0.5,
            Self::One => 0.05,
            Self::Two => 0.005,
            Self::Three => 0.000_5,
        };
        let value = if value.abs() < half_of_the_last {
            0.0
        } else {
            value
        };
        match self {
            Self::Whole => whole(value),
            Self::One => format!("{value:.1}"),
            Self::Two => format!("{value:.2}"),
            Self::Three => format!("{value:.3}"),
        }
    }
}

fn whole(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    if value <= -0.5 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
