//! Request bodies, and how fast bodies have to move.

mod expect_continue;
mod support;
mod throughput;
mod uploads;
