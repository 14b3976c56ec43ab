//! Hedging.

mod body;
pub(crate) mod call;
mod events;
mod future;
mod latency;
mod layer;
mod origins;
mod race;
mod runner;
mod service;
mod settings;

pub(crate) use self::call::{CallStart, Ended, HedgedCall};
pub use self::{
    body::HedgeBody,
    future::HedgeFuture,
    layer::HedgeLayer,
    service::Hedge,
    settings::{Hedging, HedgingBuilder},
};
