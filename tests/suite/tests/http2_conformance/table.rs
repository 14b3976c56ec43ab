//! The page `docs/conformance.md`, held against the tests that there are.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The binaries whose tests all have to be on the page.
const LISTED: [&str; 2] = ["http2_conformance", "http1_conformance"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What stands in the last column of the tables: `binary::modules::name`.
fn named(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let last = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next());
    let codes = last.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    codes
        .filter(|code| code.contains("::"))
        .map(str::to_owned)
        .collect()
}

/// The sources that make a test binary, or the unit tests of a file `crates/<crate>/src/<path>.rs`.
fn sources(binary: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for tests in [
        "tests/suite/tests",
        "tests/compat/tests",
        "crates/retry-layer/tests",
    ] {
        let one = root().join(tests).join(binary);
        if let Ok(files) = fs::read_dir(&one) {
            found.extend(files.flatten().map(|file| file.path()));
        }
        let alone = one.with_extension("rs");
        if alone.exists() {
            found.push(alone);
        }
    }
    let unit = root().join("crates").join(binary).with_extension("rs");
    if unit.exists() {
        found.push(unit);
    }
    found
}

/// The tests that a file has, each with the modules that it stands in.
fn tests_of(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let (mut modules, mut tests) = (Vec::new(), Vec::new());
    let mut marked = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let code = line.trim_start();
        let depth = (line.len() - code.len()) / 4;
        modules.truncate(depth);
        if let Some(module) = code
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(" {"))
        {
            modules.push(module.to_owned());
        } else if code.starts_with("#[tokio::test") || code == "#[test]" {
            marked = true;
        } else if let Some(rest) = code.strip_prefix("async fn ").or(code.strip_prefix("fn ")) {
            let name = rest.split('(').next().unwrap_or_default();
            if std::mem::take(&mut marked) {
                tests.push([modules.as_slice(), &[name.to_owned()]].concat().join("::"));
            }
        }
    }
    tests
}

/// All tests of a binary, as the test harness names them.
fn tests(binary: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in sources(binary) {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let is_root = stem == "main" || stem == binary || binary.contains('/');
        for test in tests_of(&file) {
            all.insert(if is_root {
                test
            } else {
                format!("{stem}::{test}")
            });
        }
    }
    all
}

#[test]
fn the_page_names_tests_that_exist_and_leaves_none_out() {
    let page = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let named = named(&page);
    assert!(named.len() > 100, "the page could not be read: {named:?}");
    let mut wrong = Vec::new();
    for name in &named {
        let (binary, test) = name.split_once("::").unwrap();
        if !tests(binary).contains(test) {
            wrong.push(format!("{name} does not exist"));
        }
    }
    for binary in LISTED {
        for test in tests(binary) {
            let name = format!("{binary}::{test}");
            if !test.starts_with("table::") && !named.contains(&name) {
                wrong.push(format!("{name} is not on the page"));
            }
        }
    }
    println!("figure: {} tests by section", named.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
