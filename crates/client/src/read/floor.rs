use std::time::Duration;

use crate::ThroughputFloor;

/// The least throughput of a download to a file: 100 bytes per second, as the mean over 60 s of waiting.
///
/// A download that comes more slowly ends with an error that [`is_too_slow`](crate::Error::is_too_slow),
/// and is [continued](crate::ClientBuilder::resume) over another connection where that is possible. Set
/// by hand, [`Timeouts::download_floor`](crate::Timeouts::download_floor) or
/// [`RequestBuilder::download_floor`](crate::RequestBuilder::download_floor) takes its place; `None` turns
/// it off.
///
/// A stream of events (`text/event-stream`), which is silent while there is nothing to tell, is not held to
/// it.
///
/// It is there for what the idle timeout of 30 s cannot see: a body of which a few bytes come now and
/// then, for days. So it ends only what is broken:
///
/// - The slowest links on which files are loaded at all, by satellite phone, bring 2400 bits per second.
///   That is three times as much.
/// - A path that loses nearly all packets lets one through now and then, as TCP sends it again: with one
///   of 1460 bytes within each idle timeout that makes 49 bytes per second, which is less.
/// - The window is twice the idle timeout. So any silence that the idle timeout allows, such as the one
///   of a phone that changes its cell, can be made up for in the rest of the window.
/// - Waiting for this process does not count: for the disk, for a reader that pauses, for a program that
///   was suspended.
pub const SAVED_FLOOR: ThroughputFloor = ThroughputFloor::new(100, Duration::from_secs(60));
