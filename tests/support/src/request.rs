use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};

/// A request as the peer saw it.
#[derive(Clone)]
pub struct Request {
    /// The number of the connection that carried it, counted from 0.
    pub connection: usize,
    /// The method.
    pub method: Method,
    /// The request target exactly as it was written: a path, an absolute URI, or an authority.
    pub target: String,
    /// The version that the request line named.
    pub version: Version,
    /// The header fields, in the order of their arrival.
    pub headers: HeaderMap,
    /// The bytes of the head, with the empty line that ends it, for tests that care about case and order.
    pub raw_head: Bytes,
    /// The body without its chunked framing, as far as it was read.
    pub body: Bytes,
    /// The fields after a chunked body.
    pub trailers: HeaderMap,
    /// Whether the body was read to its end.
    pub complete: bool,
}

impl Request {
    /// Returns the first value of a header field, if there is one and it is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the path of the target, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }
}

/// Leaves out the bytes: a failing test prints all requests, whose bodies may be large.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("connection", &self.connection)
            .field("method", &self.method)
            .field("target", &self.target)
            .field("headers", &self.headers)
            .field("body_length", &self.body.len())
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}
