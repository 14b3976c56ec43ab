//! The `RateLimit` field: a List of Structured Fields (RFC 9651), each a String with parameters.

use std::{str, time::Duration};

use http::{HeaderValue, header::GetAll};

// A server has a handful of policies; nothing longer reaches the parser.
const LONGEST: usize = 4_096;

/// The longest `t` of the policies of which nothing remains.
///
/// A field that breaks the grammar counts as absent as a whole, as RFC 9651 has it; a member that
/// is no String, or whose `r` or `t` is no Integer from 0 up, says nothing.
pub(super) fn longest_exhausted(lines: &GetAll<'_, HeaderValue>) -> Option<Duration> {
    let mut field = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        if n > 0 {
            field.push(b',');
        }
        field.extend_from_slice(line.as_bytes());
        if field.len() > LONGEST {
            return None;
        }
    }
    Parser { rest: &field }.list()?.0.map(Duration::from_secs)
}

/// Every method reads what it is named after, or answers `None` if that is not there.
struct Parser<'a> {
    rest: &'a [u8],
}

/// The longest wait that is asked for, if any is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Longest(Option<u64>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Item {
    Text,
    Integer(i64),
    Other,
}

impl<'a> Parser<'a> {
    fn list(&mut self) -> Option<Longest> {
        let mut longest = Longest(None);
        self.skip(b" ");
        while !self.rest.is_empty() {
            longest = longest.max(self.member()?);
            self.skip(b" \t");
            if self.rest.is_empty() {
                break;
            }
            self.take(b',')?;
            self.skip(b" \t");
            if self.rest.is_empty() {
                return None;
            }
        }
        Some(longest)
    }

    fn member(&mut self) -> Option<Longest> {
        if self.rest.first() == Some(&b'(') {
            self.inner_list()?;
            self.parameters()?;
            return Some(Longest(None));
        }
        let name = self.item()?;
        let (remaining, time) = self.parameters()?;
        let exhausted = name == Item::Text && remaining == Some(Item::Integer(0));
        Some(Longest(match time {
            Some(Item::Integer(seconds)) if exhausted => u64::try_from(seconds).ok(),
            Some(_) | None => None,
        }))
    }

