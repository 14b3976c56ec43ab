//! Opens connections and drives them: each has a task, which polls hyper and keeps the timeouts.

mod frames;
mod http1;
#[cfg(feature = "http2")]
mod http2;
mod io;
#[cfg(feature = "http2")]
mod keep_alive;
mod open;
#[cfg(feature = "http2")]
mod ping;
mod request_timers;
#[cfg(feature = "http2")]
mod tasks;
mod watch;

pub(crate) use self::{open::Opener, request_timers::RequestTimers};
