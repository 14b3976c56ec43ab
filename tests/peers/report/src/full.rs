use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    Result,
    bench::Bench,
    chart::CHARTS,
    figures::Figures,
    micro,
    peers::{HYPER_UTIL, PEERS, Peer, RAW, REQWEST},
    section::Run,
    sections::SECTIONS,
    verdict, weight,
};

const INTRODUCTION: &str = "\
# What a request costs, beside other clients

Written by `tests/peers/run full`. Every client asks the same server (hyper on one thread, over loopback) in the same
run, each from a binary of its own, on one thread, built with the same profile, without TLS. The clients of this
project have their default settings, with all limits, timeouts, the retry budget and the deadline on; only the waits
between attempts are as short as the other clients'.

- *Raw hyper* is its `SendRequest`, with connections that the caller keeps: the limit.
- *Instructions* are those of user space, counted by callgrind in the measured phase only; two runs differ by less
  than 1 %. They tell what a client adds, and not how long a request takes: the kernel's part is the larger one, and
  the same for all.
- *Allocations* and *bytes* are what malloc is asked for; a `realloc` counts as one of its whole size.
- *The client* of the goals is `Client::new()` as a tower service. With `send` and `fetch` a request is also built.
";

/// Written by hand, from profiles.
const MISSED: &str = include_str!("missed.md");

const MICRO: &str = "What the retry layer adds to a service that is ready, beside `tower::retry`, by its bench \
                     `overhead`; and what one call of the budget takes, by its bench `budget`.";

const WEIGHT: &str = "The smallest program that sends a GET over HTTP/1 without TLS, stripped: the crates linked into it, its \
                      size, and how long it takes to build from nothing, on the same machine in turn.";

/// Measures everything, and writes it down under `docs`.
pub(crate) fn full(bench: &Bench) -> Result<bool> {
    let mut peers = Vec::new();
    for peer in PEERS {
        if peer.is_there() {
            peers.push(peer);
        } else {
            eprintln!("left out, for want of what it needs: {}", peer.name);
        }
    }
    let figures = measure(bench, peers, false)?;
    figures.write(&kept(bench))?;
    page(&figures, Path::new("docs"))?;
    println!("{}", verdict::table(&figures));
    Ok(true)
}

/// Measures one section again, beside what was measured last, and writes it all down.
pub(crate) fn section(bench: &Bench, title: &str) -> Result<bool> {
    let section = SECTIONS.iter().find(|section| section.title == title);
    let section = section.ok_or_else(|| format!("no section is called {title}"))?;
    let run = Run {
        bench,
        peers: PEERS.into_iter().filter(Peer::is_there).collect(),
        brief: false,
    };
    let mut figures = Figures::read(&kept(bench))?;
    (section.measure)(&run, &mut figures)?;
    figures.write(&kept(bench))?;
    page(&figures, Path::new("docs"))?;
    println!("{}", section.table(&figures));
    Ok(true)
}

/// Measures a tenth of everything, to see that it works; writes it beside the binaries.
pub(crate) fn brief(bench: &Bench) -> Result<bool> {
    let peers = PEERS.into_iter().filter(Peer::is_there).collect();
    let figures = measure(bench, peers, true)?;
    let directory = bench.directory().join("brief");
    page(&figures, &directory)?;
    println!("{}", verdict::table(&figures));
    println!("written: {}", directory.display());
    Ok(true)
}

/// Measures what the goals are about, and prints what came of them.
pub(crate) fn goals(bench: &Bench) -> Result<bool> {
    let needed =
        |peer: &Peer| peer.is_ours() || [RAW.id, HYPER_UTIL.id, REQWEST.id].contains(&peer.id);
    let peers = PEERS.into_iter().filter(needed).collect();
    let figures = measure(bench, peers, false)?;
    println!("{}", verdict::table(&figures));
    Ok(true)
}

/// Writes the page again, of what was measured last.
pub(crate) fn again(bench: &Bench) -> Result<bool> {
    page(&Figures::read(&kept(bench))?, Path::new("docs"))?;
    Ok(true)
}

fn kept(bench: &Bench) -> PathBuf {
    bench.directory().join("figures")
}

fn measure(bench: &Bench, peers: Vec<Peer>, brief: bool) -> Result<Figures> {
    let run = Run {
        bench,
        peers,
        brief,
    };
    let mut figures = Figures::default();
    let start = Instant::now();
    let tell = |title: &str| eprintln!("[{:4} s] {title}", start.elapsed().as_secs());
    for section in SECTIONS {
        tell(section.title);
        (section.measure)(&run, &mut figures)?;
    }
    tell("The retry layer");
    micro::measure(&mut figures)?;
    tell("Weight");
    weight::measure(bench.directory(), run.size(2), &mut figures)?;
    tell("done");
    Ok(figures)
}

/// Writes the tables and the charts.
fn page(figures: &Figures, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let mut text = INTRODUCTION.to_owned();
    write!(text, "\n## The goals\n\n{}", verdict::table(figures))?;
    for chart in CHARTS {
        let file = format!("peers-{}.svg", chart.name);
        fs::write(directory.join(&file), chart.svg(figures))?;
        write!(text, "\n![{}]({file})\n", chart.title)?;
    }
    write!(text, "\n{MISSED}")?;
    let mut parts: Vec<_> = SECTIONS
        .iter()
        .map(|section| (section.title, section.text, section.table(figures)))
        .collect();
    parts.push(("The retry layer", MICRO, micro::table(figures)));
    parts.push(("Weight", WEIGHT, weight::table(figures)));
    for (title, what, table) in parts {
        write!(text, "\n## {title}\n\n{what}\n\n{table}")?;
    }
    Ok(fs::write(directory.join("peers.md"), text)?)
}
