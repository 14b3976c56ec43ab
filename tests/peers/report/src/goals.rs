use crate::{
    figures::Figures,
    peers::{
        ALONE, CLIENT, FETCH, HYPER_UTIL, HYPER_UTIL_RETRY, PEERS, Peer, RAW, RAW_AGENT, REPLAY,
        REQWEST, SEND, SESSION, SMALL, UNTIMED,
    },
    table::Digits::{self, One, Three, Two, Whole},
    verdict::{Part, Verdict},
    weight,
};

/// How much two runs of the same program differ: what a figure may have above one that it is to equal.
const NOISE: f64 = 150.0;

/// The goals, each with what came of it.
#[allow(clippy::too_many_lines, reason = "they are one table")]
#[rustfmt::skip]
pub(crate) fn goals(figures: &Figures) -> Vec<Verdict> {
    vec![
        Verdict {
            id: "P1",
            goal: "HTTP/1: the client as a service ≤ 1.25 × raw (≤ 1.20 × raw that sends a `User-Agent` too), `fetch` ≤ 1.35, the session ≤ 1.15",
            best_peer: least(figures, "h1", "instructions", Beside::Raw, Two, "× raw"),
            parts: vec![
                Part::at_most(figures.ratio("h1", CLIENT, RAW, "instructions"), 1.25, Two, "× raw"),
                Part::at_most(figures.ratio("h1", CLIENT, RAW_AGENT, "instructions"), 1.20, Two, "× raw that sends a `User-Agent` too"),
                Part::at_most(figures.ratio("h1", FETCH, RAW, "instructions"), 1.35, Two, "with `fetch`"),
                Part::told(figures.ratio("h1", SEND, RAW, "instructions"), Two, "with `send`"),
                Part::at_most(figures.ratio("h1", SESSION, RAW, "instructions"), 1.15, Two, "for the session"),
            ],
        },
        Verdict {
            id: "P2",
            goal: "HTTP/2, 16 streams: ≤ 1.15 × raw (≤ 1.08 × raw that sends a `User-Agent` too)",
            best_peer: least(figures, "h2", "instructions", Beside::Raw, Two, "× raw"),
            parts: vec![
                Part::at_most(figures.ratio("h2", CLIENT, RAW, "instructions"), 1.15, Two, "× raw"),
                Part::at_most(figures.ratio("h2", CLIENT, RAW_AGENT, "instructions"), 1.08, Two, "× raw that sends a `User-Agent` too"),
                Part::told(figures.ratio("h2", SEND, RAW, "instructions"), Two, "with `send`"),
                Part::told(figures.ratio("h2", FETCH, RAW, "instructions"), Two, "with `fetch`"),
            ],
        },
        Verdict {
            id: "P2b",
            goal: "HTTP/2, 128 in flight: ≤ 1.25 × raw's time of the processor",
            best_peer: least(figures, "cpu-h2", "cpu", Beside::Raw, Two, "× raw"),
            parts: vec![
                Part::at_most(figures.ratio("cpu-h2", CLIENT, RAW, "cpu"), 1.25, Two, "× raw"),
            ],
        },
        Verdict {
            id: "P3",
            goal: "no allocation above raw that sends the same headers, ≤ 9,400 bytes (HTTP/1); two, as of P4, for a request with headers of its own",
            best_peer: least(figures, "h1", "allocations", Beside::AboveRaw, One, "above raw"),
            parts: vec![
                Part::at_most(figures.above("h1", CLIENT, RAW_AGENT, "allocations"), 0.0, One, "above raw"),
                Part::at_most(figures.get("h1", CLIENT.id, "bytes"), 9_400.0, Whole, "bytes"),
                Part::at_most(figures.above("h2", CLIENT, RAW_AGENT, "allocations"), 0.0, One, "over HTTP/2"),
                Part::at_most(figures.above("h1-headers", CLIENT, RAW_AGENT, "allocations"), 2.0, One, "with headers"),
                Part::at_most(figures.above("h2-headers", CLIENT, RAW_AGENT, "allocations"), 2.0, One, "over HTTP/2"),
            ],
        },
        Verdict {
            id: "P4",
            goal: "retry layer over a ready service: ≤ 250, ≤ 400 and ≤ 1,150 instructions (sent once, repeatable, with four headers); 0, 0 and 2 allocations",
            best_peer: retry_layer(figures),
            parts: vec![
                Part::at_most(micro(figures, "one attempt only", "instructions"), 250.0, Whole, "when it is sent once"),
                Part::at_most(micro(figures, "one attempt only", "allocations"), 0.0, Whole, "allocations"),
                Part::at_most(micro(figures, "no headers, no body", "instructions"), 400.0, Whole, "repeatable"),
                Part::at_most(micro(figures, "no headers, no body", "allocations"), 0.0, Whole, "allocations"),
                Part::at_most(micro(figures, "four headers, no body", "instructions"), 1_150.0, Whole, "with headers"),
                Part::at_most(micro(figures, "four headers, no body", "allocations"), 2.0, Whole, "allocations"),
            ],
        },
        Verdict {
            id: "P5",
            goal: "budget, a deposit: ≤ 5 ns; ≤ 10 ns while another origin fails",
            best_peer: shown(micro(figures, "budget/deposit of tower's TpsBudget", "ns"), Two, "ns (tower)"),
            parts: vec![
                Part::at_most(micro(figures, "budget/deposit", "ns"), 5.0, Two, "ns"),
                Part::at_most(micro(figures, "budget/deposit while another origin fails", "ns"), 10.0, Two, "ns while another fails"),
            ],
        },
        Verdict {
            id: "P6",
            goal: "deadline and timeouts together: ≤ 100 instructions",
            best_peer: "–".to_owned(),
            parts: vec![
                Part::at_most(figures.above("h1", CLIENT, UNTIMED, "instructions"), 100.0, Whole, "over HTTP/1"),
                Part::at_most(figures.above("h2", CLIENT, UNTIMED, "instructions"), 100.0, Whole, "over HTTP/2"),
            ],
        },
        Verdict {
            id: "P7",
            goal: "10 % of 503s: ≤ 1.13 × its own instructions without them, with 13 bytes and with 200 kB; `fetch` ≤ 1.25 with 200 kB; one retry for each, no new connection",
            best_peer: best_of_failures(figures),
            parts: failures(figures),
        },
        Verdict {
            id: "P8",
            goal: "an upload of 1 MiB: nothing copied for a replay, ≤ 2 allocations; as a stream ≤ 1.40 × raw's instructions",
            best_peer: format!("{}; none replays a stream", least(figures, "upload-stream", "instructions", Beside::Raw, Two, "× raw")),
            parts: replay(figures),
        },
        Verdict {
            id: "P9",
            goal: "an idle connection: ≤ 500 bytes above raw; ≤ 21,000 in all with small buffers, if asked for",
            best_peer: least(figures, "idle-h1", "live", Beside::AboveRaw, Whole, "above raw"),
            parts: vec![
                Part::at_most(figures.above("idle-h1", CLIENT, RAW, "live"), 500.0, Whole, "above raw"),
                Part::told(figures.above("idle-h2", CLIENT, RAW, "live"), Whole, "over HTTP/2"),
                Part::at_most(figures.get("idle-h1", SMALL.id, "live"), 21_000.0, Whole, "with small buffers"),
            ],
        },
        Verdict {
            id: "P10",
            goal: "10,000 hosts beside one: no more instructions than raw's growth (two runs differ by 150), no allocation",
            best_peer: best_growth(figures),
            parts: vec![
                Part::at_most(growth(figures, CLIENT, "instructions"), NOISE, Whole, "instructions"),
                Part::at_most(growth(figures, CLIENT, "allocations"), 0.0, One, "allocations"),
            ],
        },
        Verdict {
            id: "P11",
            goal: "the first GET on a new connection: ≤ 1.90 × raw, ≤ 30 allocations",
            best_peer: format!(
                "{}, {}",
                least(figures, "cold", "instructions", Beside::Raw, Two, "× raw"),
                least(figures, "cold", "allocations", Beside::Nothing, One, "allocations"),
            ),
            parts: vec![
                Part::at_most(figures.ratio("cold", CLIENT, RAW, "instructions"), 1.90, Two, "× raw"),
                Part::at_most(figures.get("cold", CLIENT.id, "allocations"), 30.0, One, "allocations"),
            ],
        },
        Verdict {
            id: "P12",
            goal: "one `writev` and one `recvfrom` for a request",
            best_peer: "the same".to_owned(),
            parts: vec![
                Part::at_most(figures.get("calls-1", CLIENT.id, "writev"), 1.0, Two, "writev"),
                Part::at_most(figures.get("calls-1", CLIENT.id, "recvfrom"), 1.0, Two, "recvfrom"),
                Part::at_most(figures.get("calls-16", CLIENT.id, "writev"), 1.0, Two, "writev with 16"),
                Part::at_most(figures.get("calls-16", CLIENT.id, "recvfrom"), 1.0, Two, "recvfrom with 16"),
                Part::told(figures.get("calls-16", CLIENT.id, "epoll_wait"), Three, "epoll_wait with 16"),
            ],
        },
        Verdict {
            id: "P13",
            goal: "a download of 100 MiB: as long as raw (≤ 1.05 × its time of the processor), ≤ 700 kB above its peak",
            best_peer: least(figures, "download", "peak", Beside::AboveRaw, Whole, "kB above raw"),
            parts: vec![
                Part::at_most(figures.ratio("download", CLIENT, RAW, "cpu"), 1.05, Two, "× raw"),
                Part::at_most(figures.above("download", ALONE, RAW, "peak"), 700.0, Whole, "kB above raw"),
                Part::told(figures.above("download", ALONE, RAW, "grown"), Whole, "kB of it not the program"),
            ],
        },
        Verdict {
            id: "P14",
            goal: "retry + session, HTTP/1, no TLS: ≤ 40 crates, ≤ 1.40 MB, built in ≤ 1.4 × hyper-util's time of the processor",
            best_peer: format!(
                "{}, {}",
                shown(weight_of(figures, "weight-hyper-util", "crates"), Whole, "crates"),
                shown(megabytes(figures, "weight-hyper-util"), Two, "MB"),
            ),
            parts: weigh(figures),
        },
        Verdict {
            id: "P15",
            goal: "time of the processor with 16 and with 128 in flight: ≤ 1.08 × raw, ≤ 0.90 × hyper-util, ≤ 0.63 × reqwest",
            best_peer: least(figures, "cpu-16", "cpu", Beside::Raw, Two, "× raw"),
            parts: ["cpu-16", "cpu-128"].into_iter().flat_map(|case| cpu(figures, case)).collect(),
        },
        Verdict {
            id: "P16",
            goal: "two threads on one origin, and on 64: ≥ 0.97 of two separate clients at equal time of the processor; ≤ 60 ns of the pool's lock held for a request; one origin does not contend with another ([measured apart](threads.md))",
            best_peer: "–".to_owned(),
            parts: vec![],
        },
        Verdict {
            id: "P17",
            goal: "a burst of 100 calls without a connection, over TLS: ≤ 4 handshakes, and one that fails fails at most what it must",
            best_peer: "–".to_owned(),
            parts: vec![],
        },
    ]
}

