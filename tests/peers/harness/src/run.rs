use std::{
    env, fs,
    future::Future,
    hint::black_box,
    io::{Read, Write},
    net::TcpStream,
    pin::Pin,
    process,
};

use http::Request;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

use crate::{Payload, Peer, Plan};

/// Runs the plan of the arguments with the client that `make` makes of it, and prints what the
/// client cannot be measured by from outside, as lines of `NAME VALUE`.
///
/// It ends the process without dropping the client, so that what is left allocated is what the
/// client holds.
pub fn main<P: Peer>(make: impl FnOnce(&Plan) -> P) {
    let plan = Plan::of(env::args().skip(1));
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let _entered = runtime.enter();
    let mut peer = make(&plan);
    let mut targets: Vec<_> = plan.uris().map(|uri| peer.target(&uri)).collect();
    let request = plan.request();
    if !plan.cold {
        runtime.block_on(work(&mut peer, &mut targets, plan.hosts, &request));
    }
    let mut crew = Crew::new(peer, targets, plan.workers);
    runtime.block_on(crew.work(plan.warm, &request));
    if plan.slices > 0 {
        println!("cpu {}", sliced(&runtime, &mut crew, &plan, &request));
    } else {
        let before = served(plan.port());
        let start = cpu();
        let work = crew.work(plan.requests, &request);
        measured_phase(&runtime, Box::pin(work));
        println!("cpu-of-all {}", cpu() - start);
        let after = served(plan.port());
        // What was asked by `served` itself counts once.
        println!("connections {}", after.connections - before.connections - 1);
        println!("attempts {}", after.requests - before.requests - 1);
        println!("faults {}", after.faults - before.faults);
    }
    println!("peak-rss {}", peak_rss());
    process::exit(0);
}

/// The phase that callgrind counts; it is told by this name.
#[inline(never)]
fn measured_phase(runtime: &Runtime, work: Pin<Box<dyn Future<Output = ()> + '_>>) {
    runtime.block_on(work);
    // Else this function might be left before its end.
    black_box(());
}

/// What a request takes of the processor, kernel included, in nanoseconds: the tenth percentile
/// of the slices, so that whoever else runs here is seen as little as may be.
fn sliced<P: Peer>(
    runtime: &Runtime,
    crew: &mut Crew<P>,
    plan: &Plan,
    request: &Request<Payload>,
) -> u64 {
    let mut slices: Vec<_> = (0..plan.slices)
        .map(|_| {
            let start = cpu();
            runtime.block_on(crew.work(plan.requests, request));
            (cpu() - start) / plan.requests.max(1) as u64
        })
        .collect();
    slices.sort_unstable();
    slices[plan.slices / 10]
}

/// The time of the processor that this process has used, in nanoseconds.
fn cpu() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    u64::try_from(nanoseconds).expect("time does not run backwards")
}

/// A client in the hands of several workers, each a task of its own.
struct Crew<P: Peer> {
    workers: Vec<(P, Vec<P::Target>)>,
}

impl<P: Peer> Crew<P> {
    fn new(peer: P, targets: Vec<P::Target>, workers: usize) -> Self {
        let mut crew: Vec<_> = (1..workers)
            .map(|_| (peer.clone(), targets.clone()))
            .collect();
        crew.push((peer, targets));
        Self { workers: crew }
    }

    /// Sends so many requests in all.
    async fn work(&mut self, requests: usize, request: &Request<Payload>) {
        if let [(peer, targets)] = self.workers.as_mut_slice() {
            return work(peer, targets, requests, request).await;
        }
        let each = requests / self.workers.len();
        let tasks: Vec<_> = self
            .workers
            .drain(..)
            .map(|(mut peer, mut targets)| {
                let request = request.clone();
                tokio::spawn(async move {
                    work(&mut peer, &mut targets, each, &request).await;
                    (peer, targets)
                })
            })
            .collect();
        for task in tasks {
            self.workers.push(task.await.expect("no worker panics"));
        }
    }
}

/// Sends so many requests one after the other.
async fn work<P: Peer>(
    peer: &mut P,
    targets: &mut [P::Target],
    requests: usize,
    request: &Request<Payload>,
) {
    for turn in 0..requests {
        let host = turn % targets.len();
        let answer = peer.exchange(&mut targets[host], again(request)).await;
        assert!(answer.status.is_success(), "{answer:?}");
        black_box(answer.bytes);
    }
}

/// The same request once more, for less than a clone of it costs.
fn again(request: &Request<Payload>) -> Request<Payload> {
    let mut again = Request::new(request.body().clone());
    *again.method_mut() = request.method().clone();
    if !request.headers().is_empty() {
        *again.headers_mut() = request.headers().clone();
    }
    again
}

struct Served {
    connections: u64,
    requests: u64,
    /// How many of them were answered by a failure.
    faults: u64,
}

/// Asks the server what it has served.
fn served(port: u16) -> Served {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream
        .write_all(b"GET /stats HTTP/1.0\r\n\r\n")
        .expect("the server reads");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("the server answers");
    let (_, body) = response.split_once("\r\n\r\n").expect("a whole head");
    let mut numbers = body
        .split(' ')
        .map(|number| number.parse().expect("a number"));
    let mut next = || numbers.next().expect("three numbers");
    Served {
        connections: next(),
        requests: next(),
        faults: next(),
    }
}

/// The most memory that was in use at once, in kB.
fn peak_rss() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok())
        .unwrap_or_default()
}
