//! A load of many minutes on servers that fail, hang and restart, and what has to be true of it at the end.
//!
//! `tests/soak --minutes N` builds and runs this. Four workers, each a thread with a runtime of its own, keep 200 calls
//! under way each: half over HTTP/1 and half over HTTP/2, GETs and POSTs. Three of ten answers are a fault, one call in
//! twenty is dropped at some moment, and the servers drop all their connections every few seconds and are away for a
//! while.
//!
//! It fails unless, at the end,
//!
//! - every GET was answered, and every answer is the one that was asked for (lost 0, wrong 0);
//! - no POST was executed twice (sent twice 0);
//! - no connection, stream, waiter, task or descriptor is left (leaked 0), and the memory stopped growing.
#![allow(clippy::print_stdout, reason = "it is a program that prints a report")]

mod call;
mod figures;
mod server;
mod watch;
mod worker;

use std::{env, error::Error, process::ExitCode, sync::Arc, thread, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    figures::Figures,
    server::{Executed, Protocol, Server},
    watch::{Watch, descriptors},
};

const WORKERS: usize = 4;

struct Options {
    length: Duration,
    seed: u64,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        length: Duration::from_secs(30 * 60),
        seed: fastrand::u64(..),
    };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("each option has a value")?;
        match name.as_str() {
            "--minutes" => options.length = Duration::from_secs_f64(value.parse::<f64>()? * 60.0),
            "--seed" => options.seed = value.parse()?,
            _ => return Err("usage: soak [--minutes N] [--seed N]".into()),
        }
    }
    Ok(options)
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = options()?;
    println!("seed {}, {:?}", options.seed, options.length);
    // The first runtime of a process opens two descriptors for signals, which stay.
    drop(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
    );
    let before = descriptors();
    let figures = Arc::new(Figures::default());
    let executed = Arc::new(Executed::new(WORKERS));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;

    let memory_is_flat = runtime.block_on(run(&options, &figures, &executed))?;

    runtime.shutdown_timeout(Duration::from_secs(5));
    let after = descriptors();
    figures.leaked("descriptors", after.saturating_sub(before));
    let twice = executed.twice();
    let good = figures.report(twice) && memory_is_flat;
    println!("{}", if good { "as expected" } else { "FAILED" });
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs servers and workers until the time is over; returns whether the memory stopped growing.
async fn run(
    options: &Options,
    figures: &Arc<Figures>,
    executed: &Arc<Executed>,
) -> Result<bool, Box<dyn Error>> {
    let end = Instant::now() + options.length;
    let mut servers = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        servers.push(Server::start(protocol, options.seed, Arc::clone(executed)).await?);
    }
    let addresses = servers
        .iter()
        .map(|server| (server.protocol, server.address));
    let addresses: Vec<_> = addresses.collect();
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let (addresses, figures) = (addresses.clone(), Arc::clone(figures));
        let (executed, seed) = (Arc::clone(executed), options.seed);
        workers.push(thread::spawn(move || {
            worker::run(number, seed, &addresses, end, &figures, &executed);
        }));
    }
    let mut watch = Watch::new(options.length);
    while Instant::now() < end {
        sleep_until(end.min(Instant::now() + watch.interval())).await;
        watch.look(executed.bytes());
        println!(
            "{:>6.0?} s left, {watch}, {figures}",
            (end - Instant::now()).as_secs_f64()
        );
    }
    while workers.iter().any(|worker| !worker.is_finished()) {
        sleep(Duration::from_millis(100)).await;
    }
    for worker in workers {
        if worker.join().is_err() {
            figures.leaked("workers that panicked", 1);
        }
    }
    for server in &mut servers {
        server.stop().await;
        println!("{server}");
    }
    Ok(watch.is_flat())
}
