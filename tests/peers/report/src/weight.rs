use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    Result,
    bench::each,
    figures::Figures,
    table::{Digits, Table},
};

/// What its figures are kept under.
pub(crate) const CASE: &str = "weight";

/// The smallest programs that send a GET over HTTP/1 without TLS: the package, which is its id too,
/// and what it is made of.
const PROGRAMS: [(&str, &str); 2] = [
    ("weight-ours", "session + retry"),
    ("weight-hyper-util", "hyper-util"),
];

const MANIFEST: &str = "tests/peers/Cargo.toml";

/// Builds each program from nothing, in turn, and keeps the least.
pub(crate) fn measure(directory: &Path, rounds: usize, figures: &mut Figures) -> Result<()> {
    let target = directory.join("weight");
    for _ in 0..rounds {
        for (package, _) in PROGRAMS {
            if target.exists() {
                fs::remove_dir_all(&target)?;
            }
            let (start, used) = (Instant::now(), children()?);
            build(package, &target)?;
            figures.lower(CASE, package, "seconds", start.elapsed().as_secs_f64());
            figures.lower(CASE, package, "cpu", children()? - used);
            let size = fs::metadata(target.join("release").join(package))?.len();
            figures.set(CASE, package, "size", each(usize::try_from(size)?));
        }
    }
    for (package, _) in PROGRAMS {
        figures.set(CASE, package, "crates", each(crates(package)?));
    }
    Ok(fs::remove_dir_all(&target)?)
}

pub(crate) fn table(figures: &Figures) -> Table {
    let heads = ["", "crates", "bytes", "seconds", "seconds of the processor"];
    let mut table = Table::new(&heads);
    for (package, name) in PROGRAMS {
        let cells = [
            ("crates", Digits::Whole),
            ("size", Digits::Whole),
            ("seconds", Digits::One),
            ("cpu", Digits::One),
        ]
        .map(|(quantity, digits)| {
            let value = figures.get(CASE, package, quantity);
            value.map_or_else(|| "–".to_owned(), |value| digits.show(value))
        });
        table.row(name, &cells);
    }
    table
}

fn build(package: &str, target: &Path) -> Result<()> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--release"])
        .args(["--manifest-path", MANIFEST, "--package", package])
        .args(["--config", "profile.release.debug=false"])
        .args(["--config", "profile.release.strip=true"])
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{package} was not built").into())
    }
}

/// How many crates are linked into a program, itself not counted.
fn crates(package: &str) -> Result<usize> {
    let output = Command::new("cargo")
        .args([
            "tree",
            "--locked",
            "--manifest-path",
            MANIFEST,
            "--package",
            package,
        ])
        .args([
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .stderr(Stdio::inherit())
        .output()?;
    let tree = String::from_utf8(output.stdout)?;
    let names: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty())
        .collect();
    Ok(names.len().saturating_sub(1))
}

/// The time of the processor that all children have used which were waited for, in seconds.
fn children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let ticks: Vec<_> = fields.split_whitespace().skip(13).take(2).collect();
    let sum: f64 = ticks.iter().map(|it| it.parse().unwrap_or(0.0)).sum();
    Ok(sum / 100.0)
}
