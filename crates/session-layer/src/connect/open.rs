use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Uri};
use http_body::Body;
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::{client::legacy::connect::Connection as Connected, rt::TokioIo};
use tokio::{sync::oneshot, time::Instant};
use tower_service::Service;

use super::{
    connector::{PlainTcp, ViaProxy},
    driver::Driver,
    io::Io,
    io::Wire,
};
use crate::{
    Error,
    error::{BoxError, Kind, Phase},
    pool::{Channel, Connection, Link, Slot},
};

/// The most bytes of a response head, informational responses before it included.
const MAX_HEAD: u64 = 256 * 1024;

/// Opens connections; the pool does not know the connector's type.
pub(crate) trait Connect<B: Send + 'static>: Send + Sync {
    /// Opens a connection in a new task, which then drives it until its end.
    fn open(&self, slot: Slot<B>, id: u64, called_off: CalledOff);
}

/// Ends when nobody needs the connection any more.
pub(crate) type CalledOff = oneshot::Receiver<Never>;

/// What is never sent: only the end of the channel counts.
pub(crate) type Never = std::convert::Infallible;

/// Makes the pool's [`Connect`] of somebody's connector.
pub(crate) struct Opener<C>(pub(crate) C);

impl<C, B> Connect<B> for Opener<C>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connected + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn open(&self, slot: Slot<B>, id: u64, called_off: CalledOff) {
        tokio::spawn(open(self.0.clone(), slot, id, called_off));
    }
}

async fn open<C, B>(connector: C, slot: Slot<B>, id: u64, called_off: CalledOff)
where
    C: Service<Uri>,
    C::Response: Read + Write + Connected + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let timeout = slot.pool().config().timeouts.connect;
    let uri = slot.origin().uri().clone();
    let connecting = within(timeout, connect(connector, uri));
    match unless(called_off, connecting).await {
        Some(Ok(io)) => drive(io, slot, id).await,
        Some(Err(error)) => {
            let error = error.at(slot.origin());
            slot.fail(error);
        }
        // The slot goes back, and nobody waits to be told.
        None => {}
    }
}

/// Waits for the connection until it is called off. From then on nothing ends it but its own
/// users: somebody else may have been given it.
async fn unless<T>(mut called_off: CalledOff, connecting: impl Future<Output = T>) -> Option<T> {
    let mut connecting = pin!(connecting);
    poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(Some(connected)),
        Poll::Pending => Pin::new(&mut called_off).poll(cx).map(|_| None),
    })
    .await
}

async fn connect<C>(mut connector: C, uri: Uri) -> Result<C::Response, BoxError>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    poll_fn(|cx| connector.poll_ready(cx))
        .await
        .map_err(Into::into)?;
    connector.call(uri).await.map_err(Into::into)
}

async fn within<T>(
    timeout: Option<Duration>,
    connecting: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, Error> {
    let connected = match timeout {
        None => Ok(connecting.await),
        Some(timeout) => tokio::time::timeout(timeout, connecting).await,
    };
    match connected {
        Ok(Ok(io)) => Ok(io),
        Ok(Err(error)) => Err(Error::from_connector(error, timeout)),
        Err(_) => Err(Error::new(Kind::Timeout(
            Phase::Connect,
            timeout.unwrap_or_default(),
        ))),
    }
}

async fn drive<T, B>(io: T, mut slot: Slot<B>, id: u64)
where
    T: Read + Write + Connected + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let pool = slot.pool().clone();
    let origin = slot.origin().clone();
    let connected = io.connected();
    if connected.is_negotiated_h2() {
        let error = Error::new(Kind::Connect).with("the peer chose HTTP/2, which was not offered");
        return slot.fail(error.at(&origin));
    }
    let mut extras = Extensions::new();
    connected.get_extras(&mut extras);
    let torn_writes = extras.get::<PlainTcp>().is_none();
    let via_proxy = connected
        .is_proxied()
        .then(|| extras.remove::<ViaProxy>().unwrap_or_default());
    let wire = Arc::new(Wire::new(pool.epoch(), MAX_HEAD, torn_writes));
    // From here on the slot only waits for the socket to close.
    slot.settle();
    let io = TokioIo::new(Io::new(io, wire.clone(), slot));
    let (sender, connection) = match http1::Builder::new().handshake(io).await {
        Ok(both) => both,
        Err(error) => {
            let error = Error::new(Kind::Connect).with(error).at(&origin);
            return pool.tell_failed(id, &origin, error);
        }
    };
    let expires = expiry(pool.config().pool.max_lifetime);
    let facts = Connection::new(id, pool.clone(), origin, wire, expires, via_proxy);
    let link = Link {
        connection: facts.clone(),
        channel: Channel::new(sender),
    };
    // Made first: should the task end before its first poll, the pool still hears of it.
    let driver = Driver::new(connection.with_upgrades(), facts);
    pool.opened(id, link);
    driver.await;
}

/// When a connection gets too old: its lifetime give or take a tenth, so that connections opened
/// together are not replaced together.
fn expiry(lifetime: Option<Duration>) -> Option<Instant> {
    lifetime.and_then(|lifetime| {
        let factor = 0.9 + 0.2 * fastrand::f64();
        Instant::now()
            .checked_add(Duration::try_from_secs_f64(lifetime.as_secs_f64() * factor).ok()?)
    })
}