fn micro(figures: &Figures, title: &str, quantity: &str) -> Option<f64> {
    figures.get("micro", title, quantity)
}

fn failures(figures: &Figures) -> Vec<Part> {
    let of = |case, quantity| figures.get(case, CLIENT.id, quantity);
    let (short, long) = ("flaky-10-13", "flaky-10-200000");
    let new = "new connections for 100";
    let fetch = figures.get(long, FETCH.id, "beside");
    vec![
        Part::at_most(of(short, "beside"), 1.13, Two, "×"),
        Part::at_most(of(long, "beside"), 1.13, Two, "× with 200 kB"),
        Part::at_most(fetch, 1.25, Two, "× with `fetch`"),
        Part::at_most(of(short, "retries"), 1.0, Two, "retries"),
        Part::at_most(of(long, "retries"), 1.0, Two, "with 200 kB"),
        Part::at_most(of(short, "connections"), 0.0, Whole, new),
        Part::at_most(of(long, "connections"), 0.0, Whole, "with 200 kB"),
    ]
}

/// A frame has 64 KiB: whoever copied one of them would need that much more memory.
fn replay(figures: &Figures) -> Vec<Part> {
    const NOTES: f64 = 4_096.0;
    let (whole, stream) = ("upload", "upload-stream");
    let above = |case, quantity| figures.above(case, REPLAY, SESSION, quantity);
    let beside = figures.ratio(stream, CLIENT, RAW, "instructions");
    vec![
        Part::at_most(above(whole, "bytes"), NOTES, Whole, "bytes of memory"),
        Part::told(above(whole, "allocations"), One, "allocations"),
        Part::at_most(above(stream, "bytes"), NOTES, Whole, "bytes for a stream"),
        Part::at_most(above(stream, "allocations"), 2.0, One, "allocations"),
        Part::at_most(beside, 1.40, Two, "× raw for a stream"),
    ]
}

