use crate::{
    Result,
    case::Case,
    figures::Figures,
    peers::{ALONE, CLIENT, HYPER_UTIL, Peer, Program, RAW, RAW_AGENT, REPLAY, SMALL, UNTIMED},
    quick,
    section::{
        Column, Run, Section,
        Shown::{self, AboveRaw, OfRaw, Plain},
    },
    table::Digits::{One, Three, Two, Whole},
};

/// What every client is put through, in the order of the page.
pub(crate) const SECTIONS: [Section; 12] = [
    Section {
        title: "HTTP/1",
        text: "GETs of 13 bytes, one after the other on one connection.",
        columns: &[
            column("instructions", "h1", "instructions", Plain(Whole)),
            column("× raw", "h1", "instructions", OfRaw),
            column("allocations", "h1", "allocations", Plain(One)),
            column("bytes", "h1", "bytes", Plain(Whole)),
        ],
        measure: |run, figures| get(run, figures, "h1"),
    },
    Section {
        title: "HTTP/2",
        text: "GETs of 13 bytes, 16 at a time on one connection.",
        columns: &[
            column("instructions", "h2", "instructions", Plain(Whole)),
            column("× raw", "h2", "instructions", OfRaw),
            column("allocations", "h2", "allocations", Plain(One)),
            column("bytes", "h2", "bytes", Plain(Whole)),
        ],
        measure: |run, figures| get(run, figures, "h2"),
    },
    Section {
        title: "Streams of a connection",
        text: "Instructions of a GET over HTTP/2 with 256 in flight, on connections that carry up to 16, 32, 64, 100, 128 \
               and 256 of them.",
        columns: &[
            column("16", "streams-16", "instructions", Plain(Whole)),
            column("32", "streams-32", "instructions", Plain(Whole)),
            column("64", "streams-64", "instructions", Plain(Whole)),
            column("100", "streams-100", "instructions", Plain(Whole)),
            column("128", "streams-128", "instructions", Plain(Whole)),
            column("256", "streams-256", "instructions", Plain(Whole)),
        ],
        measure: streams,
    },
    Section {
        title: "Requests with headers",
        text: "Allocations of a GET with four headers of its own, two of which make that request.",
        columns: &[
            column("HTTP/1", "h1-headers", "allocations", Plain(One)),
            column("above raw", "h1-headers", "allocations", AboveRaw),
            column("HTTP/2", "h2-headers", "allocations", Plain(One)),
            column("above raw", "h2-headers", "allocations", AboveRaw),
        ],
        measure: headers,
    },
    Section {
        title: "System calls",
        text: "Those of one GET: over HTTP/1 with 1 and with 16 in flight, and over HTTP/2 with 16.",
        columns: &[
            column("1: writev", "calls-1", "writev", Plain(Two)),
            column("recvfrom", "calls-1", "recvfrom", Plain(Two)),
            column("epoll_wait", "calls-1", "epoll_wait", Plain(Two)),
            column("16: writev", "calls-16", "writev", Plain(Two)),
            column("recvfrom", "calls-16", "recvfrom", Plain(Two)),
            column("epoll_wait", "calls-16", "epoll_wait", Plain(Three)),
            column("HTTP/2: all", "calls-h2", "total", Plain(Two)),
        ],
        measure: calls,
    },
    Section {
        title: "Time of the processor",
        text: "Microseconds of one GET, the kernel's part included. Only roughly: it is the tenth percentile of \
               short slices, and the least of several rounds in which the clients take turns.",
        columns: &[
            column("HTTP/1, 16 in flight", "cpu-16", "cpu", Plain(Two)),
            column("× raw", "cpu-16", "cpu", OfRaw),
            column("128 in flight", "cpu-128", "cpu", Plain(Two)),
            column("× raw", "cpu-128", "cpu", OfRaw),
            column("HTTP/2, 128 in flight", "cpu-h2", "cpu", Plain(Two)),
            column("× raw", "cpu-h2", "cpu", OfRaw),
        ],
        measure: cpu,
    },
    Section {
        title: "New connections",
        text: "The first GET to each of 500 hosts.",
        columns: &[
            column("instructions", "cold", "instructions", Plain(Whole)),
            column("× raw", "cold", "instructions", OfRaw),
            column("allocations", "cold", "allocations", Plain(One)),
        ],
        measure: cold,
    },
    Section {
        title: "Idle connections",
        text: "What 1,000 connections to 1,000 hosts hold in memory, each after one GET, in bytes of one.",
        columns: &[
            column("HTTP/1", "idle-h1", "live", Plain(Whole)),
            column("above raw", "idle-h1", "live", AboveRaw),
            column("HTTP/2", "idle-h2", "live", Plain(Whole)),
            column("above raw", "idle-h2", "live", AboveRaw),
        ],
        measure: idle,
    },
    Section {
        title: "Many hosts",
        text: "Instructions of a GET when 1, 100 or 10,000 hosts are asked in turn, each with an open connection.",
        columns: &[
            column("1", "h1", "instructions", Plain(Whole)),
            column("100", "hosts-100", "instructions", Plain(Whole)),
            column("× raw", "hosts-100", "instructions", OfRaw),
            column("10,000", "hosts-10000", "instructions", Plain(Whole)),
            column("× raw", "hosts-10000", "instructions", OfRaw),
            column("allocations", "hosts-10000", "allocations", Plain(One)),
        ],
        measure: hosts,
    },
    Section {
        title: "Uploads",
        text: "PUTs of 1 MiB: as bytes, and as a stream of 16 frames. What a client allocates above bare hyper tells \
               what it copies: a copy has to be somewhere.",
        columns: &[
            column("bytes: × raw", "upload", "instructions", OfRaw),
            column("allocations", "upload", "allocations", Plain(One)),
            column("bytes above raw", "upload", "bytes", AboveRaw),
            column("stream: × raw", "upload-stream", "instructions", OfRaw),
            column("allocations", "upload-stream", "allocations", Plain(One)),
            column("bytes above raw", "upload-stream", "bytes", AboveRaw),
        ],
        measure: uploads,
    },
    Section {
        title: "Downloads",
        text: "A GET of 100 MiB, whose body is read and thrown away: milliseconds of the processor, and the most memory \
               that the process had at once, in kB. A process that sends one small GET has most of that already: it is \
               the program itself, each page of it that was looked at. Those of this project are one program here; the \
               goal is about one with the client alone.",
        columns: &[
            column("ms", "download", "cpu", Plain(One)),
            column("× raw", "download", "cpu", OfRaw),
            column("peak", "download", "peak", Plain(Whole)),
            column("above raw", "download", "peak", AboveRaw),
            column("above its own small GET", "download", "grown", Plain(Whole)),
        ],
        measure: downloads,
    },
    Section {
        title: "Failures",
        text: "GETs of which one in 100 or one in 10 is answered by 503 at first, with a body of 13 bytes or of 200 kB: \
               instructions beside the same client's without failures (1.010 and 1.111 are arithmetic), retries for \
               each failure, and new connections for each 100 failures. The circuit breaker of Microsoft's fetch opens \
               where one in 10 fails, and the client then refuses requests for 5 s, which is no cost to compare.",
        columns: &[
            column("1 %, 13 B", "flaky-100-13", "beside", Plain(Three)),
            column("1 %, 200 kB", "flaky-100-200000", "beside", Plain(Three)),
            column("10 %, 13 B", "flaky-10-13", "beside", Plain(Three)),
            column("retries", "flaky-10-13", "retries", Plain(Three)),
            column("connections", "flaky-10-13", "connections", Plain(Whole)),
            column("10 %, 200 kB", "flaky-10-200000", "beside", Plain(Three)),
            column("retries", "flaky-10-200000", "retries", Plain(Three)),
            column(
                "connections",
                "flaky-10-200000",
                "connections",
                Plain(Whole),
            ),
        ],
        measure: failures,
    },
];

