use std::{borrow::Cow, fmt};

/// A request extension: the template that the path of its URL follows, such as `/users/{id}`.
///
/// It is the attribute `url.template` of spans and metrics, and part of the name of an attempt's
/// span (`GET /users/{id}`). Where paths are not recorded, it distinguishes the requests to one
/// host. It must have few values, so put no ids into it. The text from a `?` or `#` on is dropped.
/// A redirect leads to another URL, so the requests that follow one have no template.
///
/// [`RequestBuilder::url_template`](crate::RequestBuilder::url_template) sets it; where requests are
/// made by hand, insert it:
///
/// ```
/// use client::UrlTemplate;
///
/// let request = http::Request::get("http://users.example/users/17")
///     .extension(UrlTemplate::new("/users/{id}"))
///     .body(client::Body::empty());
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct UrlTemplate(Cow<'static, str>);

impl UrlTemplate {
    /// Makes the extension of a template.
    #[must_use]
    pub fn new(template: impl Into<Cow<'static, str>>) -> Self {
        let mut template = template.into();
        if let Some(end) = template.find(['?', '#']) {
            match &mut template {
                Cow::Borrowed(text) => *text = text.get(..end).unwrap_or_default(),
                Cow::Owned(text) => text.truncate(end),
            }
        }
        Self(template)
    }

    /// Returns the template.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UrlTemplate").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_neither_query_nor_fragment() {
        for (given, kept) in [("/a/{b}", "/a/{b}"), ("/a?b=c", "/a"), ("/a#b?c", "/a")] {
            assert_eq!(UrlTemplate::new(given).as_str(), kept);
            assert_eq!(UrlTemplate::new(given.to_owned()).as_str(), kept);
        }
    }
}
