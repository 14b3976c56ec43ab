//! Downloads to files: through breaks, and over several runs of a program.

mod answers;
mod digests;
mod disk;

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{
    Client, Download, Error, ErrorKind, Progress, ResumeErrorKind, retry_layer::hedge::Hedging,
};
use http::HeaderMap;
use test_suite::{TemporaryFolder, eventually};
use test_support::{Connection, MemoryConnector, Reply, Request, Server, http2, sequence};
use tokio::sync::Notify;

use crate::resume::support::{File, content, gzipped, settings};

/// What becomes of the answers of a server, one after the other; all further ones are whole.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Whole,
    /// Behind so many bytes of the body the connection ends, and nobody listens any more.
    Dies(usize),
    /// Behind so many bytes of the body nothing comes.
    Hangs(usize),
}

/// Serves a file.
fn serve<const N: usize>(file: &File, fates: [Fate; N]) -> MemoryConnector {
    let (file, asked) = (file.clone(), Arc::new(AtomicUsize::new(0)));
    MemoryConnector::new(move |mut connection: Connection| {
        let (file, asked) = (file.clone(), asked.clone());
        async move {
            while let Some(request) = connection.read_request().await {
                let (head, body) = file.answer_http1(&request);
                connection.write(head).await;
                let fate = fates.get(asked.fetch_add(1, Relaxed));
                match fate.copied().unwrap_or(Fate::Whole) {
                    Fate::Whole => connection.write(body).await,
                    Fate::Dies(at) => {
                        connection.write(&body[..at]).await;
                        return connection.close().await;
                    }
                    Fate::Hangs(at) => {
                        connection.write(&body[..at]).await;
                        connection.stall_until_closed().await;
                        return;
                    }
                };
                connection.answered();
            }
        }
    })
}

fn over(connector: &MemoryConnector) -> Client {
    let client = settings().build_with_connector(connector.clone());
    client.expect("the settings are valid")
}

/// One that does not go on by itself: each break ends a run.
fn once(connector: &MemoryConnector) -> Client {
    let client = settings().resume(false);
    let client = client.build_with_connector(connector.clone());
    client.expect("the settings are valid")
}

const URL: &str = "http://peer/file";

fn download(connector: &MemoryConnector, path: &Path) -> Download<'static> {
    once(connector).get(URL).download_to(path)
}

/// Leaves a part of the file, of which the first `length` bytes have come.
async fn leave(file: &File, length: usize, path: &Path) {
    let broken = serve(file, [Fate::Dies(length)]);
    let error = download(&broken, path).await.unwrap_err();
    let part = error.partial_file().expect("what came is kept");
    assert_eq!(part.length(), u64::try_from(length).unwrap());
}

fn ranges(connector: &MemoryConnector) -> Vec<Option<String>> {
    let requests = connector.log().requests;
    let range = |it: &Request| it.header("range").map(str::to_owned);
    requests.iter().map(range).collect()
}

