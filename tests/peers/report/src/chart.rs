use std::fmt::Write;

use crate::{
    figures::Figures,
    peers::{
        AIOHTTP, CLIENT, FETCH, HYPER_UTIL_RETRY, MS_FETCH, PEERS, Peer, RAW, REQWEST,
        REQWEST_MIDDLEWARE, UNDICI,
    },
    table::Digits,
};

/// A chart of bars, one group for each client.
pub(crate) struct Chart {
    /// Its file is `docs/peers-NAME.svg`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The section whose figures it shows.
    pub(crate) section: &'static str,
    pub(crate) peers: &'static [Peer],
    pub(crate) bars: &'static [Bar],
    /// Whether they are shown as multiples of what bare hyper has.
    pub(crate) of_raw: bool,
    pub(crate) digits: Digits,
}

/// One bar of each group.
pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) case: &'static str,
    pub(crate) quantity: &'static str,
}

/// The one that the page begins with: what comes into question for one and the same program.
pub(crate) const FIRST: Chart = Chart {
    name: "first",
    title: "Time of the processor for one GET, 16 of them in flight over HTTP/1, kernel included, in µs",
    section: "",
    peers: &[
        CLIENT,
        FETCH,
        HYPER_UTIL_RETRY,
        REQWEST,
        REQWEST_MIDDLEWARE,
        MS_FETCH,
        UNDICI,
        AIOHTTP,
    ],
    bars: &[bar("16 in flight", "cpu-16", "cpu")],
    of_raw: false,
    digits: Digits::One,
};

/// Those of the sections.
pub(crate) const CHARTS: [Chart; 5] = [
    Chart {
        name: "instructions",
        title: "Instructions of one GET, as multiples of raw hyper's",
        section: "HTTP/1",
        peers: &PEERS,
        bars: &[
            bar("HTTP/1", "h1", "instructions"),
            bar("HTTP/2, 16 streams", "h2", "instructions"),
        ],
        of_raw: true,
        digits: Digits::Two,
    },
    Chart {
        name: "allocations",
        title: "Allocations of one GET",
        section: "HTTP/1",
        peers: &PEERS,
        bars: &[
            bar("HTTP/1", "h1", "allocations"),
            bar("HTTP/2, 16 streams", "h2", "allocations"),
        ],
        of_raw: false,
        digits: Digits::One,
    },
    Chart {
        name: "cpu",
        title: "Time of the processor for one GET over HTTP/1, kernel included, in µs",
        section: "Time of the processor",
        peers: &PEERS,
        bars: &[
            bar("16 in flight", "cpu-16", "cpu"),
            bar("128 in flight", "cpu-128", "cpu"),
        ],
        of_raw: false,
        digits: Digits::One,
    },
    Chart {
        name: "connections",
        title: "Instructions of the first GET on a new connection, as multiples of raw hyper's",
        section: "New connections",
        peers: &PEERS,
        bars: &[bar("HTTP/1", "cold", "instructions")],
        of_raw: true,
        digits: Digits::Two,
    },
    Chart {
        name: "failures",
        title: "New connections for each 100 answers of 503",
        section: "Failures",
        peers: &PEERS,
        bars: &[
            bar("with 13 bytes", "flaky-10-13", "connections"),
            bar("with 200 kB", "flaky-10-200000", "connections"),
        ],
        of_raw: false,
        digits: Digits::Whole,
    },
];

const fn bar(name: &'static str, case: &'static str, quantity: &'static str) -> Bar {
    Bar {
        name,
        case,
        quantity,
    }
}

const WIDTH: f64 = 760.0;
/// Where the bars begin: left of it are the names.
const LEFT: f64 = 250.0;
/// Room for the number behind the longest bar.
const RIGHT: f64 = 60.0;
const TOP: f64 = 64.0;
const THICKNESS: f64 = 11.0;
const GAP: f64 = 12.0;

