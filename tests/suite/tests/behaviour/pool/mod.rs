//! The pool: when a connection is reused, shared, and given up.

mod faults;
mod reuse;
mod sockets;