/// What 10,000 hosts add to what one costs, above what they add to raw.
fn growth(figures: &Figures, peer: Peer, quantity: &str) -> Option<f64> {
    let grown = |peer: Peer| {
        let many = figures.get("hosts-10000", peer.id, quantity)?;
        Some(many - figures.get("h1", peer.id, quantity)?)
    };
    Some(grown(peer)? - grown(RAW)?)
}

fn weight_of(figures: &Figures, package: &str, quantity: &str) -> Option<f64> {
    figures.get(weight::CASE, package, quantity)
}

fn megabytes(figures: &Figures, package: &str) -> Option<f64> {
    weight_of(figures, package, "size").map(|bytes| bytes / 1e6)
}

fn weigh(figures: &Figures) -> Vec<Part> {
    let ours = "weight-ours";
    let beside = |quantity| {
        let theirs = weight_of(figures, "weight-hyper-util", quantity)?;
        Some(weight_of(figures, ours, quantity)? / theirs)
    };
    vec![
        Part::at_most(weight_of(figures, ours, "crates"), 40.0, Whole, "crates"),
        Part::at_most(megabytes(figures, ours), 1.40, Two, "MB"),
        // The clock depends on who else builds here: between runs it told from 1.1 to 1.6.
        Part::at_most(beside("cpu"), 1.4, Two, "× of the processor"),
        Part::told(beside("seconds"), Two, "× by the clock"),
    ]
}

