//! Which Tokio runtime something runs on.
//!
//! A connection is driven by a task of the runtime that opened it. Nothing tells whether a runtime
//! is being driven: one of a single thread stands still between two calls of `block_on`, and with
//! it all that its connections do. So a request uses only connections of the runtime that it runs
//! on, and the pool keeps the connections of each runtime apart.

use tokio::runtime::Handle;
pub(crate) use tokio::runtime::Id;

/// The runtime that the caller runs on; `None` outside of any.
#[inline]
pub(crate) fn current() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}

/// Whether the caller runs on another runtime than this, and so with a timer of its own.
#[inline]
pub(crate) fn is_other(driven_on: Option<Id>) -> bool {
    let here = current();
    here.is_some() && here != driven_on
}
