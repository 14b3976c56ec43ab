//! Requests that are spread over the addresses of their names.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::time::Instant;

use super::{
    ResponseFuture, State,
    checkout::{before, when_ready, when_served},
    exchange::Exchange,
    place::{self, Found, Place},
    turn::Turn,
};
use crate::{
    Error, Step, TriedAddresses,
    box_error::BoxError,
    exchange::RequestBody,
    origin::Origin,
    pool::{Arrival, CheckedOut, Name, Pool},
    target::HeaderFlags,
};

/// Begins a request that goes to one address.
#[cold]
pub(super) fn start<B>(
    pool: &Arc<Pool<B>>,
    origin: &Origin,
    request: Request<RequestBody<B>>,
    flags: HeaderFlags,
    now: Instant,
) -> ResponseFuture<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let checked_out = match pool.take(origin, now) {
        Some((pooled, ticket)) => Ok(CheckedOut::Connection(
            pooled,
            Arrival { ticket, since: now },
        )),
        None => pool.check_out(&origin.here(), now, None),
    };
    match checked_out {
        Ok(checked_out) => ResponseFuture::start(pool, checked_out, request, flags, now),
        Err(error) => ResponseFuture::failed(error.at(origin)),
    }
}

/// Begins a request that goes to an address which is still to be looked up.
#[cold]
pub(super) fn find<B>(
    pool: &Arc<Pool<B>>,
    name: Arc<Name>,
    tried: Option<TriedAddresses>,
    request: Request<RequestBody<B>>,
    flags: HeaderFlags,
) -> ResponseFuture<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let place = Found::default();
    let found = when_found(pool.clone(), name, tried, place.clone(), request, flags);
    ResponseFuture {
        state: State::CheckingOut(place::finding(place, found)),
    }
}

/// Waits until the addresses of a name are known, and for a connection to one of them that takes the
/// request.
async fn when_found<B>(
    pool: Arc<Pool<B>>,
    name: Arc<Name>,
    tried: Option<TriedAddresses>,
    place: Found<B>,
    request: Request<RequestBody<B>>,
    flags: HeaderFlags,
) -> Result<Exchange<B>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let timeouts = &pool.config().timeouts;
    let within = flags.options.connect().or(timeouts.connect);
    let by = within.and_then(|within| Instant::now().checked_add(within));
    let found = before(by, pool.look_up(&name, tried.as_ref())).await;
    let timed_out = || {
        let error = Error::connect_timeout(Step::Dns, within.unwrap_or_default());
        Err(error.at(name.origin()))
    };
    let origin = found.unwrap_or_else(timed_out)?;
    let queued = Duration::ZERO;
    let checked_out = pool.check_out(&origin.here(), Instant::now(), None);
    match checked_out.map_err(|error| error.at(&origin))? {
        CheckedOut::Connection(pooled, arrival) => {
            let _ = place.set(None);
            when_ready(pooled, request, flags, Turn { arrival, queued }).await
        }
        CheckedOut::Waiting(waiting) => {
            let _ = place.set(Some(Place::of(&pool, &waiting)));
            when_served(pool, waiting, queued, request, flags).await
        }
    }
}
