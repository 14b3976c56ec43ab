//! Downloads to files that go on after a break, and after a restart of the program.
//!
//! The bytes go to a partial file beside the target, as they come over the connection: content codings are
//! taken off once all is there. So the length of the partial file is the offset to go on from, and the
//! digests of a server are those of its bytes. A [`Record`](record::Record) beside it says what the bytes
//! are a part of; without one the partial file is worth nothing, and is removed.

mod builder;
mod decoded;
mod digest;
mod error;
mod outcome;
mod own;
mod part;
mod record;
mod request;
mod transfer;

pub(crate) use self::error::DigestError;
pub use self::{
    builder::Download,
    error::{DigestMismatch, PartialFile},
    outcome::Downloaded,
};
