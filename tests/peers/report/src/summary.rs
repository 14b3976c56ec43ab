use crate::{
    figures::Figures,
    peers::{AIOHTTP, CLIENT, HYPER_UTIL_RETRY, Peer, REQWEST},
    table::Digits::{self, One, Two, Whole},
};

const WHAT: &str = "\
One GET of 13 bytes on an open connection, by the client of this project with all that is on by default (limits,
timeouts, the deadline, retries with their budget), costs

";

/// What the client costs beside what is in use today, a line for each.
pub(crate) fn lines(figures: &Figures) -> String {
    let others = [
        ("reqwest", REQWEST),
        ("hyper-util with `tower::retry`", HYPER_UTIL_RETRY),
        ("Python's aiohttp with aiohttp-retry", AIOHTTP),
    ];
    let lines = others.map(|(name, other)| {
        let parts = beside(figures, other);
        if parts.is_empty() {
            return String::new();
        }
        format!("- **beside {name}**: {}.\n", parts.join("; "))
    });
    format!("{WHAT}{}", lines.concat())
}

/// What of it is known.
fn beside(figures: &Figures, other: Peer) -> Vec<String> {
    let ratio = |case, quantity| {
        let ratio = figures.ratio(case, CLIENT, other, quantity)?;
        Some(Two.show(ratio))
    };
    let pair = |case, quantity, digits: Digits| {
        let of = |peer: Peer| Some(digits.show(figures.get(case, peer.id, quantity)?));
        Some((of(CLIENT)?, of(other)?))
    };
    let instructions = || {
        let (http1, http2) = (ratio("h1", "instructions")?, ratio("h2", "instructions")?);
        Some(format!(
            "{http1} × its instructions over HTTP/1, {http2} × over HTTP/2"
        ))
    };
    let allocations = || {
        let (ours, theirs) = pair("h1", "allocations", Whole)?;
        Some(format!("{ours} allocations, not {theirs}"))
    };
    let processor = || {
        let (ours, theirs) = pair("cpu-16", "cpu", One)?;
        let ratio = ratio("cpu-16", "cpu")?;
        Some(format!(
            "{ratio} × its time of the processor, kernel included ({ours} µs, not {theirs})"
        ))
    };
    let connection = || {
        let ratio = ratio("cold", "instructions")?;
        Some(format!(
            "{ratio} × its instructions for the first GET on a new connection"
        ))
    };
    let idle = || {
        let more = figures.above("idle-h1", CLIENT, other, "live")?;
        let word = if more < 0.0 { "fewer" } else { "more" };
        let bytes = Whole.show(more.abs());
        Some(format!("{bytes} bytes {word} for an idle connection"))
    };
    [
        instructions(),
        allocations(),
        processor(),
        connection(),
        idle(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{AIOHTTP, CLIENT, Figures, lines};

    #[test]
    fn what_was_not_measured_is_not_told() {
        let mut figures = Figures::default();
        assert!(!lines(&figures).contains("beside"));
        figures.set("cpu-16", CLIENT.id, "cpu", 7.0);
        figures.set("cpu-16", AIOHTTP.id, "cpu", 70.0);
        let text = lines(&figures);
        let told: Vec<_> = text.lines().filter(|line| line.starts_with('-')).collect();
        let [line] = told[..] else {
            panic!("one line, and not {told:?}");
        };
        assert!(
            line.ends_with("0.10 × its time of the processor, kernel included (7.0 µs, not 70.0)."),
            "{line}"
        );
    }
}
