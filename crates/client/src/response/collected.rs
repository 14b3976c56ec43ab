//! A response with all bytes of its body.

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use retry_layer::ResponseExt as _;
use serde::de::DeserializeOwned;

use super::{Response, connection, failed::failed};
use crate::{
    Error, ResponseBody, collect::Trailers, description::Description, error::Kind, json, quoted,
};

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
    /// order mark takes precedence; bytes that are not valid become U+FFFD.
    ///
    /// # Errors
    ///
    /// None at present: it is a `Result` so that a charset may be refused.
    pub fn text(&self) -> Result<String, Error> {
        let encoding = self
            .headers()
            .get(CONTENT_TYPE)
            .and_then(charset)
            .unwrap_or(UTF_8);
        let (text, _, _) = encoding.decode(self.body());
        Ok(text.into_owned())
    }

    /// Reads the body as JSON; a byte order mark before it is skipped, as [RFC
    /// 8259](https://www.rfc-editor.org/rfc/rfc8259#section-8.1) allows.
    ///
    /// # Errors
    ///
    /// If the body is not JSON, or not of this type; [`is_decode`](Error::is_decode) holds then. If
    /// it is not JSON, the error shows the content type, which is `text/html` for a login page or
    /// the page of a proxy; if it is not of this type, the error shows the place, as in
    /// `items[3].price`. It has the [status](Error::status), the headers, and [the beginning of the
    /// body](Error::body). Neither `Display` nor `Debug` quotes the body, only the
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
