use std::{fmt, str::FromStr};

use http::StatusCode;

use super::Classifier;
use crate::{
    class::Class,
    error::{BuildError, Problem},
    outcome::Outcome,
};

/// A set of status codes; as a [`Classifier`] it retries responses with one of them, and no error.
///
/// It is read from a list of codes, ranges and classes, and can be given wherever status codes
/// are:
///
/// ```
/// use retry_layer::{RetryPolicy, classify::StatusSet};
///
/// let statuses: StatusSet = "429, 5xx, 520-524".parse()?;
/// let policy = RetryPolicy::builder().statuses(statuses).build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct StatusSet {
    /// One bit for each of 100 to 999.
    words: [u64; 15],
}

impl StatusSet {
    const LOWEST: u16 = 100;
    const HIGHEST: u16 = 999;

    /// The empty set.
    #[must_use]
    pub const fn empty() -> Self {
        Self { words: [0; 15] }
    }

    /// 400 to 499.
    #[must_use]
    pub fn client_errors() -> Self {
        Self::range(400, 499)
    }

    /// 500 to 599.
    #[must_use]
    pub fn server_errors() -> Self {
        Self::range(500, 599)
    }

    /// 520 to 524, by which Cloudflare says that the origin answered with nonsense, could not be
    /// connected to, or timed out. After 520 and 524 the request may have been processed.
    #[must_use]
    pub fn cloudflare() -> Self {
        Self::range(520, 524)
    }

    /// This set and one more.
    #[must_use]
    pub fn with(mut self, status: StatusCode) -> Self {
        self.insert(status);
        self
    }

    /// This set without this one.
    #[must_use]
    pub fn without(mut self, status: StatusCode) -> Self {
        let (word, bit) = Self::place(status);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
        self
    }

    /// Whether this status is in the set.
    #[inline]
    #[must_use]
    pub fn contains(&self, status: StatusCode) -> bool {
        let (word, bit) = Self::place(status);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// All that fulfil the condition.
    pub(crate) fn where_each(condition: impl Fn(StatusCode) -> bool) -> Self {
        (Self::LOWEST..1000)
            .filter_map(|code| StatusCode::from_u16(code).ok())
            .filter(|status| condition(*status))
            .collect()
    }

    pub(crate) fn insert(&mut self, status: StatusCode) {
        let (word, bit) = Self::place(status);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    fn range(first: u16, last: u16) -> Self {
        (first..=last)
            .filter_map(|code| StatusCode::from_u16(code).ok())
            .collect()
    }

    fn place(status: StatusCode) -> (usize, u64) {
        let index = status.as_u16().saturating_sub(Self::LOWEST);
        (usize::from(index / 64), 1 << (index % 64))
    }
}

impl Classifier for StatusSet {
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        outcome
            .status()
            .is_some_and(|status| self.contains(status))
            .into()
    }

    fn is_always_final(&self, status: StatusCode) -> bool {
        !self.contains(status)
    }
}

/// Reads codes (`429`), ranges (`520-524`) and classes (`5xx`) with commas between them.
///
/// # Errors
///
/// If a part is none of these, or a range is empty.
impl FromStr for StatusSet {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        let problem = Problem::Setting(
            "statuses are written as 429, 520-524 or 5xx, with commas between them",
        );
        let mut set = Self::empty();
        for part in text.split(',') {
            let Some((first, last)) = span(part.trim()) else {
                return Err(problem.into());
            };
            set.extend(Self::range(first, last));
        }
        Ok(set)
    }
}

/// The first and the last code that a part of a list means.
fn span(part: &str) -> Option<(u16, u16)> {
    let code = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let code = digits.then(|| text.parse::<u16>().ok())??;
        (code >= StatusSet::LOWEST).then_some(code)
    };
    if let Some(class) = part.strip_suffix("xx").or(part.strip_suffix("XX")) {
        let first = code(&format!("{class}00"))?;
        return Some((first, first + 99));
    }
    match part.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (code(first.trim())?, code(last.trim())?);
            (first <= last).then_some((first, last))
        }
        None => code(part).map(|code| (code, code)),
    }
}

impl Extend<StatusCode> for StatusSet {
    fn extend<I: IntoIterator<Item = StatusCode>>(&mut self, statuses: I) {
        statuses.into_iter().for_each(|status| self.insert(status));
    }
}

impl FromIterator<StatusCode> for StatusSet {
    fn from_iter<I: IntoIterator<Item = StatusCode>>(statuses: I) -> Self {
        let mut set = Self::default();
        set.extend(statuses);
        set
    }
}

impl IntoIterator for StatusSet {
    type Item = StatusCode;
    type IntoIter = StatusSetIter;

    fn into_iter(self) -> StatusSetIter {
        StatusSetIter {
            set: self,
            next: Self::LOWEST,
        }
    }
}

/// The codes of a [`StatusSet`], in their order.
#[derive(Clone, Debug)]
pub struct StatusSetIter {
    set: StatusSet,
    next: u16,
}

impl Iterator for StatusSetIter {
    type Item = StatusCode;

    fn next(&mut self) -> Option<StatusCode> {
        while self.next <= StatusSet::HIGHEST {
            let status = StatusCode::from_u16(self.next).ok()?;
            self.next += 1;
            if self.set.contains(status) {
                return Some(status);
            }
        }
        None
    }
}

impl fmt::Debug for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.into_iter().map(|status| status.as_u16()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<u16> {
        let set: StatusSet = text.parse().unwrap();
        set.into_iter().map(|status| status.as_u16()).collect()
    }

    #[test]
    fn every_code_has_its_own_bit() {
        for code in 100..1000 {
            let status = StatusCode::from_u16(code).unwrap();
            let set = StatusSet::from_iter([status]);
            for other in 100..1000 {
                let other = StatusCode::from_u16(other).unwrap();
                assert_eq!(set.contains(other), status == other);
            }
            assert_eq!(set.without(status), StatusSet::empty());
            assert_eq!(StatusSet::empty().with(status), set);
        }
    }

    #[test]
    fn codes_ranges_and_classes_are_read() {
        assert_eq!(codes("429"), [429]);
        assert_eq!(
            codes("503, 429,520-524"),
            [429, 503, 520, 521, 522, 523, 524]
        );
        assert_eq!(codes("5xx"), (500..600).collect::<Vec<_>>());
        assert_eq!(codes("9XX , 999"), (900..1000).collect::<Vec<_>>());
        assert_eq!("400-499".parse(), Ok(StatusSet::client_errors()));
        assert_eq!("5xx".parse(), Ok(StatusSet::server_errors()));
        assert_eq!("520 - 524".parse(), Ok(StatusSet::cloudflare()));
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for text in [
            "", "5", "5x", "0xx", "+50", "099", "1000", "504-500", "500-", "5xx;4xx", "teapot",
        ] {
            assert!(text.parse::<StatusSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn debug_lists_the_codes() {
        let set = StatusSet::from_iter([StatusCode::OK, StatusCode::BAD_GATEWAY]);
        assert_eq!(format!("{set:?}"), "{200, 502}");
    }
}
