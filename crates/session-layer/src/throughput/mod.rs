//! Floors of throughput: an exchange ends with an error if its bytes come, or are taken, more
//! slowly than the floor asks for.
//!
//! `meter.rs` is pure: time and bytes go in, and it says whether they are too slow. `download.rs`
//! feeds it from a response body, `upload.rs` from the exchange of a request. Both count only the
//! time in which the peer is waited for, so a meter's window is one of waiting, and not of the
//! clock.

use http::{HeaderMap, header::CONTENT_TYPE};

mod download;
mod floor;
mod looks;
mod meter;
mod upload;

pub use self::floor::{ThroughputFloor, TooSlow, TransferDirection};
pub(crate) use self::{download::DownloadMeter, upload::UploadMeter};

/// Whether the body of a response with these headers is a stream of messages or events, which may
/// be silent.
pub(crate) fn may_be_silent(headers: &HeaderMap) -> bool {
    const KINDS: [&[u8]; 2] = [b"text/event-stream", b"application/grpc"];
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let kind = kind.as_bytes();
    KINDS.iter().any(|silent| {
        let (Some(begin), Some(rest)) = (kind.get(..silent.len()), kind.get(silent.len()..)) else {
            return false;
        };
        // Parameters may follow, and for gRPC the format of its messages.
        let ends = rest.first().is_none_or(|byte| b"; \t+".contains(byte));
        begin.eq_ignore_ascii_case(silent) && ends
    })
}
