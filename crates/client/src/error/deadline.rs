use std::fmt;

/// What a call was doing when its deadline passed: see
/// [`deadline_phase`](crate::Error::deadline_phase).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DeadlinePhase {
    /// The call had not begun: the deadline lay in the past.
    Start,
    /// It waited for a connection of the pool, or for a stream on its HTTP/2 connection.
    Queue,
    /// It waited for the addresses of the name.
    Dns,
    /// It waited for a connection: TCP, or the first frame of an HTTP/2 server. With a connector
    /// other than `session_layer::Connector`, this stands for the name, a proxy and TLS too.
    Connect,
    /// It waited for a proxy: its name, the connection to it, or a tunnel.
    Proxy,
    /// It waited for the TLS handshake with the server.
    Tls,
    /// The body of the request was being sent.
    Upload {
        /// How many bytes of it the connection had taken in this attempt. Some of them may still
        /// have been in buffers.
        sent: u64,
    },
    /// An attempt had been sent, and it waited for the head of the response, or for the server to
    /// ask for the body.
    Head,
    /// It read the body of the response.
    Body,
    /// An attempt had failed, and it waited before the next one.
    Retry,
    /// It read the rest of a redirect's body before the next hop.
    Redirect,
    /// It waited for a token to authorize an attempt.
    Token,
    /// An attempt waited for the end of a [pause](crate::ClientBuilder::pause).
    Pause,
    /// An attempt was under way. How far it had come is not known: another service stands in the
    /// session's place, a layer of the caller's holds it back, or the attempt has a hedge.
    Attempt,
}

impl DeadlinePhase {
    /// Writes what the call was doing, with the number of the attempt from the second one on.
    pub(super) fn describe(self, attempts: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self {
            // The error has a text of its own for these.
            Self::Start | Self::Body => return Ok(()),
            Self::Queue => "waiting in the queue for a connection",
            Self::Dns => "waiting for the address of the host",
            Self::Connect => "waiting for a connection to be set up",
            Self::Proxy => "waiting for the proxy",
            Self::Tls => "waiting for the TLS handshake",
            Self::Token => "waiting for a token",
            Self::Pause => "waiting for its turn, since the server asked for a pause",
            Self::Upload { .. } => "sending the body",
            Self::Head => "waiting for the head",
            Self::Attempt => "waiting for the answer",
            Self::Retry => return f.write_str(", while waiting to retry"),
            Self::Redirect => return f.write_str(", while following a redirect"),
        };
        write!(f, ", while {doing}")?;
        match (self, attempts) {
            (_, 0 | 1) => {}
            (Self::Upload { .. } | Self::Head | Self::Attempt, number) => {
                write!(f, " of attempt {number}")?;
            }
            (_, number) => write!(f, " for attempt {number}")?,
        }
        match self {
            Self::Upload { sent } => write!(
                f,
                ", {sent} bytes of which were sent; a longer `timeout` of the request gives it \
                 more time"
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Described(DeadlinePhase, usize);

    impl fmt::Display for Described {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.describe(self.1, f)
        }
    }

    #[test]
    fn each_phase_says_what_the_call_was_doing_and_for_which_attempt() {
        use DeadlinePhase as Phase;

        for (phase, first, second) in [
            (Phase::Start, "", ""),
            (Phase::Body, "", ""),
            (
                Phase::Queue,
                ", while waiting in the queue for a connection",
                " for attempt 2",
            ),
            (
                Phase::Dns,
                ", while waiting for the address of the host",
                " for attempt 2",
            ),
            (
                Phase::Connect,
                ", while waiting for a connection to be set up",
                " for attempt 2",
            ),
            (
                Phase::Proxy,
                ", while waiting for the proxy",
                " for attempt 2",
            ),
            (
                Phase::Tls,
                ", while waiting for the TLS handshake",
                " for attempt 2",
            ),
            (
                Phase::Token,
                ", while waiting for a token",
                " for attempt 2",
            ),
            (Phase::Head, ", while waiting for the head", " of attempt 2"),
            (
                Phase::Attempt,
                ", while waiting for the answer",
                " of attempt 2",
            ),
            (Phase::Retry, ", while waiting to retry", ""),
            (Phase::Redirect, ", while following a redirect", ""),
        ] {
            assert_eq!(Described(phase, 1).to_string(), first);
            assert_eq!(Described(phase, 2).to_string(), format!("{first}{second}"));
        }
    }
}