#[tokio::test(start_paused = true)]
async fn a_download_gets_its_name_when_it_is_whole() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    let connector = serve(&file, []);
    let done = download(&connector, &folder.file("target")).await.unwrap();
    assert_eq!(done.length(), 1_000);
    assert_eq!(done.resumed_from(), 0);
    assert_eq!(done.path(), folder.file("target"));
    assert!(!done.is_verified());
    assert_eq!(done.headers()["etag"], "\"v1\"");
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
    assert_eq!(folder.names(), ["target"]);
    let requests = connector.log().requests;
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    assert_eq!(requests[0].header("range"), None);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_download_has_left_is_named_and_goes_on_at_the_next_one() {
    let file = File::new(content(1_000));
    for at in [1, 500, 999] {
        let folder = TemporaryFolder::new();
        let broken = serve(&file, [Fate::Dies(at)]);
        let error = download(&broken, &folder.file("target")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Body);
        let part = error.partial_file().unwrap();
        assert_eq!(part.path(), folder.file("target.part"));
        let end = format!("{at} bytes are kept in {:?}", part.path());
        assert!(error.to_string().ends_with(&end), "{error}");
        assert_eq!(folder.names(), ["target.part", "target.part.json"]);

        let connector = serve(&file, []);
        let mut told = Vec::new();
        let next = download(&connector, &folder.file("target"));
        let done = next.on_progress(|progress: Progress| told.push(progress));
        let done = done.await.unwrap();
        assert_eq!(done.resumed_from(), u64::try_from(at).unwrap());
        assert_eq!(done.length(), 1_000);
        assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
        assert_eq!(folder.names(), ["target"]);
        assert_eq!(ranges(&connector), [Some(format!("bytes={at}-999"))]);
        let request = &connector.log().requests[0];
        assert_eq!(request.header("if-range"), Some("\"v1\""));
        assert!(told.iter().all(|it| it.resumed_from == done.resumed_from()));
        assert!(told.iter().all(|it| it.total == Some(1_000)));
        assert_eq!(told[0].written, done.resumed_from());
        assert_eq!(told.last().unwrap().written, 1_000);
        assert!(told.is_sorted_by_key(|it| it.written));
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_dropped_goes_on_at_the_next_one() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    let begun = Notify::new();
    let hanging = serve(&file, [Fate::Hangs(400)]);
    {
        let download = download(&hanging, &folder.file("target")).on_progress(|progress| {
            if progress.written == 400 {
                begun.notify_one();
            }
        });
        tokio::select! {
            done = download.into_future() => panic!("it is not whole: {done:?}"),
            () = begun.notified() => {}
        }
    }
    assert_eq!(folder.names(), ["target.part", "target.part.json"]);
    let connector = serve(&file, []);
    let done = download(&connector, &folder.file("target")).await.unwrap();
    assert_eq!(done.resumed_from(), 400);
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
}

#[tokio::test(start_paused = true)]
async fn a_download_that_breaks_goes_on_by_itself_also_behind_an_earlier_part() {
    let dated = File {
        tag: "",
        headers: &[
            ("last-modified", "Sat, 01 Jun 2024 11:00:00 GMT"),
            ("date", "Sat, 01 Jun 2024 12:00:00 GMT"),
        ],
        ..File::new(content(1_000))
    };
    for file in [File::new(content(1_000)), dated] {
        let folder = TemporaryFolder::new();
        leave(&file, 300, &folder.file("target")).await;
        let connector = serve(&file, [Fate::Dies(200), Fate::Dies(200)]);
        let client = over(&connector);
        let done = client.get(URL).download_to(folder.file("target"));
        let done = done.await.unwrap();
        assert_eq!(done.resumed_from(), 300);
        assert_eq!(done.retry_report().attempts().len(), 3);
        assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
        let asked = ["bytes=300-999", "bytes=500-999", "bytes=700-999"];
        assert_eq!(ranges(&connector), asked.map(|it| Some(it.to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changed_before_a_download_begins_anew_and_within_it_fails() {
    let first = File::new(content(1_000));
    let then = File {
        tag: "\"v2\"",
        ..File::new(vec![b'.'; 700])
    };
    let folder = TemporaryFolder::new();
    let connector = crate::resume::changing(first.clone(), then.clone());
    let changing = over(&connector).get(URL).download_to(folder.file("target"));
    let error = changing.await.unwrap_err();
    let resume = error.resume_error().unwrap();
    assert_eq!(resume.kind(), ResumeErrorKind::ValidatorChanged);
    assert_eq!(error.partial_file().unwrap().length(), 500);
    assert!(!folder.file("target").exists());

    let connector = serve(&then, []);
    let done = download(&connector, &folder.file("target")).await.unwrap();
    assert_eq!((done.length(), done.resumed_from()), (700, 0));
    assert!(fs::read(folder.file("target")).unwrap() == then.content[..]);
    assert_eq!(connector.log().requests.len(), 1);
    assert_eq!(folder.names(), ["target"]);
}

/// Has a part of 500 bytes, and the server then gives this answer to the request for the rest. Returns
/// what comes of it, and how many requests there were.
async fn answered(reply: Reply) -> (Result<client::Downloaded, Error>, usize, TemporaryFolder) {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    let whole = Reply::status(200)
        .header("etag", "\"v2\"")
        .body(file.content.to_vec());
    let connector = MemoryConnector::new(sequence([reply, whole]));
    let done = download(&connector, &folder.file("target")).await;
    (done, connector.log().requests.len(), folder)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_what_is_there_begins_anew() {
    let body = content(1_000);
    let part = |range: &str, tag: &str, body: &[u8]| {
        Reply::status(206)
            .header("etag", tag)
            .header("content-range", range)
            .body(body.to_vec())
    };
    for reply in [
        part("bytes 500-999/1000", "\"v2\"", &body[500..]),
        part("bytes 500-999/1000", "W/\"v1\"", &body[500..]),
        part("bytes 501-999/1000", "\"v1\"", &body[501..]),
        part("bytes 0-499/1000", "\"v1\"", &body[..500]),
        part("bytes 500-999/1001", "\"v1\"", &body[500..]),
        part("bytes 500-999/*", "\"v1\"", &body[500..900]),
        part("bytes 500-999/1000", "\"v1\"", &body[500..])
            .header("content-type", "multipart/byteranges; boundary=x"),
        part("bytes 500-999/1000", "\"v1\"", &body[500..]).header("content-encoding", "gzip"),
        Reply::status(206).body("no range at all"),
        Reply::status(416),
        Reply::status(416).header("content-range", "bytes */400"),
        Reply::status(416)
            .header("etag", "\"v2\"")
            .header("content-range", "bytes */500"),
    ] {
        let what = format!("{reply:?}");
        let (done, requests, folder) = answered(reply).await;
        let done = done.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!((done.resumed_from(), requests), (0, 2), "{what}");
        assert!(fs::read(folder.file("target")).unwrap() == body, "{what}");
        assert_eq!(folder.names(), ["target"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_server_leaves_the_part_as_it_is() {
    for status in [404, 403, 412, 304, 204] {
        let (done, requests, folder) = answered(Reply::status(status)).await;
        let error = done.unwrap_err();
        assert!(error.is_status(), "{error}");
        assert_eq!(error.status().unwrap(), status);
        assert_eq!(requests, 1);
        assert_eq!(error.partial_file().unwrap().length(), 500);
        let part = fs::read(folder.file("target.part")).unwrap();
        assert!(part == content(1_000)[..500]);
    }
    // Where there was nothing, nothing is left.
    let folder = TemporaryFolder::new();
    let connector = MemoryConnector::new(sequence([Reply::status(404).body("not here")]));
    let error = download(&connector, &folder.file("target"))
        .await
        .unwrap_err();
    assert_eq!(error.body().unwrap(), "not here");
    assert!(error.partial_file().is_none());
    assert!(folder.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_more_or_less_than_was_asked_for_is_put_together() {
    let body = content(20_000);
    let file = File::new(body.clone());
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    let part = |first: usize, last: usize| {
        Reply::status(206)
            .header("etag", "\"v1\"")
            .header("content-range", format!("bytes {first}-{last}/20000"))
            .body(body[first..=last].to_vec())
    };
    let parts = [part(400, 5_999), part(6_000, 11_999), part(11_000, 19_999)];
    let connector = MemoryConnector::new(sequence(parts));
    let done = download(&connector, &folder.file("target")).await.unwrap();
    assert_eq!(done.resumed_from(), 500);
    assert!(fs::read(folder.file("target")).unwrap() == body);
    let asked = ["bytes=500-19999", "bytes=6000-19999", "bytes=12000-19999"];
    assert_eq!(ranges(&connector), asked.map(|it| Some(it.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_behind_the_announced_part_is_left_out() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let mut ranges = ["490-899", "900-999"].into_iter();
        while connection.read_request().await.is_some() {
            let range = ranges.next().unwrap();
            let head = format!(
                "HTTP/1.1 206 \r\nETag: \"v1\"\r\nContent-Range: bytes {range}/*\r\n\
                 Transfer-Encoding: chunked\r\n\r\n"
            );
            connection.write(head).await;
            let (first, last) = range.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let mut body = content(1_000)[first..=last].to_vec();
            body.extend([b'.'; 100]);
            for piece in body.chunks(64) {
                connection.write(format!("{:x}\r\n", piece.len())).await;
                connection.write(piece).await;
                connection.write("\r\n").await;
            }
            connection.write("0\r\n\r\n").await;
            connection.answered();
        }
    });
    let done = download(&connector, &folder.file("target")).await.unwrap();
    assert_eq!(done.length(), 1_000);
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gives_a_byte_at_a_time_is_not_asked_for_ever() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    let asked = Arc::new(AtomicUsize::new(500));
    let count = asked.clone();
    let connector = MemoryConnector::new(test_support::answer(move |_| {
        let at = count.fetch_add(1, Relaxed);
        Reply::status(206)
            .header("etag", "\"v1\"")
            .header("content-range", format!("bytes {at}-{at}/1000"))
            .body(content(1_000)[at..=at].to_vec())
    }));
    let error = download(&connector, &folder.file("target"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body);
    assert!(asked.load(Relaxed) < 550);
    // What came counts all the same.
    assert!(error.partial_file().unwrap().length() > 500);
}

#[tokio::test(start_paused = true)]
async fn a_whole_of_unknown_length_is_complete_when_the_server_says_so() {
    let body = content(1_000);
    let folder = TemporaryFolder::new();
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        connection.read_request().await;
        let head = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n";
        connection.write(head).await;
        connection.write(content(1_000)).await;
        // The last chunk is missing.
        connection.close().await;
    });
    let error = download(&connector, &folder.file("target"))
        .await
        .unwrap_err();
    assert_eq!(error.partial_file().unwrap().length(), 1_000);
    let complete = Reply::status(416).header("content-range", "bytes */1000");
    let connector = MemoryConnector::new(sequence([complete]));
    download(&connector, &folder.file("target")).await.unwrap();
    assert_eq!(ranges(&connector), [Some("bytes=1000-".to_owned())]);
    assert!(fs::read(folder.file("target")).unwrap() == body);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_whole_is_finished_if_the_validator_still_holds() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    fs::write(folder.file("target.part"), &file.content).unwrap();
    let connector = serve(&file, []);
    let done = download(&connector, &folder.file("target")).await.unwrap();
    assert_eq!(done.resumed_from(), 1_000);
    // The last byte shows that it is the same version.
    assert_eq!(ranges(&connector), [Some("bytes=999-999".to_owned())]);
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_used_only_if_it_is_certainly_of_the_same_file() {
    let file = File::new(content(1_000));
    let other = || once(&serve(&file, [])).get("http://peer/other");
    let spoil: [fn(&TemporaryFolder); 6] = [
        |it| fs::write(it.file("target.part.json"), "\0\0\0").unwrap(),
        |it| fs::write(it.file("target.part.json"), "").unwrap(),
        |it| {
            let record = fs::read(it.file("target.part.json")).unwrap();
            fs::write(it.file("target.part.json"), &record[..record.len() - 1]).unwrap();
        },
        |it| {
            let record = fs::read_to_string(it.file("target.part.json")).unwrap();
            let record = record.replace("_download\":1", "_download\":2");
            fs::write(it.file("target.part.json"), record).unwrap();
        },
        |it| {
            let record = fs::read_to_string(it.file("target.part.json")).unwrap();
            let record = record.replace("\\\"v1\\\"", "W/\\\"v1\\\"");
            fs::write(it.file("target.part.json"), record).unwrap();
        },
        // Longer than the file.
        |it| fs::write(it.file("target.part"), vec![b'.'; 1_001]).unwrap(),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let folder = TemporaryFolder::new();
        leave(&file, 500, &folder.file("target")).await;
        spoil(&folder);
        let connector = serve(&file, []);
        let done = download(&connector, &folder.file("target")).await.unwrap();
        assert_eq!(done.resumed_from(), 0, "{number}");
        assert_eq!(ranges(&connector), [None], "{number}");
        assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
        assert_eq!(folder.names(), ["target"]);
    }
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    let done = other().download_to(folder.file("target")).await.unwrap();
    assert_eq!(done.resumed_from(), 0);

    leave(&file, 500, &folder.file("target")).await;
    let fresh = download(&serve(&file, []), &folder.file("target")).fresh();
    assert_eq!(fresh.await.unwrap().resumed_from(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_signed_url_goes_on_under_a_name_of_its_own_and_is_kept_nowhere() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    let signed = |connector: &MemoryConnector, signature: &str| {
        let url = format!("{URL}?signature={signature}");
        let download = once(connector).get(url).download_to(folder.file("target"));
        download.identity("bucket/file")
    };
    let broken = serve(&file, [Fate::Dies(500)]);
    signed(&broken, "secret-1").await.unwrap_err();
    let record = fs::read_to_string(folder.file("target.part.json")).unwrap();
    assert!(
        !record.contains("secret") && !record.contains("peer"),
        "{record}"
    );
    let done = signed(&serve(&file, []), "secret-2").await.unwrap();
    assert_eq!(done.resumed_from(), 500);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_continued_is_not_kept() {
    let weak = File {
        tag: "W/\"v1\"",
        ..File::new(content(1_000))
    };
    let none = File {
        headers: &[("accept-ranges", "none")],
        ..File::new(content(1_000))
    };
    for file in [weak, none] {
        let folder = TemporaryFolder::new();
        // What was there is of another version, and goes as well.
        leave(&File::new(content(900)), 500, &folder.file("target")).await;
        let broken = serve(
            &File {
                tag: "\"v2\"",
                ..file.clone()
            },
            [Fate::Dies(300)],
        );
        let broken = if file.headers.is_empty() {
            serve(&file, [Fate::Dies(300)])
        } else {
            broken
        };
        let error = download(&broken, &folder.file("target")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Body);
        assert!(error.partial_file().is_none());
        assert!(folder.is_empty(), "{:?}", folder.names());
    }
}

#[tokio::test(start_paused = true)]
async fn a_gzip_body_is_continued_as_it_came_and_decoded_in_the_end() {
    let plain = content(4_000);
    let file = File {
        headers: &[("content-encoding", "gzip")],
        ..File::new(gzipped(&plain).await)
    };
    let length = u64::try_from(file.content.len()).unwrap();
    for at in [1, 10, 2_000, file.content.len() - 1] {
        let folder = TemporaryFolder::new();
        leave(&file, at, &folder.file("target")).await;
        assert!(!folder.file("target").exists());
        let connector = serve(&file, [Fate::Dies(1)]);
        let client = over(&connector);
        let mut last = None;
        let done = client.get(URL).download_to(folder.file("target"));
        let done = done.on_progress(|progress| last = Some(progress));
        let done = done.await.unwrap();
        assert_eq!(done.resumed_from(), u64::try_from(at).unwrap());
        assert_eq!(done.length(), 4_000);
        assert!(fs::read(folder.file("target")).unwrap() == plain);
        assert_eq!(folder.names(), ["target"]);
        let last = last.unwrap();
        assert_eq!((last.written, last.total), (length, Some(length)));
        assert_eq!(
            connector.log().requests[0].header("accept-encoding"),
            Some("gzip")
        );
    }
    // As it is, where that is asked for.
    let folder = TemporaryFolder::new();
    let client = over(&serve(&file, []));
    let raw = client.get(URL).no_decompression();
    raw.download_to(folder.file("target")).await.unwrap();
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
}

#[tokio::test(start_paused = true)]
async fn an_encoded_body_that_is_corrupt_leaves_nothing() {
    let mut encoded = gzipped(&content(4_000)).await;
    encoded[2_000] ^= 1;
    let file = File {
        headers: &[("content-encoding", "gzip")],
        ..File::new(encoded)
    };
    let folder = TemporaryFolder::new();
    let error = download(&serve(&file, []), &folder.file("target"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.partial_file().is_none());
    assert!(folder.is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_a_plain_get_is_downloaded_so() {
    let folder = TemporaryFolder::new();
    let connector = serve(&File::new("x"), []);
    let client = over(&connector);
    for request in [
        client.post(URL),
        client.get(URL).body("query"),
        client.get(URL).header("range", "bytes=1-"),
        client.get(URL).header("if-range", "\"a\""),
    ] {
        let error = request
            .download_to(folder.file("target"))
            .await
            .unwrap_err();
        assert!(error.is_builder(), "{error}");
    }
    assert_eq!(connector.log().accepted, 0);
    assert!(folder.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_date_is_the_validator_of_one_path_alone() {
    let dated = File {
        tag: "",
        headers: &[
            ("last-modified", "Sat, 01 Jun 2024 11:00:00 GMT"),
            ("date", "Sat, 01 Jun 2024 12:00:00 GMT"),
        ],
        ..File::new(content(1_000))
    };
    let led_to = |path: &'static str, file: File, at: Option<usize>| {
        MemoryConnector::new(move |mut connection: Connection| {
            let file = file.clone();
            async move {
                while let Some(request) = connection.read_request().await {
                    if request.path() == "/file" {
                        let location = [("location", path)];
                        connection.respond_with(302, &location, "").await;
                        continue;
                    }
                    let (head, body) = file.answer_http1(&request);
                    connection.write(head).await;
                    if let Some(at) = at {
                        connection.write(&body[..at]).await;
                        return connection.close().await;
                    }
                    connection.write(body).await;
                    connection.answered();
                }
            }
        })
    };
    for (file, path, resumed) in [
        (&dated, "/v1", 500),
        (&dated, "/v2", 0),
        (&File::new(content(1_000)), "/v2", 500),
    ] {
        let folder = TemporaryFolder::new();
        let broken = led_to("/v1", file.clone(), Some(500));
        download(&broken, &folder.file("target")).await.unwrap_err();
        let connector = led_to(path, file.clone(), None);
        let done = download(&connector, &folder.file("target")).await.unwrap();
        assert_eq!(done.resumed_from(), resumed, "{path}");
        assert!(done.url().path() == path);
    }
}

/// Downloads through a server that cuts each answer, while the program is ended again and again.
async fn download_through_cuts_and_ends(length: usize, every: usize) {
    let file = File::new(content(length));
    let sent = Arc::new(AtomicUsize::new(0));
    let server = crate::resume::serve_with_cuts(file.clone(), every, sent.clone()).await;
    let folder = TemporaryFolder::new();
    let mut ends = 0;
    let done = loop {
        // With the default budget.
        let client = settings().build().unwrap();
        let written = Mutex::new(0);
        let stop = Notify::new();
        let download = client
            .get(server.url("/"))
            .download_to(folder.file("target"));
        let download = download.on_progress(|progress| {
            let mut written = written.lock().unwrap();
            *written = progress.written;
            // In the middle of what one connection gives.
            let of_run = progress.written - progress.resumed_from;
            if ends < 3 && of_run > u64::try_from(every).unwrap() * 2 {
                stop.notify_one();
            }
        });
        tokio::select! {
            done = download.into_future() => break done,
            () = stop.notified() => ends += 1,
        }
    };
    let done = done.unwrap_or_else(|error| panic!("{error:#}, {:?}", error.retry_report()));
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
    assert_eq!(folder.names(), ["target"]);
    assert_eq!(ends, 3);
    assert!(done.resumed_from() > 0);
    // What was on the way when a run ended is asked for again, and nothing else.
    let again = sent.load(Relaxed) - length;
    assert!(again <= ends * every, "{again}");
}

#[tokio::test]
async fn a_download_through_cuts_and_ends_asks_for_each_byte_once() {
    download_through_cuts_and_ends(2 * 1024 * 1024, 96 * 1024).await;
}

#[tokio::test]
#[ignore = "100 MiB through 34 cuts: `cargo test --release`"]
async fn a_long_download_through_cuts_and_ends_asks_for_each_byte_once() {
    download_through_cuts_and_ends(100 * 1024 * 1024, 3 * 1024 * 1024).await;
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_download_goes_on_within_a_run_and_at_the_next_one() {
    let file = File::new(content(100_000));
    let served = file.clone();
    let asked: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let seen = asked.clone();
    let peer = http2::Peer::new(h2::server::Builder::new(), move |stream: http2::Stream| {
        let headers = stream.request.headers().clone();
        let header = |name| {
            headers
                .get(name)
                .map(|it: &http::HeaderValue| it.to_str().unwrap())
        };
        let (head, body) = served.answer(header("range"), header("if-range"));
        let body = bytes::Bytes::copy_from_slice(body);
        let mut seen = seen.lock().unwrap();
        seen.push(headers);
        let cut = match seen.len() {
            1 => Some((30_000, None)),
            2 => Some((20_000, Some(h2::Reason::INTERNAL_ERROR))),
            3 => Some((10_000, None)),
            _ => None,
        };
        stream.answer_until(head, body, cut)
    });
    let folder = TemporaryFolder::new();
    let http2 = || settings().http2(client::Http2::default().prior_knowledge(true));
    for on in [false, true] {
        let client = http2().resume(on).build_with_connector(peer.connector());
        let download = client.unwrap().get(URL).download_to(folder.file("target"));
        match download.await {
            Err(error) if !on => assert_eq!(error.partial_file().unwrap().length(), 30_000),
            Ok(done) if on => assert_eq!(done.resumed_from(), 30_000),
            done => panic!("{done:?}"),
        }
    }
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
    let asked = asked.lock().unwrap();
    let ranges: Vec<_> = asked.iter().filter_map(|it| it.get("range")).collect();
    assert_eq!(
        ranges,
        [
            "bytes=30000-99999",
            "bytes=50000-99999",
            "bytes=60000-99999"
        ]
    );
}

#[tokio::test]
async fn a_server_that_starts_again_is_gone_on_with() {
    let file = File::new(content(300_000));
    let content = file.clone();
    let server = Server::start(move |mut connection: Connection| {
        let file = content.clone();
        async move {
            while let Some(request) = connection.read_request().await {
                let (head, body) = file.answer_http1(&request);
                connection.write(head).await;
                if request.header("range").is_none() {
                    connection.write(&body[..100_000]).await;
                    connection.stall_until_closed().await;
                    return;
                }
                connection.write(body).await;
                connection.answered();
            }
        }
    })
    .await;
    let folder = TemporaryFolder::new();
    let begun = Notify::new();
    let client = settings().build().unwrap();
    let download = client
        .get(server.url("/"))
        .download_to(folder.file("target"));
    let download = download.on_progress(|progress| {
        if progress.written == 100_000 {
            begun.notify_one();
        }
    });
    let (done, ()) = tokio::join!(download.into_future(), async {
        begun.notified().await;
        server.restart().await;
    });
    assert_eq!(done.unwrap().length(), 300_000);
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
}

#[tokio::test(start_paused = true)]
async fn a_download_goes_on_where_its_hedge_broke_and_is_hedged_again() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    let connector = serve(&file, [Fate::Hangs(0), Fate::Dies(400), Fate::Hangs(0)]);
    let client = settings()
        .map_retry(|policy| policy.max_attempts(6))
        .hedge(Hedging::after(Duration::from_millis(100)))
        .build_with_connector(connector.clone())
        .unwrap();
    let done = client.get(URL).download_to(folder.file("target")).await;
    assert_eq!(done.unwrap().length(), 1_000);
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
    let rest = Some("bytes=400-999".to_owned());
    assert_eq!(ranges(&connector), [None, None, rest.clone(), rest]);
    eventually("nothing is in use", || {
        let stats = client.stats();
        (stats.in_use, stats.waiting) == (0, 0)
    })
    .await;
}
