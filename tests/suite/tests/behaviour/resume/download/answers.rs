//! Answers that make a download begin anew, or that come without end.

use std::time::Duration;

use test_suite::TemporaryFolder;
use test_support::{Connection, MemoryConnector, Reply, sequence};

use super::{URL, download, leave};
use crate::resume::support::{File, content, settings};

#[tokio::test(start_paused = true)]
async fn the_progress_tells_that_a_download_has_begun_anew() {
    let body = content(1_000);
    let folder = TemporaryFolder::new();
    leave(&File::new(body.clone()), 500, &folder.file("target")).await;
    let part = Reply::status(206)
        .header("etag", "\"v1\"")
        .header("content-range", "bytes 500-599/1000")
        .body(body[500..600].to_vec());
    let whole = Reply::status(200).header("etag", "\"v2\"").body("changed");
    let connector = MemoryConnector::new(sequence([part, whole]));
    let mut told = Vec::new();
    let done = download(&connector, &folder.file("target")).on_progress(|it| {
        told.push((it.restarts, it.written, it.resumed_from));
    });
    done.await.unwrap();
    assert_eq!(told, [(0, 500, 500), (0, 600, 500), (1, 0, 0), (1, 7, 0)]);
    // What is found out before anything was told is no restart.
    leave(&File::new(body.clone()), 500, &folder.file("target")).await;
    let whole = Reply::status(200).header("etag", "\"v2\"").body("changed");
    let connector = MemoryConnector::new(sequence([whole]));
    let mut restarts = Vec::new();
    let done = download(&connector, &folder.file("target"));
    done.on_progress(|it| restarts.push(it.restarts))
        .await
        .unwrap();
    assert_eq!(restarts, [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_server_that_drips_is_not_waited_for_without_end() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        connection.read_request().await;
        connection
            .write("HTTP/1.1 404 Not Found\r\nContent-Length: 5000\r\n\r\n")
            .await;
        for _ in 0..5_000 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            connection.write(".").await;
        }
    });
    let client = settings().deadline(None);
    let client = client.build_with_connector(connector).unwrap();
    let folder = TemporaryFolder::new();
    let began = tokio::time::Instant::now();
    let error = client.get(URL).download_to(folder.file("target")).await;
    assert_eq!(error.unwrap_err().status().unwrap(), 404);
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(200), "{waited:?}");
}
