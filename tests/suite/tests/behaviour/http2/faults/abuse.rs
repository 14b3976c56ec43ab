//! Peers that break the rules of HTTP/2, or flood the client with what is within them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{StatusCode, Uri};
use session_layer::{Error, PoolConfig, Timeouts};
use test_suite::{BytesSession, fetch, get};
use tokio::runtime::Builder;
use tower::{Layer, service_fn};

use crate::http2::faults::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, FIRST, GOAWAY, HEADERS, OK, PING,
        PUSH_PROMISE, RST_STREAM, SETTINGS, Script, WINDOW_UPDATE, behave, field, frame, head,
        misbehave,
    },
    pipe::Pipe,
    sweeps::layer,
};

type Answer = Result<(StatusCode, Bytes), Error>;

const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A session to two hosts: `bad` follows a script after a request, `good` answers. The count is of the bytes
/// that were taken from `bad`.
fn session(script: Script) -> (BytesSession, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let connector = service_fn(move |uri: Uri| {
        let (near, far) = Pipe::whole();
        if uri.host() == Some("bad") {
            let (script, counted) = (script.clone(), counted.clone());
            tokio::spawn(async move {
                counted.fetch_add(misbehave(far, script).await, Ordering::Relaxed);
            });
        } else {
            tokio::spawn(behave(far));
        }
        async { Ok::<_, io::Error>(near) }
    });
    let timeouts = Timeouts::default()
        .head(HEAD_TIMEOUT)
        .body_idle(HEAD_TIMEOUT);
    (
        layer(PoolConfig::default(), timeouts).layer(connector),
        taken,
    )
}

/// Asks a host that follows this script, and another beside it, which must not suffer.
async fn ask(script: Script) -> (Answer, usize) {
    let (session, taken) = session(script);
    let (answer, other) = tokio::join!(
        fetch(&session, get("http://bad/")),
        fetch(&session, get("http://good/")),
    );
    assert_eq!(other.unwrap().1, "fine");
    assert_eq!(
        fetch(&session, get("http://good/")).await.unwrap().1,
        "fine"
    );
    assert_eq!(session.stats().streams, 0);
    session.close(Duration::ZERO).await;
    assert_eq!(session.stats().open, 0);
    // The peer's task sees the end.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    (answer, taken.load(Ordering::Relaxed))
}

fn settings(id: u16, value: u32) -> Vec<u8> {
    [id.to_be_bytes().as_slice(), &value.to_be_bytes()].concat()
}

