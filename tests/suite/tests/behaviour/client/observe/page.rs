//! `docs/telemetry.md`, compared with what the code emits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use client::{
    Client, RetryPolicy,
    telemetry::{METRICS, UrlTemplate},
};
use http::{Method, Request};
use metrics_util::debugging::DebuggingRecorder;
use test_support::{MemoryConnector, Reply, sequence};
use tokio::time::timeout;

use crate::client::observe::{figures, heard::Heard};

const SECOND: Duration = Duration::from_secs(1);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The lines below this heading, up to the next of its kind.
fn section(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/telemetry.md")).expect("there is a page");
    let level = heading.split(' ').next().unwrap_or_default();
    let lines = page.lines().map(str::to_owned);
    let lines: Vec<_> = lines
        .skip_while(|line| line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with(&format!("{level} ")))
        .collect();
    assert!(!lines.is_empty(), "{heading} is there");
    lines
}

/// The rows of the table whose head begins so.
fn table(section: &[String], head: &str) -> Vec<Vec<String>> {
    let rows = section.iter().skip_while(|line| !line.starts_with(head));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<String>> = rows
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "{head} is there");
    rows
}

/// What stands in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn name(cell: &str) -> String {
    names(cell).pop_first().expect("there is a name")
}

#[test]
fn the_page_has_the_metrics_of_the_table_in_code() {
    let section = section("## Metrics");
    let of_page: Vec<_> = table(&section, "| metric | instrument")
        .into_iter()
        .map(|row| (name(&row[0]), row[1].clone(), name(&row[2]), names(&row[3])))
        .collect();
    let of_code: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            (
                metric.name().to_owned(),
                metric.instrument().to_string(),
                metric.unit().to_owned(),
                metric
                    .attributes()
                    .iter()
                    .map(|it| (*it).to_owned())
                    .collect(),
            )
        })
        .collect();
    assert_eq!(of_page, of_code);

    let of_page: Vec<_> = table(&section, "| metric | upper bounds")
        .into_iter()
        .map(|row| (name(&row[0]), row[1].clone()))
        .collect();
    let with_buckets = METRICS.iter().filter(|it| !it.buckets().is_empty());
    let of_code: Vec<_> = with_buckets
        .map(|metric| {
            let buckets: Vec<_> = metric.buckets().iter().map(f64::to_string).collect();
            (metric.name().to_owned(), buckets.join(", "))
        })
        .collect();
    assert_eq!(of_page, of_code);
}

/// Calls that need every field and attribute that there is.
async fn everything() {
    let policy = RetryPolicy::builder()
        .max_attempts(2)
        .jitter(client::Jitter::None);
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).body("busy"),
        Reply::status(200).body("x"),
        Reply::status(404),
    ]));
    connector.refuse();
    let client = Client::builder()
        .record_metrics()
        .record_paths()
        .retry(policy)
        .build_with_connector(connector.clone())
        .unwrap();
    let users = || {
        client
            .get("http://peer/users/17")
            .url_template("/users/{id}")
    };
    users().fetch().await.unwrap_err();
    connector.accept();
    users().fetch().await.unwrap();
    let brew = Request::builder()
        .method(Method::from_bytes(b"BREW").unwrap())
        .uri("http://peer/pots/1")
        .extension(UrlTemplate::new("/pots/{id}"))
        .body(client::Body::empty())
        .unwrap();
    client.execute(brew).await.unwrap();
    connector.hang();
    let other = client
        .get("http://other/users/17")
        .url_template("/users/{id}");
    timeout(SECOND, other.no_retry().fetch()).await.unwrap_err();
    client.close().await;
    tokio::time::sleep(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn the_page_has_the_attributes_that_metrics_come_with() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    everything().await;
    let mut told = BTreeMap::<_, BTreeSet<String>>::new();
    for line in figures::told(&snapshotter).into_keys() {
        let mut words = line.split(' ');
        let name = words.next().expect("a name is first").to_owned();
        let labels = words.filter_map(|word| Some(word.split_once('=')?.0.to_owned()));
        told.entry(name).or_default().extend(labels);
    }
    let rows = table(&section("## Metrics"), "| metric | instrument");
    let of_page = rows.iter().map(|row| (name(&row[0]), names(&row[3])));
    assert_eq!(told, of_page.collect());
}

#[tokio::test(start_paused = true)]
async fn the_page_has_the_spans_and_their_fields() {
    let (heard, _guard) = Heard::begin();
    everything().await;
    let told = heard.told();
    for (span, (declared, had)) in &told.spans {
        let rows = table(&section(&format!("### `{span}`")), "| field | type");
        let of_page: BTreeSet<_> = rows.iter().map(|row| name(&row[0])).collect();
        let declared: BTreeSet<_> = declared.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(declared, of_page, "{span}");
        assert_eq!(had, &of_page, "{span}");
    }
    assert_eq!(told.spans.len(), 2);
}

/// The calls of `tracing`'s macros for events in the three crates: each message, its level, and what
/// stands before it.
fn events() -> Vec<(String, String, String)> {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                files(&path, found)?;
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    for name in ["client", "retry-layer", "session-layer"] {
        let folder = root().join("crates").join(name).join("src");
        files(&folder, &mut found).expect("it can be read");
    }
    let mut events = Vec::new();
    for path in found {
        let text = fs::read_to_string(path).expect("it can be read");
        for level in ["trace", "debug", "info", "warn", "error"] {
            for call in text.split(&format!("tracing::{level}!(")).skip(1) {
                let call = call.split(");").next().unwrap_or_default();
                let mut quoted = call.split('"');
                let message = quoted.nth_back(1).unwrap_or_default();
                events.push((message.to_owned(), level.to_uppercase(), call.to_owned()));
            }
        }
    }
    events
}

#[test]
fn the_page_has_each_event_of_the_three_crates() {
    let rows = table(&section("## Events"), "| event | level");
    let of_page: BTreeSet<_> = rows
        .iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let mut of_code = BTreeSet::new();
    for (message, level, _) in events() {
        if message == "{}" {
            // One place tells of both.
            of_code.insert(("sending again".to_owned(), level.clone()));
            of_code.insert(("not sending again".to_owned(), level));
        } else {
            of_code.insert((message, level));
        }
    }
    assert_eq!(of_page, of_code);
    // Each field that a page names is in the call of the macro.
    for row in rows {
        let all = events();
        let of_event =
            |message: &str| message == row[0] || (message == "{}" && row[0].contains("again"));
        let calls: Vec<_> = all
            .iter()
            .filter(|(message, ..)| of_event(message))
            .collect();
        for field in names(row.get(3).map_or("", |cell| cell)) {
            let is_named = calls.iter().all(|(_, _, call)| call.contains(&field));
            assert!(is_named, "{field} of {}", row[0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_has_the_fields_of_the_events_of_retries() {
    let (heard, _guard) = Heard::begin();
    everything().await;
    let rows = table(&section("## Events"), "| event | level");
    for event in ["sending again", "not sending again"] {
        let row = rows
            .iter()
            .find(|row| row[0] == event)
            .expect("it is there");
        let told = heard.events(event);
        let mut told: BTreeSet<_> = told
            .into_iter()
            .flat_map(|(event, _)| event.into_keys())
            .collect();
        told.remove("message");
        // Some are told of stale connections and the like alone.
        assert!(told.len() > 8, "{event}: {told:?}");
        let not_there: Vec<_> = told.difference(&names(&row[3])).cloned().collect();
        assert!(not_there.is_empty(), "{event}: {not_there:?}");
    }
}
