use std::time::{Duration, SystemTime};

use http::StatusCode;
use retry_layer::hint::Hints;

use crate::{Error, Events, Response, error::ErrorKind};

/// What the source does after the head of a response.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made"
)]
pub(super) enum Answer {
    /// Events follow.
    Open(Events),
    /// The server wants no more connections.
    End,
    /// Another connection may succeed, after this wait if the server asked for one.
    Again(Error, Option<Duration>),
    /// Another connection would fail too.
    Fail(Error),
}

impl Answer {
    /// Judges a response by the standard's rules, except that a failure of the server, or a limit
    /// that was reached, does not end the source.
    pub(super) fn of(response: Response) -> Self {
        match response.status() {
            StatusCode::OK => response.events().map_or_else(Self::Fail, Self::Open),
            StatusCode::NO_CONTENT => Self::End,
            status => {
                let asked = Hints::default().wait(response.headers(), SystemTime::now());
                let error = response.unexpected_status();
                if is_passing(status) {
                    Self::Again(error, asked)
                } else {
                    Self::Fail(error)
                }
            }
        }
    }
}

/// Whether another connection may get a better response: true for the statuses that are retried by
/// default.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether another connection would fail with the same error.
pub(super) fn is_lasting(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Builder
            | ErrorKind::Closed
            | ErrorKind::Redirect
            | ErrorKind::TooLarge
            | ErrorKind::Decode
            | ErrorKind::RequestBody
    )
}
