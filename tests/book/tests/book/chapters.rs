//! That no chapter is forgotten, and that those of the same kind have the same parts.

use super::{guide, lines, read, root, summary};

#[test]
fn every_page_is_in_the_table_of_contents() {
    let listed = summary();
    let source = root().join("docs/book/src");
    for page in guide() {
        let name = page.strip_prefix(&source).unwrap().to_str().unwrap();
        let is_listed = listed.iter().any(|it| it == name);
        assert!(is_listed || name == "SUMMARY.md", "{name}");
    }
}

#[test]
fn the_code_of_every_chapter_is_compiled() {
    let included = read(&root().join("tests/book/src/lib.rs"));
    // What is included in a chapter has no code of its own.
    for chapter in summary().iter().filter(|it| !it.starts_with("reference/")) {
        let include = format!("include_str!(\"../../../docs/book/src/{chapter}\")");
        assert!(included.contains(&include), "{chapter}");
    }
}

#[test]
fn no_code_of_a_chapter_is_left_out_of_the_tests() {
    for page in guide() {
        for (block, _) in lines(&read(&page)) {
            let Some(info) = block else { continue };
            let known = ["rust", "rust,no_run", "sh", "text", "toml"];
            assert!(known.contains(&info), "{}: {info:?}", page.display());
        }
    }
}

#[test]
fn every_strategy_has_the_same_parts() {
    let parts = [
        "## When to use it",
        "## Defaults",
        "## When it goes well",
        "## When it does not",
        "## Anti-patterns",
    ];
    let strategies = root().join("docs/book/src/strategies");
    for page in guide().iter().filter(|page| page.starts_with(&strategies)) {
        if page.ends_with("absent.md") {
            continue;
        }
        let text = read(page);
        let found: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(found, parts, "{}", page.display());
        for part in ["## When it goes well", "## When it does not"] {
            let after = text.split(part).nth(1).unwrap();
            let diagram = after.trim_start().starts_with("```text");
            assert!(diagram, "{}: no diagram after {part}", page.display());
        }
    }
}
