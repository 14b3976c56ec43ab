use std::{future::Future, pin::Pin, time::Duration};

use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};

use crate::ResponseBody;

pub(crate) type Drain = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How much of a redirect's body is read, and for how long, so that its connection can be used
/// again: what the retry layer reads of a refused response.
const BYTES: usize = 256 * 1024;
const TIME: Duration = Duration::from_millis(50);

/// Reads the rest of a body, as it comes over the wire, or gives it up with its connection.
pub(crate) fn drain(body: ResponseBody) -> Drain {
    let hopeless = usize::try_from(body.size_hint().lower()).map_or(true, |least| least > BYTES);
    Box::pin(async move {
        if !hopeless && !body.is_end_stream() {
            // Whatever comes of it, the redirect is followed.
            let _ = tokio::time::timeout(TIME, Limited::new(body, BYTES).collect()).await;
        }
    })
}
