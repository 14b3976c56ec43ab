//! A circuit breaker.

mod builder;
mod circuit;
mod error;
mod future;
mod handle;
mod head;
mod key;
mod layer;
mod observer;
mod service;
mod settings;
mod shared;
mod signal;
mod table;
#[cfg(test)]
mod tests;
mod wait;
mod window;

pub use self::{
    builder::BreakerBuilder,
    circuit::CircuitState,
    error::{BreakerError, CircuitOpen},
    future::BreakerFuture,
    handle::Breaker,
    head::RequestHead,
    key::CircuitKey,
    layer::BreakerLayer,
    observer::{BreakerObserver, OpenReason},
    service::CircuitBreaker,
    settings::SuccessRate,
    signal::ServerFailures,
};
