//! The status by which a gateway reports an error to its own caller.

use http::StatusCode;

use super::{Error, Kind};

impl Error {
    /// Returns the status by which a gateway reports this error to its caller: 504 for a timeout,
    /// 503 if there was no room for the request here, the client is closed, or its circuit breaker or
    /// a pause refused the request, 400 if the caller's body broke off or its headers contradict each
    /// other, 400 or 501 if the request [cannot be passed on](crate::forward), 500 if the gateway
    /// itself made a request that is not valid, and 502 for all else.
    #[must_use]
    pub fn gateway_status(&self) -> StatusCode {
        use session_layer::Error as Session;

        let no_room = self.session_is(Session::is_pool_timeout)
            || self.session_is(Session::is_queue_full)
            || self.is_closed()
            || self.is_circuit_open()
            || self.is_paused();
        let of_caller =
            self.session_is(Session::is_headers) || self.session_is(Session::is_request_body);
        if let Kind::NotForwarded(status, _) = self.0.kind {
            status
        } else if no_room {
            StatusCode::SERVICE_UNAVAILABLE
        } else if self.is_timeout() {
            StatusCode::GATEWAY_TIMEOUT
        } else if of_caller {
            StatusCode::BAD_REQUEST
        } else if self.is_builder() {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::BAD_GATEWAY
        }
    }
}
