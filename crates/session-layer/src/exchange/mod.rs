//! One request on a connection, from when it begins to the end of its response: what the request,
//! its bodies, the task of the connection and the socket know of each other.

mod cause;
mod gate;
mod release;
mod request_body;
mod unread;
#[cfg(feature = "http2")]
pub(crate) mod upload_task;
mod wire;
mod withheld;

pub(crate) use self::{
    cause::Cause,
    gate::Gate,
    release::Release,
    request_body::{PIECE, RequestBody},
    unread::{Drained, FOR, Unread},
    wire::{MAX_HEAD, Phase, StreamOwner, Wire},
    withheld::Withheld,
};
