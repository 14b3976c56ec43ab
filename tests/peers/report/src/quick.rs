use std::{collections::BTreeMap, fmt::Write, fs};

use crate::{
    Result,
    bench::{Bench, Memory},
    case::Case,
    peers::{CLIENT, FETCH, PEERS, Peer, RAW, SESSION, SESSION_RETRY},
    table::{Digits, Table},
};

/// The ratios that were measured last.
const RECORDED: &str = "tests/peers/recorded";

/// How far a ratio may be above the recorded one: another compiler, or another version of a
/// dependency, moves it by that much.
const SLACK: f64 = 1.02;

/// What is measured, by the name that it can be asked for.
const GROUPS: [(&str, Group); 5] = [
    ("h1", |bench, ratios| gets(bench, ratios, "h1")),
    ("h2", |bench, ratios| gets(bench, ratios, "h2")),
    ("cold", cold),
    ("upload", upload),
    ("503s", failures),
];

type Group = fn(&Bench, &mut Ratios) -> Result<()>;

/// The ratios of what is ours, by their names, which begin with those of their group.
type Ratios = BTreeMap<String, f64>;

/// What a request costs.
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
pub(crate) fn check(bench: &Bench, names: &[String]) -> Result<bool> {
    let recorded = read()?;
    let mut passed = true;
    for (name, measured) in measure(bench, names)? {
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

/// Measures, and records the ratios; those of what is not measured stay.
pub(crate) fn record(bench: &Bench, names: &[String]) -> Result<bool> {
    let mut recorded = if names.is_empty() {
        Ratios::new()
    } else {
        read()?
    };
    recorded.extend(measure(bench, names)?);
    let mut text = String::from("# Written by `tests/peers/run record`: each beside bare hyper.\n");
    for (name, ratio) in recorded {
        writeln!(text, "{name} = {ratio:.3}")?;
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

/// Measures what is named, or all; prints tables, and returns the ratios.
fn measure(bench: &Bench, names: &[String]) -> Result<Ratios> {
    if let Some(name) = names
        .iter()
        .find(|name| !GROUPS.iter().any(|(known, _)| known == name))
    {
        let known = GROUPS.map(|(name, _)| name).join(", ");
        return Err(format!("{name} is none of {known}").into());
    }
    let mut ratios = Ratios::new();
    for (name, group) in GROUPS {
        if names.is_empty() || names.iter().any(|named| named == name) {
            group(bench, &mut ratios)?;
        }
    }
    Ok(ratios)
}

/// GETs on connections that are open.
fn gets(bench: &Bench, ratios: &mut Ratios, protocol: &'static str) -> Result<()> {
    let raw = cost(bench, RAW, protocol)?;
    let mut table = costs(protocol);
    for peer in PEERS.into_iter().filter(|peer| peer.quick) {
        let cost = if peer.id == RAW.id {
            raw
        } else {
            cost(bench, peer, protocol)?
        };
        cost.row(&mut table, peer, raw);
        if peer.is_ours() {
            cost.ratios(ratios, protocol, peer, raw);
        }
    }
    println!("{table}");
    Ok(())
}

/// The first GET to each of several hosts.
fn cold(bench: &Bench, ratios: &mut Ratios) -> Result<()> {
    const HOSTS: usize = 500;
    let measure = |peer| {
        let case = Case::cold(HOSTS);
        Result::Ok(Cost {
            instructions: bench.instructions(peer, &case)?,
            // So many hosts are there in both runs: what making their URLs takes is left out.
            memory: bench.memory_of(peer, &case.requests(HOSTS / 2))?,
        })
    };
    beside_raw(ratios, "cold", &[SESSION, CLIENT], measure)
}

/// PUTs of a stream of 1 MiB.
fn upload(bench: &Bench, ratios: &mut Ratios) -> Result<()> {
    let measure = |peer| {
        let case = Case::upload(64 * 1024);
        Result::Ok(Cost {
            instructions: bench.instructions(peer, &case)?,
            memory: bench.memory_of(peer, &case)?,
        })
    };
    beside_raw(ratios, "upload", &[SESSION_RETRY, CLIENT], measure)
}

/// What some clients cost beside bare hyper.
fn beside_raw(
    ratios: &mut Ratios,
    name: &str,
    peers: &[Peer],
    measure: impl Fn(Peer) -> Result<Cost>,
) -> Result<()> {
    let raw = measure(RAW)?;
    let mut table = costs(name);
    raw.row(&mut table, RAW, raw);
    for &peer in peers {
        let cost = measure(peer)?;
        cost.row(&mut table, peer, raw);
        cost.ratios(ratios, name, peer, raw);
    }
    println!("{table}");
    Ok(())
}

/// GETs of which one in ten is answered by 503 at first, beside the same client's without failures.
fn failures(bench: &Bench, ratios: &mut Ratios) -> Result<()> {
    let mut table = Table::new(&["503s", "10 %, 13 B", "10 %, 200 kB"]);
    for peer in [CLIENT, FETCH] {
        let calm = instructions(bench, peer, &Case::get("h1"))?;
        let mut cells = Vec::new();
        for (bytes, size) in [(13, "13 B"), (200_000, "200 kB")] {
            let beside = bench.instructions(peer, &Case::flaky(10, bytes))? / calm;
            cells.push(Digits::Three.show(beside));
            ratios.insert(format!("503s {size} {} instructions", peer.variant), beside);
        }
        table.row(peer.name, &cells);
    }
    println!("{table}");
    Ok(())
}

fn costs(group: &str) -> Table {
    Table::new(&[group, "instructions", "× raw", "allocations", "bytes"])
}

impl Cost {
    fn row(self, table: &mut Table, peer: Peer, raw: Self) {
        let cells = [
            Digits::Whole.show(self.instructions),
            Digits::Three.show(self.instructions / raw.instructions),
            Digits::One.show(self.memory.allocations),
            Digits::Whole.show(self.memory.bytes),
        ];
        table.row(peer.name, &cells);
    }

    fn ratios(self, ratios: &mut Ratios, group: &str, peer: Peer, raw: Self) {
        let name = format!("{group} {}", peer.variant);
        let allocations = self.memory.allocations / raw.memory.allocations;
        let instructions = self.instructions / raw.instructions;
        ratios.insert(format!("{name} instructions"), instructions);
        ratios.insert(format!("{name} allocations"), allocations);
    }
}

fn read() -> Result<Ratios> {
    let mut recorded = Ratios::new();
    for line in fs::read_to_string(RECORDED)?.lines() {
        if let Some((name, value)) = line.split_once(" = ") {
            recorded.insert(name.to_owned(), value.parse()?);
        }
    }
    Ok(recorded)
}
