//! Bodies from files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use client::{Body, Client};
use http_body::Body as _;
use http_body_util::BodyExt;
use test_support::{MemoryConnector, Reply, answer};

/// A file that is gone when the test is over.
struct Temporary(PathBuf);

impl Temporary {
    fn new(content: &[u8]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("client-files-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).expect("the temporary directory can be written to");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

fn over(connector: &MemoryConnector) -> Client {
    Client::builder()
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

#[tokio::test(start_paused = true)]
async fn a_file_is_sent_with_its_length_and_read_anew_by_each_attempt() {
    let content: Vec<u8> = (0..=250).cycle().take(300_000).collect();
    let file = Temporary::new(&content);
    let asked = AtomicUsize::new(0);
    let connector = MemoryConnector::new(answer(move |_| match asked.fetch_add(1, Relaxed) {
        0 => Reply::status(503),
        1 => Reply::reset(),
        _ => Reply::status(201),
    }));
    let body = Body::from_file(file.path()).await.unwrap();
    let response = over(&connector)
        .put("http://peer/")
        .body(body)
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let log = connector.log();
    assert_eq!(log.requests.len(), 3);
    for request in &log.requests {
        assert_eq!(request.header("content-length"), Some("300000"));
        assert!(request.body == content, "another content came");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_without_content_is_an_empty_body() {
    let file = Temporary::new(b"");
    let body = Body::from_file(file.path()).await.unwrap();
    assert!(body.is_end_stream());
    let connector = MemoryConnector::new(answer(|_| Reply::status(200)));
    over(&connector)
        .put("http://peer/")
        .body(body)
        .fetch()
        .await
        .unwrap();
    assert_eq!(
        connector.log().requests[0].header("content-length"),
        Some("0")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_file_is_refused_before_anything_is_sent() {
    for path in [Path::new("/nowhere/at/all"), &std::env::temp_dir()] {
        let error = Body::from_file(path).await.unwrap_err();
        assert!(error.is_builder(), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_has_changed_is_not_sent_as_if_it_had_not() {
    for change in [&b"short"[..], b"longer than it was before", b""] {
        let file = Temporary::new(b"as it was");
        let path = file.path().to_owned();
        let connector = MemoryConnector::new(answer(move |_| {
            fs::write(&path, change).expect("the file can be written");
            Reply::status(503)
        }));
        let body = Body::from_file(file.path()).await.unwrap();
        let sent = over(&connector)
            .put("http://peer/")
            .body(body)
            .fetch()
            .await;
        let error = sent.unwrap_err();
        assert!(error.is_body(), "{error:?}");
        let log = connector.log();
        assert_eq!(log.requests[0].body, "as it was");
        assert_eq!(log.requests.iter().filter(|it| it.complete).count(), 1);
    }
}

#[tokio::test]
async fn a_file_that_goes_away_or_shrinks_while_it_is_read_is_an_error() {
    let gone = Temporary::new(b"content");
    let body = Body::from_file(gone.path()).await.unwrap();
    drop(gone);
    assert!(body.collect().await.is_err());

    let content = vec![7; 1_000_000];
    let file = Temporary::new(&content);
    let mut body = Body::from_file(file.path()).await.unwrap();
    body.frame().await.unwrap().unwrap();
    let opened = fs::OpenOptions::new()
        .write(true)
        .open(file.path())
        .unwrap();
    opened.set_len(100).unwrap();
    let error = body.collect().await.unwrap_err();
    assert!(error.to_string().contains("changed"), "{error}");
}
