//! The pool: when a connection is reused, shared, and given up.

mod faults;
mod keep_alive;
mod reuse;
mod sockets;
mod spread;
