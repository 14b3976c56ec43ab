//! The resolver over a source that counts, on a paused clock.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower::service_fn;

use super::{Name, Resolver};

mod answers;
mod guards;
mod hosts;
mod sharing;

const SECOND: Duration = Duration::from_secs(1);

/// What the source saw.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Seen {
    fn begin(&self) -> Running {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        let running = self.0.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(running, Ordering::SeqCst);
        Running(self.clone())
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::SeqCst)
    }

    fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }
}

struct Running(Seen);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A resolver whose source answers after a second.
fn slow(
    answer: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Clone + Send + Sync + 'static,
) -> (Resolver, Seen) {
    let seen = Seen::default();
    let counting = seen.clone();
    let source = service_fn(move |name: Name| {
        let (running, answer) = (counting.begin(), answer.clone());
        async move {
            let _running = running;
            sleep(SECOND).await;
            let addresses = answer(name.as_str())?;
            // A port in an answer is nothing that DNS could have said.
            Ok::<_, io::Error>(addresses.into_iter().map(|ip| SocketAddr::new(ip, 7)))
        }
    });
    (Resolver::over(source), seen)
}

fn fixed(addresses: &'static [&'static str]) -> (Resolver, Seen) {
    slow(|_| Ok(addresses.iter().map(|it| ip(it)).collect()))
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("the test's address is valid")
}

async fn first(resolver: &Resolver) -> IpAddr {
    let addresses = resolver.resolve("peer", 80).await;
    addresses.expect("the name resolves")[0].ip()
}
