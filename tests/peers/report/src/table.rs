use std::fmt::Write;

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

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// `value` beside the value of bare hyper.
pub(crate) fn ratio(value: f64, of_raw: f64) -> String {
    format!("{:.3}", value / of_raw)
}

pub(crate) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digit.is_ascii_digit() && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text.replace("-,", "-")
}

pub(crate) fn tenths(value: f64) -> String {
    format!("{value:.1}")
}
