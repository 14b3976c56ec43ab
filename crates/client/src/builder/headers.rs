//! Headers and credentials that a client adds to its requests.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION},
};

use crate::{
    ClientBuilder, Error, TokenSource,
    auth::{self, Auth, Tokens},
};

impl ClientBuilder {
    /// Sets the `User-Agent` of requests that have none. A value that is not valid in a header is
    /// an error of [`build`](Self::build). Default: `hardy-http/`, which is the name of this
    /// project, and the version of this crate.
    ///
    /// ```
    /// # fn example() -> Result<(), client::Error> {
    /// let client = client::Client::builder().user_agent("price-watch/1.4").build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn user_agent(mut self, user_agent: impl TryInto<HeaderValue>) -> Self {
        if let Ok(user_agent) = user_agent.try_into() {
            self.user_agent = Some(user_agent);
        } else {
            self.problem.get_or_insert_with(|| {
                Error::builder(
                    "the value of `user_agent` is not valid: it holds a line break or another \
                     control character",
                )
            });
        }
        self
    }

    /// Sends no `User-Agent` unless a request has one.
    pub fn no_user_agent(mut self) -> Self {
        self.user_agent = None;
        self
    }

    /// Adds a header to requests that do not have it, on each attempt. It takes the place of a
    /// built-in one: of [`user_agent`](Self::user_agent), and of the `Accept-Encoding` that lists
    /// the codings which can be decoded. A response is [decoded](crate#decoding) by its own
    /// `Content-Encoding`, whatever the request accepts.
    ///
    /// The header belongs to one origin, as do all headers and credentials of the client but
    /// `User-Agent` and ids: to the origin of the [base URL](Self::base_url), or of each
    /// [endpoint](Self::endpoints); without these, to the first origin of a call. It is never sent
    /// to another origin, nor back to its own by another origin's redirect.
    ///
    /// So set a base URL wherever another party chooses URLs. Without one, the header also goes
    /// along where your own hook or layer sends an attempt to another origin.
    pub fn default_header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        // The value may be a secret, and even a bad name may hold one: the error shows neither.
        let header = match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => Ok((name, value)),
            (Ok(name), Err(_)) => Err(Error::builder(format!(
                "the value of the default header {name} is not valid: it holds a line break or \
                 another control character"
            ))),
            (Err(_), _) => Err(Error::builder("a default header's name is not valid")),
        };
        self.with_header(header)
    }

    /// Adds these headers to requests that do not have them; see
    /// [`default_header`](Self::default_header).
    pub fn default_headers(mut self, mut headers: HeaderMap) -> Self {
        for (name, value) in &mut headers {
            flag(name, value);
        }
        self.extras.headers.extend(headers);
        self
    }

    fn with_header(mut self, header: Result<(HeaderName, HeaderValue), Error>) -> Self {
        match header {
            Ok((name, mut value)) => {
                flag(&name, &mut value);
                self.extras.headers.insert(name, value);
            }
            Err(error) => {
                self.problem.get_or_insert(error);
            }
        }
        self
    }

    /// Authorizes requests by this bearer token
    /// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)), unless they have an `Authorization`
    /// of their own. It goes to one origin only; see [`default_header`](Self::default_header).
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.with_header(auth::bearer(token.as_ref()).map(|value| (AUTHORIZATION, value)))
    }

    /// Authorizes requests by user and password
    /// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)), unless they have an `Authorization`
    /// of their own. They go to one origin only; see [`default_header`](Self::default_header).
    pub fn basic(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let value = auth::basic(user.as_ref().as_bytes(), password.as_ref().as_bytes());
        self.with_header(value.map(|value| (AUTHORIZATION, value)))
    }

    /// Authorizes requests by bearer tokens from a source, unless they have an `Authorization` of
    /// their own. They go to one origin only; see [`default_header`](Self::default_header).
    ///
    /// A token is fetched when the first attempt needs one, when the last one has expired, and when
    /// a server refuses it by 401. After a 401 the request, whatever its method, is sent once more
    /// with the new token, unless it may be sent only once, by
    /// [`no_retry`](crate::RequestBuilder::no_retry) or by a policy of one attempt [without
    /// transparent retries](retry_layer::RetryPolicyBuilder::without_transparent_retries). Requests
    /// that need a token at the same time wait for the same fetch. See
    /// [`token_fn`](crate::token_fn) for an example.
    pub fn auth(mut self, source: impl TokenSource) -> Self {
        self.extras.auth = Some(Auth::Token(Tokens::new(source)));
        self
    }

    /// Authorizes requests by Digest ([RFC 7616](https://www.rfc-editor.org/rfc/rfc7616)), unless
    /// they have an `Authorization` of their own. The password itself is never sent.
    ///
    /// The first request to an origin is sent without credentials, and again after the server has
    /// sent its challenge. Later requests answer the same challenge until the server sends another.
    /// A request that may be sent only once, by [`no_retry`](crate::RequestBuilder::no_retry) or by
    /// a policy of one attempt [without transparent
    /// retries](retry_layer::RetryPolicyBuilder::without_transparent_retries), gets the 401
    /// instead.
    #[cfg(feature = "digest")]
    pub fn digest(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let digest = auth::Digest::new(user.into(), password.into());
        self.extras.auth = Some(Auth::Digest(digest));
        self
    }

    /// Gives each call a random id in this header, the same on all its attempts, unless it has
    /// one. Default: none.
    pub fn request_id(mut self, name: HeaderName) -> Self {
        self.request_id = Some(name);
        self
    }

    /// Gives each attempt a random id of its own in this header. Default: none.
    pub fn attempt_id(mut self, name: HeaderName) -> Self {
        self.extras.attempt_id = Some(name);
        self
    }
}

/// Marks headers that certainly hold a secret as sensitive, so that no log shows them.
fn flag(name: &HeaderName, value: &mut HeaderValue) {
    if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) {
        value.set_sensitive(true);
    }
}
