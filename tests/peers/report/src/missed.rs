use crate::verdict::Verdict;

/// Written by hand, from profiles: a paragraph `- **P1, P2.** …` for goals that were missed.
const REASONS: &str = include_str!("missed.md");

/// Why the goals are missed that are, and which have no reason yet.
pub(crate) fn reasons(verdicts: &[Verdict]) -> String {
    reasons_of(REASONS, verdicts)
}

fn reasons_of(written: &str, verdicts: &[Verdict]) -> String {
    let missed: Vec<_> = verdicts
        .iter()
        .filter(|verdict| verdict.missed())
        .map(|verdict| verdict.id)
        .collect();
    if missed.is_empty() {
        return "None is missed.\n".to_owned();
    }
    let mut text = String::new();
    let mut without = missed.clone();
    for paragraph in paragraphs(written) {
        let ids = ids(&paragraph);
        without.retain(|id| !ids.contains(id));
        if ids.is_empty() || ids.iter().any(|id| missed.contains(id)) {
            text.push_str(&paragraph);
        }
    }
    if without.is_empty() {
        return text;
    }
    let ids = without.join(", ");
    format!("{text}- **{ids}.** The reason is not known yet.\n")
}

/// What begins with a list's dash, or is no part of the list; each with its line ends.
fn paragraphs(written: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in written.lines() {
        if line.starts_with("- ") {
            all.push(String::new());
        }
        if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    all.retain(|paragraph| !paragraph.is_empty());
    all
}

/// The goals that a paragraph is about; none for one that is about all.
fn ids(paragraph: &str) -> Vec<&str> {
    let list = paragraph
        .strip_prefix("- **")
        .and_then(|rest| rest.split_once(".**"));
    list.map_or_else(Vec::new, |(ids, _)| ids.split(", ").collect())
}

#[cfg(test)]
mod tests {
    use super::{Verdict, reasons_of};
    use crate::{table::Digits::One, verdict::Part};

    const WRITTEN: &str =
        "All cost something.\n\n- **P1, P2.** Copies,\n  mostly.\n- **P3.** A map.\n";

    fn verdicts(of: &[(&'static str, f64)]) -> Vec<Verdict> {
        of.iter()
            .map(|&(id, value)| Verdict {
                id,
                goal: "≤ 1",
                best_peer: String::new(),
                parts: vec![Part::at_most(Some(value), 1.0, One, "")],
            })
            .collect()
    }

    #[test]
    fn only_of_what_is_missed_the_reason_is_told() {
        let text = reasons_of(WRITTEN, &verdicts(&[("P1", 1.0), ("P2", 2.0), ("P3", 0.5)]));
        assert_eq!(
            text,
            "All cost something.\n\n- **P1, P2.** Copies,\n  mostly.\n"
        );
        let text = reasons_of(WRITTEN, &verdicts(&[("P1", 1.0)]));
        assert_eq!(text, "None is missed.\n");
    }

    #[test]
    fn a_goal_that_is_missed_without_a_reason_is_named() {
        let text = reasons_of(WRITTEN, &verdicts(&[("P3", 2.0), ("P4", 2.0)]));
        assert!(text.ends_with("- **P3.** A map.\n- **P4.** The reason is not known yet.\n"));
    }
}
