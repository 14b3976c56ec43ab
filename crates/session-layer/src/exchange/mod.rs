//! One request on a connection, from its begin to the end of its response: the state and the bodies
//! that the request, the driver and the IO share.

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
