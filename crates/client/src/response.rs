use std::{
    fmt,
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    task::{Poll, ready},
};

use bytes::{Bytes, BytesMut};
use encoding_rs::{Encoding, UTF_8};
use http::{
    Extensions, HeaderMap, StatusCode, Uri, Version,
    header::{CONTENT_TYPE, HeaderValue},
};
use http_body::{Body as _, Frame};
use retry_layer::{ResponseExt as _, RetryReport};
use serde::de::DeserializeOwned;
use session_layer::ConnectionInfo;
use tokio::time::{sleep_until, timeout_at};

use crate::{
    ByteStream, DeadlinePhase, Error, Redirected, ResponseBody,
    collect::{Gathering, Trailers},
    deadline::Limit,
    description::Description,
    error::{self, KEPT_OF_BODY, Kind},
    json, quoted,
    redirect::Answerer,
};
#[cfg(feature = "fs")]
use crate::{SAVED_FLOOR, call::Source, read::is_event_stream};

/// The response to a request: [`send`](crate::RequestBuilder::send) gives one whose body streams,
/// [`fetch`](crate::RequestBuilder::fetch) one with the bytes of its body.
///
/// A failed status is a response too: look at it, or use
/// [`error_for_status`](Response::error_for_status).
pub struct Response<T = ResponseBody> {
    inner: http::Response<T>,
    request: Description,
    connection: Option<ConnectionInfo>,
    max_body: usize,
    /// The rest of the call's deadline, for a body that is still to be collected.
    limit: Option<Limit>,
    /// For the rest of the body, as long as nothing of it was read.
    #[cfg(feature = "fs")]
    source: Option<Source>,
}

impl<T> Response<T> {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Returns the protocol version of the response.
    #[must_use]
    pub fn version(&self) -> Version {
        self.inner.version()
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Returns what layers below had to tell.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.inner.extensions()
    }

    /// Returns what was tried until this response came, on all hops of a call that was redirected.
    #[must_use]
    pub fn retry_report(&self) -> RetryReport {
        self.inner.retry_report()
    }

    /// Returns the URL that gave this response: after [redirects](crate::Redirects), the last one,
    /// and that of the [endpoint](crate::ClientBuilder::endpoints) that answered.
    #[must_use]
    pub fn url(&self) -> &Uri {
        let redirected = self.redirected().map(Redirected::uri);
        redirected
            .or(Answerer::of(&self.inner))
            .unwrap_or(self.request.uri())
    }

    /// Returns the redirects that led to this response, if any did.
    #[must_use]
    pub fn redirected(&self) -> Option<&Redirected> {
        self.extensions().get()
    }

    /// Returns what is known of the connection that the response came over: whether it was reused,
    /// where it led, how long the request waited for it. `None` over a service in the session's place.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let response = client.get("https://example.com/").fetch().await?;
    /// if let Some(connection) = response.connection() {
    ///     println!("{:?}, reused: {}", connection.peer_addr(), connection.is_reused());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.connection.as_ref()
    }

    /// The request that an error of this response is about.
    pub(crate) fn description(&self) -> Description {
        self.request.answered_by(&self.inner)
    }

    /// Gives the response of the `http` crate.
    pub fn into_inner(self) -> http::Response<T> {
        self.inner
    }

    /// Gives an error if the status is a client's or a server's error (4xx, 5xx).
    ///
    /// # Errors
    ///
    /// The error has the status, the headers and, after [`fetch`](crate::RequestBuilder::fetch) or
    /// [`collect`](Response::collect), [the beginning of the body](Error::body). Of one that
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

/// The connection that a response came over. A layer of the caller's may have wrapped the body, which
/// knows it, but has left the head alone.
fn connection(response: &http::Response<ResponseBody>) -> Option<ConnectionInfo> {
    let of_body = response.body().connection();
    of_body.or(response.extensions().get()).cloned()
}

/// The error of a failed status.
fn failed<T>(response: &http::Response<T>, body: &[u8]) -> Error {
    let mut error = Error::new(Kind::Status).answered(response, body);
    error.set_report(response.retry_report());
    error
}

