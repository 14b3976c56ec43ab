use std::time::Duration;

use crate::ThroughputFloor;

/// The least throughput of a download to a file: 100 bytes per second, as the mean over 60 s of waiting.
///
/// A slower download ends with an error for which [`is_too_slow`](crate::Error::is_too_slow) holds,
/// and is [continued](crate::ClientBuilder::resume) over another connection where that is possible.
/// [`Timeouts::download_floor`](crate::Timeouts::download_floor) or
/// [`RequestBuilder::download_floor`](crate::RequestBuilder::download_floor) replaces it; `None`
/// turns it off.
///
/// A stream of events (`text/event-stream`), which is silent between events, is exempt.
///
/// It is for a body that the idle timeout of 30 s does not end, because a few bytes of it come now
/// and then, for days. So it ends only transfers that are broken:
///
/// - The slowest links on which files are downloaded at all, by satellite phone, carry 2400 bits
///   per second. That is three times as much.
/// - A path that loses nearly all packets lets one through now and then, as TCP sends it again. One
///   packet of 1460 bytes within each idle timeout makes 49 bytes per second, which is less.
/// - The window is twice the idle timeout. So any silence that the idle timeout allows, such as
///   that of a phone which changes its cell, can be made up for in the rest of the window.
/// - Time in which the server waits for this process does not count: for the disk, for a reader
///   that pauses, for a program that was suspended.
pub const SAVED_FLOOR: ThroughputFloor = ThroughputFloor::new(100, Duration::from_secs(60));
