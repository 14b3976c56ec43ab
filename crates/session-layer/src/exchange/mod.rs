//! One request on a connection, from when it begins to the end of its response: what the request,
//! its bodies, the driver and the socket know of each other.

mod cause;
mod gate;
mod release;
mod request_body;
mod state;
mod unread;
#[cfg(feature = "http2")]
pub(crate) mod upload_task;
mod withheld;

pub(crate) use self::{
    cause::Cause,
    gate::Gate,
    release::Release,
    request_body::{PIECE, RequestBody},
    state::{Began, Carrier, ExchangePhase, ExchangeState, MAX_HEAD, StreamOwner},
    unread::{Drained, FOR, Unread},
    withheld::Withheld,
};
