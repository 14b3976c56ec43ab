//! Tokens and quoted strings in header values ([RFC 9110, section
//! 5.6](https://www.rfc-editor.org/rfc/rfc9110#section-5.6)), as bytes, because a server may put
//! any byte above 0x7f between quotes.

use std::borrow::Cow;

/// Splits a list at a separator, but not inside a quoted string. A string that does not end goes to
/// the end of the list.
pub(crate) fn split(list: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |byte| {
        if escaped {
            escaped = false;
        } else if quoted && *byte == b'\\' {
            escaped = true;
        } else if *byte == b'"' {
            quoted = !quoted;
        }
        !quoted && *byte == separator
    })
}

/// Splits `name = value`, with or without blanks around the `=`, which the grammar does not allow
/// and some servers send.
pub(crate) fn parameter(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (text.get(..equals)?, text.get(equals + 1..)?);
    let name = name.trim_ascii();
    is_token(name).then(|| (name, value.trim_ascii()))
}

/// Returns a value without the quotes and backslashes of a quoted string.
pub(crate) fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut rest) = value.strip_prefix(b"\"") else {
        return Cow::Borrowed(value);
    };
    let mut text = Vec::with_capacity(rest.len());
    loop {
        rest = match rest {
            [] | [b'"', ..] => return Cow::Owned(text),
            [b'\\', escaped, rest @ ..] => {
                text.push(*escaped);
                rest
            }
            [byte, rest @ ..] => {
                text.push(*byte);
                rest
            }
        };
    }
}

/// Whether this is one token.
pub(crate) fn is_token(text: &[u8]) -> bool {
    let is_special = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || is_special(*byte);
    !text.is_empty() && text.iter().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_separator_in_quotes_separates_nothing() {
        for (list, parts) in [
            (&b"a;b"[..], &[&b"a"[..], b"b"][..]),
            (b"", &[b""]),
            (b"a=\"x;y\";b", &[b"a=\"x;y\"", b"b"]),
            (b"a=\"x\\\";y\";b", &[b"a=\"x\\\";y\"", b"b"]),
            (b"a=\"x\\\\\";b", &[b"a=\"x\\\\\"", b"b"]),
            // Outside quotes a backslash is an ordinary character.
            (b"a\\;b", &[b"a\\", b"b"]),
            (b"a=\"x;y", &[b"a=\"x;y"]),
            (b"\xff;\"\xfe;\"", &[b"\xff", b"\"\xfe;\""]),
        ] {
            let split: Vec<_> = split(list, b';').collect();
            assert_eq!(split, parts, "{}", list.escape_ascii());
        }
    }

    #[test]
    fn a_quoted_string_loses_its_quotes_and_backslashes() {
        for (value, expected) in [
            (&b"utf-8"[..], &b"utf-8"[..]),
            (b"\"utf-8\"", b"utf-8"),
            (b"\"u\\t\\f-8\"", b"utf-8"),
            (b"\"a\\\"b\\\\\"", b"a\"b\\"),
            (b"\"\"", b""),
            (b"\"a\" b", b"a"),
            (b"\"a", b"a"),
            (b"\"a\\", b"a\\"),
            (b"\"\xe9\\\xff\"", b"\xe9\xff"),
            (b"a\"b\"", b"a\"b\""),
        ] {
            assert_eq!(&*unquoted(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_parameter_has_a_token_for_its_name() {
        for (text, expected) in [
            (&b"a=b"[..], Some((&b"a"[..], &b"b"[..]))),
            (b" a = \"b=c\" ", Some((b"a", b"\"b=c\""))),
            (b"a=", Some((b"a", b""))),
            (b"a", None),
            (b"=b", None),
            (b"a b=c", None),
            (b"\xe9=c", None),
            (b"\"a\"=c", None),
        ] {
            assert_eq!(parameter(text), expected, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn whatever_was_quoted_is_read_again(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut quoted = vec![b'"'];
            for byte in &text {
                if matches!(byte, b'"' | b'\\') {
                    quoted.push(b'\\');
                }
                quoted.push(*byte);
            }
            quoted.push(b'"');
            prop_assert_eq!(&*unquoted(&quoted), &text);
            quoted.extend_from_slice(b",rest");
            prop_assert_eq!(split(&quoted, b',').last(), Some(&b"rest"[..]));
        }

        #[test]
        fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            for part in split(&text, b';') {
                _ = parameter(part).map(|(_, value)| unquoted(value).len());
            }
        }
    }
}
