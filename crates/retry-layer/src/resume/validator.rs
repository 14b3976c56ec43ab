use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{DATE, ETAG, LAST_MODIFIED},
};

/// A strong validator: it identifies one version of a representation, byte for byte.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Validator {
    /// A strong entity tag.
    Tag(HeaderValue),
    /// A `Last-Modified` that is strong.
    Date(HeaderValue),
}

impl Validator {
    /// The validator of a response that an `If-Range` may have ([RFC 9110, section
    /// 13.1.5](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5)): an entity tag that is not
    /// weak; a date only where there is no entity tag at all, and only if it is strong, as section
    /// 8.8.2.2 says. For that it has to be at least a second older than the `Date` of the response,
    /// since two changes within one second have the same date.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key(ETAG) {
            let tag = only(headers, &ETAG)?;
            return is_strong_tag(tag.as_bytes()).then(|| Self::Tag(tag.clone()));
        }
        let modified = only(headers, &LAST_MODIFIED)?;
        let (changed, sent) = (date(modified)?, date(only(headers, &DATE)?)?);
        let age = sent.duration_since(changed).ok()?;
        (age >= Duration::from_secs(1)).then(|| Self::Date(modified.clone()))
    }

    /// Reads a value that [`if_range`](Self::if_range) has returned earlier. Whether a date is
    /// strong was decided then.
    pub(super) fn stored(value: HeaderValue) -> Option<Self> {
        if is_strong_tag(value.as_bytes()) {
            return Some(Self::Tag(value));
        }
        date(&value).is_some().then(|| Self::Date(value))
    }

    /// The value of an `If-Range` for it.
    pub(super) fn if_range(&self) -> &HeaderValue {
        match self {
            Self::Tag(value) | Self::Date(value) => value,
        }
    }

    /// Whether a response is a part of the same version. A 206 must have the entity tag that the 200
    /// had; it may leave `Last-Modified` out
    /// ([RFC 9110, section 15.3.7](https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7)).
    pub(super) fn is_of_part(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Tag(tag) => only(headers, &ETAG) == Some(tag),
            Self::Date(_) if !headers.contains_key(LAST_MODIFIED) => true,
            Self::Date(modified) => only(headers, &LAST_MODIFIED) == Some(modified),
        }
    }

    /// Whether the validators of a response are those of another version.
    pub(super) fn is_denied_by(&self, headers: &HeaderMap) -> bool {
        let (name, value) = match self {
            Self::Tag(tag) => (ETAG, tag),
            Self::Date(modified) => (LAST_MODIFIED, modified),
        };
        headers.contains_key(&name) && only(headers, &name) != Some(value)
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn date(value: &HeaderValue) -> Option<std::time::SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

/// An `opaque-tag` ([RFC 9110, section 8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)).
fn is_strong_tag(tag: &[u8]) -> bool {
    let [b'"', inner @ .., b'"'] = tag else {
        return false;
    };
    inner
        .iter()
        .all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        headers
    }

    fn if_range(lines: &[(&'static str, &'static str)]) -> Option<String> {
        let validator = Validator::of(&headers(lines))?;
        Some(validator.if_range().to_str().unwrap().to_owned())
    }

    const NOON: &str = "Sat, 01 Jun 2024 12:00:00 GMT";

    #[test]
    fn a_strong_tag_is_taken_and_a_weak_or_broken_one_is_not() {
        assert_eq!(if_range(&[("etag", "\"a\"")]).as_deref(), Some("\"a\""));
        assert_eq!(if_range(&[("etag", "\"\"")]).as_deref(), Some("\"\""));
        for tag in ["W/\"a\"", "a", "\"a", "\"", "\"a\"b\"", "\"a b\"", ""] {
            assert_eq!(if_range(&[("etag", tag)]), None, "{tag}");
        }
        assert_eq!(if_range(&[("etag", "\"a\""), ("etag", "\"b\"")]), None);
    }

    #[test]
    fn a_date_is_strong_if_it_is_a_second_older_than_the_response() {
        let modified = |modified| [("last-modified", modified), ("date", NOON)];
        let old = "Sat, 01 Jun 2024 11:59:59 GMT";
        assert_eq!(if_range(&modified(old)).as_deref(), Some(old));
        for young in [NOON, "Sat, 01 Jun 2024 12:00:01 GMT", "yesterday"] {
            assert_eq!(if_range(&modified(young)), None, "{young}");
        }
        assert_eq!(if_range(&[("last-modified", old)]), None);
    }

    #[test]
    fn a_date_does_not_take_the_place_of_a_weak_tag() {
        let old = "Sat, 01 Jun 2024 11:00:00 GMT";
        let weak = [("etag", "W/\"a\""), ("last-modified", old), ("date", NOON)];
        assert_eq!(if_range(&weak), None);
    }

    #[test]
    fn a_part_has_the_same_tag_and_may_leave_the_date_out() {
        let tag = Validator::of(&headers(&[("etag", "\"a\"")])).unwrap();
        assert!(tag.is_of_part(&headers(&[("etag", "\"a\"")])));
        assert!(!tag.is_of_part(&headers(&[("etag", "W/\"a\"")])));
        assert!(!tag.is_of_part(&headers(&[])));
        assert!(!tag.is_denied_by(&headers(&[])));

        let old = "Sat, 01 Jun 2024 11:00:00 GMT";
        let date = Validator::of(&headers(&[("last-modified", old), ("date", NOON)])).unwrap();
        assert!(date.is_of_part(&headers(&[])));
        assert!(date.is_of_part(&headers(&[("last-modified", old)])));
        assert!(!date.is_of_part(&headers(&[("last-modified", NOON)])));
        assert!(date.is_denied_by(&headers(&[("last-modified", NOON)])));
    }
}