    fn inner_list(&mut self) -> Option<()> {
        self.take(b'(')?;
        loop {
            self.skip(b" ");
            if self.take(b')').is_some() {
                return Some(());
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    /// The parameters `r` and `t`; of a repeated one the last counts.
    fn parameters(&mut self) -> Option<(Option<Item>, Option<Item>)> {
        let (mut remaining, mut time) = (None, None);
        while self.take(b';').is_some() {
            self.skip(b" ");
            let key = self.key()?;
            let value = if self.take(b'=').is_some() {
                self.item()?
            } else {
                Item::Other
            };
            match key {
                b"r" => remaining = Some(value),
                b"t" => time = Some(value),
                _ => {}
            }
        }
        Some((remaining, time))
    }

    fn item(&mut self) -> Option<Item> {
        match self.rest.first()? {
            b'"' => self.text(),
            b'-' | b'0'..=b'9' => self.number(),
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                self.span(|byte| is_token(byte) || matches!(byte, b':' | b'/'));
                Some(Item::Other)
            }
            b':' => {
                self.take(b':')?;
                self.span(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.take(b':')?;
                Some(Item::Other)
            }
            b'?' => {
                self.take(b'?')?;
                self.take(b'0').or_else(|| self.take(b'1'))?;
                Some(Item::Other)
            }
            b'@' => {
                self.take(b'@')?;
                match self.number()? {
                    Item::Integer(_) => Some(Item::Other),
                    Item::Text | Item::Other => None,
                }
            }
            b'%' => self.display_text(),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<Item> {
        self.take(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(Item::Text),
                b'\\' => {
                    self.take(b'"').or_else(|| self.take(b'\\'))?;
                }
                b' '..=b'~' => {}
                _ => return None,
            }
        }
    }

    fn display_text(&mut self) -> Option<Item> {
        self.take(b'%')?;
        self.take(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(Item::Other),
                b'%' => {
                    for _ in 0..2 {
                        matches!(self.next()?, b'0'..=b'9' | b'a'..=b'f').then_some(())?;
                    }
                }
                b' '..=b'~' => {}
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<Item> {
        const LONGEST_INTEGER: usize = 15;
        const LONGEST_WHOLE: usize = 12;
        const LONGEST_FRACTION: usize = 3;
        let negative = self.take(b'-').is_some();
        let digits = self.span(|byte| byte.is_ascii_digit());
        if self.rest.first() == Some(&b'.') {
            self.take(b'.')?;
            let fraction = self.span(|byte| byte.is_ascii_digit());
            let fits = (1..=LONGEST_WHOLE).contains(&digits.len())
                && (1..=LONGEST_FRACTION).contains(&fraction.len());
            return fits.then_some(Item::Other);
        }
        if digits.len() > LONGEST_INTEGER {
            return None;
        }
        let value: i64 = str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Item::Integer(if negative { -value } else { value }))
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        matches!(self.rest.first()?, b'a'..=b'z' | b'*').then_some(())?;
        Some(
            self.span(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')),
        )
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> Option<u8> {
        (self.rest.first() == Some(&byte)).then(|| self.next())?
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.span(|byte| bytes.contains(&byte));
    }

    fn span(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self
            .rest
            .iter()
            .position(|byte| !belongs(*byte))
            .unwrap_or(self.rest.len());
        let (span, rest) = self.rest.split_at(end);
        self.rest = rest;
        span
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn seconds(lines: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("ratelimit", HeaderValue::from_str(line).unwrap());
        }
        longest_exhausted(&headers.get_all("ratelimit")).map(|wait| wait.as_secs())
    }

    #[test]
    fn only_exhausted_policies_ask_for_a_wait() {
        assert_eq!(seconds(&[r#""a";r=50;t=30"#]), None);
        assert_eq!(seconds(&[r#""a";r=0;t=30"#]), Some(30));
        assert_eq!(seconds(&[r#""a";r=0"#]), None);
        assert_eq!(seconds(&[r#""a";t=30"#]), None);
        assert_eq!(seconds(&[r#""a";r=0;t=-1"#]), None);
        assert_eq!(seconds(&[r#""a";r=0.0;t=5"#]), None);
        assert_eq!(seconds(&[r#""a";t=5;r=0;pk=:cHNzdA==:"#]), Some(5));
        assert_eq!(seconds(&[r#""a";r=9;t=1;r=0;t=2"#]), Some(2));
    }

    #[test]
    fn lines_are_one_list() {
        assert_eq!(
            seconds(&[r#""a";r=0;t=3 , "b\"c";r=0;t=4"#, r#""d";r=0;t=2"#]),
            Some(4)
        );
    }

    #[test]
    fn a_member_that_is_no_string_says_nothing() {
        for other in [
            "a",
            "1",
            "1.5",
            "?0",
            ":YQ==:",
            "@5",
            "%\"a%c3\"",
            "(1 \"b\";r=0)",
        ] {
            assert_eq!(seconds(&[&format!("{other};r=0;t=9")]), None, "{other}");
            assert_eq!(
                seconds(&[&format!("{other};r=0;t=9, \"b\";r=0;t=5")]),
                Some(5),
                "{other}"
            );
        }
    }

    #[test]
    fn a_broken_field_is_absent_as_a_whole() {
        for broken in [
            "limit=100, remaining=0, reset=10",
            r#""a";r=0;t=5,"#,
            r#""a;r=0;t=5"#,
            r#""a" r=0;t=5"#,
            r#""a";R=0"#,
            r#""a";r="#,
            r#""a";r=0;t=1234567890123456"#,
            "'a';r=0;t=5",
            "?2",
            "\"a\\b\"",
            "-",
            "1.2345",
            "(\"a\"\"b\")",
            "@1.5",
            "%\"a%zz\"",
            "%\"a%C3\"",
        ] {
            assert_eq!(seconds(&[broken, r#""b";r=0;t=7"#]), None, "{broken}");
        }
    }

    #[test]
    fn an_endless_field_is_not_read() {
        let long = vec![r#""a";r=0;t=5"#; 400].join(",");
        assert_eq!(seconds(&[&long]), None);
        // Spaces after the last member are allowed.
        let padded = |length| format!("{:<length$}", r#""a";r=0;t=5"#);
        assert_eq!(seconds(&[&padded(LONGEST)]), Some(5));
        assert_eq!(seconds(&[&padded(LONGEST + 1)]), None);
    }

    #[test]
    fn an_integer_has_up_to_fifteen_digits() {
        let wait = |time| seconds(&[&format!("\"a\";r=0;t={time}")]);
        assert_eq!(wait("999999999999999"), Some(999_999_999_999_999));
        assert_eq!(wait("1000000000000000"), None);
    }

    proptest! {
        #[test]
        fn no_field_panics(field in r#"["a-z0-9;=rt,().:?@% \\\\-]{0,60}"#) {
            let _ = seconds(&[&field]);
        }

        #[test]
        fn the_longest_wait_wins(waits in proptest::collection::vec((0_u64..3, 0_u64..1_000), 1..8)) {
            let members: Vec<_> = waits.iter().map(|(r, t)| format!("\"p\";r={r};t={t}")).collect();
            let expected = waits.iter().filter(|(r, _)| *r == 0).map(|(_, t)| *t).max();
            prop_assert_eq!(seconds(&[&members.join(", ")]), expected);
        }
    }
}