fn cpu(figures: &Figures, case: &str) -> Vec<Part> {
    let in_flight = case.trim_start_matches("cpu-");
    [
        (RAW, 1.08, format!("× raw with {in_flight}")),
        (HYPER_UTIL, 0.90, "× hyper-util".to_owned()),
        (REQWEST, 0.63, "× reqwest".to_owned()),
    ]
    .into_iter()
    .map(|(peer, bound, unit)| {
        Part::at_most(figures.ratio(case, CLIENT, peer, "cpu"), bound, Two, &unit)
    })
    .collect()
}

/// Beside what the figures of clients are compared.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    Raw,
    AboveRaw,
}

/// The least that another client has, and the client.
fn least(
    figures: &Figures,
    case: &str,
    quantity: &str,
    beside: Beside,
    digits: Digits,
    unit: &str,
) -> String {
    least_of(digits, unit, |peer| match beside {
        Beside::Nothing => figures.get(case, peer.id, quantity),
        Beside::Raw => figures.ratio(case, peer, RAW, quantity),
        Beside::AboveRaw => figures.above(case, peer, RAW, quantity),
    })
}

fn least_of(digits: Digits, unit: &str, of: impl Fn(Peer) -> Option<f64>) -> String {
    let others = PEERS
        .into_iter()
        .filter(|peer| !peer.is_ours() && peer.id != RAW.id);
    let known = others.filter_map(|peer| Some((peer.name, of(peer)?)));
    let least = known.min_by(|(_, one), (_, other)| one.total_cmp(other));
    least.map_or_else(
        || "–".to_owned(),
        |(name, value)| format!("{} {unit} ({name})", digits.show(value)),
    )
}

fn shown(value: Option<f64>, digits: Digits, unit: &str) -> String {
    value.map_or_else(
        || "–".to_owned(),
        |value| format!("{} {unit}", digits.show(value)),
    )
}

fn retry_layer(figures: &Figures) -> String {
    let titles = ["not cloned", "no headers, no body", "four headers"];
    let all = titles.map(|title| {
        let title = format!("tower::retry, {title}");
        shown(micro(figures, &title, "instructions"), Whole, "")
    });
    let all: Vec<_> = all.iter().map(|it| it.trim_end()).collect();
    format!("{} (tower::retry)", all.join(", "))
}

fn best_of_failures(figures: &Figures) -> String {
    let of = |case| least(figures, case, "beside", Beside::Nothing, Two, "×");
    let connections = figures.get("flaky-10-200000", HYPER_UTIL_RETRY.id, "connections");
    format!(
        "{}; with 200 kB {}, each with {} new connections for 100",
        of("flaky-10-13"),
        of("flaky-10-200000"),
        shown(connections, Whole, "").trim_end(),
    )
}

fn best_growth(figures: &Figures) -> String {
    least_of(Whole, "above raw's growth", |peer| {
        growth(figures, peer, "instructions")
    })
}
