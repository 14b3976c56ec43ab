use std::fmt;

use bytes::Bytes;
use http_body::Body;

use super::{body::ReplayBody, source::ReplaySource, tape::Ending};
use crate::named::BoxError;

/// What a call has kept of the body of its request, so that a layer above can send it again: see
/// [`ResponseFuture::take_request`](crate::future::ResponseFuture::take_request).
pub struct KeptBody<B> {
    source: ReplaySource<B>,
}

impl<B> KeptBody<B> {
    pub(crate) fn new(source: ReplaySource<B>) -> Self {
        Self { source }
    }

    /// Whether the request had no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.source, ReplaySource::Empty)
    }

    /// Gives the body again. The attempt that read it, and a body that was given before, can read no more of
    /// it then.
    ///
    /// `None` if the body was not read whole by the attempt that was answered, or was too long to be kept, or
    /// if the status of the response was final without a look at its head and is no redirect (3xx): then
    /// nothing is kept any more.
    #[must_use]
    pub fn again(&self) -> Option<ReplayBody<B>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        self.source
            .supersede(Ending::Answered)
            .then(|| self.source.rewind())
    }
}

impl<B> fmt::Debug for KeptBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptBody").field(&self.source).finish()
    }
}