const fn column(
    head: &'static str,
    case: &'static str,
    quantity: &'static str,
    shown: Shown,
) -> Column {
    Column {
        head,
        case,
        quantity,
        shown,
    }
}

/// The clients that are binaries, whose instructions can be counted.
fn counted<'a>(run: &'a Run<'_>) -> impl Iterator<Item = Peer> + 'a {
    let peers = run.peers.iter().copied();
    peers.filter(|peer| matches!(peer.program, Program::Binary(_)))
}

fn get(run: &Run<'_>, figures: &mut Figures, protocol: &'static str) -> Result<()> {
    for peer in counted(run).chain([RAW_AGENT]) {
        let cost = quick::cost(run.bench, peer, protocol)?;
        figures.set(protocol, peer.id, "instructions", cost.instructions);
        figures.set(protocol, peer.id, "allocations", cost.memory.allocations);
        figures.set(protocol, peer.id, "bytes", cost.memory.bytes);
    }
    let untimed = quick::instructions(run.bench, UNTIMED, &Case::get(protocol))?;
    figures.set(protocol, UNTIMED.id, "instructions", untimed);
    Ok(())
}

fn streams(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    for (name, streams) in [
        ("streams-16", 16),
        ("streams-32", 32),
        ("streams-64", 64),
        ("streams-100", 100),
        ("streams-128", 128),
        ("streams-256", 256),
    ] {
        let case = Case::streams(256, streams, run.size(3_840).max(256));
        let instructions = quick::instructions(run.bench, CLIENT, &case)?;
        figures.set(name, CLIENT.id, "instructions", instructions);
    }
    Ok(())
}

