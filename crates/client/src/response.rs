use std::{fmt, future::poll_fn, pin::Pin};

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use http::{
    Extensions, HeaderMap, StatusCode, Version,
    header::{CONTENT_TYPE, HeaderValue},
};
use http_body::Body as _;
use retry_layer::{ResponseExt as _, RetryReport};
use serde::de::DeserializeOwned;

use crate::{Error, ResponseBody, call::Description, collect::Gathering, error::Kind};

/// The response to a request: [`send`](crate::RequestBuilder::send) gives one whose body streams,
/// [`fetch`](crate::RequestBuilder::fetch) one with the bytes of its body.
///
/// A failed status is a response too: look at it, or use
/// [`error_for_status`](Response::error_for_status).
pub struct Response<T = ResponseBody> {
    inner: http::Response<T>,
    request: Description,
    max_body: usize,
}

/// How much of a body an error made of a status keeps.
const KEPT_OF_BODY: usize = 4 * 1024;

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

    /// Returns what was tried until this response came.
    #[must_use]
    pub fn retry_report(&self) -> RetryReport {
        self.inner.retry_report()
    }

    /// Gives the response of the `http` crate.
    pub fn into_inner(self) -> http::Response<T> {
        self.inner
    }

    /// Gives an error if the status is a client's or a server's error (4xx, 5xx).
    ///
    /// # Errors
    ///
    /// The error has the status and, after [`fetch`](crate::RequestBuilder::fetch), [the beginning
    /// of the body](Error::body).
    pub fn error_for_status(self) -> Result<Self, Error>
    where
        T: Collected,
    {
        let status = self.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(self);
        }
        let kept = self.inner.body().collected();
        let kept = kept.slice(..kept.len().min(KEPT_OF_BODY));
        let mut error = Error::new(Kind::Status(status, kept));
        error.set_report(self.retry_report());
        Err(self.request.name(error))
    }
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
    ) -> Self {
        Self {
            inner,
            request,
            max_body,
        }
    }

    /// Returns the next piece of the body, or `None` at its end.
    ///
    /// # Errors
    ///
    /// If the body breaks off or stands still for too long.
    ///
    /// # Cancel safety
    ///
    /// No piece is lost if the future is dropped.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let mut body = Pin::new(self.inner.body_mut());
            let frame = match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                None => return Ok(None),
                Some(frame) => frame.map_err(|error| self.request.name(error))?,
            };
            // Trailers are no piece of the body.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Collects the body, up to [`max_body`](crate::ClientBuilder::max_body). Nothing is tried
    /// again if it breaks: see [`fetch`](crate::RequestBuilder::fetch) for that.
    ///
    /// # Errors
    ///
    /// If the body breaks off, stands still for too long, or is larger than the limit.
    ///
    /// # Cancel safety
    ///
    /// The response is consumed: dropping the future closes its connection.
    pub async fn collect(self) -> Result<Response<Bytes>, Error> {
        let request = self.request;
        let gathered = async {
            let mut gathering = Gathering::new(self.inner, self.max_body)?;
            poll_fn(|cx| gathering.poll_gather(cx)).await?;
            Ok(gathering.into_response())
        };
        match gathered.await {
            Ok(response) => Ok(Response::collected(response, request)),
            Err(error) => Err(request.name(error)),
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
    pub(crate) fn collected(response: http::Response<ResponseBody>, request: Description) -> Self {
        // A stack that was asked to collect has done so; this is its last layer but retry.
        let inner = response.map(|body| body.into_collected().unwrap_or_default());
        Self {
            inner,
            request,
            max_body: 0,
        }
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

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// If the body is not JSON of this type; [`is_decode`](Error::is_decode) holds then.
    pub fn json<D: DeserializeOwned>(&self) -> Result<D, Error> {
        serde_json::from_slice(self.body()).map_err(|error| {
            self.request
                .name(Error::new(Kind::Decode("JSON")).with(error))
        })
    }
}

/// The charset parameter of a media type
/// ([RFC 9110, section 8.3.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.3.2)).
fn charset(content_type: &HeaderValue) -> Option<&'static Encoding> {
    let text = content_type.to_str().ok()?;
    text.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let label = value.trim().trim_matches('"');
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| Encoding::for_label(label.as_bytes()))?
    })
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