/// What is there of a body without reading on.
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

    /// Keeps what is needed to continue the body, should it be saved.
    #[cfg(feature = "fs")]
    pub(crate) fn keep(&mut self, source: Option<Source>) {
        self.source = source.filter(|_| Source::suits(&self.inner));
    }

    /// Has the body, which is about to be saved, continued where it breaks, as far as that can be done, and
    /// holds it to the floor of throughput for what is saved. A stream of events may be silent.
    #[cfg(feature = "fs")]
    pub(crate) fn continue_body(&mut self) {
        if let Some(source) = self.source.take() {
            let (method, uri) = self.request.asked();
            source.wrap(method, uri, &mut self.inner);
        }
        let content_type = self.headers().get(CONTENT_TYPE);
        if !content_type.is_some_and(is_event_stream) {
            // The rest of it too, so after it was wrapped.
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

    /// The head of the response, for a change before its body is read.
    #[cfg(feature = "fs")]
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.inner.headers_mut()
    }

    pub(crate) fn body_mut(&mut self) -> &mut ResponseBody {
        self.inner.body_mut()
    }

    /// Returns the length of the body, or of what is left of it, if it is known: of one that is
    /// [decoded](crate#decoding) while it comes it is not.
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

    /// Gives what a stream needs of it.
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
        let (head, body) = inner.into_parts();
        let mut stream = ByteStream::new(body, request.clone());
        let mut kept = BytesMut::new();
        let reading = async {
            while let Some(Ok(piece)) = stream.next().await {
                let room = KEPT_OF_BODY.saturating_sub(kept.len());
                kept.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                if kept.len() >= KEPT_OF_BODY {
                    break;
                }
            }
        };
        match limit {
            // What has come until then is enough.
            Some(limit) => drop(timeout_at(limit.at, reading).await),
            None => reading.await,
        }
        let head = http::Response::from_parts(head, ());
        Err(request.name(failed(&head, &kept)))
    }

    /// Returns the next piece of the body, or `None` at its end. The deadline of the call does not
    /// count here: a stream may go on for as long as it moves.
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
            // Trailers are no piece of the body.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Returns the next frame of the body, or `None` at its end. What was tried until then is in the
    /// extensions.
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
    /// [deadline](crate::ClientBuilder::deadline) of the call, which counts from its start.
    /// Nothing is tried again if it breaks: see [`fetch`](crate::RequestBuilder::fetch) for that.
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
        let ended = {
            // Set up only once the body has to be waited for.
            let mut timer = pin!(None);
            poll_fn(|cx| {
                // The body first, the clock second: what came in time is given.
                if let Poll::Ready(ended) = gathering.poll_gather(cx) {
                    return Poll::Ready(ended);
                }
                let Some(limit) = limit else {
                    return Poll::Pending;
                };
                if timer.is_none() {
                    timer.set(Some(sleep_until(limit.at)));
                }
                if let Some(timer) = timer.as_mut().as_pin_mut() {
                    ready!(timer.poll(cx));
                }
                let phase = Some(DeadlinePhase::Body);
                Poll::Ready(Err(limit.exceeded().in_phase(phase)))
            })
            .await
        };
        match ended {
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

impl Response<Bytes> {
    pub(crate) fn collected(
        response: http::Response<ResponseBody>,
        request: Description,
    ) -> Result<Self, Error> {
        let connection = connection(&response);
        let (head, body) = response.into_parts();
        match body.into_collected() {
            Ok(bytes) => Ok(Self {
                connection,
                inner: http::Response::from_parts(head, bytes),
                request,
                max_body: 0,
                limit: None,
                #[cfg(feature = "fs")]
                source: None,
            }),
            Err(limit) => {
                let head = http::Response::from_parts(head, ());
                let mut error = Error::new(Kind::BodyTooLarge { limit }).answered(&head, &[]);
                error.set_report(head.retry_report());
                Err(request.name(error))
            }
        }
    }

    /// Makes an error of a failed status. A body that was too large to be collected is left out.
    pub(crate) fn raised(response: http::Response<ResponseBody>, request: &Description) -> Error {
        let (head, body) = response.into_parts();
        let kept = body.into_collected().unwrap_or_default();
        let head = http::Response::from_parts(head, ());
        request.name(failed(&head, &kept))
    }

    /// Returns the trailers that came after the body; `None` if there were none.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        let trailers: &Trailers = self.extensions().get()?;
        Some(&trailers.0)
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.inner.body()
    }

    /// Gives the body.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.inner.into_body()
    }

    /// Gives the status and the body.
    #[must_use]
    pub fn into_status_and_body(self) -> (StatusCode, Bytes) {
        (self.inner.status(), self.inner.into_body())
    }

    /// Reads the body as text of the charset that `Content-Type` names, UTF-8 without one. A byte
    /// order mark comes first; what cannot be read becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// None now: it is a `Result` so that a charset may be refused.
    pub fn text(&self) -> Result<String, Error> {
        let encoding = self
            .headers()
            .get(CONTENT_TYPE)
            .and_then(charset)
            .unwrap_or(UTF_8);
        let (text, _, _) = encoding.decode(self.body());
        Ok(text.into_owned())
    }

    /// Reads the body as JSON; a byte order mark before it is left out, as
    /// [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259#section-8.1) allows.
    ///
    /// # Errors
    ///
    /// If the body is not JSON, or does not fit this type; [`is_decode`](Error::is_decode) holds
    /// then. Of the first the error tells the content type, which is `text/html` for a login page
    /// or the page of a proxy; of the second it tells where, as in `items[3].price`. It has the
    /// [status](Error::status), the headers, and [the beginning of the body](Error::body); neither
    /// `Display` nor `Debug` shows what stands there, only its
    /// [source](std::error::Error::source) does.
    pub fn json<D: DeserializeOwned>(&self) -> Result<D, Error> {
        json::read(self.body(), self.headers().get(CONTENT_TYPE)).map_err(|(why, source)| {
            let error = Error::new(Kind::Json(why)).with(source);
            let mut error = error.answered(&self.inner, self.body());
            error.set_report(self.retry_report());
            self.request.name(error)
        })
    }
}

/// The charset parameter of a media type
/// ([RFC 9110, section 8.3.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.3.2)).
fn charset(content_type: &HeaderValue) -> Option<&'static Encoding> {
    let parameters = quoted::split(content_type.as_bytes(), b';').skip(1);
    parameters
        .filter_map(quoted::parameter)
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"charset"))
        .find_map(|(_, value)| Encoding::for_label(&quoted::unquoted(value)))
}

impl<T> fmt::Debug for Response<T> {
    // No headers: a cookie may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
