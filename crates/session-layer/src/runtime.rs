//! The Tokio runtimes of requests and connections.
//!
//! A connection is driven by a task of the runtime that opened it. It cannot be asked whether a
//! runtime is being driven: one of a single thread stands still between two calls of `block_on`,
//! and so do its connections. So a request uses only connections of the runtime that it runs on,
//! and the pool keeps the connections of each runtime apart.

use tokio::runtime::Handle;
pub(crate) use tokio::runtime::Id;

/// The runtime that the caller runs on; `None` outside of any.
#[inline]
pub(crate) fn current() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}

/// Whether the caller runs on another runtime than this.
#[inline]
pub(crate) fn is_other(driven_on: Option<Id>) -> bool {
    let here = current();
    here.is_some() && here != driven_on
}
