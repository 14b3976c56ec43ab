//! Encoded response bodies: decoded whole, or an error.

use std::{
    convert::Infallible,
    error::Error as _,
    future::{Future as _, poll_fn},
    num::NonZeroU32,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use async_compression::{
    Level,
    tokio::bufread::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder},
    zstd::CParameter,
};
use bytes::Bytes;
use client::{
    Client, ClientBuilder, DecodeLimits, Error, ErrorKind, NoDecompression, RequestBuilder,
};
use futures_core::Stream;
use http::{Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;
use test_support::{Connection, MemoryConnector, Reply, answer, sequence};
use tokio::io::AsyncReadExt;
use tower::{Service, service_fn};

use super::support::over;

const TEXT: &[u8] = b"an answer that is long enough, long enough, long enough to be encoded \
                      in fewer bytes than it has";

/// Each coding that is decoded, by its name and by what encodes it.
const CODINGS: [(&str, Coding); 6] = [
    ("gzip", Coding::Gzip),
    ("x-gzip", Coding::Gzip),
    ("deflate", Coding::Zlib),
    ("deflate", Coding::Deflate),
    ("br", Coding::Brotli),
    ("zstd", Coding::Zstd),
];

#[derive(Clone, Copy, Debug)]
enum Coding {
    Gzip,
    Zlib,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    async fn encode(self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let ended = match self {
            Self::Gzip => GzipEncoder::new(plain).read_to_end(&mut out).await,
            Self::Zlib => ZlibEncoder::new(plain).read_to_end(&mut out).await,
            Self::Deflate => DeflateEncoder::new(plain).read_to_end(&mut out).await,
            Self::Brotli => {
                let mut encoder = BrotliEncoder::with_quality(plain, Level::Fastest);
                encoder.read_to_end(&mut out).await
            }
            Self::Zstd => ZstdEncoder::new(plain).read_to_end(&mut out).await,
        };
        ended.expect("memory can be encoded");
        out
    }
}

/// A client whose peer answers everything with this body, in pieces of this many bytes.
fn answered(builder: ClientBuilder, coding: &'static str, body: &[u8], pieces: usize) -> Client {
    let body = Bytes::copy_from_slice(body);
    let service = service_fn(move |_: Request<client::Body>| {
        let pieces: Vec<_> = body
            .chunks(pieces)
            .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
            .collect();
        let body = client::Body::stream(Listed(pieces.into_iter()));
        let response = Response::builder()
            .header(header::CONTENT_ENCODING, coding)
            .body(body)
            .expect("the response is valid");
        async { Ok::<_, Infallible>(response) }
    });
    builder
        .build_from_service(service)
        .expect("the settings are valid")
}

/// A list as a stream.
struct Listed<I>(I);

impl<I: Iterator + Unpin> Stream for Listed<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

async fn decoded(coding: &'static str, body: &[u8], pieces: usize) -> Result<Bytes, Error> {
    let client = answered(Client::builder(), coding, body, pieces);
    client.get("http://peer/").send().await?.bytes().await
}

#[tokio::test(start_paused = true)]
async fn each_coding_is_decoded_and_its_headers_go() {
    for (name, coding) in CODINGS {
        let body = coding.encode(TEXT).await;
        let connector = MemoryConnector::new(answer(move |_| {
            Reply::status(200)
                .header("content-encoding", name)
                .header("x-other", "stays")
                .body(body.clone())
        }));
        let client = over(&connector);
        let sent = client.get("http://peer/").send().await.unwrap();
        let fetched = client.get("http://peer/").fetch().await.unwrap();
        for headers in [sent.headers(), fetched.headers()] {
            assert!(!headers.contains_key("content-encoding"), "{name}");
            assert!(!headers.contains_key("content-length"), "{name}");
            assert_eq!(headers["x-other"], "stays");
        }
        assert_eq!(sent.bytes().await.unwrap(), TEXT, "{name}");
        assert_eq!(fetched.body(), TEXT, "{name}");
        assert_eq!(
            connector.log().requests[0].header("accept-encoding"),
            Some("gzip, deflate, br, zstd")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_free_again_once_the_body_was_decoded() {
    for (name, coding) in CODINGS {
        let body = coding.encode(TEXT).await;
        let connector = MemoryConnector::new(answer(move |_| {
            let chunked = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {:x}\r\n",
                body.len()
            );
            let mut raw = chunked.into_bytes();
            raw.extend_from_slice(&body);
            raw.extend_from_slice(b"\r\n0\r\n\r\n");
            Reply::raw(raw)
        }));
        let client = over(&connector);
        for _ in 0..3 {
            let response = client.get("http://peer/").send().await.unwrap();
            assert_eq!(response.bytes().await.unwrap(), TEXT, "{name}");
            client.get("http://peer/").fetch().await.unwrap();
        }
        assert_eq!(connector.log().accepted, 1, "{name}");
    }
}

#[tokio::test]
async fn several_members_are_one_body() {
    for coding in [("gzip", Coding::Gzip), ("zstd", Coding::Zstd)] {
        let mut body = coding.1.encode(b"a").await;
        body.extend(coding.1.encode(b"").await);
        body.extend(coding.1.encode(b"b").await);
        for pieces in [1, 7, body.len()] {
            assert_eq!(decoded(coding.0, &body, pieces).await.unwrap(), "ab");
        }
    }
}

#[tokio::test]
async fn a_second_member_that_was_spoilt_is_an_error() {
    let first = Coding::Gzip.encode(b"a").await;
    let second = Coding::Gzip.encode(b"b").await;
    for at in 0..second.len() {
        let mut body = first.clone();
        body.extend_from_slice(&second);
        body[first.len() + at] ^= 0x10;
        match decoded("gzip", &body, body.len()).await {
            // No checksum covers the time, the operating system, and bits that only fill a byte.
            Ok(bytes) => assert_eq!(bytes, "ab", "{at}"),
            Err(error) => assert!(error.is_decode(), "{at}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_body_that_is_cut_is_an_error_at_each_byte() {
    for (name, coding) in CODINGS {
        let body = coding.encode(TEXT).await;
        for end in 1..body.len() {
            for pieces in [3, end] {
                let error = decoded(name, &body[..end], pieces).await.unwrap_err();
                assert!(error.is_decode(), "{name} cut after {end}: {error:?}");
                assert!(error.source().is_some(), "{error:?}");
            }
        }
        // Without a byte there is no body, and nothing to decode.
        assert_eq!(decoded(name, &[], 1).await.unwrap(), "", "{name}");
    }
}

#[tokio::test]
async fn what_follows_the_encoded_body_is_an_error() {
    for (name, coding) in CODINGS {
        for garbage in [&b"\0"[..], b"garbage", b"\x1f"] {
            let mut body = coding.encode(TEXT).await;
            let end = body.len();
            body.extend_from_slice(garbage);
            for pieces in [1, end, body.len()] {
                let error = decoded(name, &body, pieces).await.unwrap_err();
                assert!(error.is_decode(), "{name}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_corrupt_body_is_named_in_one_line() {
    let error = decoded("gzip", b"not gzip", 8).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET http://peer:80: the body is not valid gzip (1 attempt)"
    );
}

#[tokio::test(start_paused = true)]
async fn fetch_tries_a_corrupt_body_again_and_send_does_not() {
    let mut corrupt = Coding::Gzip.encode(TEXT).await;
    let last = corrupt.len() - 1;
    corrupt[last] ^= 1;
    let good = Coding::Gzip.encode(TEXT).await;
    let connector =
        MemoryConnector::new(sequence([&corrupt, &good, &corrupt, &good].map(|body| {
            Reply::status(200)
                .header("content-encoding", "gzip")
                .body(body.clone())
        })));
    let client = over(&connector);
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), TEXT);
    assert_eq!(response.retry_report().attempts().len(), 2);

    let response = client.get("http://peer/").send().await.unwrap();
    assert!(response.bytes().await.unwrap_err().is_decode());

    // A POST may have been processed: it is not sent a second time.
    let connector = MemoryConnector::new(answer(move |_| {
        Reply::status(200)
            .header("content-encoding", "gzip")
            .body(corrupt.clone())
    }));
    let error = over(&connector).post("http://peer/").fetch().await;
    assert!(error.unwrap_err().is_decode());
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_that_is_cut_anywhere_is_fetched_again() {
    let body = Coding::Gzip.encode(TEXT).await;
    for end in 1..body.len() {
        let body = body.clone();
        let asked = Arc::new(AtomicUsize::new(0));
        let connector = MemoryConnector::new(move |mut connection: Connection| {
            let end = match asked.fetch_add(1, Relaxed) {
                0 => end,
                _ => body.len(),
            };
            let body = Bytes::copy_from_slice(&body[..end]);
            async move {
                connection.read_request().await;
                let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
                connection.write(head).await;
                connection.write(body).await;
                connection.close().await;
            }
        });
        let client = over(&connector);
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.body(), TEXT, "cut after {end}");
        assert_eq!(response.retry_report().attempts().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_told_as_that() {
    let body = Coding::Gzip.encode(TEXT).await;
    let connector = MemoryConnector::new(move |mut connection: Connection| {
        let body = body.clone();
        async move {
            connection.read_request().await;
            let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n";
            connection.write(head).await;
            connection.write(body).await;
            connection.close().await;
        }
    });
    let response = over(&connector).get("http://peer/").send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert!(error.is_body() && !error.is_decode(), "{error:?}");
}

#[tokio::test]
async fn codings_are_taken_off_in_reverse_order() {
    let inner = Coding::Brotli.encode(TEXT).await;
    let outer = Coding::Gzip.encode(&inner).await;
    assert_eq!(decoded("br, gzip", &outer, 9).await.unwrap(), TEXT);
    assert!(
        decoded("gzip, br", &outer, 9)
            .await
            .unwrap_err()
            .is_decode()
    );
    // A second line is the rest of the same list.
    let connector = MemoryConnector::new(answer(move |_| {
        Reply::status(200)
            .header("content-encoding", "br")
            .header("content-encoding", "gzip")
            .body(outer.clone())
    }));
    let response = over(&connector).get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), TEXT);
}

#[tokio::test(start_paused = true)]
async fn more_than_five_codings_are_an_error_over_all_lines_together() {
    let mut body = TEXT.to_vec();
    for _ in 0..5 {
        body = Coding::Gzip.encode(&body).await;
    }
    assert_eq!(
        decoded("gzip,gzip,gzip,gzip,gzip", &body, 100)
            .await
            .unwrap(),
        TEXT
    );
    for lines in [6, 50] {
        let connector = MemoryConnector::new(answer(move |_| {
            let reply = Reply::status(200).body("x");
            (0..lines).fold(reply, |reply, _| reply.header("content-encoding", "gzip"))
        }));
        let client = over(&connector);
        let error = client.get("http://peer/").send().await.unwrap_err();
        assert!(error.is_decode(), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!(
                "GET http://peer:80: the body is encoded {lines} times over, which is too many"
            )
        );
        let error = client.get("http://peer/").fetch().await.unwrap_err();
        assert!(error.is_decode(), "{error:?}");
        // The answer would be the same again.
        assert_eq!(connector.log().requests.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_passes_through_with_its_header() {
    for coding in ["compress", "gzip, foo", "identity"] {
        let connector = MemoryConnector::new(answer(move |_| {
            Reply::status(200)
                .header("content-encoding", coding)
                .body("as it is")
        }));
        let response = over(&connector).get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], coding);
        assert_eq!(response.headers()["content-length"], "8");
        assert_eq!(response.body(), "as it is");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_body_keeps_its_headers() {
    let connector = MemoryConnector::new(answer(|request| {
        let status = match request.path() {
            "/304" => "304 Not Modified",
            _ => "200 OK",
        };
        Reply::raw(format!(
            "HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: 77\r\n\r\n"
        ))
    }));
    let client = over(&connector);
    for request in [client.head("http://peer/"), client.get("http://peer/304")] {
        let response = request.fetch().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["content-length"], "77");
        assert_eq!(response.body(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_is_asked_for_and_given_as_it_is() {
    let connector = MemoryConnector::new(answer(|_| {
        Reply::status(206)
            .header("content-encoding", "gzip")
            .body("some of it")
    }));
    let response = over(&connector)
        .get("http://peer/")
        .header("range", "bytes=5-14")
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.body(), "some of it");
    assert_eq!(connector.log().requests[0].header("accept-encoding"), None);
}

#[tokio::test(start_paused = true)]
async fn decoding_can_be_turned_off_for_a_client_and_for_a_request() {
    let body = Coding::Gzip.encode(TEXT).await;
    let wire = body.clone();
    let connector = MemoryConnector::new(answer(move |_| {
        Reply::status(200)
            .header("content-encoding", "gzip")
            .body(body.clone())
    }));
    let off = Client::builder()
        .decompression(false)
        .build_with_connector(connector.clone())
        .unwrap();
    let mut on = over(&connector);
    let by_hand = Request::get("http://peer/")
        .extension(NoDecompression)
        .body(Full::<Bytes>::default())
        .unwrap();
    let by_hand = on.call(by_hand).await.unwrap();
    assert_eq!(by_hand.body().size_hint().exact(), Some(wire.len() as u64));
    assert_eq!(
        by_hand.into_body().collect().await.unwrap().to_bytes(),
        wire
    );
    for request in [
        off.get("http://peer/"),
        on.get("http://peer/").no_decompression(),
    ] {
        let response = request.fetch().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.body(), &wire);
    }
    let log = connector.log();
    assert!(
        log.requests
            .iter()
            .all(|it| it.header("accept-encoding").is_none())
    );
    // What a request says of its own stays.
    let own = on.get("http://peer/").header("accept-encoding", "gzip;q=1");
    assert_eq!(own.fetch().await.unwrap().body(), TEXT);
    let last = connector.log().requests.pop().unwrap();
    assert_eq!(last.header("accept-encoding"), Some("gzip;q=1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_decoded_is_what_a_redirect_led_to() {
    let body = Coding::Gzip.encode(TEXT).await;
    let wire = body.clone();
    let connector = MemoryConnector::new(answer(move |request| {
        let reply = Reply::status(200).header("content-encoding", "gzip");
        match request.header("host") {
            // What is not read to its end does not matter.
            Some("first") => Reply::status(302)
                .header("content-encoding", "gzip")
                .header("location", "http://second/")
                .body("corrupt"),
            _ => reply.body(body.clone()),
        }
    }));
    let client = over(&connector);
    let sent = client.get("http://first/").send().await.unwrap();
    assert_eq!(sent.bytes().await.unwrap(), TEXT);
    let fetched = client.get("http://first/").fetch().await.unwrap();
    assert_eq!(fetched.body(), TEXT);
    let raw = client.get("http://first/").no_decompression().fetch().await;
    assert_eq!(raw.unwrap().body(), &wire);
    let log = connector.log();
    let asked: Vec<_> = log
        .requests
        .iter()
        .map(|it| it.header("accept-encoding").is_some())
        .collect();
    assert_eq!(asked, [true, true, true, true, false, false]);
}

#[tokio::test]
async fn a_bomb_ends_at_the_limit() {
    let zeros = vec![0; 16 * 1024 * 1024];
    for (name, coding) in CODINGS {
        let bomb = coding.encode(&zeros).await;
        assert!(bomb.len() < 64 * 1024, "{name}: {}", bomb.len());
        let client = answered(
            Client::builder().max_body(1024 * 1024),
            name,
            &bomb,
            bomb.len(),
        );
        let response = client.get("http://peer/").send().await.unwrap();
        let error = response.bytes().await.unwrap_err();
        assert!(error.is_body() && !error.is_decode(), "{name}: {error:?}");
        let error = client.get("http://peer/").fetch().await.unwrap_err();
        assert!(error.is_body() && !error.is_decode(), "{name}: {error:?}");
        // As a stream it comes in pieces that do not grow with it.
        let mut response = client.get("http://peer/").send().await.unwrap();
        let mut read = 0;
        while let Some(piece) = response.chunk().await.unwrap() {
            assert!(piece.len() <= 64 * 1024, "{name}: {}", piece.len());
            read += piece.len();
        }
        assert_eq!(read, zeros.len(), "{name}");
    }
}

/// A body that streams to its end, or to the error that ends it; with how much of it was read.
async fn streamed(request: RequestBuilder) -> (usize, Result<(), Error>) {
    let mut response = request.send().await.expect("it is answered");
    let mut read = 0;
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => read += piece.len(),
            Ok(None) => return (read, Ok(())),
            Err(error) => return (read, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_stream_ends_where_it_decodes_to_more_than_its_limits() {
    const SIZE: usize = 2 * 1024 * 1024;
    let zeros = vec![0; SIZE];
    let ratio = |ratio| {
        DecodeLimits::default()
            .ratio(NonZeroU32::new(ratio))
            .ratio_from(1024 * 1024)
    };
    for (name, coding) in CODINGS {
        let bomb = coding.encode(&zeros).await;
        for (limits, passes, text) in [
            (DecodeLimits::default(), true, ""),
            (DecodeLimits::none(), true, ""),
            (ratio(1_000_000), true, ""),
            (ratio(100), false, "more than 100 bytes for each that came"),
            (DecodeLimits::default().bytes(SIZE as u64), true, ""),
            (
                DecodeLimits::default().bytes(SIZE as u64 - 1),
                false,
                "more than 2097151 bytes",
            ),
        ] {
            let of_client = Client::builder().decode_limits(limits);
            let of_client = answered(of_client, name, &bomb, 1000);
            let of_request = answered(Client::builder(), name, &bomb, 1000);
            for request in [
                of_client.get("http://peer/"),
                of_request.get("http://peer/").decode_limits(limits),
            ] {
                let (read, ended) = streamed(request).await;
                assert_eq!(ended.is_ok(), passes, "{name} {limits:?}: {ended:?}");
                let Err(error) = ended else {
                    assert_eq!(read, SIZE, "{name}");
                    continue;
                };
                assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
                assert!(error.is_too_large() && error.is_body() && !error.is_decode());
                assert!(error.to_string().contains(text), "{error}");
                assert!(read < SIZE, "{name}: {read}");
            }
        }
    }
}

#[tokio::test]
async fn what_several_codings_make_of_few_bytes_counts_together() {
    let once = Coding::Gzip.encode(&vec![0; 4 * 1024 * 1024]).await;
    let twice = Coding::Gzip.encode(&once).await;
    assert!(once.len() > 100 * 30 && twice.len() < 1000);
    // Neither coding alone goes beyond it.
    let limits = DecodeLimits::default()
        .ratio(NonZeroU32::new(1100))
        .ratio_from(0);
    let builder = || Client::builder().decode_limits(limits);
    let (_, ended) = streamed(answered(builder(), "gzip", &once, 999).get("http://peer/")).await;
    ended.unwrap();
    let client = answered(builder(), "gzip, gzip", &twice, 999);
    let (_, ended) = streamed(client.get("http://peer/")).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_body_beyond_its_limits_is_not_fetched_again() {
    let bomb = Coding::Zstd.encode(&vec![0; 1024 * 1024]).await;
    let connector = MemoryConnector::new(answer(move |_| {
        Reply::status(200)
            .header("content-encoding", "zstd")
            .body(bomb.clone())
    }));
    let client = over(&connector);
    let limits = DecodeLimits::default().bytes(1000);
    let call = client.get("http://peer/").decode_limits(limits).fetch();
    let error = call.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(error.status(), Some(StatusCode::OK));
    assert_eq!(connector.log().requests.len(), 1, "the same would come");
    // The limit was that request's alone.
    client.get("http://peer/").fetch().await.unwrap();
}

#[tokio::test]
async fn a_window_larger_than_a_web_server_may_use_is_refused() {
    let plain = vec![7; 1024];
    let mut large = Vec::new();
    ZstdEncoder::with_quality_and_params(
        &*plain,
        Level::Default,
        // The size is left out of the frame, which would else say that less is enough.
        &[
            CParameter::window_log(24),
            CParameter::content_size_flag(false),
        ],
    )
    .read_to_end(&mut large)
    .await
    .unwrap();
    let error = decoded("zstd", &large, large.len()).await.unwrap_err();
    assert!(error.is_decode(), "{error:?}");
    // "Large window" Brotli, of 1 GiB.
    let error = decoded("br", &[0x11, 0x1e, 0, 0, 0, 0], 6)
        .await
        .unwrap_err();
    assert!(error.is_decode(), "{error:?}");
}

#[tokio::test]
async fn members_without_content_leave_time_for_others() {
    // 8 MiB of them, within a layer that makes few bytes of it.
    let empty = Coding::Gzip.encode(b"").await;
    let many = empty.repeat(8 * 1024 * 1024 / empty.len());
    let body = Coding::Gzip.encode(&many).await;
    let client = answered(Client::builder(), "gzip, gzip", &body, body.len());
    let turns = Arc::new(AtomicUsize::new(0));
    let other = tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    let response = client.get("http://peer/").send().await.unwrap();
    let read = tokio::spawn(response.bytes()).await.unwrap();
    other.abort();
    assert_eq!(read.unwrap(), "");
    assert!(turns.load(Relaxed) >= 4, "{turns:?}");
}

#[tokio::test]
async fn a_bomb_leaves_time_for_others_though_all_of_it_has_come() {
    let bomb = Coding::Gzip.encode(&vec![0; 16 * 1024 * 1024]).await;
    let service = service_fn(move |_: Request<client::Body>| {
        let response = Response::builder()
            .header(header::CONTENT_ENCODING, "gzip")
            .body(Full::new(Bytes::from(bomb.clone())))
            .expect("the response is valid");
        async { Ok::<_, Infallible>(response) }
    });
    let client = Client::from_service(service);
    let polls = AtomicUsize::new(0);
    let mut fetch = pin!(client.get("http://peer/").fetch());
    let fetched = poll_fn(|cx| {
        polls.fetch_add(1, Relaxed);
        fetch.as_mut().poll(cx)
    });
    assert_eq!(fetched.await.unwrap().body().len(), 16 * 1024 * 1024);
    assert!(polls.load(Relaxed) >= 4, "{polls:?}");
}

#[tokio::test]
async fn trailers_come_after_a_decoded_body() {
    let body = Coding::Gzip.encode(TEXT).await;
    let service = service_fn(move |_: Request<client::Body>| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("7"));
        let frames = [
            Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(body.clone()))),
            Ok(http_body::Frame::trailers(trailers)),
        ];
        let response = Response::builder()
            .header(header::CONTENT_ENCODING, "gzip")
            .body(StreamBody::new(Listed(frames.into_iter())))
            .expect("the response is valid");
        async { Ok::<_, Infallible>(response) }
    });
    let mut client = Client::from_service(service);
    let request = Request::get("http://peer/")
        .body(Full::<Bytes>::default())
        .unwrap();
    let body = client.call(request).await.unwrap().into_body();
    let collected = body.collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
    assert_eq!(collected.to_bytes(), TEXT);

    let fetched = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(fetched.trailers().unwrap()["x-sum"], "7");
    assert_eq!(fetched.body(), TEXT);
    let streamed = client.get("http://peer/").send().await.unwrap();
    let collected = streamed.collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
}

/// What a body is made of: plain text, what it was encoded with, and where something was changed.
fn damaged() -> impl Strategy<Value = (Vec<u8>, usize, Option<(usize, u8)>)> {
    (
        proptest::collection::vec(any::<u8>(), 0..2000),
        0..CODINGS.len(),
        proptest::option::of((any::<usize>(), 1..=u8::MAX)),
    )
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be made")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn it_does_not_matter_how_the_bytes_are_split(
        (plain, coding, damage) in damaged(),
        pieces in 1_usize..50,
    ) {
        let runtime = runtime();
        runtime.block_on(async {
            let (name, coding) = CODINGS[coding];
            let mut body = coding.encode(&plain).await;
            if let Some((at, change)) = damage {
                let at = at % body.len();
                body[at] ^= change;
            }
            let whole = decoded(name, &body, body.len()).await;
            let split = decoded(name, &body, pieces).await;
            match (&whole, &split) {
                (Ok(whole), Ok(split)) => assert_eq!(whole, split),
                (Err(whole), Err(split)) => assert!(whole.is_decode() && split.is_decode()),
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("{whole:?} {split:?}"),
            }
            if damage.is_none() {
                assert_eq!(whole.unwrap(), plain);
            }
        });
    }

    #[test]
    fn bytes_of_any_kind_end_in_a_body_or_an_error(
        body in proptest::collection::vec(any::<u8>(), 1..300),
        coding in 0..CODINGS.len(),
        pieces in 1_usize..50,
    ) {
        let runtime = runtime();
        runtime.block_on(async {
            let (name, _) = CODINGS[coding];
            if let Err(error) = decoded(name, &body, pieces).await {
                assert!(error.is_decode(), "{error:?}");
            }
        });
    }
}
