//! Request bodies that can be sent more than once.

mod body;
mod copied;
mod error;
mod factory;
mod kept;
mod memory;
mod pieces;
mod reader;
mod source;
mod tape;
#[cfg(test)]
mod tests;

pub use self::{body::ReplayBody, error::ReplayBodyError, factory::BodyFactory, kept::KeptBody};
pub(crate) use self::{
    memory::ReplayMemory,
    source::{Copying, ReplaySource},
    tape::Ending,
};
