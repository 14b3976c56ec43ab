use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE},
};

use super::boundary::Boundary;
use crate::{Body, Error};

/// One part of a [`Form`](super::Form): a body and its headers.
#[derive(Debug)]
#[must_use = "a part does nothing until it is in a form"]
pub struct Part {
    pub(super) body: Body,
    file_name: Option<Cow<'static, str>>,
    content_type: Option<HeaderValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
    wrong: Option<&'static str>,
}

static OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl Part {
    /// Makes a part of text, without a `Content-Type`, which means `text/plain`.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::body(match text.into() {
            Cow::Borrowed(text) => Body::from(text),
            Cow::Owned(text) => Body::from(text),
        })
    }

    /// Makes a part of bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::body(bytes.into())
    }

    /// Makes a part of any body. The length of the form is known only if that of the body is; see
    /// [`Body::stream_with_length`].
    pub fn body(body: impl Into<Body>) -> Self {
        Self {
            body: body.into(),
            file_name: None,
            content_type: None,
            headers: Vec::new(),
            wrong: None,
        }
    }

    /// Makes a part of a file, with the last part of the path as its file name; see
    /// [`Body::from_file`].
    ///
    /// # Errors
    ///
    /// Those of [`Body::from_file`].
    #[cfg(feature = "fs")]
    pub async fn file(path: impl AsRef<std::path::Path> + Send) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut part = Self::body(Body::from_file(path).await?);
        part.file_name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned().into());
        Ok(part)
    }

    /// Sets the file name, which makes the part a file. Its `Content-Type` is
    /// `application/octet-stream` then, unless another is set.
    pub fn file_name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Sets the part's `Content-Type`. A value that is not valid in a header is an error of the
    /// request.
    pub fn content_type(mut self, content_type: impl TryInto<HeaderValue>) -> Self {
        match content_type.try_into() {
            Ok(content_type) => self.content_type = Some(content_type),
            Err(_) => self.wrong = Some("the content type of a part is not valid"),
        }
        self
    }

    /// Adds another header to the part, which most readers of forms ignore. `Content-Disposition`
    /// and `Content-Type` have methods of their own; here they are an error of the request.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if name == CONTENT_DISPOSITION || name == CONTENT_TYPE {
            self.wrong =
                Some("a part has its disposition and content type by methods of their own");
        }
        self.headers.push((name, value));
        self
    }

    /// Writes the boundary and the headers of the part.
    pub(super) fn head(&self, name: &str, boundary: Boundary) -> Result<Vec<u8>, Error> {
        if let Some(wrong) = self.wrong {
            return Err(Error::builder(wrong));
        }
        let disposition = format!("form-data; name=\"{}\"", Quoted(name));
        let disposition = match &self.file_name {
            Some(file) => format!("{disposition}; filename=\"{}\"", Quoted(file)),
            None => disposition,
        };
        let mut head = format!("--{boundary}\r\nContent-Disposition: {disposition}").into_bytes();
        let octets = self.file_name.as_ref().map(|_| &OCTETS);
        let content_type = self.content_type.as_ref().or(octets);
        let content_type = content_type.map(|value| ("Content-Type", value));
        let others = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        for (name, value) in content_type.into_iter().chain(others) {
            head.extend_from_slice(format!("\r\n{name}: ").as_bytes());
            head.extend_from_slice(value.as_bytes());
        }
        head.extend_from_slice(b"\r\n\r\n");
        Ok(head)
    }
}

/// A name within quotes, with all characters escaped that would end the quotes or the line.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            if char == '"' || char.is_ascii_control() {
                write!(f, "%{:02X}", u32::from(char))?;
            } else {
                f.write_char(char)?;
            }
        }
        Ok(())
    }
}
