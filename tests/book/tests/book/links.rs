//! Where the links of the guide, the README and the other documents lead.

use std::path::Path;

use super::{guide, lines, pages, read, root};

/// The targets of the links in a text, those in code left out.
pub(super) fn targets(text: &str) -> impl Iterator<Item = &str> {
    let prose = lines(text).filter_map(|(block, line)| block.is_none().then_some(line));
    let parts = prose.flat_map(|line| line.split("](").skip(1));
    parts.filter_map(|part| part.split_once(')').map(|(target, _)| target))
}

/// The anchors that a page's headings have, on GitHub and in the book.
fn anchors(text: &str) -> Vec<String> {
    let prose = lines(text).filter_map(|(block, line)| block.is_none().then_some(line));
    let headings = prose.filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let kept = heading.trim_start_matches('#').trim().chars();
            kept.filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
                .flat_map(char::to_lowercase)
                .map(|it| if it == ' ' { '-' } else { it })
                .collect()
        })
        .collect()
}

/// What is wrong with a link on a page.
fn fault(page: &Path, text: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") {
        return None;
    }
    let (file, anchor) = match target.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (target, None),
    };
    let led_to;
    let text = if file.is_empty() {
        text
    } else {
        let path = page.parent().unwrap().join(file);
        if !path.exists() {
            return Some("there is no such file");
        }
        anchor?;
        led_to = read(&path);
        &led_to
    };
    let is_there = anchor.is_none_or(|anchor| anchors(text).iter().any(|it| it == anchor));
    (!is_there).then_some("there is no such heading")
}

#[test]
fn every_link_leads_somewhere() {
    let documents = root().join("docs");
    let mut looked_at: Vec<_> = pages(&documents);
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        looked_at.push(root().join(name));
    }
    for krate in ["client", "retry-layer", "session-layer"] {
        looked_at.push(root().join("crates").join(krate).join("README.md"));
    }
    assert!(guide().iter().all(|page| looked_at.contains(page)));
    let mut faults = Vec::new();
    for page in &looked_at {
        let text = read(page);
        for target in targets(&text) {
            if let Some(fault) = fault(page, &text, target) {
                faults.push(format!("{}: {target}: {fault}", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_links_of_the_guide_stay_in_the_book() {
    let book = root().join("docs/book/src").canonicalize().unwrap();
    for page in guide() {
        for target in targets(&read(&page)).filter(|it| !it.contains("://")) {
            let file = target.split('#').next().filter(|it| !it.is_empty());
            let Some(file) = file else { continue };
            let path = page.parent().unwrap().join(file).canonicalize();
            let stays = path.is_ok_and(|path| path.starts_with(&book));
            assert!(stays, "{}: {target}", page.display());
        }
    }
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = root().join("docs/book/src/start.md");
    let text = "# A title\n```text\n[x](y)\n```\n[a](nowhere.md) and [b](choosing.md#may-it-be-sent-again)";
    assert_eq!(
        targets(text).collect::<Vec<_>>(),
        ["nowhere.md", "choosing.md#may-it-be-sent-again"]
    );
    assert!(fault(&page, text, "nowhere.md").is_some());
    assert!(fault(&page, text, "choosing.md#nothing").is_some());
    assert!(fault(&page, text, "#nothing").is_some());
    for good in ["choosing.md#may-it-be-sent-again", "#a-title", "testing.md"] {
        assert_eq!(fault(&page, text, good), None, "{good}");
    }
}
