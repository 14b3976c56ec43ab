//! Uploads of a client: how far they are, bodies of open files, and what ends a long one.

use std::{
    convert::Infallible,
    fs,
    io::{SeekFrom, Write as _},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use client::{
    Body, Client, ClientBuilder, DeadlinePhase, Http2, Progress, RequestBuilder, RetryPolicy,
    UploadProgress, retry_layer::hedge::Hedging,
};
use futures_core::Stream;
use h2::Reason;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use test_suite::TemporaryFile;
use test_support::{Connect, Connection, MemoryConnector, Reply, answer, http2, sequence};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tower::service_fn;

async fn opened(file: &TemporaryFile) -> tokio::fs::File {
    tokio::fs::File::open(file.path())
        .await
        .expect("it is there")
}

const LENGTH: usize = 300_000;

fn content() -> Vec<u8> {
    (0..=250).cycle().take(LENGTH).collect()
}

fn stream(content: Vec<u8>) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let content = Bytes::from(content);
    let mut starts = (0..content.len()).step_by(10_000);
    Pieces(move || {
        let start = starts.next()?;
        Some(content.slice(start..content.len().min(start + 10_000)))
    })
}

struct Pieces<F>(F);

impl<F: FnMut() -> Option<Bytes> + Unpin> Stream for Pieces<F> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        Poll::Ready((self.0)().map(Ok))
    }
}

/// Every kind of body, with its name.
async fn bodies(file: &TemporaryFile) -> Vec<(&'static str, Body)> {
    let length = u64::try_from(LENGTH).unwrap();
    vec![
        ("bytes", content().into()),
        ("file", Body::from_file(file.path()).await.unwrap()),
        (
            "open file",
            Body::from_open_file(opened(file).await).await.unwrap(),
        ),
        ("stream", Body::stream(stream(content()))),
        ("known", Body::stream_with_length(stream(content()), length)),
        (
            "function",
            Body::from_fn(|| Body::stream(stream(content()))),
        ),
    ]
}

/// What was told of one upload.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Progress>>>);

impl Told {
    fn tell(&self) -> impl Fn(Progress) + Send + Sync + 'static {
        let told = self.0.clone();
        move |progress| told.lock().unwrap().push(progress)
    }

    fn take(&self) -> Vec<Progress> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Takes what was told of an upload of [`content`], which has begun anew so many times.
    #[track_caller]
    fn assert_whole(&self, restarts: u32, has_length: bool, which: &str) {
        let told = self.take();
        let length = u64::try_from(LENGTH).unwrap();
        let mut before = (0, 0);
        for progress in &told {
            assert_eq!(progress.total, has_length.then_some(length), "{which}");
            let now = (progress.restarts, progress.written);
            if now.0 == before.0 {
                let step = now.1 - before.1;
                assert!(step > 0 && step <= 64 * 1024, "{which}: {told:?}");
            } else {
                assert_eq!(now, (before.0 + 1, 0), "{which}");
                assert!(before.1 > 0, "{which}: nothing had been sent");
            }
            before = now;
        }
        assert_eq!(before, (restarts, length), "{which}");
    }
}

fn settings() -> ClientBuilder {
    let policy = RetryPolicy::builder().replay_limit(LENGTH);
    Client::builder().retry(policy)
}

/// How the first attempt fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The server closes when a part of the body has come.
    Break,
    /// The server answers 503 when all of it has come.
    Unavailable,
}

/// A server that fails its first request.
fn failing_http1(failure: Failure) -> MemoryConnector {
    let asked = Arc::new(AtomicUsize::new(0));
    MemoryConnector::new(move |mut connection: Connection| {
        let asked = asked.clone();
        async move {
            while connection.read_head().await.is_some() {
                let fails = asked.fetch_add(1, Relaxed) == 0;
                if fails && matches!(failure, Failure::Break) {
                    connection.read_bytes().await;
                    connection.read_bytes().await;
                    connection.reset();
                    return;
                }
                let Some(body) = connection.read_body().await else {
                    return;
                };
                assert!(body == content(), "another content came");
                connection.respond(if fails { 503 } else { 201 }, "").await;
            }
        }
    })
}

