use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::HeaderValue;

use crate::Error;

/// Basic credentials ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
pub(crate) fn basic(user: &[u8], password: &[u8]) -> Result<HeaderValue, Error> {
    if user.contains(&b':') {
        return Err(Error::builder(
            "a user name for Basic authentication cannot hold a colon",
        ));
    }
    let encoded = BASE64.encode([user, b":", password].concat());
    secret(&format!("Basic {encoded}"))
}

/// A bearer token ([RFC 6750, section 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, Error> {
    secret(&format!("Bearer {token}"))
}

/// Makes a sensitive header value. The error does not show the value.
fn secret(value: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Error::builder("the credentials hold a line break or another control character")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
