use std::{borrow::Cow, fmt};

use http::HeaderValue;

use super::{body, boundary::Boundary, part::Part};
use crate::{Body, Error};

/// A form as `multipart/form-data`; see the [module docs](super).
#[must_use = "a form does nothing until it is sent"]
pub struct Form {
    boundary: Boundary,
    parts: Vec<(Cow<'static, str>, Part)>,
}

impl Form {
    /// Makes a form without parts.
    pub fn new() -> Self {
        Self {
            boundary: Boundary::random(),
            parts: Vec::new(),
        }
    }

    /// Adds a part of text.
    pub fn text(
        self,
        name: impl Into<Cow<'static, str>>,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.part(name, Part::text(text))
    }

    /// Adds a part. Several may have the same name.
    pub fn part(mut self, name: impl Into<Cow<'static, str>>, part: Part) -> Self {
        self.parts.push((name.into(), part));
        self
    }

    /// The `Content-Type` of the form, with the boundary.
    pub(crate) fn content_type(&self) -> Result<HeaderValue, Error> {
        HeaderValue::try_from(format!("multipart/form-data; boundary={}", self.boundary))
            .map_err(|error| Error::builder("the form cannot be written").with(error))
    }

    /// Makes the body of the form. The contents of the parts are not copied.
    pub(crate) fn into_body(self) -> Result<Body, Error> {
        let mut pieces = Vec::with_capacity(self.parts.len().saturating_mul(2).saturating_add(1));
        let mut between = Vec::new();
        for (name, part) in self.parts {
            between.extend(part.head(&name, self.boundary)?);
            pieces.push(between.into());
            pieces.push(part.body);
            between = b"\r\n".to_vec();
        }
        between.extend(format!("--{}--\r\n", self.boundary).into_bytes());
        pieces.push(between.into());
        Ok(body::joined(pieces))
    }
}

impl Default for Form {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.parts.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}
