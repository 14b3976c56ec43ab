//! Answers that make a download begin anew.

use test_support::{MemoryConnector, Reply, sequence};

use super::{download, leave};
use crate::support::{Directory, File, content};

#[tokio::test(start_paused = true)]
async fn the_progress_tells_that_a_download_has_begun_anew() {
    let body = content(1_000);
    let directory = Directory::new();
    leave(&File::new(body.clone()), 500, &directory.target()).await;
    let part = Reply::status(206)
        .header("etag", "\"v1\"")
        .header("content-range", "bytes 500-599/1000")
        .body(body[500..600].to_vec());
    let whole = Reply::status(200).header("etag", "\"v2\"").body("changed");
    let connector = MemoryConnector::new(sequence([part, whole]));
    let mut told = Vec::new();
    let done = download(&connector, &directory.target()).on_progress(|it| {
        told.push((it.restarts, it.written, it.resumed_from));
    });
    done.await.unwrap();
    assert_eq!(told, [(0, 500, 500), (0, 600, 500), (1, 0, 0), (1, 7, 0)]);
    // What is found out before anything was told is no restart.
    leave(&File::new(body.clone()), 500, &directory.target()).await;
    let whole = Reply::status(200).header("etag", "\"v2\"").body("changed");
    let connector = MemoryConnector::new(sequence([whole]));
    let mut restarts = Vec::new();
    let done = download(&connector, &directory.target());
    done.on_progress(|it| restarts.push(it.restarts))
        .await
        .unwrap();
    assert_eq!(restarts, [0, 0]);
}
