//! Bodies from files, and into files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use client::Body;
use http_body::Body as _;
use http_body_util::BodyExt;
use test_suite::{TemporaryFile, TemporaryFolder};
use test_support::{Connection, MemoryConnector, Reply, answer, sequence};

use super::support::over;

#[tokio::test(start_paused = true)]
async fn a_file_is_sent_with_its_length_and_read_anew_by_each_attempt() {
    let content: Vec<u8> = (0..=250).cycle().take(300_000).collect();
    let file = TemporaryFile::new(&content);
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
    let file = TemporaryFile::new(b"content");
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
    let file = TemporaryFile::new(b"");
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
        let file = TemporaryFile::new(b"as it was");
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
    let gone = TemporaryFile::new(b"content");
    let body = Body::from_file(gone.path()).await.unwrap();
    drop(gone);
    assert!(body.collect().await.is_err());

    let content = vec![7; 1_000_000];
    let file = TemporaryFile::new(&content);
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
    let file = TemporaryFile::new(b"as it was");
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

#[cfg(unix)]
async fn save(path: &Path) -> Result<u64, client::Error> {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200).body("new")));
    let response = over(&connector).get("http://peer/").send().await?;
    response.save_to(path).await
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn the_name_of_a_directory_is_refused_before_anything_is_written() {
    use std::error::Error as _;

    let folder = TemporaryFolder::new();
    let path = folder.file("new/");
    let error = save(&path).await.unwrap_err();
    let cause: &std::io::Error = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::InvalidInput);
    std::os::unix::fs::symlink("new/", folder.file("link")).unwrap();
    assert!(save(&folder.file("link")).await.is_err());
    assert_eq!(folder.names(), ["link"]);
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_file_that_is_replaced_leaves_its_mode_to_the_new_one() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    let folder = TemporaryFolder::new();
    for mode in [0o600, 0o640, 0o666, 0o755, 0o400] {
        let file = folder.file("file");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        // Only root may, and then both are kept.
        let given_away = chown(&file, Some(12_345), Some(54_321)).is_ok();
        assert_eq!(save(&file).await.unwrap(), 3);
        assert_eq!(fs::read(&file).unwrap(), b"new");
        let found = fs::metadata(&file).unwrap();
        assert_eq!(found.mode() & 0o7777, mode);
        if given_away {
            assert_eq!((found.uid(), found.gid()), (12_345, 54_321));
        }
        fs::remove_file(&file).unwrap();
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn symbolic_links_are_followed_and_stay() {
    use std::os::unix::fs::symlink;

    let folder = TemporaryFolder::new();
    fs::create_dir(folder.file("data")).unwrap();
    fs::write(folder.file("data/old"), "old").unwrap();
    symlink("data/old", folder.file("first")).unwrap();
    symlink(folder.file("first"), folder.file("second")).unwrap();
    symlink("data/missing", folder.file("third")).unwrap();
    symlink("loop", folder.file("loop")).unwrap();
    symlink("data", folder.file("folder")).unwrap();
    for (link, target) in [
        ("first", "data/old"),
        ("second", "data/old"),
        ("third", "data/missing"),
        ("folder/inside", "data/inside"),
    ] {
        fs::write(folder.file("data/old"), "old").unwrap();
        assert_eq!(save(&folder.file(link)).await.unwrap(), 3, "{link}");
        assert_eq!(fs::read(folder.file(target)).unwrap(), b"new", "{link}");
    }
    for link in ["first", "second", "third", "folder"] {
        assert!(folder.file(link).is_symlink(), "{link}");
    }
    save(&folder.file("loop")).await.unwrap_err();
    let names = ["data", "first", "folder", "loop", "second", "third"];
    assert_eq!(folder.names(), names, "and no part is left");
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn only_a_regular_file_is_replaced() {
    use std::{
        error::Error as _,
        os::unix::{fs::FileTypeExt as _, net::UnixListener},
    };

    let folder = TemporaryFolder::new();
    let fifo = folder.file("fifo");
    let make = |what: &[&str]| {
        let mut command = std::process::Command::new("mknod");
        let made = command.current_dir(folder.path()).args(what).output();
        made.unwrap().status.success()
    };
    assert!(make(&["fifo", "p"]));
    let _socket = UnixListener::bind(folder.file("socket")).unwrap();
    fs::create_dir(folder.file("folder")).unwrap();
    for name in ["fifo", "socket", "folder"] {
        let error = save(&folder.file(name)).await.unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("no regular file"), "{name}: {cause}");
    }
    assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    // A file that this process has open: to replace it would leave the writer with the old one.
    let open = fs::File::create(folder.file("open")).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&open);
    if cfg!(target_os = "linux") {
        for files in ["/proc/self/fd", "/dev/fd"] {
            let path = format!("{files}/{number}");
            let error = save(Path::new(&path)).await.expect_err(files);
            assert!(error.source().unwrap().to_string().contains("has open"));
        }
    }
    assert_eq!(folder.names(), ["fifo", "folder", "open", "socket"]);
    // One that forgets what is written to it. Only root may make it, and not everywhere.
    let device = folder.file("device");
    if make(&["device", "c", "1", "3"]) && fs::write(&device, "x").is_ok() {
        assert_eq!(save(&device).await.unwrap(), 3);
        assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_name_may_be_as_long_as_the_file_system_allows() {
    let folder = TemporaryFolder::new();
    for name in ["x".repeat(255), "ä".repeat(127), "x".repeat(250)] {
        let file = folder.file(&name);
        assert_eq!(save(&file).await.unwrap(), 3);
        assert_eq!(save(&file).await.unwrap(), 3);
        assert_eq!(folder.names(), [name]);
        fs::remove_file(file).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_download_that_is_dropped_while_its_file_is_created_leaves_nothing() {
    let folder = TemporaryFolder::new();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        let connector = MemoryConnector::new(answer(|_| Reply::status(200).body("new")));
        let client = over(&connector);
        for _ in 0..50 {
            let response = client.get("http://peer/").send().await.unwrap();
            let file = folder.file("file");
            let mut saving = Box::pin(response.save_to(&file));
            tokio::select! {
                biased;
                // Another thread may have been as quick as that.
                saved = &mut saving => {
                    saved.unwrap();
                    fs::remove_file(&file).unwrap();
                }
                () = std::future::ready(()) => {}
            }
        }
    });
    // It waits for the threads that create files.
    drop(runtime);
    assert_eq!(folder.names(), [] as [&str; 0]);
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
    let file = TemporaryFile::new(b"as it was");
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
