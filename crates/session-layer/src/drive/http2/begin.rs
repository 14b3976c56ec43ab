use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body;
use hyper::{
    client::conn::http2,
    rt::{Read, Write},
};
use tokio::time::Instant;

use super::Driver;
use crate::{
    Http2,
    box_error::BoxError,
    drive::{
        keep_alive::KeepAlive,
        ping::{self, OnDemand},
        tasks::{Boxes, Tasks},
        watch::Watch,
    },
    exchange::{Gate, MAX_HEAD, Release},
    pool::{Connection, Shared},
};

/// How long a driver's timer sleeps if no timeout is set.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Makes the handshake of HTTP/2, and spawns the driver.
pub(in crate::drive) async fn drive<T, B>(
    io: T,
    facts: Arc<Connection<B>>,
    gate: Arc<Gate>,
    boxes: Arc<Boxes>,
) -> hyper::Result<()>
where
    T: Read + Write + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let pool = facts.pool();
    let tasks = Tasks::new(boxes);
    let config = &pool.config().http2;
    let on_demand = if config.adaptive_window {
        OnDemand::with_clock()
    } else {
        OnDemand::with_stopped_clock()
    };
    let (sender, dispatch) = builder(config, tasks.clone(), on_demand.clone())
        .handshake(io)
        .await?;
    let shared = Shared::new(facts.clone(), gate);
    let connect = pool.config().timeouts.connect;
    let now = Instant::now();
    let keep_alive = KeepAlive::new(
        pool.keep_alive_interval(facts.origin()),
        config.keep_alive_timeout,
        facts.facts().took,
        now,
    );
    // Made before the pool is told, so that the pool learns of the end even if the task is never
    // polled.
    let driver = Driver {
        sender: Some(sender),
        dispatch: Some(dispatch),
        frames: tasks.take_frames(),
        watch: Watch::new(pool.config(), connect.or(Some(LONGEST_SLEEP))),
        settle_by: connect.and_then(|connect| now.checked_add(connect)),
        streams: shared.streams().clone(),
        limit: None,
        allows_nothing: None,
        read: 0,
        keep_alive,
        on_demand,
        pinged: false,
        paused: false,
        connection: facts.clone(),
    };
    pool.opened_shared(shared);
    // It runs in a task of its own, which is smaller than the one that connects.
    tokio::spawn(driver);
    Ok(())
}

fn builder(config: &Http2, tasks: Tasks, on_demand: OnDemand) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(on_demand)
        .initial_stream_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .adaptive_window(config.adaptive_window)
        // Larger than the limit that this crate keeps itself, with an error that says so. h2
        // reports a head above its own limit only as a protocol error.
        .max_header_list_size(u32::try_from(MAX_HEAD.saturating_mul(4)).unwrap_or(u32::MAX))
        .keep_alive_interval(ping::INTERVAL)
        .keep_alive_timeout(ping::TIMEOUT)
        .keep_alive_while_idle(true);
    builder
}
