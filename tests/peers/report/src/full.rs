use std::fs;

use crate::{
    Result,
    case::Case,
    measure::Bench,
    peers::{PEERS, Peer, RAW},
    quick,
    table::{Table, ratio, tenths, whole},
};

/// Where the tables go.
const WRITTEN: &str = "docs/peers.md";

const INTRODUCTION: &str = "\
# What a request costs, beside other clients

Written by `tests/peers/run full`. Every client asks the same server (hyper on one thread, over loopback) in the same
run, each from a binary of its own, on one thread, built with the same profile, without TLS. The clients of this
project have their default settings, with all limits, timeouts, the retry budget and the deadline on.

- *Instructions* are those of user space, counted by callgrind in the measured phase only; two runs differ by less
  than 1 %, but for the download. They tell what a client adds, and not how long a request takes: the kernel's part is the larger one, and
  the same for all.
- *× raw* is the ratio to hyper's `SendRequest`, with connections that the caller keeps: the limit.
- *Allocations* and *bytes* are what malloc is asked for, counted by memcheck; a `realloc` counts as one of its whole
  size.
";

/// A case whose only figures are instructions: its title, what it is, and its plan.
type Simple = (&'static str, &'static str, fn() -> Case);

const SIMPLE: [Simple; 4] = [
    (
        "100 hosts",
        "GETs to 100 hosts in turn, each with an open connection.",
        || Case::hosts(100),
    ),
    (
        "10,000 hosts",
        "GETs to 10,000 hosts in turn, each with an open connection.",
        || Case::hosts(10_000),
    ),
    ("Upload", "POSTs of 1 MiB that is in memory.", Case::upload),
    (
        "Download",
        "A GET of 100 MiB, whose body is read and thrown away. How much comes with one read is up to \
         the scheduler: between runs the instructions of one client differ threefold, and only \
         the memory can be compared.",
        Case::download,
    ),
];

/// Measures everything, and writes it down.
pub(crate) fn report(bench: &Bench) -> Result<bool> {
    let mut text = INTRODUCTION.to_owned();
    let mut section = |title: &str, what: &str, table: Table| {
        let part = format!("\n## {title}\n\n{what}\n\n{}", table.into_text());
        println!("{part}");
        text.push_str(&part);
    };
    section(
        "HTTP/1",
        "GETs of 13 bytes, one after the other on one connection.",
        get(bench, "h1")?,
    );
    section(
        "HTTP/2",
        "GETs of 13 bytes, 16 at a time on one connection.",
        get(bench, "h2")?,
    );
    section(
        "New connections",
        "The first GET to each of 500 hosts.",
        cold(bench)?,
    );
    section(
        "Idle connections",
        "What 1,000 connections to 1,000 hosts hold in memory, each after one GET, in bytes of one.",
        idle(bench)?,
    );
    for (title, what, case) in SIMPLE {
        section(title, what, simple(bench, &case())?);
    }
    section(
        "Failures",
        "GETs of which one in ten is answered by 503 at first, with a body of 13 bytes or of 200 kB. Beside the same \
         client's instructions without failures; 1.111 is arithmetic.",
        flaky(bench)?,
    );
    fs::create_dir_all("docs")?;
    fs::write(WRITTEN, text)?;
    Ok(true)
}

fn get(bench: &Bench, protocol: &'static str) -> Result<Table> {
    let heads = [
        "",
        "instructions",
        "× raw",
        "allocations",
        "bytes",
        "system calls",
    ];
    let mut table = Table::new(&heads);
    let raw = quick::cost(bench, RAW, protocol)?;
    for peer in PEERS {
        let cost = if peer.binary == RAW.binary {
            raw
        } else {
            quick::cost(bench, peer, protocol)?
        };
        table.row(
            peer.name,
            &[
                whole(cost.instructions),
                ratio(cost.instructions, raw.instructions),
                tenths(cost.memory.allocations),
                whole(cost.memory.bytes),
                tenths(bench.syscalls(peer, &Case::get(protocol))?),
            ],
        );
    }
    Ok(table)
}

fn cold(bench: &Bench) -> Result<Table> {
    let mut table = Table::new(&["", "instructions", "× raw", "allocations", "bytes"]);
    let (few, many) = (100, 600);
    let mut raw = None;
    for peer in PEERS {
        let instructions = bench.instructions(peer, &Case::cold(500))?;
        let raw = *raw.get_or_insert(instructions);
        let memory = bench.memory(peer, &Case::cold(few), &Case::cold(many), many - few)?;
        table.row(
            peer.name,
            &[
                whole(instructions),
                ratio(instructions, raw),
                tenths(memory.allocations),
                whole(memory.bytes),
            ],
        );
    }
    Ok(table)
}

fn idle(bench: &Bench) -> Result<Table> {
    let mut table = Table::new(&["", "HTTP/1", "over raw", "HTTP/2", "over raw"]);
    let (few, many) = (100, 1_100);
    let held = |peer: Peer, protocol| {
        let (few_case, many_case) = (Case::idle(protocol, few), Case::idle(protocol, many));
        let memory = bench.memory(peer, &few_case, &many_case, many - few)?;
        Result::Ok(memory.live)
    };
    let (raw_h1, raw_h2) = (held(RAW, "h1")?, held(RAW, "h2")?);
    for peer in PEERS {
        let (h1, h2) = (held(peer, "h1")?, held(peer, "h2")?);
        table.row(
            peer.name,
            &[whole(h1), whole(h1 - raw_h1), whole(h2), whole(h2 - raw_h2)],
        );
    }
    Ok(table)
}

fn simple(bench: &Bench, case: &Case) -> Result<Table> {
    let mut table = Table::new(&["", "instructions", "× raw", "peak memory, kB"]);
    let mut raw = None;
    for peer in PEERS.into_iter().filter(|peer| peer.streams) {
        let instructions = bench.instructions(peer, case)?;
        let raw = *raw.get_or_insert(instructions);
        let told = bench.told(peer, case)?;
        table.row(
            peer.name,
            &[
                whole(instructions),
                ratio(instructions, raw),
                whole(told.peak_rss),
            ],
        );
    }
    Ok(table)
}

fn flaky(bench: &Bench) -> Result<Table> {
    let heads = [
        "",
        "13 bytes",
        "attempts",
        "new connections",
        "200 kB",
        "attempts",
        "new connections",
    ];
    let mut table = Table::new(&heads);
    for peer in PEERS.into_iter().filter(|peer| peer.retries) {
        let calm = bench.instructions(peer, &Case::get("h1"))?;
        let mut cells = Vec::new();
        for path in ["/flaky", "/flaky-large"] {
            let case = Case::flaky(path);
            let instructions = bench.instructions(peer, &case)?;
            let told = bench.told(peer, &case)?;
            cells.push(ratio(instructions, calm));
            cells.push(format!("{:.3}", told.attempts / 1_000.0));
            cells.push(whole(told.connections));
        }
        table.row(peer.name, &cells);
    }
    Ok(table)
}