/// What breaks the rules before the head is there.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let only = |fields: Vec<u8>| frame(HEADERS, END_HEADERS | END_STREAM, FIRST, &fields);
    let with = |name: &str, value: &str| head(END_STREAM, &[field(name, value.as_bytes())]);
    let window = frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    vec![
        ("an uppercase name", with("X-Upper", "1")),
        ("no status", only(field("x-header", b"1"))),
        ("a status of letters", only(field(":status", b"abc"))),
        ("two statuses", only(vec![OK, OK])),
        (
            "a status after other fields",
            only([field("x-a", b"1"), vec![OK]].concat()),
        ),
        ("a header about the connection", with("connection", "close")),
        ("a transfer coding", with("transfer-encoding", "chunked")),
        ("a line break in a value", with("x-a", "1\r\nx-b: 2")),
        ("data before the head", frame(DATA, 0, FIRST, b"early")),
        (
            "a frame above the limit",
            frame(DATA, 0, FIRST, &vec![0; 16_385]),
        ),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, FIRST, &[OK]),
        ),
        ("a block that is no HPACK", only(vec![0xff; 20])),
        ("a head for stream 0", frame(HEADERS, END_HEADERS, 0, &[OK])),
        (
            "a head for a stream of nobody",
            frame(HEADERS, END_HEADERS, 3, &[OK]),
        ),
        ("a push, which was forbidden", {
            let promised = [2_u32.to_be_bytes().as_slice(), &[0x82]].concat();
            frame(PUSH_PROMISE, END_HEADERS, FIRST, &promised)
        }),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("settings on a stream", frame(SETTINGS, 0, FIRST, &[])),
        (
            "a window above the limit",
            frame(SETTINGS, 0, 0, &settings(4, 0x8000_0000)),
        ),
        ("a window that overflows", [window.clone(), window].concat()),
        ("a window update of 0", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7])),
        ("a reset of nobody", frame(RST_STREAM, 0, 0, &[0; 4])),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_head_that_breaks_the_rules_is_an_error_and_no_other_host_suffers() {
    for (what, bytes) in malformed() {
        let began = tokio::time::Instant::now();
        let (answer, _) = ask(Script::once(bytes)).await;
        let error = answer.expect_err(what);
        assert!(error.is_protocol(), "{what}: {error:?}");
        assert_eq!(began.elapsed(), Duration::ZERO, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_the_rules_is_never_a_success() {
    let five = |flags| head(flags, &[field("content-length", b"5")]);
    let cases = [
        (
            "too short",
            [five(0), frame(DATA, END_STREAM, FIRST, b"123")].concat(),
        ),
        (
            "too long",
            [five(0), frame(DATA, END_STREAM, FIRST, b"123456")].concat(),
        ),
        ("absent", five(END_STREAM)),
        (
            "above the frame's limit",
            [head(0, &[]), frame(DATA, 0, FIRST, &vec![0; 16_385])].concat(),
        ),
        (
            "padded beyond its end",
            [head(0, &[]), frame(DATA, 8, FIRST, &[9, 1])].concat(),
        ),
        (
            "followed by a second head that ends nothing",
            [head(0, &[]), head(0, &[])].concat(),
        ),
        (
            "reset",
            [
                head(0, &[]),
                frame(RST_STREAM, 0, FIRST, &2_u32.to_be_bytes()),
            ]
            .concat(),
        ),
    ];
    for (what, bytes) in cases {
        let (answer, _) = ask(Script::once(bytes)).await;
        let error = answer.expect_err(what);
        assert!(
            error.is_response_body() || error.is_protocol(),
            "{what}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_rules_allow_is_no_error() {
    let answer = || [head(0, &[]), frame(DATA, END_STREAM, FIRST, b"fine")].concat();
    let cases = [
        (
            "a frame of an unknown type",
            [frame(0xfa, 0, 0, b"?"), answer()].concat(),
        ),
        (
            "an unknown setting",
            [frame(SETTINGS, 0, 0, &settings(0xfa, 1)), answer()].concat(),
        ),
        ("an early hint", {
            let hint = frame(HEADERS, END_HEADERS, FIRST, &field(":status", b"103"));
            [hint, answer()].concat()
        }),
        ("a head in two frames", {
            let rest = field("x-a", b"1");
            let begin = frame(HEADERS, 0, FIRST, &[OK]);
            let end = frame(CONTINUATION, END_HEADERS, FIRST, &rest);
            [begin, end, frame(DATA, END_STREAM, FIRST, b"fine")].concat()
        }),
        ("a whole answer, and a reset without error", {
            [answer(), frame(RST_STREAM, 0, FIRST, &0_u32.to_be_bytes())].concat()
        }),
        ("a farewell that lets the request end", {
            let last = [FIRST.to_be_bytes(), 0_u32.to_be_bytes()].concat();
            [frame(GOAWAY, 0, 0, &last), answer()].concat()
        }),
    ];
    for (what, bytes) in cases {
        let (answer, _) = ask(Script::once(bytes)).await;
        assert_eq!(answer.expect(what).1, "fine", "{what}");
    }
}

/// How much a flood sends at most, and how much of the client's memory it may cost at any time.
const FLOOD: usize = 8 * 1024 * 1024;
const MEMORY: u64 = 1024 * 1024;

/// What may be sent again and again within the rules, or nearly.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let hint = [field(":status", b"103"), field("x-hint", &[b'x'; 100])].concat();
    let padded = frame(DATA, 8, FIRST, &[255; 256]);
    vec![
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("settings", frame(SETTINGS, 0, 0, &settings(3, 100))),
        ("early hints", frame(HEADERS, END_HEADERS, FIRST, &hint)),
        (
            "continuations",
            frame(CONTINUATION, 0, FIRST, &field("x-more", &[b'x'; 100])),
        ),
        ("empty continuations", frame(CONTINUATION, 0, FIRST, &[])),
        (
            "window updates",
            frame(WINDOW_UPDATE, 0, FIRST, &0_u32.to_be_bytes()),
        ),
        (
            "frames of unknown types",
            frame(0xfa, 0, FIRST, &[0; 1_000]),
        ),
        ("empty data", frame(DATA, 0, FIRST, &[])),
        ("data that is padding", padded),
        ("resets", frame(RST_STREAM, 0, FIRST, &8_u32.to_be_bytes())),
    ]
}

#[test]
fn a_flood_ends_in_an_error_and_costs_little_memory() {
    for (what, one) in floods() {
        let first = match what {
            "continuations" | "empty continuations" => frame(HEADERS, 0, FIRST, &[OK]),
            "empty data" | "data that is padding" => head(0, &[]),
            _ => Vec::new(),
        };
        let many = one.repeat((16 * 1024 / one.len()).max(1));
        let script = Script {
            first,
            times: FLOOD / many.len(),
            then: many,
        };
        let mut seen = None;
        let cost = allocation_counter::measure(|| {
            let runtime = Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build();
            seen = Some(runtime.unwrap().block_on(ask(script)));
        });
        let (answer, taken) = seen.expect("it was run");
        println!(
            "{what}: {taken} bytes taken, {} of memory, {answer:?}",
            cost.bytes_max
        );
        assert!(answer.is_err(), "{what}");
        assert!(cost.bytes_max < MEMORY, "{what}: {}", cost.bytes_max);
    }
}
