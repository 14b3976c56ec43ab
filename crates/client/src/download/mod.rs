//! Downloads to files that go on after a break, and after a restart of the program.
//!
//! The bytes go to a partial file beside the target, as they come over the connection; they are
//! decoded once all are there. So the length of the partial file is the offset to go on from, and a
//! server's digests cover its bytes. A [`Record`](record::Record) beside it says which file the
//! bytes belong to. A partial file without a record is of no use, and is removed.

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
