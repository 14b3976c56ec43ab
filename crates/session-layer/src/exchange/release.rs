use std::{sync::Arc, time::Duration};

use super::{ExchangeState, Unread};
use crate::{origin::Origin, runtime};

/// The connection of a response body, without the type of the request body.
pub(crate) trait Release: Send + Sync {
    /// Releases the connection, or this stream of it. The exchange is over, and has left no bytes
    /// behind.
    fn release(self: Arc<Self>, stream: Option<Arc<ExchangeState>>);
    /// Leaves the rest of a response body to the driver. The connection is released if the body
    /// ends in time, and closed otherwise. On a shared connection the stream is reset instead.
    fn drain_body(self: Arc<Self>, unread: Unread) {
        drop(unread);
    }
    fn state(&self) -> &ExchangeState;
    fn origin(&self) -> &Origin;
    /// How many requests the connection has been given.
    fn requests(&self) -> u64;
    fn body_idle(&self) -> Option<Duration>;
    /// Whether the body idle timeout was set explicitly.
    fn is_body_idle_chosen(&self) -> bool;
    /// Whether the floor of downloads was set explicitly, be it to none.
    fn is_download_floor_chosen(&self) -> bool;
    /// Whether unread bodies may have filled the window of a shared connection, so that the peer
    /// cannot send a body whose reader waits.
    fn may_hold_up_a_stream(&self) -> bool {
        false
    }
    /// The runtime that drives the connection.
    fn runtime(&self) -> Option<runtime::Id>;
}
