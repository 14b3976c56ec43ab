//! What a caller may give as a URL.

/// A type that can be used as a URL: text, or a [`Uri`](http::Uri). For a `url::Url`, use its
/// `as_str()`.
///
/// Text is parsed as browsers do ([WHATWG URL](https://url.spec.whatwg.org/)): spaces and other
/// characters that are not valid in a URI are escaped, and names like `bücher.example` are made
/// ASCII. A relative URL is joined to the client's base URL.
///
/// A [`Uri`](http::Uri) without a scheme is a path, as in a request: it goes to the base URL's
/// host, without the base URL's path, and is sent unchanged, except that characters which are not
/// ASCII are escaped. It can never choose the host. A path of `*` is for `OPTIONS` alone; see
/// [`RequestBuilder::asterisk_form`](crate::RequestBuilder::asterisk_form).
///
/// A URL that names its own host is sent there, whatever the base URL: a `Uri` with a scheme,
/// absolute text, and text that begins with two slashes (a network-path reference, [RFC 3986,
/// section 4.2](https://www.rfc-editor.org/rfc/rfc3986#section-4.2)). Text that is joined from
/// parts which another party chose may begin so, as `/` and `/evil.example` do; a `Uri` made of the
/// same text never chooses the host. Text that would lead to another host in any other form, by
/// backslashes or by control characters that are dropped, is refused.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be asked for as a URL",
    label = "this is neither text nor an `http::Uri`",
    note = "a `url::Url` can be asked for by its `as_str()`, other types by their text"
)]
pub trait IntoUrl: sealed::Sealed {}

impl<T: sealed::Sealed> IntoUrl for T {}

pub(super) mod sealed {
    use std::borrow::Cow;

    use http::Uri;

    #[diagnostic::on_unimplemented(
        message = "`{Self}` cannot be asked for as a URL",
        label = "this is neither text nor an `http::Uri`",
        note = "a `url::Url` can be asked for by its `as_str()`, other types by their text"
    )]
    pub trait Sealed {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a;
    }

    /// The caller's input, before it is checked.
    #[derive(Debug)]
    pub enum Asked<'a> {
        Text(Cow<'a, str>),
        Uri(Uri),
    }

    impl Sealed for &str {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Text(Cow::Borrowed(self))
        }
    }

    impl Sealed for String {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Text(Cow::Owned(self))
        }
    }

    impl Sealed for &String {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Text(Cow::Borrowed(self))
        }
    }

    impl Sealed for Uri {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Uri(self)
        }
    }

    impl Sealed for &Uri {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Uri(self.clone())
        }
    }
}
