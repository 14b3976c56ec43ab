use std::{fmt::Write, fs, path::Path};

use crate::{
    Result,
    chart::{CHARTS, FIRST},
    figures::Figures,
    goals::goals,
    micro, missed,
    sections::SECTIONS,
    summary, verdict, weight,
};

const TITLE: &str = "\
# What a request costs, beside other clients

";

const MEASURED: &str = "\
## How it is measured

Written by `tests/peers/run full`, of the figures in `tests/peers/measured`. Every client asks the same server (hyper on
one thread, over loopback) in the same run, each from a binary of its own, on one thread, built with the same profile,
without TLS. The clients of this project have their default settings, with all limits, timeouts, the retry budget and
the deadline on; only the waits between attempts are as short as the other clients'.

- *Raw hyper* is its `SendRequest`, with connections that the caller keeps: the limit.
- *Instructions* are those of user space, counted by callgrind in the measured phase only; two runs differ by less
  than 1 %. They tell what a client adds, and not how long a request takes: the kernel's part is the larger one, and
  the same for all.
- *Allocations* and *bytes* are what malloc is asked for; a `realloc` counts as one of its whole size.
- *The client* is `Client::new()` as a tower service. With `send` and `fetch` a request is also built.
- *Microsoft's fetch* is the crate `fetch` over `fetch_hyper`, with the pipeline that it has by default: metrics,
  timeouts, retries, a circuit breaker, logging; its minimal pipeline has none of them. It is linked with rustls, which
  its part for tokio needs, and may speak without TLS by `insecure_allow_http`.
- Python's and Node's clients are no binaries whose instructions could be counted: only their time is compared.
";

const GOALS: &str = "\
Each figure is the one of the tables above; one that exceeds its goal is bold. What the report does not measure is not
judged.
";

const MICRO: &str = "What the retry layer adds to a service that is ready, beside `tower::retry`, by its bench \
                     `overhead`; and what one call of the budget takes, by its bench `budget`.";

const WEIGHT: &str = "The smallest program that sends a GET over HTTP/1 without TLS, stripped: the crates linked into it, its \
                      size, and how long it takes to build from nothing, on the same machine in turn.";

/// Writes the page and its charts.
pub(crate) fn write(figures: &Figures, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (file, text) in files(figures)? {
        fs::write(directory.join(file), text)?;
    }
    Ok(())
}

/// The files, each with its text: the page is `peers.md`.
fn files(figures: &Figures) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for chart in CHARTS.iter().chain([&FIRST]) {
        files.push((chart.file(), chart.svg(figures)));
    }
    files.push(("peers.md".to_owned(), page(figures)?));
    Ok(files)
}

/// What a user asks first, then how it was measured and all figures, then the goals.
fn page(figures: &Figures) -> Result<String> {
    let mut text = format!("{TITLE}{}\n{}", summary::lines(figures), FIRST.link());
    write!(text, "\n{MEASURED}")?;
    let mut parts: Vec<_> = SECTIONS
        .iter()
        .map(|section| (section.title, section.text, section.table(figures)))
        .collect();
    parts.push(("The retry layer", MICRO, micro::table(figures)));
    parts.push(("Weight", WEIGHT, weight::table(figures)));
    for (title, what, table) in parts {
        write!(text, "\n## {title}\n\n{what}\n\n{table}")?;
        for chart in CHARTS.iter().filter(|chart| chart.section == title) {
            write!(text, "\n{}", chart.link())?;
        }
    }
    let verdicts = goals(figures);
    write!(
        text,
        "\n## The goals\n\n{GOALS}\n{}",
        verdict::table(&verdicts)
    )?;
    write!(
        text,
        "\n## Where a goal is missed, and what it would take\n\n"
    )?;
    write!(text, "{}", missed::reasons(&verdicts))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{CHARTS, Figures, Result, SECTIONS, files};

    #[test]
    fn what_is_under_docs_is_what_was_measured_last() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let figures = Figures::read(&root.join(crate::full::MEASURED))?;
        for (file, text) in files(&figures)? {
            let kept = fs::read_to_string(root.join("docs").join(&file))?;
            assert!(kept == text, "{file} differs: `tests/peers/run page`");
        }
        Ok(())
    }

    #[test]
    fn every_chart_has_its_section() {
        for chart in CHARTS {
            assert!(
                SECTIONS
                    .iter()
                    .any(|section| section.title == chart.section)
            );
        }
    }
}
