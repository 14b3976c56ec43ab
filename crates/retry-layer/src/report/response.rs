use http::Response;

use super::{
    RetryReport,
    record::{AttemptOutcome, AttemptRecord},
};
use crate::{pause::HeldBack, stop::StopReason};

/// Reads the report of a response.
pub trait ResponseExt: sealed::Sealed {
    /// The report of the call that this response came from.
    ///
    /// A response without one was final at the first attempt, and the report says so.
    fn retry_report(&self) -> RetryReport;
}

impl<T> ResponseExt for Response<T> {
    fn retry_report(&self) -> RetryReport {
        self.extensions().get().cloned().unwrap_or_else(|| {
            let status = self.status();
            let stop = StopReason::of_final(Some(status));
            let held_back = self.extensions().get().map(HeldBack::waited);
            let record = AttemptRecord::new(AttemptOutcome::Status(status));
            RetryReport::single(record.held_back_for(held_back), stop)
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for http::Response<T> {}
}
