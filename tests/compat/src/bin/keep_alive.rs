//! POSTs at gaps around the time at which a server closes idle connections, by a session that learns that time and by
//! one that does not.
//!
//! `tests/real-peers/keepalive` starts the servers and runs this; the arguments are the addresses of one that closes
//! after two seconds, and of one that closes after five.

use std::{
    collections::HashMap, env, error::Error, net::SocketAddr, process::ExitCode, time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use session_layer::{Connector, PoolConfig, Session, SessionLayer, Timeouts};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, ServiceExt};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [short, long] = arguments.as_slice() else {
        return Err("usage: keep_alive ADDRESS ADDRESS".into());
    };
    let cases = [
        Case {
            server: short.parse()?,
            idle: Duration::from_secs(2),
            one_way: Duration::from_millis(75),
            posts: 200,
        },
        Case {
            server: long.parse()?,
            idle: Duration::from_secs(5),
            one_way: Duration::from_millis(200),
            posts: 160,
        },
    ];
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(cases))
}

/// A server, the way to it, and what is sent.
#[derive(Clone, Copy)]
struct Case {
    server: SocketAddr,
    /// When it closes idle connections.
    idle: Duration,
    /// How long it takes to get there, and back as well.
    one_way: Duration,
    posts: u32,
}

async fn run(cases: [Case; 2]) -> Result<ExitCode, Failure> {
    let mut runs = JoinSet::new();
    for (number, case) in cases.into_iter().enumerate() {
        let relay = relay(case.server, case.one_way).await?;
        for learned in [false, true] {
            runs.spawn(async move { (number, learned, lost(case, relay, learned).await) });
        }
    }
    let mut counts = HashMap::new();
    while let Some(ended) = runs.join_next().await {
        let (number, learned, lost) = ended?;
        counts.insert((number, learned), lost?);
    }
    let mut holds = true;
    for (number, case) in cases.iter().enumerate() {
        let count = |learned| counts.get(&(number, learned)).copied().unwrap_or_default();
        let (without, with) = (count(false), count(true));
        let Case { idle, posts, .. } = case;
        println!(
            "closed after {idle:?}: {without} of {posts} POSTs lost, {with} with what is learned"
        );
        holds &= without >= 10 && with * 10 <= without;
    }
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sends POSTs one after the other, each after a gap of three to five quarters of the time at which idle connections are
/// closed; returns how many are lost.
async fn lost(case: Case, relay: SocketAddr, learned: bool) -> Result<u32, Failure> {
    let pool = PoolConfig::default().learned_keep_alive(learned);
    let session: Session<Full<Bytes>> =
        SessionLayer::new(pool, Timeouts::default())?.layer(Connector::new());
    let mut lost = 0;
    for number in 0..case.posts {
        let request = Request::post(format!("http://{relay}/")).body(Full::from("order"))?;
        match session.clone().oneshot(request).await {
            Ok(response) => drop(response.into_body().collect().await?),
            Err(error) if error.is_stale() => lost += 1,
            Err(error) => return Err(error.into()),
        }
        // Spread evenly, and the same for both.
        let part = f64::from(number * 37 % 100) / 100.0;
        sleep(case.idle.mul_f64(0.75 + 0.5 * part)).await;
    }
    Ok(lost)
}

/// Listens, and passes connections on to the server; what they carry, their ends included, arrives so much later.
async fn relay(server: SocketAddr, one_way: Duration) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let far = TcpStream::connect(server).await?;
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pass(near_read, far_write, one_way));
                tokio::spawn(pass(far_read, near_write, one_way));
                Ok::<_, std::io::Error>(())
            });
        }
    });
    Ok(address)
}

async fn pass<R, W>(mut from: R, mut to: W, one_way: Duration)
where
    R: AsyncReadExt + Unpin + Send + 'static,
    W: AsyncWriteExt + Unpin,
{
    let (sender, mut receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            let piece = buffer.get(..read).unwrap_or_default().to_vec();
            if sender.send((Instant::now() + one_way, piece)).is_err() || read == 0 {
                return;
            }
        }
    });
    while let Some((at, piece)) = receiver.recv().await {
        sleep_until(at).await;
        let ended = piece.is_empty();
        let passed = if ended {
            to.shutdown().await
        } else {
            to.write_all(&piece).await
        };
        if ended || passed.is_err() {
            return;
        }
    }
}
