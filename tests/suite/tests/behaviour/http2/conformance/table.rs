//! The page `docs/conformance.md`, held against the tests that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Where the tests stand that all have to be on the page.
const LISTED: [&str; 2] = [
    "behaviour::http2::conformance::",
    "behaviour::http1::conformance::",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What stands in the last column of the tables: `binary::modules::name`, after `crate/` where it is no binary of the suite.
fn named(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let last = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next());
    let codes = last.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    codes
        .filter(|code| code.contains("::"))
        .map(str::to_owned)
        .collect()
}

/// The sources of a test binary, or the file `<crate>/src/<path>.rs` of unit tests, each with its modules.
fn sources(binary: &str) -> Vec<(PathBuf, Vec<String>)> {
    if binary.contains("/src/") {
        let unit = root().join("crates").join(binary).with_extension("rs");
        return vec![(unit, Vec::new())];
    }
    let (folders, name) = if let Some((package, name)) = binary.split_once('/') {
        (vec![format!("crates/{package}/tests")], name)
    } else {
        let folders = ["tests/suite/tests", "tests/compat/tests"];
        (folders.map(str::to_owned).to_vec(), binary)
    };
    let mut found = Vec::new();
    for folder in folders {
        let path = root().join(folder).join(name);
        found.push((path.with_extension("rs"), Vec::new()));
        walk(&path, &[], &mut found);
    }
    found
}

/// The files of a folder that is a module, and of those within.
fn walk(folder: &Path, modules: &[String], found: &mut Vec<(PathBuf, Vec<String>)>) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = path.path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let root = stem == "main" || stem == "mod";
        let inner = [
            modules,
            if root {
                &[]
            } else {
                std::slice::from_ref(&stem)
            },
        ]
        .concat();
        if path.is_dir() {
            walk(&path, &inner, found);
        } else {
            found.push((path, inner));
        }
    }
}

/// The tests that a file has, each with the modules of the file that it stands in.
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

/// All tests of a binary, as the page names them.
fn tests(binary: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (file, modules) in sources(binary) {
        for test in tests_of(&file) {
            let mut path = vec![binary.to_owned()];
            path.extend(modules.iter().cloned());
            path.push(test);
            all.insert(path.join("::"));
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
    let mut all: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let places = named.iter().map(String::as_str).chain(LISTED);
    for binary in places.filter_map(|name| name.split("::").next()) {
        all.entry(binary).or_insert_with(|| tests(binary));
    }
    let there: BTreeSet<_> = all.values().flatten().collect();
    for name in &named {
        if !there.contains(name) {
            wrong.push(format!("{name} does not exist"));
        }
    }
    for name in there {
        let listed = LISTED.iter().any(|place| name.starts_with(place));
        if listed && !name.contains("::table::") && !named.contains(name) {
            wrong.push(format!("{name} is not on the page"));
        }
    }
    println!("figure: {} tests by section", named.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
