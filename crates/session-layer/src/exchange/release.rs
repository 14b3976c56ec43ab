use std::{sync::Arc, time::Duration};

use super::{ExchangeState, Unread};
use crate::{origin::Origin, runtime};

/// How a response body gives its connection back, without knowing the request body's type.
pub(crate) trait Release: Send + Sync {
    /// Gives back the connection, or the stream on it whose exchange this is: the exchange is over and
    /// left nothing behind.
    fn release(self: Arc<Self>, stream: Option<Arc<ExchangeState>>);
    /// Leaves the rest of a response body to the connection, which is given back when it has ended
    /// in time, and closed else. Where others use the connection too, its stream is reset instead.
    fn drain_body(self: Arc<Self>, unread: Unread) {
        drop(unread);
    }
    fn state(&self) -> &ExchangeState;
    fn origin(&self) -> &Origin;
    /// How many requests the connection has been given.
    fn requests(&self) -> u64;
    fn body_idle(&self) -> Option<Duration>;
    /// Whether the body idle timeout was set by hand.
    fn is_body_idle_chosen(&self) -> bool;
    /// Whether the floor of downloads was set by hand, be it to none.
    fn is_download_floor_chosen(&self) -> bool;
    /// Whether bodies that nobody reads may have filled the window of a connection that others use too,
    /// so that the peer may send nothing of the body of a reader who waits.
    fn may_hold_up_a_stream(&self) -> bool {
        false
    }
    /// The runtime that drives the connection.
    fn runtime(&self) -> Option<runtime::Id>;
}
