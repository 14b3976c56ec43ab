use std::{fmt, future::Future, pin::pin};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body::Body;
use http_body_util::BodyExt;

use crate::Payload;

/// A client under measurement.
pub trait Peer: Clone + Send + 'static {
    /// What the client is asked with, made once per host: a URL in its own type.
    ///
    /// A clone is for another worker. Where the client leaves connections to its caller, it uses
    /// the same one only if that carries several requests at once.
    type Target: Clone + Send + 'static;

    /// Makes what the client is asked with.
    fn target(&self, uri: &Uri) -> Self::Target;

    /// Sends the request to the target, and reads the whole response.
    ///
    /// The request is whole but for its URL, which has only the target.
    fn exchange(
        &mut self,
        target: &mut Self::Target,
        request: Request<Payload>,
    ) -> impl Future<Output = Answer> + Send;
}

/// How a client speaks to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time on a connection.
    Http1,
    /// HTTP/2 by prior knowledge, many requests on one connection.
    Http2,
}

/// What came of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The status of the response.
    pub status: StatusCode,
    /// How many bytes its body had.
    pub bytes: usize,
}

/// Reads a body to its end, keeping nothing; returns how many bytes it had.
pub async fn drain<B>(body: B) -> usize
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Debug,
{
    let mut body = pin!(body);
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("the body comes whole");
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    bytes
}
