//! Request bodies that can be sent more than once.

mod body;
mod error;
mod pieces;
mod reader;
mod source;
mod tape;
#[cfg(test)]
mod tests;

pub use self::{body::ReplayBody, error::ReplayBodyError};
pub(crate) use self::{source::Kept, tape::Ending};
