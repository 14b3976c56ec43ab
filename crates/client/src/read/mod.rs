//! Readers of a response's body as it comes.

mod copy;
#[cfg(feature = "fs")]
pub(crate) mod destination;
mod events;
mod floor;
mod line;
mod lines;
mod media_type;
#[cfg(feature = "fs")]
mod save;
mod split;
mod stream;

#[cfg(feature = "fs")]
pub(crate) use self::media_type::is_event_stream;
pub use self::{
    events::{Event, Events},
    floor::SAVED_FLOOR,
    lines::Lines,
    stream::ByteStream,
};
