//! A session: its timeouts, its end, what it tells, and foreign code that fails.

mod faults;
mod info;
mod lifecycle;
mod runtimes;
mod timeouts;