fn failing_http2(failure: Failure) -> http2::Peer {
    let asked = AtomicUsize::new(0);
    http2::Peer::new(
        h2::server::Builder::new(),
        move |mut stream: http2::Stream| {
            let fails = asked.fetch_add(1, Relaxed) == 0;
            async move {
                let mut came = Vec::new();
                while let Some(Ok(bytes)) = stream.request.body_mut().data().await {
                    let flow = stream.request.body_mut().flow_control();
                    flow.release_capacity(bytes.len()).unwrap();
                    came.extend_from_slice(&bytes);
                    if fails && matches!(failure, Failure::Break) {
                        stream.close();
                        return;
                    }
                }
                assert!(came == content(), "another content came");
                stream.answer(if fails { 503 } else { 201 }, "");
            }
        },
    )
}

async fn upload_through(failure: Failure, client: impl Fn() -> Client) {
    let file = TemporaryFile::new(&content());
    for (name, body) in bodies(&file).await {
        let told = Told::default();
        let has_length = body.size_hint().exact().is_some();
        let request = client().put("http://peer/").body(body);
        let sent = request.upload_progress(told.tell()).fetch().await;
        assert_eq!(sent.unwrap().status(), StatusCode::CREATED, "{name}");
        told.assert_whole(1, has_length, &format!("{name}, {failure:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_progress_of_any_body_begins_anew_with_an_attempt_over_http1() {
    for failure in [Failure::Break, Failure::Unavailable] {
        upload_through(failure, || {
            let connector = failing_http1(failure);
            settings().build_with_connector(connector).unwrap()
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_progress_of_any_body_begins_anew_with_an_attempt_over_http2() {
    for failure in [Failure::Break, Failure::Unavailable] {
        upload_through(failure, || {
            let http2 = Http2::default().prior_knowledge(true);
            let connector = failing_http2(failure).connector();
            settings()
                .http2(http2)
                .build_with_connector(connector)
                .unwrap()
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_progress_of_a_hedged_upload_goes_on_and_does_not_begin_anew() {
    let file = TemporaryFile::new(&content());
    for (name, body) in bodies(&file).await {
        // The first request is read whole, and not answered.
        let asked = AtomicUsize::new(0);
        let connector = MemoryConnector::new(answer(move |request| {
            assert!(*request.body == content(), "another content came");
            match asked.fetch_add(1, Relaxed) {
                0 => Reply::stall(),
                _ => Reply::status(201),
            }
        }));
        let client = settings().hedge(Hedging::after(Duration::from_millis(100)));
        let client = client.build_with_connector(connector.clone()).unwrap();
        let told = Told::default();
        let has_length = body.size_hint().exact().is_some();
        let request = client.put("http://peer/").body(body);
        let sent = request.upload_progress(told.tell()).fetch().await;
        assert_eq!(sent.unwrap().status(), StatusCode::CREATED, "{name}");
        assert_eq!(connector.log().requests.len(), 2, "{name}");
        told.assert_whole(0, has_length, name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_overtakes_its_attempt_brings_the_progress_to_its_end() {
    // The first connection takes a part of the body, and then nothing more.
    let connector = MemoryConnector::with_buffer(
        |mut connection: Connection| async move {
            if connection.number() == 0 {
                connection.stall().await;
            }
            connection.read_request().await;
            connection.respond(201, "").await;
        },
        100_000,
    );
    let client = settings().hedge(Hedging::after(Duration::from_millis(100)));
    let client = client.build_with_connector(connector).unwrap();
    let told = Told::default();
    let body = Body::from_fn(|| Body::from(content()));
    let request = client.put("http://peer/").body(body);
    let sent = request.upload_progress(told.tell()).fetch().await;
    assert_eq!(sent.unwrap().status(), StatusCode::CREATED);
    told.assert_whole(0, true, "hedged");
}

#[tokio::test(start_paused = true)]
async fn progress_goes_on_over_redirects_and_skips_attempts_that_sent_nothing() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/" => Reply::status(307).header("location", "http://other/there"),
        _ => Reply::status(201),
    }));
    connector.script([Connect::Refuse, Connect::Accept]);
    let client = settings().build_with_connector(connector).unwrap();
    let told = Told::default();
    let request = client.put("http://peer/").body(content());
    let request = request.upload_progress(told.tell());
    assert_eq!(request.fetch().await.unwrap().status(), 201);
    told.assert_whole(1, true, "a redirect");

    let nothing = client.put("http://other/").upload_progress(told.tell());
    assert_eq!(nothing.fetch().await.unwrap().status(), 201);
    assert_eq!(told.take(), [], "an empty body has no progress");
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_a_request_has_a_progress_of_its_own() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(201)));
    let client = settings().build_with_connector(connector).unwrap();
    let told = Told::default();
    let request = client.put("http://peer/").body(content());
    let request = request.upload_progress(told.tell());
    for request in [request.try_clone().unwrap(), request] {
        request.fetch().await.unwrap();
        told.assert_whole(0, true, "a clone");
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_over_services_of_ones_own_too() {
    async fn take(request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let came = request.into_body().collect().await.unwrap().to_bytes();
        assert!(came == content(), "another content came");
        Ok(Response::new(Body::empty()))
    }
    let retrying = Client::builder().build_with_service(service_fn(take));
    let bare = Client::builder().build_from_service(service_fn(take));
    for client in [retrying.unwrap(), bare.unwrap()] {
        let told = Told::default();
        let mut request = Request::put("http://peer/")
            .body(Body::from(content()))
            .unwrap();
        let extensions = request.extensions_mut();
        extensions.insert(UploadProgress::new(told.tell()));
        client.execute(request).await.unwrap();
        told.assert_whole(0, true, "a service");
    }
}

#[tokio::test]
async fn an_open_file_is_sent_from_its_position_on_however_often_and_at_once() {
    let file = TemporaryFile::new(&content());
    let mut open = opened(&file).await;
    // tokio reads more of the file than it is asked for.
    open.seek(SeekFrom::Start(1_000)).await.unwrap();
    open.read_exact(&mut [0; 10]).await.unwrap();
    let mut body = Body::from_open_file(open).await.unwrap();
    let length = u64::try_from(LENGTH - 1_010).unwrap();
    assert_eq!(body.size_hint().exact(), Some(length));
    let begun = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let second = body.try_clone().unwrap().collect().await.unwrap();
    let rest = body.collect().await.unwrap().to_bytes();
    assert!([begun, rest].concat() == content()[1_010..]);
    assert!(second.to_bytes() == content()[1_010..]);

    let mut open = opened(&file).await;
    open.seek(SeekFrom::End(10)).await.unwrap();
    let body = Body::from_open_file(open).await.unwrap();
    assert!(body.is_end_stream(), "nothing follows");
}

#[tokio::test]
async fn what_is_open_and_cannot_be_sent_as_a_file_is_refused() {
    let file = TemporaryFile::new(b"content");
    let writing = fs::OpenOptions::new().append(true).open(file.path());
    let directory = fs::File::open(std::env::temp_dir());
    for open in [writing, directory] {
        let open = tokio::fs::File::from_std(open.unwrap());
        let error = Body::from_open_file(open).await.unwrap_err();
        assert!(error.is_builder(), "{error:?}");
    }
}

/// Uploads a file to a server that changes it when the first bytes have come, and takes them all.
async fn upload_while(change: fn(&Path), open: bool) -> (client::Error, usize) {
    // More than what is in buffers before the server reads anything.
    let file = TemporaryFile::new(&vec![1; 4 << 20]);
    let path = file.path().to_owned();
    let connector = MemoryConnector::new(move |mut connection: Connection| {
        let path = path.clone();
        async move {
            if connection.read_head().await.is_some() {
                change(&path);
                if connection.read_body().await.is_some() {
                    connection.respond(201, "").await;
                }
            }
        }
    });
    let body = if open {
        Body::from_open_file(opened(&file).await).await
    } else {
        Body::from_file(file.path()).await
    };
    let client = settings().build_with_connector(connector.clone()).unwrap();
    let sent = client.put("http://peer/").body(body.unwrap()).fetch().await;
    let log = connector.log();
    let whole = log.requests.iter().filter(|it| it.complete).count();
    (sent.unwrap_err(), whole)
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_is_an_error() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("shrinks", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(100).unwrap();
        }),
        ("grows", |path| {
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(b"more").unwrap();
        }),
        ("is written anew with the same length", |path| {
            // Later than what the clock of the file system tells apart.
            std::thread::sleep(Duration::from_millis(20));
            fs::write(path, vec![0; 4 << 20]).unwrap();
        }),
    ];
    for (which, change) in changes {
        for open in [false, true] {
            let (error, whole) = upload_while(change, open).await;
            assert!(error.is_request_body(), "{which}, {open}: {error:?}");
            assert!(format!("{error:#}").contains("changed"), "{error:#}");
            assert_eq!(whole, 0, "{which}, {open}");
        }
    }
}

/// A server that takes so much of a body, and nothing after that.
fn taking(bytes: usize) -> MemoryConnector {
    MemoryConnector::new(move |mut connection: Connection| async move {
        connection.read_head().await;
        let mut left = bytes;
        while let Some(piece) = connection.read_bytes().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                break;
            }
        }
        connection.stall().await;
    })
}

async fn late(request: RequestBuilder) -> client::Error {
    let request = request.body(vec![0; 8 << 20]);
    let request = request.timeout(Duration::from_secs(3));
    request.fetch().await.unwrap_err()
}

#[track_caller]
fn assert_tells_of_upload(error: &client::Error, at_least: u64) {
    let Some(DeadlinePhase::Upload { sent }) = error.deadline_phase() else {
        panic!("{:?}: {error}", error.deadline_phase());
    };
    assert!(sent >= at_least && sent < 8 << 20, "{sent}");
    let told = format!(
        "no answer within the deadline of 3s, while sending the body, {sent} bytes of which were \
         sent; a longer `timeout` of the request gives it more time (1 attempt; deadline_exceeded)"
    );
    let error = error.to_string();
    assert!(error.ends_with(&told), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_within_an_upload_tells_how_much_was_sent_over_http1() {
    let connector = taking(100_000);
    let client = settings().build_with_connector(connector).unwrap();
    // With progress it goes out in pieces, and so the count is closer.
    let request = client.put("http://peer/").upload_progress(|_| {});
    assert_tells_of_upload(&late(request).await, 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_within_an_upload_tells_how_much_was_sent_over_http2() {
    let peer = http2::Peer::new(h2::server::Builder::new(), |stream: http2::Stream| {
        stream.hold()
    });
    let http2 = Http2::default().prior_knowledge(true);
    let client = settings().http2(http2);
    let client = client.build_with_connector(peer.connector()).unwrap();
    let error = late(client.put("http://peer/")).await;
    assert_tells_of_upload(&error, 16 * 1024);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_once_a_body_was_sent_waits_for_the_head() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let client = settings().build_with_connector(connector).unwrap();
    let request = client.put("http://peer/").body("short");
    let error = request.timeout(Duration::from_secs(3)).fetch().await;
    let phase = error.unwrap_err().deadline_phase();
    assert_eq!(phase, Some(DeadlinePhase::Head));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_takes_longer_than_every_default_goes_on_while_it_moves() {
    const PIECES: usize = 60;
    // Over ten minutes in all.
    let connector = MemoryConnector::with_buffer(
        |mut connection: Connection| async move {
            connection.read_head().await;
            let mut came = 0;
            while came < LENGTH {
                tokio::time::sleep(Duration::from_secs(10)).await;
                let piece = connection.read_bytes().await;
                came += piece.expect("the upload goes on").len();
            }
            connection.respond(201, "").await;
        },
        LENGTH / PIECES,
    );
    let client = settings().build_with_connector(connector).unwrap();
    let began = tokio::time::Instant::now();
    let request = client.put("http://peer/").body(content());
    let sent = request.timeout(Duration::MAX).fetch().await;
    assert_eq!(sent.unwrap().status(), 201);
    assert!(began.elapsed() > Duration::from_secs(600));
}

#[tokio::test(start_paused = true)]
async fn progress_begins_anew_where_the_server_refused_the_stream_in_mid_upload() {
    let asked = AtomicUsize::new(0);
    let peer = http2::Peer::new(
        h2::server::Builder::new(),
        move |mut stream: http2::Stream| {
            let first = asked.fetch_add(1, Relaxed) == 0;
            async move {
                if first {
                    // In mid-upload.
                    stream.request.body_mut().data().await;
                    stream.reset(Reason::REFUSED_STREAM);
                } else {
                    stream.echo().await;
                }
            }
        },
    );
    let http2 = Http2::default().prior_knowledge(true);
    let client = settings().http2(http2);
    let client = client.build_with_connector(peer.connector()).unwrap();
    let told = Told::default();
    let request = client.put("http://peer/").body(content());
    let sent = request.upload_progress(told.tell()).fetch().await;
    assert!(*sent.unwrap().body() == content());
    told.assert_whole(1, true, "refused");
}
