//! The errors that the guide quotes, each provoked.

mod memory;
mod sockets;

use std::collections::BTreeSet;

use tokio::runtime;

use super::{guide, lines, read, root};

/// The host of all errors, in place of the addresses that a test has.
const HOST: &str = "api.example.com";

/// Every error, as `{:#}` prints it.
fn provoked() -> BTreeSet<String> {
    let mut paused = runtime::Builder::new_current_thread();
    let paused = paused.enable_all().start_paused(true).build().unwrap();
    let mut lines = paused.block_on(memory::errors());
    let real = runtime::Builder::new_current_thread().enable_all().build();
    lines.append(&mut real.unwrap().block_on(sockets::errors()));
    lines
}

/// The line of a call that failed, or of a setting that cannot be.
#[track_caller]
fn line<T>(result: Result<T, client::Error>) -> String {
    match result {
        Ok(_) => panic!("this call fails"),
        Err(error) => format!("{error:#}"),
    }
}

/// Whether a line of a chapter is that of an error: a method, an origin, what failed.
fn is_error(line: &str) -> bool {
    let mut words = line.split(' ');
    let (method, origin) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let is_of = |name: &str| method == name && origin.starts_with("http") && origin.ends_with(':');
    ["GET:", "POST:"].contains(&method) || ["GET", "POST"].into_iter().any(is_of)
}

#[test]
fn errors_are_printed_as_the_guide_says() {
    let provoked = provoked();
    let symptoms = root().join("docs/book/src/symptoms.md");
    let mut quoted = BTreeSet::new();
    for page in guide() {
        let text = read(&page);
        for (_, line) in lines(&text).filter(|(block, _)| *block == Some("text")) {
            if page == symptoms {
                quoted.insert(line.to_owned());
            }
            if page == symptoms || is_error(line) {
                assert!(provoked.contains(line), "{}: {line}", page.display());
            }
        }
    }
    let missing: Vec<_> = provoked.difference(&quoted).collect();
    assert!(missing.is_empty(), "not in {symptoms:?}: {missing:#?}");
}

/// Set for the copy of this program whose platform has no root certificates.
const WITHOUT_ROOTS: &str = "BOOK_WITHOUT_ROOTS";

/// The error where the platform has no root certificates: the environment of a process can only be
/// set from outside.
fn without_roots() -> String {
    let copy = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "errors::no_roots"])
        .env("SSL_CERT_FILE", "/dev/null")
        .env_remove("SSL_CERT_DIR")
        .env(WITHOUT_ROOTS, "1")
        .output()
        .unwrap();
    let out = String::from_utf8(copy.stdout).unwrap();
    let told = out.lines().find(|line| is_error(line));
    told.unwrap_or_else(|| panic!("{out}")).to_owned()
}

/// Prints it in that copy, and does nothing else.
#[test]
fn no_roots() {
    if std::env::var_os(WITHOUT_ROOTS).is_some() {
        let real = runtime::Builder::new_current_thread().enable_all().build();
        println!("\n{}", real.unwrap().block_on(sockets::without_roots()));
    }
}
