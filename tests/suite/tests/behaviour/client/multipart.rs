//! Forms with files, byte for byte.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use client::{
    Body, Client,
    multipart::{Form, Part},
};
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use proptest::prelude::*;
use test_support::{MemoryConnector, Reply, Request, answer};

use super::support::over;

fn accepting() -> MemoryConnector {
    MemoryConnector::new(answer(|_| Reply::status(200)))
}

fn boundary(request: &Request) -> &str {
    let content_type = request.header("content-type").expect("a form has a type");
    content_type
        .strip_prefix("multipart/form-data; boundary=")
        .expect("the type of a form names its boundary")
}

fn channel(text: &'static str) -> Body {
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move { sender.send_data(Bytes::from_static(text.as_bytes())).await });
    Body::new(body)
}

#[tokio::test(start_paused = true)]
async fn a_form_is_written_as_browsers_write_it() {
    let connector = accepting();
    let form = Form::new()
        .text("title", "Grüße\nzwei")
        .part(
            "füle \"1\"",
            Part::bytes(&b"\x00\xff\r\n"[..]).file_name("a\"b\r\nX: y.txt"),
        )
        .part(
            "typed",
            Part::text("<p>").content_type("text/html; charset=utf-8"),
        )
        .part(
            "more",
            Part::bytes("x")
                .file_name("x")
                .content_type("image/png")
                .header(
                    HeaderName::from_static("content-language"),
                    HeaderValue::from_static("de"),
                ),
        )
        .text("", "");
    over(&connector)
        .post("http://peer/")
        .multipart(form)
        .fetch()
        .await
        .unwrap();
    let log = connector.log();
    let request = &log.requests[0];
    let b = boundary(request);
    assert_eq!(b.len(), 32);
    let mut expected = Vec::new();
    for piece in [
        format!("--{b}\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nGrüße\nzwei\r\n").as_bytes(),
        format!("--{b}\r\nContent-Disposition: form-data; name=\"füle %221%22\"; filename=\"a%22b%0D%0AX: y.txt\"\r\nContent-Type: application/octet-stream\r\n\r\n").as_bytes(),
        b"\x00\xff\r\n\r\n",
        format!("--{b}\r\nContent-Disposition: form-data; name=\"typed\"\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\r\n").as_bytes(),
        format!("--{b}\r\nContent-Disposition: form-data; name=\"more\"; filename=\"x\"\r\nContent-Type: image/png\r\ncontent-language: de\r\n\r\nx\r\n").as_bytes(),
        format!("--{b}\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n\r\n").as_bytes(),
        format!("--{b}--\r\n").as_bytes(),
    ] {
        expected.extend_from_slice(piece);
    }
    assert_eq!(request.body, expected);
    assert_eq!(
        request.header("content-length"),
        Some(&*expected.len().to_string())
    );
    assert_eq!(request.header("transfer-encoding"), None);
}

#[tokio::test(start_paused = true)]
async fn a_form_without_parts_is_its_end() {
    let connector = accepting();
    over(&connector)
        .post("http://peer/")
        .multipart(Form::new())
        .fetch()
        .await
        .unwrap();
    let log = connector.log();
    let request = &log.requests[0];
    assert_eq!(request.body, format!("--{}--\r\n", boundary(request)));
}

#[tokio::test(start_paused = true)]
async fn a_form_whose_parts_can_be_made_anew_is_sent_again() {
    let asked = AtomicUsize::new(0);
    let connector = MemoryConnector::new(answer(move |_| {
        Reply::status(if asked.fetch_add(1, Relaxed) < 2 {
            503
        } else {
            200
        })
    }));
    // More than is recorded of a stream.
    let large = vec![b'x'; 3 * 1024 * 1024];
    let path = std::env::temp_dir().join(format!("client-multipart-{}", std::process::id()));
    std::fs::write(&path, &large).unwrap();
    let form = Form::new()
        .text("text", "value")
        .part("file", Part::file(&path).await.unwrap())
        .part("made", Part::body(Body::from_fn(|| Body::from("anew"))));
    let client = over(&connector);
    let sent = client.put("http://peer/").multipart(form).fetch().await;
    std::fs::remove_file(&path).unwrap();
    assert_eq!(sent.unwrap().status(), 200);
    let log = connector.log();
    assert_eq!(log.requests.len(), 3);
    let first = &log.requests[0];
    let name = path.file_name().unwrap().to_str().unwrap();
    let head = String::from_utf8_lossy(&first.body[..400]).into_owned();
    assert!(
        head.contains(&format!("name=\"file\"; filename=\"{name}\"\r\n")),
        "{head}"
    );
    for request in &log.requests {
        assert!(request.body == first.body, "another form came");
        assert_eq!(
            request.header("content-length"),
            Some(&*first.body.len().to_string())
        );
        assert_eq!(boundary(request), boundary(first));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_out_in_chunks_only_if_its_length_is_unknown() {
    let connector = accepting();
    let client = over(&connector);
    let form = Form::new().part("a", Part::body(channel("streamed")));
    client
        .post("http://peer/")
        .multipart(form)
        .fetch()
        .await
        .unwrap();
    let known = Body::stream_with_length(channel("streamed").into_data_stream(), 8);
    let form = Form::new().part("a", Part::body(known));
    client
        .post("http://peer/")
        .multipart(form)
        .fetch()
        .await
        .unwrap();
    let log = connector.log();
    let [unknown, known] = &log.requests[..] else {
        panic!("two requests were sent");
    };
    assert_eq!(unknown.header("transfer-encoding"), Some("chunked"));
    assert_eq!(
        known.header("content-length"),
        Some(&*known.body.len().to_string())
    );
    for request in [unknown, known] {
        let b = boundary(request);
        assert_eq!(
            request.body,
            format!(
                "--{b}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nstreamed\r\n--{b}--\r\n"
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_part_must_not_say_is_refused() {
    let connector = accepting();
    let client = over(&connector);
    let value = HeaderValue::from_static("x");
    for part in [
        Part::text("a").content_type("text/html\r\nX: y"),
        Part::text("a").header(http::header::CONTENT_TYPE, value.clone()),
        Part::text("a").header(http::header::CONTENT_DISPOSITION, value),
    ] {
        let form = Form::new().part("a", part);
        let sent = client.post("http://peer/").multipart(form).fetch().await;
        assert!(sent.unwrap_err().is_builder());
    }
    assert_eq!(connector.log().requests.len(), 0);
}

#[test]
fn the_next_boundary_is_not_predictable() {
    let client = Client::new();
    let boundaries: HashSet<_> = (0..1000)
        .map(|_| {
            let request = client.post("http://peer/").multipart(Form::new());
            request.build().unwrap().headers()["content-type"].clone()
        })
        .collect();
    assert_eq!(boundaries.len(), 1000);
}

proptest! {
    #[test]
    fn no_name_adds_a_line_or_ends_its_quotes(name: String, file: String) {
        let client = Client::new();
        let part = Part::text("content").file_name(file.clone());
        let request = client.post("http://peer/").multipart(Form::new().part(name.clone(), part));
        let request = request.build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(request.into_body().collect()).unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        let lines: Vec<_> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 7, "{text}");
        assert!(!lines[1].contains(|it: char| it.is_ascii_control()));
        assert_eq!(lines[1].matches('"').count(), 4);
        // What needs no escape stays as it is.
        if !name.contains(|it: char| it == '"' || it.is_ascii_control()) {
            let named = format!("name=\"{name}\"");
            assert!(lines[1].contains(&named));
        }
    }
}
