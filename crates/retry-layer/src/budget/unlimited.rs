use http::Uri;
use tokio::time::Instant;

use super::{Budget, Cost};

/// No limit. A service that fails because it is overloaded gets all retries in addition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn deposit(&self, _uri: &Uri) {}

    fn withdraw(&self, _uri: &Uri, _cost: Cost, _now: Instant) -> bool {
        true
    }

    fn refund(&self, _uri: &Uri, _cost: Cost) {}

    fn is_bounded(&self) -> bool {
        false
    }
}