fn headers(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    let bring_them = |peer: &Peer| peer.is_ours() || peer.id == RAW.id;
    for peer in counted(run).filter(bring_them).chain([RAW_AGENT]) {
        for (name, protocol) in [("h1-headers", "h1"), ("h2-headers", "h2")] {
            let case = Case::headers(protocol).requests(run.size(800));
            let memory = run.bench.memory_of(peer, &case)?;
            figures.set(name, peer.id, "allocations", memory.allocations);
        }
    }
    Ok(())
}

fn calls(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    let requests = run.size(1_600);
    for peer in counted(run) {
        for (name, case) in [
            ("calls-1", Case::get("h1").requests(requests)),
            ("calls-16", Case::busy("h1", 16, 4 * requests)),
            ("calls-h2", Case::busy("h2", 16, 4 * requests)),
        ] {
            for (call, count) in run.bench.syscalls(peer, &case)? {
                figures.set(name, peer.id, &call, count);
            }
        }
    }
    Ok(())
}

fn cpu(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    const SLICES: usize = 20;
    let requests = run.size(1_280);
    for _ in 0..run.size(5) {
        for &peer in &run.peers {
            // A slice of the others takes several times as long.
            let requests = match peer.program {
                Program::Binary(_) => requests,
                Program::Script(..) => requests / 4,
            };
            for (name, protocol, workers) in [
                ("cpu-16", "h1", 16),
                ("cpu-128", "h1", 128),
                ("cpu-h2", "h2", 128),
            ] {
                if protocol == "h2" && matches!(peer.program, Program::Script(..)) {
                    continue;
                }
                let case = Case::busy(protocol, workers, requests.max(workers)).slices(SLICES);
                let nanoseconds = run.bench.cpu(peer, &case)?;
                figures.lower(name, peer.id, "cpu", nanoseconds / 1e3);
            }
        }
    }
    Ok(())
}

