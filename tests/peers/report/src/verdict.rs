use crate::{
    figures::Figures,
    peers::{
        ALONE, CLIENT, FETCH, HYPER_UTIL, Peer, RAW, RAW_AGENT, REPLAY, REQWEST, SEND, SESSION,
        SMALL, UNTIMED,
    },
    table::{
        Digits::{self, One, Three, Two, Whole},
        Table,
    },
    weight,
};

/// One goal, and what came of it.
struct Verdict {
    id: &'static str,
    goal: &'static str,
    best_peer: &'static str,
    parts: Vec<Part>,
}

/// One figure of a goal.
struct Part {
    text: String,
    /// `None` for what is only told, or was not measured.
    met: Option<bool>,
    measured: bool,
}

/// What each goal came to, as a table.
pub(crate) fn table(figures: &Figures) -> Table {
    let mut table = Table::new(&["", "goal", "best peer before", "measured", ""]);
    for verdict in goals(figures) {
        let measured: Vec<_> = verdict.parts.iter().map(Part::shown).collect();
        table.row(
            verdict.id,
            &[
                verdict.goal.to_owned(),
                verdict.best_peer.to_owned(),
                measured.join("; "),
                verdict.outcome().to_owned(),
            ],
        );
    }
    table
}

impl Verdict {
    fn outcome(&self) -> &'static str {
        if self.parts.iter().any(|part| part.met == Some(false)) {
            "**missed**"
        } else if self.parts.iter().any(|part| !part.measured) {
            "not all measured"
        } else {
            "met"
        }
    }
}

impl Part {
    /// A figure that may be so much.
    fn at_most(value: Option<f64>, bound: f64, digits: Digits, unit: &str) -> Self {
        Self {
            // What is shown is what is judged.
            met: value.map(|value| round(value, digits) <= bound),
            ..Self::told(value, digits, unit)
        }
    }

    /// A figure that is not judged.
    fn told(value: Option<f64>, digits: Digits, unit: &str) -> Self {
        let shown = value.map_or_else(|| "–".to_owned(), |value| digits.show(value));
        Self {
            text: format!("{shown} {unit}").trim_end().to_owned(),
            met: None,
            measured: value.is_some(),
        }
    }

    /// The figure, in bold if it is too much and others of its goal are not.
    fn shown(&self) -> String {
        match self.met {
            Some(false) => format!("**{}**", self.text),
            _ => self.text.clone(),
        }
    }
}

fn round(value: f64, digits: Digits) -> f64 {
    let scale = match digits {
        Whole => 1.0,
        One => 10.0,
        Two => 100.0,
        Three => 1_000.0,
    };
    (value * scale).round() / scale
}

