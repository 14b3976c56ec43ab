//! The errors of real connections, and what is retried after them.

#[cfg(feature = "h2")]
mod go_away;
#[cfg(feature = "h2")]
mod h2;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "hyper-util")]
mod hyper_util;
