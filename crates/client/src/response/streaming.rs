//! A response whose body streams.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
#[cfg(feature = "fs")]
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::{Body as _, Frame};
use serde::de::DeserializeOwned;

use super::{Response, connection, failed::failed};
use crate::{
    ByteStream, Error, ResponseBody,
    collect::Gathering,
    deadline::Limit,
    description::Description,
    error::{self, KEPT_OF_BODY, Kind},
};
#[cfg(feature = "fs")]
use crate::{SAVED_FLOOR, call::Source, read::is_event_stream};

impl Response {
    pub(crate) fn streaming(
        inner: http::Response<ResponseBody>,
        request: Description,
        max_body: usize,
        limit: Option<Limit>,
    ) -> Self {
        Self {
            connection: connection(&inner),
            inner,
            request,
            max_body,
            limit,
            #[cfg(feature = "fs")]
            source: None,
        }
    }

    /// Keeps what is needed to continue the body if it is saved.
    #[cfg(feature = "fs")]
    pub(crate) fn keep(&mut self, source: Option<Source>) {
        self.source = source.filter(|_| Source::suits(&self.inner));
    }

    /// Prepares the body to be saved: it is continued where it breaks, if that is possible, and
    /// held to the floor of throughput for saved bodies. A stream of events is exempt from the
    /// floor.
    #[cfg(feature = "fs")]
    pub(crate) fn continue_body(&mut self) {
        if let Some(source) = self.source.take() {
            source.wrap(&self.request, &mut self.inner);
        }
        let content_type = self.headers().get(CONTENT_TYPE);
        if !content_type.is_some_and(is_event_stream) {
            // After it was wrapped, so that the floor applies to the rest of it too.
            self.inner.body_mut().hold_to_default_floor(SAVED_FLOOR);
        }
    }

    /// Makes an error of a status that was not expected.
    pub(crate) fn unexpected_status(self) -> Error {
        self.request.name(failed(&self.inner, &[]))
    }

    #[cfg(feature = "fs")]
    pub(crate) fn get_ref(&self) -> &http::Response<ResponseBody> {
        &self.inner
    }

    /// The headers, to be changed before the body is read.
    #[cfg(feature = "fs")]
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.inner.headers_mut()
    }

    pub(crate) fn body_mut(&mut self) -> &mut ResponseBody {
        self.inner.body_mut()
    }

    /// Returns the length of the rest of the body, if known; it is not known for a body that is
    /// [decoded](crate#decoding) as it comes.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.inner.body().size_hint().exact()
    }

    /// Gives the body as a stream of bytes.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let mut stream = client.get("https://example.com/large").send().await?.stream();
    /// let mut length = 0;
    /// while let Some(piece) = stream.next().await.transpose()? {
    ///     length += piece.len();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(self) -> ByteStream {
        let (body, request) = self.into_streamed();
        ByteStream::new(body, request)
    }

    /// Takes the parts from which a stream is made.
    pub(crate) fn into_streamed(self) -> (ResponseBody, Description) {
        let request = self.description();
        (self.inner.into_body(), request)
    }

    /// Gives an error if the status is a client's or a server's error (4xx, 5xx), like
    /// [`error_for_status`](Self::error_for_status), and waits for [the beginning of the
    /// body](Error::body), which often says what is wrong.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let response = client.get("https://example.com/").send().await?;
    /// let response = response.error_for_status_with_body().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error has the status, the headers, and up to 8 KiB of the body: what came of it before
    /// it broke off, or before the [deadline](crate::ClientBuilder::deadline) of the call.
    ///
    /// # Cancel safety
    ///
    /// The response is consumed: dropping the future closes its connection.
    pub async fn error_for_status_with_body(self) -> Result<Self, Error> {
        if !error::is_failed(self.status()) {
            return Ok(self);
        }
        let Self {
            inner,
            request,
            limit,
            ..
        } = self;
        let mut gathering = Gathering::beginning(inner, KEPT_OF_BODY);
        // The bytes that come before it breaks off, or before the deadline, are enough.
        let _ = gathering.gather(limit).await;
        Err(request.name(gathering.fail_call(Error::new(Kind::Status))))
    }

    /// Returns the next piece of the body, or `None` at its end. The deadline of the call does not
    /// apply: a stream may go on for as long as bytes come.
    ///
    /// # Errors
    ///
    /// If the body breaks off or stands still for too long.
    ///
    /// # Cancel safety
    ///
    /// No piece is lost if the future is dropped.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        #[cfg(feature = "fs")]
        {
            self.source = None;
        }
        loop {
            let Some(frame) = self.frame().await? else {
                return Ok(None);
            };
            // Trailers are not a piece of the body.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Returns the next frame of the body, or `None` at its end. The report of further attempts is
    /// put into the extensions.
    pub(crate) async fn frame(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        let mut body = Pin::new(self.inner.body_mut());
        let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        if let Some(report) = body.take_report() {
            self.inner.extensions_mut().insert(report);
        }
        frame
            .transpose()
            .map_err(|error| self.description().name(error))
    }

    /// Collects the body, up to [`max_body`](crate::ClientBuilder::max_body) and within the
    /// [deadline](crate::ClientBuilder::deadline) of the call, which counts from its start. If the
    /// body breaks, the request is not retried: see [`fetch`](crate::RequestBuilder::fetch) for
    /// that.
    ///
    /// # Errors
    ///
    /// If the body breaks off, stands still for too long, is larger than the limit, or has not
    /// ended at the deadline.
    ///
    /// # Cancel safety
    ///
    /// The response is consumed: dropping the future closes its connection.
    pub async fn collect(self) -> Result<Response<Bytes>, Error> {
        let Self {
            inner,
            request,
            max_body,
            limit,
            ..
        } = self;
        let mut gathering = Gathering::new(inner, max_body);
        match gathering.gather(limit).await {
            Ok(()) => Response::collected(gathering.into_response(), request),
            Err(error) => Err(request.name(gathering.fail_call(error))),
        }
    }

    /// Collects the body and gives its bytes.
    ///
    /// # Errors
    ///
    /// Those of [`collect`](Self::collect).
    pub async fn bytes(self) -> Result<Bytes, Error> {
        Ok(self.collect().await?.into_body())
    }

    /// Collects the body and reads it as text; see [`Response::text`].
    ///
    /// # Errors
    ///
    /// Those of [`collect`](Self::collect).
    pub async fn text(self) -> Result<String, Error> {
        self.collect().await?.text()
    }

    /// Collects the body and reads it as JSON.
    ///
    /// # Errors
    ///
    /// Those of [`collect`](Self::collect), and that the body is not JSON of this type.
    pub async fn json<D: DeserializeOwned>(self) -> Result<D, Error> {
        self.collect().await?.json()
    }
}
