//! A failed status as an error.

use retry_layer::ResponseExt as _;

use super::Response;
use crate::{
    Error,
    error::{self, Kind},
};

impl<T> Response<T> {
    /// Gives an error if the status is a client's or a server's error (4xx, 5xx).
    ///
    /// # Errors
    ///
    /// The error has the status, the headers and, after [`fetch`](crate::RequestBuilder::fetch) or
    /// [`collect`](Response::collect), [the beginning of the body](Error::body). For a body that
    /// streams, [`error_for_status_with_body`](Response::error_for_status_with_body) waits for it.
    pub fn error_for_status(self) -> Result<Self, Error>
    where
        T: Collected,
    {
        if !error::is_failed(self.status()) {
            return Ok(self);
        }
        let body = self.inner.body().collected();
        Err(self.request.name(failed(&self.inner, &body)))
    }
}

/// The error of a failed status.
pub(super) fn failed<T>(response: &http::Response<T>, body: &[u8]) -> Error {
    let mut error = Error::new(Kind::Status).answered(response, body);
    error.set_report(response.retry_report());
    error
}

/// A body whose bytes are there without reading on.
pub trait Collected: sealed::Sealed {}

impl<T: sealed::Sealed> Collected for T {}

mod sealed {
    use bytes::Bytes;

    use crate::ResponseBody;

    pub trait Sealed {
        fn collected(&self) -> Bytes;
    }

    impl Sealed for Bytes {
        fn collected(&self) -> Bytes {
            self.clone()
        }
    }

    impl Sealed for ResponseBody {
        fn collected(&self) -> Bytes {
            Bytes::new()
        }
    }
}
