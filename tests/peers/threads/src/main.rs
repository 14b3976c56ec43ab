//! What a request takes of the processor where two threads share a session, beside two threads with a
//! session each: `threads [PORT]`.
//!
//! The peer is in memory and answers at once. So the session, with hyper, is all there is, and the threads
//! meet in the pool far more often than with sockets. With the port of the server of `tests/peers`, the
//! same over loopback follows.
//!
//! The threads of one row take turns slice by slice, shared and apart, and the tenth percentile of the
//! slices counts: other programs run too.

mod memory;

use std::{env, future::ready, hint::black_box, io, sync::Barrier, thread};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use rustix::time::{ClockId, clock_gettime};
use session_layer::{Connector, PoolConfig, Session, SessionLayer, Timeouts};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinSet,
};
use tower::{Layer, ServiceExt, service_fn};

use self::memory::Memory;

type Shared = Session<Empty<Bytes>>;

/// How many requests each thread has under way at once.
const TASKS: usize = 8;
const SLICES: usize = 60;

fn main() {
    let port: Option<u16> = env::args().nth(1).and_then(|port| port.parse().ok());
    println!("CPU of a request in ns, two threads:          apart   shared   apart / shared");
    for origins in [1, 64] {
        let uris = uris(origins, None);
        row(
            "memory, a runtime each",
            &uris,
            4_000,
            runtimes_of_their_own,
            in_memory,
        );
        row("memory, one runtime", &uris, 4_000, one_runtime, in_memory);
    }
    if let Some(port) = port {
        for origins in [1, 64] {
            let uris = uris(origins, Some(port));
            row(
                "loopback, a runtime each",
                &uris,
                1_000,
                runtimes_of_their_own,
                over_loopback,
            );
            row(
                "loopback, one runtime",
                &uris,
                1_000,
                one_runtime,
                over_loopback,
            );
        }
    }
}

fn layer() -> SessionLayer<Empty<Bytes>> {
    SessionLayer::new(PoolConfig::default(), Timeouts::default()).expect("the settings are valid")
}

fn in_memory() -> Shared {
    layer().layer(service_fn(|_: Uri| {
        ready(io::Result::Ok(Memory::default()))
    }))
}

fn over_loopback() -> Shared {
    layer().layer(Connector::new())
}

fn uris(origins: usize, port: Option<u16>) -> Vec<Uri> {
    let uri = |number: usize| match port {
        None => format!("http://host-{number}.example/"),
        Some(port) => format!("http://127.0.1.{}:{port}/", number + 1),
    };
    (0..origins)
        .map(|number| uri(number).parse().expect("it is a URI"))
        .collect()
}

/// Measures one way of running two threads, and prints it.
fn row(
    name: &str,
    uris: &[Uri],
    requests: usize,
    run: fn() -> Box<dyn Fn(&[Shared; 2], &[Uri], usize)>,
    session: fn() -> Shared,
) {
    let shared = session();
    let together = [shared.clone(), shared];
    let apart = [session(), session()];
    let run = run();
    // Two runtimes would be two keys of the pool, so each session stays with the same.
    let mut slices = [Vec::new(), Vec::new()];
    for _ in 0..=SLICES {
        for (sessions, slices) in [&apart, &together].into_iter().zip(&mut slices) {
            let began = cpu();
            run(sessions, uris, requests);
            slices.push((cpu() - began) / (2 * requests as u64));
        }
    }
    let [apart, shared] = slices.map(|mut slices| {
        // The first one opens the connections.
        slices.remove(0);
        slices.sort_unstable();
        slices[SLICES / 10]
    });
    let name = format!("{name}, {} origins", uris.len());
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let ratio = apart as f64 / shared as f64;
    println!("{name:45} {apart:6} {shared:8} {ratio:16.3}");
}

/// Two runtimes of one thread each.
fn runtimes_of_their_own() -> Box<dyn Fn(&[Shared; 2], &[Uri], usize)> {
    let runtime = || Builder::new_current_thread().enable_all().build();
    let runtimes = [runtime().expect("it starts"), runtime().expect("it starts")];
    Box::new(move |sessions, uris, requests| {
        let start = Barrier::new(2);
        let on = |runtime: &Runtime, session: &Shared| {
            start.wait();
            runtime.block_on(work(session, uris, requests));
        };
        thread::scope(|scope| {
            for (runtime, session) in runtimes.iter().zip(sessions) {
                let on = &on;
                scope.spawn(move || on(runtime, session));
            }
        });
    })
}

/// One runtime of two threads, which the requests of both sessions use.
fn one_runtime() -> Box<dyn Fn(&[Shared; 2], &[Uri], usize)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("it starts");
    Box::new(move |sessions, uris, requests| {
        let both = async {
            let [one, other] = sessions;
            let mut tasks = JoinSet::new();
            spawn(&mut tasks, one, uris, requests);
            spawn(&mut tasks, other, uris, requests);
            tasks.join_all().await;
        };
        runtime.block_on(both);
    })
}

async fn work(session: &Shared, uris: &[Uri], requests: usize) {
    let mut tasks = JoinSet::new();
    spawn(&mut tasks, session, uris, requests);
    tasks.join_all().await;
}

/// Sends so many requests, [`TASKS`] at a time, to all origins in turn.
fn spawn(tasks: &mut JoinSet<()>, session: &Shared, uris: &[Uri], requests: usize) {
    for task in 0..TASKS {
        let (mut session, uris) = (session.clone(), uris.to_vec());
        let each = requests / TASKS;
        let requests = async move {
            for turn in 0..each {
                let mut request = Request::new(Empty::new());
                request
                    .uri_mut()
                    .clone_from(&uris[(turn * TASKS + task) % uris.len()]);
                let response = (&mut session).oneshot(request).await;
                let body = response.expect("the peer answers").into_body();
                black_box(body.collect().await.expect("it is whole").to_bytes());
            }
        };
        tasks.spawn_on(requests, &Handle::current());
    }
}

/// The time of the processor that this process has used, in nanoseconds.
fn cpu() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    u64::try_from(nanoseconds).expect("time does not run backwards")
}
