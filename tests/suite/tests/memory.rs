//! The memory of a process that uploads a large file, and again after a break.
//!
//! The uploading process is this binary again, so that the memory of the server and of other tests is
//! not counted; a binary of its own, since a program's own size counts too.
#![cfg(target_os = "linux")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by its panic"
)]

use std::{
    env, fs,
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use client::{Body, Client, Http2, Progress};
use test_suite::{TemporaryFile, test_path};
use test_support::{Connection, Server, http2};

const MIB: u64 = 1 << 20;

/// The most that the uploading process may take.
const LIMIT: u64 = 32 * MIB;

/// A sparse file that begins each MiB with its number.
struct Sparse(TemporaryFile);

impl Sparse {
    fn new(length: u64) -> Self {
        let file = TemporaryFile::new(b"");
        let open = fs::OpenOptions::new().write(true).open(file.path());
        let open = open.expect("it was made just now");
        open.set_len(length).expect("a sparse file may be large");
        for number in 0..length / MIB {
            let marker = number.to_be_bytes();
            let written = open.write_all_at(&marker, number * MIB);
            written.expect("the temporary directory can be written to");
        }
        Self(file)
    }
}

/// What came of one body of a [`Sparse`] file.
#[derive(Default)]
struct Came(u64);

impl Came {
    #[track_caller]
    fn take(&mut self, mut bytes: &[u8]) {
        static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
        while let Some(first) = bytes.first() {
            let within = self.0 % MIB;
            let marker = (self.0 / MIB).to_be_bytes();
            let expected = usize::try_from(within).ok().and_then(|at| marker.get(at));
            let length = if let Some(expected) = expected {
                assert_eq!(first, expected, "at {}", self.0);
                1
            } else {
                let left = usize::try_from(MIB - within).unwrap().min(bytes.len());
                assert!(bytes[..left] == ZEROS[..left], "after {}", self.0);
                left
            };
            self.0 += u64::try_from(length).unwrap();
            bytes = &bytes[length..];
        }
    }
}

/// Serves PUTs of a [`Sparse`] file of this length over HTTP/1, and breaks the first one off in its
/// middle.
async fn serve_http1(length: u64, came: Arc<AtomicU64>) -> Server {
    let broken = Arc::new(AtomicBool::new(false));
    Server::start(move |mut connection: Connection| {
        let (broken, came) = (broken.clone(), came.clone());
        async move {
            if connection.read_head().await.is_none() {
                return;
            }
            let mut body = Came::default();
            while body.0 < length {
                let Some(bytes) = connection.read_bytes().await else {
                    return;
                };
                body.take(&bytes);
                if body.0 > length / 2 && !broken.swap(true, SeqCst) {
                    connection.reset();
                    return;
                }
            }
            came.store(body.0, SeqCst);
            connection.respond(201, "").await;
        }
    })
    .await
}

/// The same over HTTP/2.
async fn serve_http2(length: u64, came: Arc<AtomicU64>) -> String {
    let broken = Arc::new(AtomicBool::new(false));
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 20);
    builder.initial_connection_window_size(1 << 20);
    let peer = http2::Peer::new(builder, move |mut stream: http2::Stream| {
        let (broken, came) = (broken.clone(), came.clone());
        async move {
            let mut body = Came::default();
            while let Some(Ok(bytes)) = stream.request.body_mut().data().await {
                let flow = stream.request.body_mut().flow_control();
                flow.release_capacity(bytes.len()).unwrap();
                body.take(&bytes);
                if body.0 > length / 2 && !broken.swap(true, SeqCst) {
                    stream.close();
                    return;
                }
            }
            came.store(body.0, SeqCst);
            stream.answer(201, "");
        }
    });
    format!("http://{}", peer.listen().await)
}

/// What the uploading process is told, in its environment.
const URL: &str = "UPLOAD_TO";
const FILE: &str = "UPLOAD_FILE";
const OVER: &str = "UPLOAD_OVER";

/// Lets another process upload a file, and returns the most memory that it had, in bytes.
fn upload(url: &str, file: &Path, over: &str) -> u64 {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture"]);
    command.arg(test_path(module_path!(), "the_upload"));
    command.env(URL, url).env(FILE, file).env(OVER, over);
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    let line = printed.lines().find_map(|it| it.strip_prefix("peak "));
    line.expect("it is printed").parse().unwrap()
}

/// The most memory that this process has had.
fn peak() -> u64 {
    let mut status = String::new();
    let mut file = fs::File::open("/proc/self/status").unwrap();
    file.read_to_string(&mut status).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "the process that uploads for the tests below"]
fn the_upload() {
    let (Ok(url), Ok(file), Ok(over)) = (env::var(URL), env::var(FILE), env::var(OVER)) else {
        return;
    };
    let told = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let http2 = Http2::default().prior_knowledge(over == "HTTP/2");
        let client = Client::builder().http2(http2).build().unwrap();
        let length = fs::metadata(&file).unwrap().len();
        let file = tokio::fs::File::open(file).await.unwrap();
        let request = client
            .put(url)
            .body(Body::from_open_file(file).await.unwrap());
        let telling = told.clone();
        let request = request.upload_progress(move |progress| {
            assert_eq!(progress.total, Some(length));
            let mut told = telling.lock().unwrap();
            match told.last_mut() {
                Some(last) if last.restarts == progress.restarts => {
                    assert!(last.written < progress.written);
                    *last = progress;
                }
                Some(_) | None => told.push(progress),
            }
        });
        let sent = request.timeout(std::time::Duration::MAX).send().await;
        assert_eq!(sent.unwrap().status(), 201);
        let told = told.lock().unwrap();
        let [broken, whole] = &told[..] else {
            panic!("{told:?}")
        };
        assert!(
            broken.written > length / 2 && broken.written < length,
            "{told:?}"
        );
        assert_eq!((whole.restarts, whole.written), (1, length));
    });
    println!("peak {}", peak());
}

fn upload_over_both(length: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let file = Sparse::new(length);
    for over in ["HTTP/1", "HTTP/2"] {
        let came = Arc::new(AtomicU64::new(0));
        let began = std::time::Instant::now();
        let (_server, url) = runtime.block_on(async {
            if over == "HTTP/1" {
                let server = serve_http1(length, came.clone()).await;
                let url = server.origin();
                (Some(server), url)
            } else {
                (None, serve_http2(length, came.clone()).await)
            }
        });
        let peak = upload(&url, file.0.path(), over);
        println!(
            "{} MiB and a half of it again over {over}: peak {} KiB, {:?}",
            length / MIB,
            peak / 1024,
            began.elapsed()
        );
        assert_eq!(came.load(SeqCst), length, "{over}");
        assert!(peak < LIMIT, "{over}: {peak} bytes");
    }
}

#[test]
fn an_upload_of_a_large_file_takes_little_memory_though_it_is_sent_again() {
    upload_over_both(64 * MIB);
}

#[test]
#[ignore = "takes a while; run it with --release"]
fn an_upload_of_a_gibibyte_takes_little_memory_though_it_is_sent_again() {
    upload_over_both(1024 * MIB);
}
