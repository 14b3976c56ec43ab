//! Runs one client through one plan of requests, so that all clients do the same.
//!
//! A client is a [`Peer`]. Its binary calls [`main`] with a function that makes one by the name of
//! its variant; the arguments after that are those of a [`Plan`].

mod called;
mod payload;
mod peer;
mod plan;
mod run;

pub use self::{
    called::Called,
    payload::Payload,
    peer::{Answer, Peer, Protocol, drain},
    plan::Plan,
    run::main,
};
