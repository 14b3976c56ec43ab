//! The digests of downloads.

use std::fs;

use client::ErrorKind;
use test_suite::TemporaryFolder;
use test_support::{Connection, MemoryConnector};

use super::{URL, download, leave, over, serve};
use crate::resume::support::{File, content, gzipped};

/// The SHA-256 of 1,000 bytes of content, and its `Repr-Digest`.
mod of_content {
    pub(super) const HEX: &str = "62ad7838dc7e98dfa64e22aa777bb6caf1910bb34cc50813d84cd952da6aa181";
    pub(super) const FIELD: &str = "sha-256=:Yq14ONx+mN+mTiKqd3u2yvGRC7NMxQgT2EzZUtpqoYE=:";
    /// Of the bytes from 500 on.
    pub(super) const FIELD_OF_REST: &str = "sha-256=:mjmV9iwamFCsM4zpBWMkkfu00yX/EaVcONR96kgN7A0=:";
}

#[tokio::test(start_paused = true)]
async fn the_right_digest_is_verified_from_the_first_byte_and_from_a_later_one() {
    let plain = File::new(content(1_000));
    let file = File {
        headers: &[("repr-digest", of_content::FIELD)],
        ..plain.clone()
    };
    for at in [None, Some(500)] {
        let folder = TemporaryFolder::new();
        if let Some(at) = at {
            leave(&plain, at, &folder.file("target")).await;
        }
        let done = download(&serve(&plain, []), &folder.file("target")).sha256_hex(of_content::HEX);
        assert!(done.await.unwrap().is_verified());

        if let Some(at) = at {
            leave(&file, at, &folder.file("target")).await;
        }
        let done = download(&serve(&file, []), &folder.file("target"))
            .await
            .unwrap();
        assert!(done.is_verified());
        assert_eq!(done.resumed_from(), u64::try_from(at.unwrap_or(0)).unwrap());
    }
    // The head of the first part had it, that of the second one has not.
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    let done = download(&serve(&plain, []), &folder.file("target"))
        .await
        .unwrap();
    assert!(done.is_verified());
    // That of the content is of the part alone: it is checked, and says nothing of what was there.
    leave(&plain, 500, &folder.file("target")).await;
    let file = File {
        headers: &[("content-digest", of_content::FIELD_OF_REST)],
        ..plain
    };
    let done = download(&serve(&file, []), &folder.file("target"))
        .await
        .unwrap();
    assert!(!done.is_verified());
    assert_eq!(done.resumed_from(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_digest_is_an_error_and_leaves_nothing() {
    let mut other = content(1_000);
    other[7] ^= 1;
    for field in ["repr-digest", "content-digest"] {
        let file = File {
            headers: match field {
                "repr-digest" => &[("repr-digest", of_content::FIELD)],
                _ => &[("content-digest", of_content::FIELD)],
            },
            ..File::new(other.clone())
        };
        let folder = TemporaryFolder::new();
        fs::write(folder.file("target"), "as it was").unwrap();
        let error = download(&serve(&file, []), &folder.file("target"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Digest);
        assert!(error.is_body());
        let mismatch = error.digest_mismatch().unwrap();
        assert_eq!(mismatch.field(), Some(field));
        assert_eq!(mismatch.algorithm(), "sha-256");
        assert!(error.to_string().contains(of_content::HEX), "{error}");
        assert_eq!(folder.names(), ["target"]);
        assert_eq!(fs::read(folder.file("target")).unwrap(), b"as it was");
    }
    // Bytes that have changed on the disk.
    let file = File::new(content(1_000));
    let folder = TemporaryFolder::new();
    leave(&file, 500, &folder.file("target")).await;
    fs::write(folder.file("target.part"), &other[..500]).unwrap();
    let next = download(&serve(&file, []), &folder.file("target")).sha256_hex(of_content::HEX);
    let error = next.await.unwrap_err();
    assert_eq!(error.digest_mismatch().unwrap().field(), None);
    assert!(folder.is_empty());
    // Of a body that is decoded, the digest that is given is that of the file.
    let file = File {
        headers: &[("content-encoding", "gzip")],
        ..File::new(gzipped(&other).await)
    };
    let next = download(&serve(&file, []), &folder.file("target")).sha256_hex(of_content::HEX);
    assert_eq!(next.await.unwrap_err().kind(), ErrorKind::Digest);
    assert!(folder.is_empty());

    let connector = serve(&file, []);
    let bad = download(&connector, &folder.file("target")).sha256_hex("12ab");
    assert!(bad.await.unwrap_err().is_builder());
    assert_eq!(connector.log().accepted, 0);
}

#[tokio::test(start_paused = true)]
async fn digests_in_trailers_are_checked() {
    let serve = |digest: &'static str| {
        MemoryConnector::new(move |mut connection: Connection| async move {
            connection.read_request().await;
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n";
            connection.write(head).await;
            connection.write(content(1_000)).await;
            let end = format!("\r\n0\r\nRepr-Digest: {digest}\r\n\r\n");
            connection.write(end).await;
            connection.answered();
        })
    };
    let folder = TemporaryFolder::new();
    let right = download(&serve(of_content::FIELD), &folder.file("target")).await;
    assert!(right.unwrap().is_verified());
    let wrong = download(&serve(of_content::FIELD_OF_REST), &folder.file("target")).await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Digest);
}

#[tokio::test(start_paused = true)]
async fn a_digest_of_the_rest_of_a_body_is_not_taken_for_one_of_the_whole() {
    let connector = MemoryConnector::new(move |mut connection: Connection| async move {
        let (first, head) = match connection.number() {
            0 => (0, "200 OK"),
            _ => (
                500,
                "206 Partial Content\r\nContent-Range: bytes 500-999/1000",
            ),
        };
        connection.read_request().await;
        let head =
            format!("HTTP/1.1 {head}\r\nETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n");
        connection.write(head).await;
        connection.write(&content(1_000)[first..first + 500]).await;
        if first == 0 {
            return connection.close().await;
        }
        let digest = of_content::FIELD_OF_REST;
        let end = format!("\r\n0\r\nContent-Digest: {digest}\r\n\r\n");
        connection.write(end).await;
        connection.answered();
    });
    let folder = TemporaryFolder::new();
    let done = over(&connector).get(URL).download_to(folder.file("target"));
    assert_eq!(done.await.unwrap().length(), 1_000);
    assert_eq!(connector.log().requests.len(), 2);
}
