//! How a connection is opened: names, addresses and sockets.

mod dns;
mod tcp;
