//! Bodies from files, and into files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use client::{Body, Client};
use http_body::Body as _;
use http_body_util::BodyExt;
use test_support::{Connection, MemoryConnector, Reply, answer, sequence};

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
async fn a_file_is_sent_again_where_a_redirect_leads() {
    let file = Temporary::new(b"content");
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/" => Reply::status(307).header("location", "/there"),
        _ => Reply::status(201),
    }));
    let body = Body::from_file(file.path()).await.unwrap();
    let sent = over(&connector)
        .put("http://peer/")
        .body(body)
        .fetch()
        .await;
    assert_eq!(sent.unwrap().status(), 201);
    let log = connector.log();
    assert_eq!(log.requests[1].target, "/there");
    assert!(log.requests.iter().all(|it| it.body == "content"));
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

/// What stands beside a file under names that begin with its own.
fn beside(file: &Path) -> Vec<PathBuf> {
    let directory = file.parent().expect("the file is in a directory");
    let name = file.file_name().expect("the file has a name").to_owned();
    let entries = fs::read_dir(directory).expect("the directory can be read");
    entries
        .map(|entry| entry.expect("the entry can be read").path())
        .filter(|path| path != file)
        .filter(|path| path.to_string_lossy().contains(&*name.to_string_lossy()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_body_is_saved_under_its_name_once_it_is_whole() {
    let body = vec![b'x'; 200_000];
    let connector = MemoryConnector::new(sequence([
        Reply::truncated_body(200_000, body[..100_000].to_vec()),
        Reply::status(200).body(body.clone()),
    ]));
    let client = over(&connector);
    let file = Temporary::new(b"as it was");
    let response = client.get("http://peer/").send().await.unwrap();
    let error = response.save_to(file.path()).await.unwrap_err();
    assert!(error.is_body());
    assert_eq!(fs::read(file.path()).unwrap(), b"as it was");
    assert_eq!(beside(file.path()), [] as [PathBuf; 0]);

    let response = client.get("http://peer/").send().await.unwrap();
    let mut last = None;
    let saved = response.save_with_progress(file.path(), |progress| {
        last = Some(progress);
    });
    assert_eq!(saved.await.unwrap(), 200_000);
    let last = last.unwrap();
    assert_eq!((last.written, last.total), (200_000, Some(200_000)));
    assert!(fs::read(file.path()).unwrap() == body);
    assert_eq!(beside(file.path()), [] as [PathBuf; 0]);

    let response = client.get("http://peer/").send().await.unwrap();
    let error = response.save_to("/nowhere/at/all").await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("GET http://peer:80: the body cannot be written")
    );
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_dropped_leaves_nothing() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")
            .await;
        connection.stall_until_closed().await;
    });
    let file = Temporary::new(b"as it was");
    let response = over(&connector).get("http://peer/").send().await.unwrap();
    let begun = tokio::sync::Notify::new();
    let mut saving = Box::pin(response.save_with_progress(file.path(), |_| begun.notify_one()));
    tokio::select! {
        _ = &mut saving => panic!("it is not whole"),
        () = begun.notified() => {}
    }
    assert_eq!(beside(file.path()).len(), 1);
    drop(saving);
    assert_eq!(beside(file.path()), [] as [PathBuf; 0]);
    assert_eq!(fs::read(file.path()).unwrap(), b"as it was");
}
