//! What the tests of this crate share: a peer in memory that answers from a script, and a load for real servers.
//!
//! The tests hold that a retry layer goes with the rest of the ecosystem: over a tonic channel, over hyper-util's
//! and reqwest's clients, over an axum router, and among the layers of tower and tower-resilience. They write down
//! the types that users write, so what they mostly prove is that it compiles.

mod load;
mod script;
mod session;
mod upstream;

pub use self::{
    load::{IN_FLIGHT, Load, Outcome},
    script::{Answer, Script},
    session::{Retrying, retrying_session},
    upstream::{Counted, Upstream},
};
