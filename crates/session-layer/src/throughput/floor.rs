use std::{fmt, time::Duration};

use crate::config::ConfigError;

/// The least throughput that an exchange must have: bytes per second, as the mean over a window of
/// time.
///
/// Time counts only while the peer is waited for:
///
/// - of a [download](crate::Timeouts::download_floor), while the reader of the response's body
///   waits and nothing has come that it has not taken. A reader that takes its time, or does not
///   read for an hour, is not the peer's fault, and neither is the time before the head. Over
///   HTTP/2, unread bodies that fill the window of their connection (`Http2::connection_window`)
///   keep the peer from sending others: no time counts while there are so many;
/// - of an [upload](crate::Timeouts::upload_floor), while there are bytes of the request to be sent and
///   the peer takes none. A request body that gives nothing for a while is not the peer's fault, and
///   neither is the time from the end of the request to the head.
///
/// So a floor says nothing before the peer was waited for as long as one window, and bytes may come in
/// bursts: what counts is how many there were in the last window. Time that went by while the program
/// stood still, because it was suspended or its runtime was blocked, does not count either.
///
/// ```
/// use std::time::Duration;
/// use session_layer::{ThroughputFloor, Timeouts};
///
/// let floor = ThroughputFloor::new(1024, Duration::from_secs(30));
/// let timeouts = Timeouts::default().download_floor(floor);
/// # let _ = timeouts;
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ThroughputFloor {
    bytes_per_second: u64,
    window: Duration,
}

impl ThroughputFloor {
    /// Asks for `bytes_per_second`, as the mean over each `window` of waiting.
    ///
    /// Choose a window that is longer than any pause of a healthy transfer: a lost radio link, a
    /// server that reads the next part from a slow disk. Neither may be 0: a session is not built
    /// with such a floor, and a request with one of 0 bytes has none. A window is at least 8 ms
    /// long.
    #[must_use]
    pub const fn new(bytes_per_second: u64, window: Duration) -> Self {
        Self {
            bytes_per_second,
            window,
        }
    }

    /// Returns the bytes per second.
    #[must_use]
    pub const fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Returns the window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    pub(crate) fn check(setting: &'static str, floor: Option<Self>) -> Result<(), ConfigError> {
        if floor.is_some_and(|it| it.bytes_per_second == 0 || it.window.is_zero()) {
            return Err(ConfigError::new(
                setting,
                "must be more than 0 bytes per second over a window longer than 0; `None` turns it \
                 off, `\"none\"` in a configuration file",
            ));
        }
        Ok(())
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TransferDirection {
    /// From the peer: the body of a response.
    Download,
    /// To the peer: a request.
    Upload,
}

/// By how much a transfer was below its [floor](ThroughputFloor).
///
/// Its [`Display`](fmt::Display) is the line of the [error](crate::Error::too_slow).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooSlow {
    pub(crate) direction: TransferDirection,
    pub(crate) measured: u64,
    pub(crate) floor: ThroughputFloor,
}

impl TooSlow {
    /// Returns which way the bytes went.
    #[must_use]
    pub fn direction(&self) -> TransferDirection {
        self.direction
    }

    /// Returns the bytes per second that were measured over the last window of waiting.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.measured
    }

    /// Returns the floor.
    #[must_use]
    pub fn floor(&self) -> ThroughputFloor {
        self.floor
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.direction {
            TransferDirection::Download => "the response body came at ",
            TransferDirection::Upload => "the peer took the request at ",
        })?;
        let ThroughputFloor {
            bytes_per_second,
            window,
        } = self.floor;
        let measured = self.measured;
        write!(
            f,
            "{measured} B/s over {window:?}, less than the floor of {bytes_per_second} B/s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_error_names_direction_rate_and_floor() {
        let floor = ThroughputFloor::new(100, Duration::from_secs(60));
        for (direction, line) in [
            (
                TransferDirection::Download,
                "the response body came at 3 B/s over 60s, less than the floor of 100 B/s",
            ),
            (
                TransferDirection::Upload,
                "the peer took the request at 3 B/s over 60s, less than the floor of 100 B/s",
            ),
        ] {
            let slow = TooSlow {
                direction,
                measured: 3,
                floor,
            };
            assert_eq!(slow.to_string(), line);
        }
    }
}
