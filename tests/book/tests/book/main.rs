//! The guide in `docs/book`: what it quotes, where it leads, and that its chapters are alike.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

mod chapters;
mod errors;
mod links;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Markdown files in a directory and those below it.
fn pages(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut pages(&path));
        } else if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The pages of the guide.
fn guide() -> Vec<PathBuf> {
    pages(&root().join("docs/book/src"))
}

/// Each line of a page, with the info string of the code block that it stands in, if it does.
fn lines(text: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let mut block = None;
    text.lines().filter_map(move |line| {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            return Some((block, line));
        };
        block = match block {
            Some(_) => None,
            None => Some(info),
        };
        None
    })
}

/// The targets of the links to chapters in the table of contents, in their order.
fn summary() -> Vec<String> {
    let text = read(&root().join("docs/book/src/SUMMARY.md"));
    links::targets(&text).map(ToOwned::to_owned).collect()
}
