//! What a download does on the disk.

use std::{
    fs,
    future::poll_fn,
    path::Path,
    sync::{Arc, mpsc},
    task::Poll,
};

use client::{Download, ErrorKind};
use test_suite::TemporaryFolder;
use tokio::sync::Notify;

use super::{Fate, download, leave, serve};
use crate::resume::support::{File, content};

#[tokio::test(start_paused = true)]
async fn a_file_that_is_there_is_replaced_unless_it_is_to_be_kept() {
    use std::error::Error as _;

    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    fs::write(folder.file("target"), "as it was").unwrap();
    let connector = serve(&file, []);
    let keeping = download(&connector, &folder.file("target")).keep_existing();
    let error = keeping.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
    let cause: &std::io::Error = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(connector.log().accepted, 0);
    assert_eq!(folder.names(), ["target"]);

    // It is made while the download is under way.
    fs::remove_file(folder.file("target")).unwrap();
    let target = folder.file("target");
    let keeping = download(&connector, &target).keep_existing();
    let keeping = keeping.on_progress(|_| fs::write(&target, "as it was").unwrap());
    let error = keeping.await.unwrap_err();
    let cause: &std::io::Error = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&target).unwrap(), b"as it was");
    assert_eq!(error.partial_file().unwrap().length(), 1_000);

    let done = download(&connector, &target).await.unwrap();
    assert_eq!(done.resumed_from(), 1_000);
    assert!(fs::read(&target).unwrap() == file.content[..]);
    fs::remove_file(&target).unwrap();
    download(&connector, &target).keep_existing().await.unwrap();
    assert_eq!(folder.names(), ["target"]);
}

