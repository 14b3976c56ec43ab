//! The comparison as tables, and as the page with its plots.

use std::{fmt::Write as _, fs, path::Path};

use overload::Figures;

use crate::{
    chart,
    scenarios::{self, Compared},
};

/// The page, with a place for each table.
const PAGE: &str = include_str!("page.md");

/// Writes the page and its plots into a folder.
pub(crate) fn write(folder: &Path) -> Result<(), String> {
    let compared = scenarios::compare();
    let plots = folder.join("storm");
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&plots).map_err(failed)?;
    let slow: fn(&Compared) -> &Figures = |it| &it.slow;
    for (name, title, figures) in [
        ("slow", "A server that queues what it cannot answer", slow),
        (
            "shedding",
            "A server that refuses what it cannot answer soon",
            |it| &it.shedding,
        ),
        (
            "throttling",
            "A server that refuses by 429 what it cannot answer soon",
            |it| &it.throttling,
        ),
    ] {
        let panels = compared.iter().map(|it| (it.variant.name, figures(it)));
        let panels: Vec<_> = panels.collect();
        let file = plots.join(format!("{name}.svg"));
        fs::write(file, chart::svg(title, &panels)).map_err(failed)?;
    }
    let page = PAGE
        .replace("{{variants}}\n", &variants(&compared))
        .replace("{{slow}}\n", &table(&compared, |it| &it.slow))
        .replace("{{shedding}}\n", &table(&compared, |it| &it.shedding))
        .replace("{{throttling}}\n", &table(&compared, |it| &it.throttling))
        .replace("{{blip}}\n", &blips(&compared));
    fs::write(folder.join("storm.md"), page).map_err(failed)
}

/// All tables, for a terminal.
pub(crate) fn tables(compared: &[Compared]) -> String {
    format!(
        "A server that queues what it cannot answer:\n\n{}\n\
         A server that refuses what it cannot answer soon:\n\n{}\n\
         The same by 429:\n\n{}\n\
         A server that refuses all for 100 ms:\n\n{}",
        table(compared, |it| &it.slow),
        table(compared, |it| &it.shedding),
        table(compared, |it| &it.throttling),
        blips(compared)
    )
}

fn variants(compared: &[Compared]) -> String {
    let mut text = String::from("| name | what it does |\n|---|---|\n");
    for it in compared {
        let _ = writeln!(text, "| {} | {} |", it.variant.name, it.variant.what);
    }
    text
}

fn table(compared: &[Compared], figures: impl Fn(&Compared) -> &Figures) -> String {
    let mut text = String::from(
        "| client | requests for each call, at worst | burst | lost in the trouble | lost in all | recovers after |\n\
         |---|---|---|---|---|---|\n",
    );
    for it in compared {
        let figures = figures(it);
        let recovery = figures
            .recovery()
            .map_or_else(|| "never".to_owned(), |seconds| format!("{seconds} s"));
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.1} % | {:.1} % | {recovery} |",
            it.variant.name,
            figures.amplification(),
            figures.burst(),
            100.0 * figures.lost_in_trouble(),
            100.0 * figures.lost(),
        );
    }
    text
}

fn blips(compared: &[Compared]) -> String {
    let mut text = String::from("| client | lost of the calls in it |\n|---|---|\n");
    for it in compared {
        let _ = writeln!(text, "| {} | {:.1} % |", it.variant.name, 100.0 * it.blip);
    }
    text
}