#[allow(clippy::too_many_lines, reason = "they are one table")]
#[rustfmt::skip]
fn goals(figures: &Figures) -> Vec<Verdict> {
    vec![
        Verdict {
            id: "P1",
            goal: "HTTP/1: ≤ 1.20 × raw, ≤ 0.65 × hyper-util, ≤ 0.32 × reqwest",
            best_peer: "1.85 × raw",
            parts: instructions(figures),
        },
        Verdict {
            id: "P2",
            goal: "HTTP/2, 16 streams: ≤ 1.10 × raw",
            best_peer: "1.22 × raw",
            parts: vec![
                Part::at_most(figures.ratio("h2", CLIENT, RAW, "instructions"), 1.10, Two, "× raw"),
                Part::told(figures.ratio("h2", CLIENT, RAW_AGENT, "instructions"), Two, "× raw that sends a `User-Agent` too"),
                Part::told(figures.ratio("h2", SEND, RAW, "instructions"), Two, "with `send`"),
                Part::told(figures.ratio("h2", FETCH, RAW, "instructions"), Two, "with `fetch`"),
            ],
        },
        Verdict {
            id: "P3",
            goal: "no allocation above raw, ≤ 9,400 bytes (HTTP/1); ≤ 2 above raw with headers",
            best_peer: "8 and 6 above raw",
            parts: vec![
                Part::at_most(figures.above("h1", CLIENT, RAW, "allocations"), 0.0, One, "above raw"),
                Part::at_most(figures.get("h1", CLIENT.id, "bytes"), 9_400.0, Whole, "bytes"),
                Part::at_most(figures.above("h2", CLIENT, RAW, "allocations"), 0.0, One, "over HTTP/2"),
                Part::told(figures.above("h2", CLIENT, RAW_AGENT, "allocations"), One, "above raw that sends a `User-Agent` too"),
                Part::at_most(figures.above("h1-headers", CLIENT, RAW, "allocations"), 2.0, One, "with headers"),
                Part::at_most(figures.above("h2-headers", CLIENT, RAW, "allocations"), 2.0, One, "over HTTP/2"),
            ],
        },
        Verdict {
            id: "P4",
            goal: "retry layer over a ready service: ≤ 300 instructions, no allocation; ≤ 2 with headers",
            best_peer: "711, 1,248 with headers",
            parts: vec![
                Part::at_most(micro(figures, "one attempt only", "instructions"), 300.0, Whole, "when none is possible"),
                Part::at_most(micro(figures, "one attempt only", "allocations"), 0.0, Whole, "allocations"),
                Part::at_most(micro(figures, "no headers, no body", "instructions"), 300.0, Whole, "without headers"),
                Part::at_most(micro(figures, "no headers, no body", "allocations"), 0.0, Whole, "allocations"),
                Part::told(micro(figures, "four headers, no body", "instructions"), Whole, "with headers"),
                Part::at_most(micro(figures, "four headers, no body", "allocations"), 2.0, Whole, "allocations"),
            ],
        },
        Verdict {
            id: "P5",
            goal: "budget, a deposit: ≤ 5 ns",
            best_peer: "36 ns",
            parts: vec![Part::at_most(micro(figures, "budget/deposit", "ns"), 5.0, Two, "ns")],
        },
        Verdict {
            id: "P6",
            goal: "deadline and timeouts together: ≤ 250 instructions",
            best_peer: "442 ns for one `Sleep`",
            parts: vec![
                Part::at_most(figures.above("h1", CLIENT, UNTIMED, "instructions"), 250.0, Whole, "over HTTP/1"),
                Part::at_most(figures.above("h2", CLIENT, UNTIMED, "instructions"), 250.0, Whole, "over HTTP/2"),
            ],
        },
        Verdict {
            id: "P7",
            goal: "10 % of 503s: ≤ 1.15 × its own instructions, one retry for each, no new connection, with 200 kB too",
            best_peer: "a connection for each long body",
            parts: failures(figures),
        },
        Verdict {
            id: "P8",
            goal: "what a replay adds to an upload of 1 MiB: nothing copied; ≤ 2 allocations for a stream",
            best_peer: "no other client replays a stream",
            parts: replay(figures),
        },
        Verdict {
            id: "P9",
            goal: "an idle connection: ≤ 1,024 bytes above raw; ≤ 22,000 in all with small buffers, if asked for",
            best_peer: "364 bytes above raw",
            parts: vec![
                Part::at_most(figures.above("idle-h1", CLIENT, RAW, "live"), 1_024.0, Whole, "above raw"),
                Part::told(figures.above("idle-h2", CLIENT, RAW, "live"), Whole, "over HTTP/2"),
                Part::at_most(figures.get("idle-h1", SMALL.id, "live"), 22_000.0, Whole, "with small buffers"),
            ],
        },
        Verdict {
            id: "P10",
            goal: "10,000 hosts beside one: ≤ 150 instructions above raw's growth, no allocation",
            best_peer: "613",
            parts: vec![
                Part::at_most(growth(figures, "instructions"), 150.0, Whole, "instructions"),
                Part::at_most(growth(figures, "allocations"), 0.0, One, "allocations"),
            ],
        },
        Verdict {
            id: "P11",
            goal: "a new connection: ≤ 1.12 × raw, ≤ 18 allocations",
            best_peer: "1.50 × raw, 31",
            parts: vec![
                Part::at_most(figures.ratio("cold", CLIENT, RAW, "instructions"), 1.12, Two, "× raw"),
                Part::at_most(figures.get("cold", CLIENT.id, "allocations"), 18.0, One, "allocations"),
            ],
        },
        Verdict {
            id: "P12",
            goal: "one `writev` and one `recvfrom` for a request; ≤ 0.08 `epoll_wait` with 16 in flight",
            best_peer: "the same",
            parts: vec![
                Part::at_most(figures.get("calls-1", CLIENT.id, "writev"), 1.0, Two, "writev"),
                Part::at_most(figures.get("calls-1", CLIENT.id, "recvfrom"), 1.0, Two, "recvfrom"),
                Part::at_most(figures.get("calls-16", CLIENT.id, "writev"), 1.0, Two, "writev with 16"),
                Part::at_most(figures.get("calls-16", CLIENT.id, "recvfrom"), 1.0, Two, "recvfrom with 16"),
                Part::at_most(figures.get("calls-16", CLIENT.id, "epoll_wait"), 0.08, Three, "epoll_wait with 16"),
            ],
        },
        Verdict {
            id: "P13",
            goal: "a download of 100 MiB: as long as raw (≤ 1.05 × its time of the processor), ≤ 500 kB above its peak",
            best_peer: "the same",
            parts: vec![
                Part::at_most(figures.ratio("download", CLIENT, RAW, "cpu"), 1.05, Two, "× raw"),
                Part::at_most(figures.above("download", ALONE, RAW, "peak"), 500.0, Whole, "kB above raw"),
                Part::told(figures.above("download", ALONE, RAW, "grown"), Whole, "kB of it not the program"),
            ],
        },
        Verdict {
            id: "P14",
            goal: "retry + session, HTTP/1, no TLS: ≤ 40 crates, ≤ 1.25 MB, built in ≤ 1.25 × hyper-util's time of the processor",
            best_peer: "25 crates, 1.16 MB",
            parts: weigh(figures),
        },
        Verdict {
            id: "P15",
            goal: "time of the processor, advisory: ≤ 1.10 × raw, ≤ 0.90 × hyper-util, ≤ 0.65 × reqwest",
            best_peer: "1.22–1.30 × raw",
            parts: ["cpu-16", "cpu-128"].into_iter().flat_map(|case| cpu(figures, case)).collect(),
        },
    ]
}

