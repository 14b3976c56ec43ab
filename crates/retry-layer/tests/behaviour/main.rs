//! What the retry layer does, over peers that play a script and over real connections.
//!
//! A test is here unless it needs a process of its own, as `allocations` does, which counts with a global allocator, or runs
//! for long, as `overload` does.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by its panic"
)]

mod attempt_timeout;
mod bodies;
mod breaker;
mod budget;
mod cancel;
mod contract;
mod deadline;
mod errors;
mod extras;
mod hedge;
mod kept;
mod pause;
mod peek;
mod resume;
mod retry;
mod rules;
mod support;
mod types;
mod vectors;