/// Colours for a light page and for a dark one, with a ground of their own for pages that are neither;
/// what is of this project stands out.
const STYLE: &str = "\
.ground { fill: #ffffff }
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: 600 }
.first { fill: #8c959f } .second { fill: #c4cad1 }
.ours .first { fill: #0969da } .ours .second { fill: #80b7f5 }
.ours text { font-weight: 600 }
.raw { stroke: #59636e; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 }
text { fill: #e6edf3 }
.first { fill: #848d97 } .second { fill: #565e68 }
.ours .first { fill: #4493f8 } .ours .second { fill: #2a5d9f }
.raw { stroke: #9198a1 }
}
";

const CLASSES: [&str; 2] = ["first", "second"];

impl Chart {
    /// Its file, beside the page.
    pub(crate) fn file(&self) -> String {
        format!("peers-{}.svg", self.name)
    }

    /// How the page shows it.
    pub(crate) fn link(&self) -> String {
        format!("![{}]({})\n", self.title, self.file())
    }

    /// Draws it; what was not measured is left out.
    pub(crate) fn svg(&self, figures: &Figures) -> String {
        let groups: Vec<_> = self
            .peers
            .iter()
            .map(|peer| (peer, self.values(figures, peer.id)))
            .filter(|(_, values)| values.iter().any(Option::is_some))
            .collect();
        let all = groups.iter().flat_map(|(_, values)| values).flatten();
        let most = all.copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let scale = (WIDTH - LEFT - RIGHT) / most;
        let group = THICKNESS * crate::bench::each(self.bars.len()) + GAP;
        let height = TOP + group * crate::bench::each(groups.len());
        let mut svg = self.head(height);
        for (at, (peer, values)) in groups.iter().enumerate() {
            let top = TOP + group * crate::bench::each(at);
            let class = if peer.is_ours() {
                " class=\"ours\""
            } else {
                ""
            };
            let middle = top + (group - GAP) / 2.0 + 4.0;
            line(&mut svg, &format!("<g{class}>"));
            let name = escaped(peer.name);
            line(
                &mut svg,
                &format!(
                    "<text x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{name}</text>",
                    LEFT - 8.0
                ),
            );
            for (bar, value) in values.iter().enumerate() {
                let y = top + THICKNESS * crate::bench::each(bar);
                if let Some(value) = *value {
                    self.bar(&mut svg, CLASSES[bar], y, value, value * scale);
                }
            }
            line(&mut svg, "</g>");
        }
        if self.of_raw {
            let x = LEFT + scale;
            let (from, to) = (TOP - 4.0, height - GAP / 2.0);
            line(
                &mut svg,
                &format!("<path class=\"raw\" d=\"M{x:.1} {from:.1}V{to:.1}\"/>"),
            );
        }
        line(&mut svg, "</svg>");
        svg
    }

    fn values(&self, figures: &Figures, id: &str) -> Vec<Option<f64>> {
        let values = self.bars.iter().map(|bar| {
            let value = figures.get(bar.case, id, bar.quantity)?;
            if self.of_raw {
                Some(value / figures.get(bar.case, RAW.id, bar.quantity)?)
            } else {
                Some(value)
            }
        });
        values.collect()
    }

    /// The title, and what the colours stand for.
    fn head(&self, height: f64) -> String {
        let title = escaped(self.title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n<text class=\"title\" x=\"8\" y=\"20\">{title}</text>\n"
        );
        if let [_, _] = self.bars {
            let mut x = LEFT;
            for (bar, class) in self.bars.iter().zip(CLASSES) {
                let name = escaped(bar.name);
                line(
                    &mut svg,
                    &format!(
                        "<rect class=\"{class}\" x=\"{x:.0}\" y=\"34\" width=\"11\" height=\"11\"/>\
                         <text x=\"{:.0}\" y=\"44\">{name}</text>",
                        x + 16.0
                    ),
                );
                x += 160.0;
            }
        }
        svg
    }

    fn bar(&self, svg: &mut String, class: &str, y: f64, value: f64, width: f64) {
        let height = THICKNESS - 1.0;
        let (behind, below) = (LEFT + width + 4.0, y + height - 0.5);
        let number = self.digits.show(value);
        line(
            svg,
            &format!(
                "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\"/>\
                 <text x=\"{behind:.1}\" y=\"{below:.1}\" style=\"font-size:10px\">{number}</text>"
            ),
        );
    }
}

fn line(svg: &mut String, text: &str) {
    // Nothing fails in writing to a string.
    let _ = writeln!(svg, "{text}");
}

fn escaped(text: &str) -> String {
    let text = text.replace('`', "");
    text.replace('&', "&amp;").replace('<', "&lt;")
}
