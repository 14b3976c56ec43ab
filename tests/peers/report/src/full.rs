use std::{path::Path, time::Instant};

use crate::{
    Result,
    bench::Bench,
    figures::Figures,
    goals, micro, page,
    peers::{HYPER_UTIL, PEERS, Peer, RAW, REQWEST},
    section::Run,
    sections::SECTIONS,
    verdict, weight,
};

/// What was measured last: each figure with its case, client and quantity.
pub(crate) const MEASURED: &str = "tests/peers/measured";

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
    keep(&figures)?;
    println!("{}", verdict::table(&goals::goals(&figures)));
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
    let mut figures = Figures::read(Path::new(MEASURED))?;
    (section.measure)(&run, &mut figures)?;
    keep(&figures)?;
    println!("{}", section.table(&figures));
    Ok(true)
}

/// Measures a tenth of everything, to see that it works; writes it beside the binaries.
pub(crate) fn brief(bench: &Bench) -> Result<bool> {
    let peers = PEERS.into_iter().filter(Peer::is_there).collect();
    let figures = measure(bench, peers, true)?;
    let directory = bench.directory().join("brief");
    page::write(&figures, &directory)?;
    println!("{}", verdict::table(&goals::goals(&figures)));
    println!("written: {}", directory.display());
    Ok(true)
}

/// Measures what the goals are about, and prints what came of them.
pub(crate) fn goals(bench: &Bench) -> Result<bool> {
    let needed =
        |peer: &Peer| peer.is_ours() || [RAW.id, HYPER_UTIL.id, REQWEST.id].contains(&peer.id);
    let peers = PEERS.into_iter().filter(needed).collect();
    let figures = measure(bench, peers, false)?;
    println!("{}", verdict::table(&goals::goals(&figures)));
    Ok(true)
}

/// Writes the page again, of what was measured last.
pub(crate) fn again() -> Result<()> {
    page::write(&Figures::read(Path::new(MEASURED))?, Path::new("docs"))
}

/// Writes it all down: the figures, and the page.
fn keep(figures: &Figures) -> Result<()> {
    figures.write(Path::new(MEASURED))?;
    page::write(figures, Path::new("docs"))
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
