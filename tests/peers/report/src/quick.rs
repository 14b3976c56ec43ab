use std::{collections::BTreeMap, fmt::Write, fs};

use crate::{
    Result,
    bench::{Bench, Memory},
    case::Case,
    peers::{PEERS, Peer, RAW},
    table::{Digits, Table},
};

/// The ratios that were measured last.
const RECORDED: &str = "tests/peers/recorded";

/// How far a ratio may be above the recorded one: another compiler, or another version of a
/// dependency, moves it by that much.
const SLACK: f64 = 1.02;

/// What a GET costs.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    pub(crate) memory: Memory,
}

pub(crate) fn cost(bench: &Bench, peer: Peer, protocol: &'static str) -> Result<Cost> {
    let case = Case::get(protocol);
    Ok(Cost {
        instructions: instructions(bench, peer, &case)?,
        memory: bench.memory_of(peer, &case.clone().requests(case.requests / 4))?,
    })
}

/// Instructions of one GET.
pub(crate) fn instructions(bench: &Bench, peer: Peer, case: &Case) -> Result<f64> {
    // Over HTTP/2, how many frames come with one read is up to the scheduler.
    let runs = if case.protocol == "h2" { 3 } else { 1 };
    let mut least = f64::INFINITY;
    for _ in 0..runs {
        least = least.min(bench.instructions(peer, case)?);
    }
    Ok(least)
}

/// Measures, and compares with the recorded ratios; says whether none is exceeded.
pub(crate) fn check(bench: &Bench) -> Result<bool> {
    let recorded = read()?;
    let mut passed = true;
    for (name, measured) in measure(bench)? {
        let Some(allowed) = recorded.get(&name) else {
            println!("{name}: nothing is recorded; see `run record`");
            passed = false;
            continue;
        };
        if measured > allowed * SLACK {
            println!("{name}: {measured:.3}, and {allowed:.3} is recorded");
            passed = false;
        } else if measured * SLACK < *allowed {
            println!("{name}: {measured:.3}, less than the recorded {allowed:.3}: `run record`?");
        }
    }
    Ok(passed)
}

/// Measures, and records the ratios.
pub(crate) fn record(bench: &Bench) -> Result<bool> {
    let mut text = String::from("# Written by `tests/peers/run record`: each beside bare hyper.\n");
    for (name, measured) in measure(bench)? {
        writeln!(text, "{name} = {measured:.3}")?;
    }
    fs::write(RECORDED, text)?;
    Ok(true)
}

/// Writes where each client spends its instructions.
pub(crate) fn profile(bench: &Bench) -> Result<bool> {
    for protocol in ["h1", "h2"] {
        for peer in PEERS.into_iter().filter(|peer| peer.quick) {
            let file = format!("callgrind.{}.{protocol}", peer.id);
            let path = bench.directory().join(file);
            bench.callgrind(peer, &Case::get(protocol), &path)?;
            println!("callgrind_annotate --inclusive=yes {}", path.display());
        }
    }
    Ok(true)
}

/// Prints a table, and returns the ratios of what is ours by their names.
fn measure(bench: &Bench) -> Result<BTreeMap<String, f64>> {
    let mut ratios = BTreeMap::new();
    for protocol in ["h1", "h2"] {
        let raw = cost(bench, RAW, protocol)?;
        let mut table = Table::new(&[protocol, "instructions", "× raw", "allocations", "bytes"]);
        for peer in PEERS.into_iter().filter(|peer| peer.quick) {
            let cost = if peer.id == RAW.id {
                raw
            } else {
                cost(bench, peer, protocol)?
            };
            let instructions = cost.instructions / raw.instructions;
            table.row(
                peer.name,
                &[
                    Digits::Whole.show(cost.instructions),
                    Digits::Three.show(instructions),
                    Digits::One.show(cost.memory.allocations),
                    Digits::Whole.show(cost.memory.bytes),
                ],
            );
            if peer.is_ours() {
                let name = format!("{protocol} {}", peer.variant);
                let allocations = cost.memory.allocations / raw.memory.allocations;
                ratios.insert(format!("{name} instructions"), instructions);
                ratios.insert(format!("{name} allocations"), allocations);
            }
        }
        println!("{table}");
    }
    Ok(ratios)
}

fn read() -> Result<BTreeMap<String, f64>> {
    let mut recorded = BTreeMap::new();
    for line in fs::read_to_string(RECORDED)?.lines() {
        if let Some((name, value)) = line.split_once(" = ") {
            recorded.insert(name.to_owned(), value.parse()?);
        }
    }
    Ok(recorded)
}
