use crate::table::{
    Digits::{self, One, Three, Two, Whole},
    Table,
};

/// One goal, and what came of it.
pub(crate) struct Verdict {
    pub(crate) id: &'static str,
    pub(crate) goal: &'static str,
    /// What another client reaches.
    pub(crate) best_peer: String,
    /// Empty for a goal that this report does not measure.
    pub(crate) parts: Vec<Part>,
}

/// One figure of a goal.
pub(crate) struct Part {
    text: String,
    /// `None` for what is only told, or was not measured.
    met: Option<bool>,
    measured: bool,
}

/// What each goal came to, as a table.
pub(crate) fn table(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new(&["", "goal", "best other client", "measured", ""]);
    for verdict in verdicts {
        let measured: Vec<_> = verdict.parts.iter().map(Part::shown).collect();
        table.row(
            verdict.id,
            &[
                verdict.goal.to_owned(),
                verdict.best_peer.clone(),
                measured.join("; "),
                verdict.outcome().to_owned(),
            ],
        );
    }
    table
}

impl Verdict {
    pub(crate) fn missed(&self) -> bool {
        self.parts.iter().any(|part| part.met == Some(false))
    }

    fn outcome(&self) -> &'static str {
        if self.missed() {
            "**missed**"
        } else if self.parts.is_empty() {
            "not measured here"
        } else if self.parts.iter().any(|part| !part.measured) {
            "not all measured"
        } else {
            "met"
        }
    }
}

impl Part {
    /// A figure that may be so much.
    pub(crate) fn at_most(value: Option<f64>, bound: f64, digits: Digits, unit: &str) -> Self {
        Self {
            // What is shown is what is judged.
            met: value.map(|value| round(value, digits) <= bound),
            ..Self::told(value, digits, unit)
        }
    }

    /// A figure that is not judged.
    pub(crate) fn told(value: Option<f64>, digits: Digits, unit: &str) -> Self {
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

#[cfg(test)]
mod tests {
    use super::{Part, Two, Verdict};

    fn outcome(parts: Vec<Part>) -> &'static str {
        let verdict = Verdict {
            id: "P0",
            goal: "≤ 1.25",
            best_peer: String::new(),
            parts,
        };
        verdict.outcome()
    }

    #[test]
    fn a_goal_is_missed_by_one_figure_that_as_shown_exceeds_it() {
        let figure = |value| Part::at_most(value, 1.25, Two, "×");
        assert_eq!(outcome(vec![figure(Some(1.254))]), "met");
        assert_eq!(outcome(vec![figure(Some(1.256))]), "**missed**");
        assert_eq!(outcome(vec![figure(None), figure(Some(1.3))]), "**missed**");
    }

    #[test]
    fn a_goal_without_a_figure_is_not_met() {
        assert_eq!(outcome(vec![]), "not measured here");
        let unknown = Part::at_most(None, 1.25, Two, "×");
        assert_eq!(outcome(vec![unknown]), "not all measured");
    }
}