fn cold(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    for peer in counted(run) {
        let hosts = run.size(500);
        let case = Case::cold(hosts);
        let instructions = run.bench.instructions(peer, &case)?;
        // So many hosts are there in both runs: what making their URLs takes is left out.
        let memory = run.bench.memory_of(peer, &case.requests(hosts / 2))?;
        figures.set("cold", peer.id, "instructions", instructions);
        figures.set("cold", peer.id, "allocations", memory.allocations);
    }
    Ok(())
}

fn idle(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    let (few, many) = (run.size(100), run.size(1_100));
    for peer in counted(run).chain([SMALL]) {
        for (name, protocol) in [("idle-h1", "h1"), ("idle-h2", "h2")] {
            if protocol == "h2" && peer.id == SMALL.id {
                continue;
            }
            let (few_case, many_case) = (Case::idle(protocol, few), Case::idle(protocol, many));
            let memory = run.bench.memory(peer, &few_case, &many_case, many - few)?;
            figures.set(name, peer.id, "live", memory.live);
        }
    }
    Ok(())
}

fn hosts(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    for peer in counted(run) {
        for (name, hosts) in [("hosts-100", 100), ("hosts-10000", 10_000)] {
            let instructions = run
                .bench
                .instructions(peer, &Case::hosts(run.size(hosts)))?;
            figures.set(name, peer.id, "instructions", instructions);
        }
        // It takes its time, and is told of none but these.
        if [RAW.id, CLIENT.id, HYPER_UTIL.id].contains(&peer.id) {
            let case = Case::hosts(run.size(10_000)).requests(1_000);
            let memory = run.bench.memory_of(peer, &case)?;
            figures.set("hosts-10000", peer.id, "allocations", memory.allocations);
        }
    }
    Ok(())
}

fn uploads(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    for peer in counted(run).chain([REPLAY]) {
        for (name, frame) in [("upload", 0), ("upload-stream", 64 * 1024)] {
            if frame > 0 && !peer.sends_streams {
                continue;
            }
            let case = Case::upload(frame);
            let instructions = run.bench.instructions(peer, &case)?;
            let memory = run.bench.memory_of(peer, &case)?;
            figures.set(name, peer.id, "instructions", instructions);
            figures.set(name, peer.id, "allocations", memory.allocations);
            figures.set(name, peer.id, "bytes", memory.bytes);
        }
    }
    Ok(())
}

fn downloads(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    for _ in 0..run.size(10) {
        for peer in counted(run)
            .chain([ALONE])
            .filter(|peer| peer.reads_streams)
        {
            let told = run.bench.told(peer, &Case::download())?;
            let once = run.bench.told(peer, &Case::once())?;
            figures.lower("download", peer.id, "cpu", told.cpu / 1e6);
            figures.lower("download", peer.id, "peak", told.peak_rss);
            figures.lower("download", peer.id, "grown", told.peak_rss - once.peak_rss);
        }
    }
    Ok(())
}

fn failures(run: &Run<'_>, figures: &mut Figures) -> Result<()> {
    for peer in counted(run).filter(|peer| peer.retries) {
        let calm = figures.get("h1", peer.id, "instructions");
        for every in [100, 10] {
            if every == 10 && peer.breaks {
                continue;
            }
            for bytes in [13, 200_000] {
                let name = format!("flaky-{every}-{bytes}");
                let case = Case::flaky(every, bytes);
                let requests = case.requests;
                let case = case.requests(run.size(requests));
                let instructions = run.bench.instructions(peer, &case)?;
                let told = run.bench.told(peer, &case)?;
                let retries = told.attempts - crate::bench::each(case.requests);
                let of_faults = |count: f64| count / told.faults.max(1.0);
                if let Some(calm) = calm {
                    figures.set(&name, peer.id, "beside", instructions / calm);
                }
                figures.set(&name, peer.id, "retries", of_faults(retries));
                let connections = 100.0 * of_faults(told.connections);
                figures.set(&name, peer.id, "connections", connections);
            }
        }
    }
    Ok(())
}
