//! Reads the file of cases.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Returns all cases of the file.
pub(super) fn all() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("retry.json")).unwrap();
    file["vectors"].list().to_vec()
}

/// Prints the name of the case that is run, if its assertions panic.
pub(super) struct NamedOnPanic<'a>(pub(super) &'a str);

impl Drop for NamedOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case {} does not hold", self.0);
        }
    }
}

/// Reads a value of a case. All methods but the optional ones panic if something else is there.
pub(super) trait CaseValue {
    fn text(&self) -> &str;
    fn list(&self) -> &[Value];
    fn float(&self) -> f64;
    fn integer<T: TryFrom<u64>>(&self) -> T;
    fn optional_integer<T: TryFrom<u64>>(&self) -> Option<T>;
    /// Reads a number of milliseconds, which may have a fraction.
    fn millis(&self) -> Duration;
    fn optional_millis(&self) -> Option<Duration>;
    /// Reads a moment such as `1999-12-31T23:59:57Z`.
    fn time(&self) -> SystemTime;
    /// Reads an object of names and values.
    fn headers(&self) -> HeaderMap;
}

impl CaseValue for Value {
    fn text(&self) -> &str {
        self.as_str().unwrap()
    }

    fn list(&self) -> &[Value] {
        self.as_array().unwrap()
    }

    fn float(&self) -> f64 {
        self.as_f64().unwrap()
    }

    fn integer<T: TryFrom<u64>>(&self) -> T {
        self.optional_integer().unwrap()
    }

    fn optional_integer<T: TryFrom<u64>>(&self) -> Option<T> {
        let number = self.as_u64()?;
        Some(T::try_from(number).ok().expect("the number fits"))
    }

    fn millis(&self) -> Duration {
        self.optional_millis().unwrap()
    }

    fn optional_millis(&self) -> Option<Duration> {
        let millis = self.as_f64()?;
        Some(Duration::from_secs_f64(millis / 1_000.0))
    }

    fn time(&self) -> SystemTime {
        let text = self.text();
        let number = |from: usize, to: usize| text[from..to].parse::<u64>().unwrap();
        let days = days_since_1970(number(0, 4), number(5, 7), number(8, 10));
        let seconds = number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19);
        SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + seconds)
    }

    fn headers(&self) -> HeaderMap {
        let pair =
            |(name, value): (&String, &Value)| (name.parse::<HeaderName>().unwrap(), header(value));
        self.as_object().unwrap().iter().map(pair).collect()
    }
}

/// Reads the value of a header, which need not be valid in its grammar.
pub(super) fn header(value: &Value) -> HeaderValue {
    HeaderValue::from_bytes(value.text().as_bytes()).unwrap()
}

/// The year begins with March here, so that the day of a leap year is its last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    365 * year + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}
