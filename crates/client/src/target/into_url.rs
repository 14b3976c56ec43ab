//! What a caller may give as a URL.

/// What can be asked for as a URL: text, or a [`Uri`](http::Uri). A `url::Url` is asked for by its `as_str()`.
///
/// Text is read as browsers do ([WHATWG URL](https://url.spec.whatwg.org/)): spaces and other
/// characters that a URI cannot hold are escaped, and names like `bücher.example` are made ASCII.
/// A relative one is joined to the client's base URL.
///
/// A [`Uri`](http::Uri) without a scheme is a path, as a server is asked for it: it goes to the base URL's
/// host, with nothing of the base URL's path, and is sent as it is, but for characters that are no
/// ASCII. Whatever it holds, it never chooses the host. One whose path is an asterisk is for `OPTIONS`
/// alone; see [`RequestBuilder::asterisk_form`](crate::RequestBuilder::asterisk_form).
///
/// What names its own host is sent there, whatever the base URL: a `Uri` with a scheme, absolute
/// text, and text that begins with two slashes (a network-path reference,
/// [RFC 3986, section 4.2](https://www.rfc-editor.org/rfc/rfc3986#section-4.2)). Text that is put together
/// from parts which another party chose may become such a one, as `/` and `/evil.example` do: a
/// `Uri` made of the same text does not. Text that leads to another host in any other way, by
/// backslashes or by control characters that are left out, is refused.
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

    /// What the caller asked for, before it is known whether it is valid.
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
