use std::process::Command;

use crate::{
    Result,
    figures::Figures,
    table::{Digits, Table},
};

/// What its figures are kept under, beside the titles of the benches.
const CASE: &str = "micro";

/// Runs the benches of the retry layer that a goal is about.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    for line in bench("overhead", &[])?.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", title, instructions, allocations, ""] = cells[..] else {
            continue;
        };
        if let (Ok(instructions), Ok(allocations)) = (instructions.parse(), allocations.parse()) {
            figures.set(CASE, title, "instructions", instructions);
            figures.set(CASE, title, "allocations", allocations);
        }
    }
    let output = bench(
        "budget",
        &["deposit", "--warm-up-time=1", "--measurement-time=2"],
    )?;
    for (title, nanoseconds) in criterion(&output) {
        figures.set(CASE, title, "ns", nanoseconds);
    }
    Ok(())
}

pub(crate) fn table(figures: &Figures) -> Table {
    let mut table = Table::new(&["", "instructions", "allocations", "ns"]);
    for title in figures.ids(CASE) {
        let cells = ["instructions", "allocations", "ns"].map(|quantity| {
            let digits = if quantity == "ns" {
                Digits::Two
            } else {
                Digits::Whole
            };
            let value = figures.get(CASE, title, quantity);
            value.map_or_else(|| "–".to_owned(), |value| digits.show(value))
        });
        table.row(title, &cells);
    }
    table
}

fn bench(name: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new("cargo")
        .args([
            "bench",
            "--locked",
            "--package",
            "retry-layer",
            "--bench",
            name,
            "--",
        ])
        .args(arguments)
        .output()?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the bench {name}: {}\n{log}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What criterion tells, `TITLE  time:  [1.0 ns 1.1 ns 1.2 ns]`: the titles, and the estimates in
/// nanoseconds. A long title has a line of its own.
fn criterion(output: &str) -> Vec<(&str, f64)> {
    let mut above = "";
    let mut all = Vec::new();
    for line in output.lines() {
        if let Some((title, times)) = line.split_once("time:") {
            let title = match title.trim() {
                "" => above,
                title => title,
            };
            all.extend(middle(times).map(|nanoseconds| (title, nanoseconds)));
        }
        above = line.trim();
    }
    all
}

/// The second of three times.
fn middle(times: &str) -> Option<f64> {
    let words: Vec<_> = times
        .split(['[', ']', ' '])
        .filter(|word| !word.is_empty())
        .collect();
    let [_, _, time, unit, ..] = words[..] else {
        return None;
    };
    let scale = match unit {
        "ps" => 1e-3,
        "ns" => 1.0,
        "µs" => 1e3,
        _ => return None,
    };
    Some(time.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::criterion;

    #[test]
    fn the_estimate_is_the_time_in_the_middle_and_its_title_may_stand_above() {
        let output = "Benchmarking short\nshort   time:   [980.10 ps 1.5 ns 2.0 ns]\n\n\
                      a long one\n        time:   [1.0 µs 2.0 µs 3.0 µs]\n";
        assert_eq!(criterion(output), [("short", 1.5), ("a long one", 2000.0)]);
    }
}
