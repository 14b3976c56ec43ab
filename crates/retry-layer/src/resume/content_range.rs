use http::{HeaderMap, header::CONTENT_RANGE};

/// A `Content-Range` in bytes ([RFC 9110, section
/// 14.4](https://www.rfc-editor.org/rfc/rfc9110#section-14.4)).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ContentRange {
    /// The body is the bytes from `first` up to and including `last`.
    Part {
        first: u64,
        last: u64,
        /// The length of the whole, if the server knows it.
        total: Option<u64>,
    },
    /// No such range exists in a whole of this length.
    Unsatisfied { total: u64 },
}

impl ContentRange {
    /// Reads the only `Content-Range` of a response. `None` if there is none, more than one, one in
    /// another unit than bytes, or one that is not valid: a recipient must not combine such a part
    /// with anything.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CONTENT_RANGE).iter();
        let line = lines.next()?;
        if lines.next().is_some() {
            return None;
        }
        Self::parse(line.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.trim_matches([' ', '\t']).split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = range.trim_start_matches(' ').split_once('/')?;
        if range == "*" {
            let total = number(total)?;
            return Some(Self::Unsatisfied { total });
        }
        let total = match total {
            "*" => None,
            total => Some(number(total)?),
        };
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        // The end of the range is an offset, so it has to have a successor.
        let is_valid = first <= last && last < total.unwrap_or(u64::MAX);
        is_valid.then_some(Self::Part { first, last, total })
    }
}

/// `1*DIGIT`. A number that is too large for any file is not valid.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn parts_and_unsatisfied_ranges_are_read() {
        let part = |first, last, total| Some(ContentRange::Part { first, last, total });
        for (text, expected) in [
            ("bytes 3-5/6", part(3, 5, Some(6))),
            ("bytes 0-0/1", part(0, 0, Some(1))),
            ("bytes 3-5/*", part(3, 5, None)),
            ("Bytes  3-5/6 ", part(3, 5, Some(6))),
            ("bytes */6", Some(ContentRange::Unsatisfied { total: 6 })),
            ("bytes */0", Some(ContentRange::Unsatisfied { total: 0 })),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_valid_is_none() {
        for text in [
            "",
            "bytes",
            "bytes 3-5",
            "bytes=3-5/6",
            "bytes 5-3/6",
            "bytes 3-6/6",
            "bytes 3-/6",
            "bytes -5/6",
            "bytes +3-5/6",
            "bytes 3-5/",
            "bytes 3-5/+6",
            "bytes 3 - 5/6",
            "bytes */*",
            "items 3-5/6",
            "bytes 3-18446744073709551615/*",
            "bytes 3-5/18446744073709551616",
        ] {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn two_of_them_are_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(CONTENT_RANGE, HeaderValue::from_static("bytes 3-5/6"));
        }
        assert_eq!(ContentRange::of(&headers), None);
    }
}