#[tokio::test(start_paused = true)]
async fn only_one_download_writes_a_part() {
    use std::error::Error as _;

    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    let begun = Notify::new();
    let hanging = serve(&file, [Fate::Hangs(400)]);
    let first = download(&hanging, &folder.file("target")).on_progress(|progress| {
        if progress.written == 400 {
            begun.notify_one();
        }
    });
    let mut first = first.into_future();
    tokio::select! {
        _ = &mut first => panic!("it is not whole"),
        () = begun.notified() => {}
    }
    let connector = serve(&file, []);
    let error = download(&connector, &folder.file("target"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
    let cause: &std::io::Error = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::ResourceBusy);
    assert_eq!(connector.log().accepted, 0);
    assert_eq!(folder.names(), ["target.part", "target.part.json"]);
    drop(first);
    let done = download(&connector, &folder.file("target")).await.unwrap();
    assert_eq!(done.resumed_from(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_another_download_has_begun_is_not_taken_for_the_own_one() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    let connector = serve(&file, []);
    let part = folder.file("target.part");
    let first = download(&connector, &folder.file("target")).on_progress(|progress| {
        if progress.written == 1_000 {
            // It is taken away, and another download begins to the same target.
            fs::remove_file(&part).unwrap();
            fs::write(&part, "of another").unwrap();
        }
    });
    let error = first.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
    assert!(error.partial_file().is_none(), "{error}");
    assert!(!folder.file("target").exists());
    assert_eq!(fs::read(&part).unwrap(), b"of another");
}

/// Polls a download so often, and drops it while what it asked for last is still to be done on the disk.
/// Waits for that, and returns whether the download was not done by then.
async fn drop_after(polls: usize, download: Download<'static>) -> bool {
    let mut download = download.into_future();
    let mut left = polls;
    let mut held = None;
    let dropped = poll_fn(|cx| {
        left -= 1;
        // The only thread for the disk waits until this is dropped.
        let (release, wait) = mpsc::channel::<()>();
        held = Some(release);
        tokio::task::spawn_blocking(move || wait.recv());
        let poll = download.as_mut().poll(cx).map(|_| false);
        if poll.is_pending() && left == 0 {
            return Poll::Ready(true);
        }
        held = None;
        poll
    });
    let dropped = dropped.await;
    drop((download, held));
    tokio::task::spawn_blocking(|| {}).await.unwrap();
    dropped
}

#[test]
fn a_download_dropped_at_any_time_leaves_nothing_or_a_partial_file() {
    let file = File::new(content(1_000));
    for polls in 1.. {
        let folder = TemporaryFolder::new();
        // What is asked of its one thread is done in that order.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let dropped = runtime.block_on(async {
            let download = download(&serve(&file, []), &folder.file("target"));
            drop_after(polls, download).await
        });
        let names = folder.names();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert!(
            matches!(
                names[..],
                [] | ["target.part", "target.part.json"] | ["target"]
            ),
            "{polls}: {names:?}"
        );
        if !dropped {
            break;
        }
    }
}

/// Starts many downloads to one file at once, some of which break and some of which are dropped.
async fn download_at_once(file: &File, fates: [Fate; 4], dropped: bool) {
    let folder = Arc::new(TemporaryFolder::new());
    let connector = serve(file, fates);
    let is_right = || match fs::read(folder.file("target")) {
        Ok(found) => found == file.content[..],
        Err(_) => true,
    };
    let downloads = (0..16).map(|number| {
        let (connector, folder) = (connector.clone(), folder.clone());
        let download =
            tokio::spawn(async move { download(&connector, &folder.file("target")).await });
        if dropped && number % 4 == 0 {
            download.abort();
        }
        download
    });
    for download in downloads.collect::<Vec<_>>() {
        match download.await {
            Ok(Ok(whole)) => assert_eq!(whole.length(), 100_000),
            Ok(Err(error)) => {
                let is_of_other = error.kind() == ErrorKind::Write;
                assert!(is_of_other || error.kind() == ErrorKind::Body, "{error:#}");
            }
            Err(error) => assert!(error.is_cancelled()),
        }
        assert!(is_right(), "a part of it was under its name");
    }
    download(&connector, &folder.file("target")).await.unwrap();
    assert!(is_right());
    assert_eq!(folder.names(), ["target"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_downloads_to_one_file_at_once_write_it_one_after_the_other() {
    let file = File::new(content(100_000));
    download_at_once(&file, [Fate::Whole; 4], false).await;
    let breaks = [
        Fate::Dies(10_000),
        Fate::Whole,
        Fate::Dies(70_000),
        Fate::Dies(1),
    ];
    download_at_once(&file, breaks, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_written_to_is_found_out_before_anything_is_sent() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    fs::write(folder.file("file"), "").unwrap();
    fs::create_dir(folder.file("folder")).unwrap();
    fs::create_dir(folder.file("blocked.part")).unwrap();
    let connector = serve(&file, []);
    for path in [
        folder.file("missing/target"),
        folder.file("file/target"),
        folder.file("folder"),
        folder.file("blocked"),
        folder.file("folder/.."),
        folder.file("new/"),
        folder.file("new/."),
        Path::new("/dev/null").to_owned(),
        Path::new("").to_owned(),
    ] {
        let error = download(&connector, &path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Write, "{path:?}");
        assert!(error.partial_file().is_none());
    }
    assert_eq!(connector.log().accepted, 0);
    assert_eq!(folder.names(), ["blocked.part", "file", "folder"]);

    // The record cannot be written.
    fs::create_dir(folder.file("target.part.json")).unwrap();
    let error = download(&connector, &folder.file("target"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
    assert!(!folder.file("target.part").exists());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_became_a_folder_leaves_the_part() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    let target = folder.file("target");
    let connector = serve(&file, []);
    let blocked = download(&connector, &target).on_progress(|_| {
        fs::create_dir_all(&target).unwrap();
    });
    let error = blocked.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
    assert_eq!(error.partial_file().unwrap().length(), 1_000);
    fs::remove_dir(&target).unwrap();
    let done = download(&connector, &target).await.unwrap();
    assert_eq!(done.resumed_from(), 1_000);
    assert!(fs::read(&target).unwrap() == file.content[..]);
}

#[tokio::test(start_paused = true)]
async fn what_no_download_has_left_is_not_touched() {
    use std::error::Error as _;

    let file = File::new(content(1_000));
    for (name, text) in [
        ("target.part", "mine"),
        ("target.part.json", "{\"mine\":1}"),
    ] {
        let folder = TemporaryFolder::new();
        fs::write(folder.file(name), text).unwrap();
        let connector = serve(&file, []);
        let error = download(&connector, &folder.file("target"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Write);
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains(&format!("{name:?}")), "{cause}");
        assert_eq!(fs::read_to_string(folder.file(name)).unwrap(), text);
        assert_eq!(connector.log().accepted, 0);
    }
    // What another download has left without a validator, and what it had not begun to write, is.
    let folder = TemporaryFolder::new();
    let unknown = "{\"partial_download\":1,\"resource\":\"\",\"answered\":\"\",\"codings\":\"\"}";
    for (part, record) in [("old", Some(unknown)), ("", Some("")), ("", None)] {
        fs::write(folder.file("target.part"), part).unwrap();
        if let Some(record) = record {
            fs::write(folder.file("target.part.json"), record).unwrap();
        }
        let done = download(&serve(&file, []), &folder.file("target"))
            .await
            .unwrap();
        assert_eq!(done.resumed_from(), 0);
        assert_eq!(folder.names(), ["target"]);
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_link_in_the_place_of_the_part_is_not_followed() {
    use std::os::unix::fs::symlink;

    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    fs::write(folder.file("victim"), "as it was").unwrap();
    for name in ["target.part", "target.part.json"] {
        for link in [symlink::<_, std::path::PathBuf>, |from, to| {
            fs::hard_link(from, to)
        }] {
            link(folder.file("victim"), folder.file(name)).unwrap();
            let error = download(&serve(&file, []), &folder.file("target")).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Write);
            assert_eq!(fs::read(folder.file("victim")).unwrap(), b"as it was");
            assert!(folder.file(name).symlink_metadata().is_ok());
            fs::remove_file(folder.file(name)).unwrap();
            assert_eq!(folder.names(), ["victim"]);
        }
    }
    // Those of the target are.
    symlink("victim", folder.file("link")).unwrap();
    let done = download(&serve(&file, []), &folder.file("link"))
        .await
        .unwrap();
    assert!(done.path().ends_with("victim"));
    assert!(folder.file("link").is_symlink());
    assert!(fs::read(folder.file("victim")).unwrap() == file.content[..]);
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_file_that_is_replaced_is_not_readable_to_more_people_by_its_part() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    fs::write(folder.file("target"), "as it was").unwrap();
    fs::set_permissions(folder.file("target"), fs::Permissions::from_mode(0o640)).unwrap();
    let part = folder.file("target.part");
    let mut modes = Vec::new();
    let connector = serve(&file, []);
    let done = download(&connector, &folder.file("target"))
        .on_progress(|_| modes.push(fs::metadata(&part).unwrap().mode() & 0o777));
    done.await.unwrap();
    assert!(modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
    assert_eq!(
        fs::metadata(folder.file("target")).unwrap().mode() & 0o777,
        0o640
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_may_be_as_long_as_the_file_system_allows() {
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    for name in ["x".repeat(255), "ä".repeat(127), "x".repeat(129)] {
        leave(&file, 500, &folder.file(&name)).await;
        let done = download(&serve(&file, []), &folder.file(&name))
            .await
            .unwrap();
        assert_eq!(done.resumed_from(), 500);
        assert_eq!(folder.names(), std::slice::from_ref(&name));
        fs::remove_file(folder.file(&name)).unwrap();
    }
}