fn instructions(figures: &Figures) -> Vec<Part> {
    let beside = |peer| figures.ratio("h1", CLIENT, peer, "instructions");
    vec![
        Part::at_most(beside(RAW), 1.20, Two, "× raw"),
        Part::at_most(beside(HYPER_UTIL), 0.65, Two, "× hyper-util"),
        Part::at_most(beside(REQWEST), 0.32, Two, "× reqwest"),
        Part::told(
            beside(RAW_AGENT),
            Two,
            "× raw that sends a `User-Agent` too",
        ),
        Part::told(
            figures.ratio("h1", SEND, RAW, "instructions"),
            Two,
            "× raw with `send`",
        ),
        Part::told(
            figures.ratio("h1", FETCH, RAW, "instructions"),
            Two,
            "with `fetch`",
        ),
    ]
}

fn micro(figures: &Figures, title: &str, quantity: &str) -> Option<f64> {
    figures.get("micro", title, quantity)
}

fn failures(figures: &Figures) -> Vec<Part> {
    let of = |case, quantity| figures.get(case, CLIENT.id, quantity);
    let (short, long) = ("flaky-10-13", "flaky-10-200000");
    vec![
        Part::at_most(of(short, "beside"), 1.15, Three, "×"),
        Part::told(of(long, "beside"), Three, "× with 200 kB"),
        Part::at_most(of(short, "retries"), 1.0, Two, "retries"),
        Part::at_most(of(long, "retries"), 1.0, Two, "with 200 kB"),
        Part::at_most(
            of(short, "connections"),
            0.0,
            Whole,
            "new connections for 100",
        ),
        Part::at_most(of(long, "connections"), 0.0, Whole, "with 200 kB"),
    ]
}

/// A frame has 64 KiB: whoever copied one of them would need that much more memory.
fn replay(figures: &Figures) -> Vec<Part> {
    const NOTES: f64 = 4_096.0;
    let above = |case, quantity| figures.above(case, REPLAY, SESSION, quantity);
    vec![
        Part::at_most(above("upload", "bytes"), NOTES, Whole, "bytes of memory"),
        Part::told(above("upload", "allocations"), One, "allocations"),
        Part::at_most(
            above("upload-stream", "bytes"),
            NOTES,
            Whole,
            "bytes for a stream",
        ),
        Part::at_most(
            above("upload-stream", "allocations"),
            2.0,
            One,
            "allocations",
        ),
    ]
}

fn growth(figures: &Figures, quantity: &str) -> Option<f64> {
    let grown = |peer: Peer| {
        let (many, one) = (
            figures.get("hosts-10000", peer.id, quantity)?,
            figures.get("h1", peer.id, quantity)?,
        );
        Some(many - one)
    };
    Some(grown(CLIENT)? - grown(RAW)?)
}

fn weigh(figures: &Figures) -> Vec<Part> {
    let of = |package, quantity| figures.get(weight::CASE, package, quantity);
    let beside = |quantity| {
        let (ours, theirs) = (
            of("weight-ours", quantity)?,
            of("weight-hyper-util", quantity)?,
        );
        Some(ours / theirs)
    };
    let megabytes = of("weight-ours", "size").map(|bytes| bytes / 1e6);
    vec![
        Part::at_most(of("weight-ours", "crates"), 40.0, Whole, "crates"),
        Part::at_most(megabytes, 1.25, Two, "MB"),
        // The clock depends on who else builds here: between runs it told from 1.1 to 1.6.
        Part::at_most(beside("cpu"), 1.25, Two, "× of the processor"),
        Part::told(beside("seconds"), Two, "× by the clock"),
    ]
}

fn cpu(figures: &Figures, case: &str) -> Vec<Part> {
    let in_flight = case.trim_start_matches("cpu-");
    [
        (RAW, 1.10, format!("× raw with {in_flight}")),
        (HYPER_UTIL, 0.90, "× hyper-util".to_owned()),
        (REQWEST, 0.65, "× reqwest".to_owned()),
    ]
    .into_iter()
    .map(|(peer, bound, unit)| {
        Part::at_most(figures.ratio(case, CLIENT, peer, "cpu"), bound, Two, &unit)
    })
    .collect()
}
