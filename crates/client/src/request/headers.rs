//! The headers and credentials of a request.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION},
};

use super::RequestBuilder;
use crate::{Error, auth, setting, without_defaults::WithoutDefaults};

impl RequestBuilder {
    /// Sets a header, replacing all values of its name.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.with_header(name, value, |headers, name, value| {
            headers.insert(name, value);
        })
    }

    /// Adds a value of a header beside those that are set.
    pub fn append_header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.with_header(name, value, |headers, name, value| {
            headers.append(name, value);
        })
    }

    pub(super) fn with_header<K, V>(
        self,
        name: K,
        value: V,
        put: impl FnOnce(&mut HeaderMap, HeaderName, HeaderValue),
    ) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.alter(|request| {
            // The value may be a secret, and even a bad name may hold one: the error shows neither.
            let name: HeaderName = name
                .try_into()
                .map_err(|_| Error::builder("a header's name is not valid"))?;
            let mut value: HeaderValue = value.try_into().map_err(|_| {
                Error::builder(format!(
                    "the value of the header {name} is not valid: it holds a line break or \
                     another control character"
                ))
            })?;
            if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&name) {
                value.set_sensitive(true);
            }
            put(request.headers_mut(), name, value);
            Ok(())
        })
    }

    /// Sets a header unless there is one of its name.
    pub(crate) fn header_if_absent(self, name: HeaderName, value: HeaderValue) -> Self {
        self.alter(|request| {
            request.headers_mut().entry(name).or_insert(value);
            Ok(())
        })
    }

    /// Sends this request without a header that the client would add: a [default
    /// header](crate::ClientBuilder::default_header), `User-Agent`, `Accept-Encoding`, an id, or,
    /// by `Authorization`, the client's credentials. It applies to all attempts and hops, and
    /// removes the header of that name that this builder had set before. It does not apply to the
    /// cookies of a jar.
    ///
    /// ```
    /// # fn example(client: &client::Client) -> client::RequestBuilder {
    /// client.get("https://example.com/public").without_header("authorization")
    /// # }
    /// ```
    pub fn without_header<K>(self, name: K) -> Self
    where
        K: TryInto<HeaderName>,
    {
        self.alter(|request| {
            let name: HeaderName = name
                .try_into()
                .map_err(|_| Error::builder("a header's name is not valid"))?;
            request.headers_mut().remove(&name);
            let without = WithoutDefaults::of(request).and(name);
            setting::set(request.extensions_mut(), without);
            Ok(())
        })
    }

    /// Sets these headers, each replacing all values of its name.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.alter(|request| {
            let mut last = None;
            for (name, value) in headers {
                // Only the first of several values comes with the name.
                match (name, &last) {
                    (Some(name), _) => {
                        request.headers_mut().insert(name.clone(), value);
                        last = Some(name);
                    }
                    (None, Some(name)) => {
                        request.headers_mut().append(name.clone(), value);
                    }
                    (None, None) => {}
                }
            }
            Ok(())
        })
    }

    /// Sends this token as the credentials of a bearer
    /// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)), in place of any others.
    #[doc(alias = "bearer_auth")]
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.authorization(auth::bearer(token.as_ref()))
    }

    /// Sends a user's name and password ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)), in
    /// place of any other credentials. The name must not have a colon.
    #[doc(alias = "basic_auth")]
    pub fn basic(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        self.authorization(auth::basic(
            user.as_ref().as_bytes(),
            password.as_ref().as_bytes(),
        ))
    }

    pub(super) fn authorization(self, value: Result<HeaderValue, Error>) -> Self {
        self.alter(|request| {
            request.headers_mut().insert(AUTHORIZATION, value?);
            Ok(())
        })
    }
}
