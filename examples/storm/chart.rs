//! Load and goodput of each variant over time, one panel beside the other.

use std::fmt::Write as _;

use overload::{Figures, Second};

const COLUMNS: usize = 3;
const WIDTH: f64 = 820.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 64.0;
/// Of one panel, without what is around it.
const PANEL: (f64, f64) = (235.0, 96.0);
const GAP: (f64, f64) = (22.0, 44.0);

/// Colours for a light page and for a dark one, with a ground of their own for pages that are neither.
const STYLE: &str = "\
.ground { fill: #ffffff }
text { font: 11px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: 600 }
.name { font-weight: 600 }
.note, .axis { fill: #59636e }
.trouble { fill: #ffebe9 }
.frame { fill: none; stroke: #d1d9e0 }
.calls { fill: none; stroke: #59636e; stroke-dasharray: 3 3 }
.load { fill: none; stroke: #cf222e; stroke-width: 1.5 }
.good { fill: none; stroke: #0969da; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 }
text { fill: #e6edf3 }
.note, .axis { fill: #9198a1 }
.trouble { fill: #3c1618 }
.frame { stroke: #3d444d }
.calls { stroke: #9198a1 }
.load { stroke: #f85149 }
.good { stroke: #4493f8 }
}
";

/// Draws a panel for each of these figures.
pub(crate) fn svg(title: &str, panels: &[(&str, &Figures)]) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let height = TOP + number(rows) * (PANEL.1 + GAP.1);
    let most = most(panels);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n<text class=\"title\" x=\"8\" y=\"20\">{title}</text>\n"
    );
    for (x, class, name) in [
        (8.0, "load", "requests in a second"),
        (188.0, "good", "calls that succeed in a second"),
        (420.0, "calls", "calls that are made in a second"),
    ] {
        line(
            &mut svg,
            &format!(
                "<path class=\"{class}\" d=\"M{x} 38h24\"/><text x=\"{:.0}\" y=\"42\">{name}</text>",
                x + 30.0
            ),
        );
    }
    for (at, (name, figures)) in panels.iter().enumerate() {
        let (row, column) = (at / COLUMNS, at % COLUMNS);
        let panel = Panel {
            x: LEFT + number(column) * (PANEL.0 + GAP.0),
            y: TOP + number(row) * (PANEL.1 + GAP.1) + 16.0,
            most,
            figures,
        };
        panel.draw(&mut svg, name);
    }
    line(&mut svg, "</svg>");
    svg
}

struct Panel<'a> {
    x: f64,
    y: f64,
    /// The top of the axis.
    most: f64,
    figures: &'a Figures,
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String, name: &str) {
        let (x, y) = (self.x, self.y);
        let (width, height) = PANEL;
        let trouble = self.figures.trouble();
        let (from, to) = (self.at(trouble.start), self.at(trouble.end));
        let recovery = self.figures.recovery().map_or_else(
            || "never recovers".to_owned(),
            |seconds| format!("recovers after {seconds} s"),
        );
        for element in [
            format!(
                "<rect class=\"trouble\" x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{height}\"/>",
                to - from
            ),
            format!(
                "<rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
            ),
            format!(
                "<text class=\"name\" x=\"{x}\" y=\"{:.1}\">{name}</text>",
                y - 5.0
            ),
            format!(
                "<text class=\"note\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{recovery}</text>",
                x + width,
                y - 5.0
            ),
            format!(
                "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>",
                x - 4.0,
                y + 9.0,
                self.most
            ),
            format!(
                "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} s</text>",
                x + width,
                y + height + 12.0,
                self.figures.seconds.len()
            ),
            self.curve("calls", |second| second.calls),
            self.curve("load", |second| second.attempts),
            self.curve("good", |second| second.good),
        ] {
            line(svg, &element);
        }
    }

    /// Where a second begins.
    fn at(&self, second: usize) -> f64 {
        self.x + PANEL.0 * number(second) / number(self.figures.seconds.len().max(1))
    }

    fn curve(&self, class: &str, value: impl Fn(&Second) -> u32) -> String {
        let mut path = String::new();
        for (second, counts) in self.figures.seconds.iter().enumerate() {
            let (x, share) = (self.at(second), f64::from(value(counts)) / self.most);
            let y = self.y + PANEL.1 * (1.0 - share.min(1.0));
            let verb = if second == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{verb}{x:.1} {y:.1}");
        }
        format!("<path class=\"{class}\" d=\"{path}\"/>")
    }
}

/// The top of all axes: a round number above all that is shown.
fn most(panels: &[(&str, &Figures)]) -> f64 {
    const STEP: u32 = 500;
    let seconds = panels.iter().flat_map(|(_, figures)| &figures.seconds);
    let most = seconds.map(|second| second.attempts.max(second.calls));
    f64::from(most.max().unwrap_or_default().div_ceil(STEP).max(1) * STEP)
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

fn line(svg: &mut String, text: &str) {
    // Nothing fails in writing to a string.
    let _ = writeln!(svg, "{text}");
}
