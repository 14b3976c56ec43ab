//! Opens connections and drives them: a task for each, which polls hyper and keeps the times.

mod away;
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
#[cfg(feature = "http2")]
mod tasks;
mod watch;

pub(crate) use self::{away::Away, open::Opener};
