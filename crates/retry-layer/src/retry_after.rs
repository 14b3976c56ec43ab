//! Reads `Retry-After` (RFC 9110, section 10.2.3): how long a server asks a client to wait.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! let mut headers = http::HeaderMap::new();
//! headers.insert("retry-after", http::HeaderValue::from_static("Thu, 01 Jan 1970 00:00:30 GMT"));
//!
//! let now = UNIX_EPOCH + Duration::from_secs(10);
//! assert_eq!(retry_layer::retry_after::parse(&headers, now), Some(Duration::from_secs(20)));
//! ```
//!
//! It accepts decimal digits, or one of the three forms of an HTTP-date (section 5.6.7). Any other
//! field counts as absent. A number too large for a `u64` becomes the longest `Duration` of whole
//! seconds, and a date in the past no wait.

use std::{
    str,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{
    HeaderMap, HeaderValue,
    header::{AGE, DATE, RETRY_AFTER},
};

// Longer than any HTTP-date ("Wednesday, 09-Nov-94 08:49:37 GMT" has 33 bytes). A longer text is
// not parsed.
const LONGEST_DATE: usize = 40;

const SECONDS_PER_YEAR: u64 = 31_556_952;

/// How long the first `Retry-After` field asks to wait, if there is a valid one.
///
/// A date is measured against the response's own `Date`, so that the two clocks need not agree;
/// if the response came out of a cache (it has an `Age`) or has no valid `Date`, against `now`.
#[must_use]
pub fn parse(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = trimmed(headers.get(RETRY_AFTER)?);
    if let Some(seconds) = parse_digits(value) {
        return Some(Duration::from_secs(seconds));
    }
    let at = parse_date(value, now)?;
    Some(at.duration_since(clock(headers, now)).unwrap_or_default())
}

/// Whether there is a valid `Retry-After`. Needs no clock.
pub(crate) fn is_valid(headers: &HeaderMap) -> bool {
    parse(headers, UNIX_EPOCH).is_some()
}

/// The time until so many seconds after 1970, by the server's clock.
pub(crate) fn until_epoch(headers: &HeaderMap, seconds: u64, now: SystemTime) -> Duration {
    let since = clock(headers, now)
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Duration::from_secs(seconds).saturating_sub(since)
}

/// The server's clock, if the response is fresh and has a `Date`; otherwise `now`.
fn clock(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    if headers.contains_key(AGE) {
        return now;
    }
    headers
        .get(DATE)
        .and_then(|date| parse_date(trimmed(date), now))
        .unwrap_or(now)
}

pub(crate) fn trimmed(value: &HeaderValue) -> &[u8] {
    let mut bytes = value.as_bytes();
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A whole number in ASCII digits; one that is too large becomes the largest possible.
pub(crate) fn parse_digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => Some(
            number
                .saturating_mul(10)
                .saturating_add(u64::from(byte - b'0')),
        ),
        _ => None,
    })
}

/// An HTTP-date in any of its three forms, always UTC.
fn parse_date(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    if value.len() > LONGEST_DATE || !value.is_ascii() {
        return None;
    }
    let text = str::from_utf8(value).ok()?;
    // httpdate has no leap seconds: `:60` is one second after `:59`.
    let time = text
        .find(':')
        .and_then(|colon| text.get(colon + 3..colon + 6));
    if time == Some(":60") {
        let earlier = text.replacen(":60", ":59", 1);
        return parse_date_form(&earlier, now)?.checked_add(Duration::from_secs(1));
    }
    parse_date_form(text, now)
}

fn parse_date_form(text: &str, now: SystemTime) -> Option<SystemTime> {
    match text.split_once(", ") {
        Some((weekday, rest)) if weekday.len() > 3 => parse_rfc850(weekday, rest, now),
        _ => httpdate::parse_http_date(text).ok(),
    }
}

/// The obsolete form "Sunday, 06-Nov-94 08:49:37 GMT", whose year has two digits: it is the latest
/// one with these digits that is not more than 50 years ahead.
fn parse_rfc850(weekday: &str, rest: &str, now: SystemTime) -> Option<SystemTime> {
    const WEEKDAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    if !WEEKDAYS.contains(&weekday) {
        return None;
    }
    let (date, time) = rest.split_once(' ')?;
    let mut parts = date.split('-');
    let (day, month, digits) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let limit = now.checked_add(Duration::from_secs(50 * SECONDS_PER_YEAR))?;
    let century = (1970 + seconds / SECONDS_PER_YEAR) / 100 * 100;
    let year = century + digits.parse::<u64>().ok()?;
    let name = weekday.get(..3)?;
    [year + 100, year, year.saturating_sub(100)]
        .into_iter()
        .find_map(|year| {
            // The day of the week follows from the date, and httpdate checks it.
            let date = format!("{name}, {day} {month} {year:04} {time}");
            httpdate::parse_http_date(&date)
                .ok()
                .filter(|at| *at <= limit)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn read(value: &str, now: SystemTime) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(
            RETRY_AFTER,
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        parse(&headers, now)
    }

    #[test]
    fn a_leap_second_is_one_after_the_59th() {
        let now = at(1_483_228_790); // 2016-12-31T23:59:50Z
        let wait = read("Sat, 31 Dec 2016 23:59:60 GMT", now);
        assert_eq!(wait, Some(Duration::from_secs(10)));
    }

    #[test]
    fn sixty_is_a_second_only() {
        assert_eq!(read("Sat, 31 Dec 2016 23:60:00 GMT", at(0)), None);
        assert_eq!(read("Sat, 31 Dec 2016 60:00:00 GMT", at(0)), None);
    }

    #[test]
    fn two_digit_years_are_at_most_fifty_years_ahead() {
        let now = at(1_800_000_000); // January 2027
        // 2075-01-01 is a Tuesday, 49 years ahead; httpdate alone would read 1975.
        assert!(read("Tuesday, 01-Jan-75 00:00:00 GMT", now).unwrap() > Duration::from_secs(1));
        // 2078-01-01 would be 51 years ahead; 1978-01-01 was a Sunday.
        assert_eq!(
            read("Sunday, 01-Jan-78 00:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(read("Saturday, 01-Jan-78 00:00:00 GMT", now), None);
    }

    #[test]
    fn two_digits_may_mean_a_year_of_the_next_century() {
        // In 2075; the first of January is a Saturday in 2101, and was a Monday in 2001.
        let wait = read("Saturday, 01-Jan-01 00:00:00 GMT", at(3_313_600_000));
        let years = wait.map(|wait| wait.as_secs() / SECONDS_PER_YEAR);
        assert_eq!(years, Some(25));
    }

    #[test]
    fn a_year_of_other_than_two_digits_is_none_in_the_form_with_dashes() {
        let now = at(784_111_770);
        assert!(read("Sunday, 06-Nov-94 08:49:37 GMT", now).is_some());
        for date in [
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-094 08:49:37 GMT",
            "Sunday, 06-Nov-+4 08:49:37 GMT",
            "Sunday, 06-Nov-94-1 08:49:37 GMT",
        ] {
            assert_eq!(read(date, now), None, "{date}");
        }
    }

    #[test]
    fn whether_a_field_is_valid_needs_no_clock() {
        for (value, valid) in [
            ("0", true),
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("-1", false),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(is_valid(&headers), valid, "{value}");
        }
    }

    #[test]
    fn only_the_first_field_counts() {
        let mut headers = HeaderMap::new();
        headers.append(RETRY_AFTER, HeaderValue::from_static("x"));
        headers.append(RETRY_AFTER, HeaderValue::from_static("3"));
        assert_eq!(parse(&headers, at(0)), None);
    }

    #[test]
    fn a_date_is_measured_by_the_servers_own_clock() {
        let mut headers = HeaderMap::new();
        headers.insert(
            RETRY_AFTER,
            HeaderValue::from_static("Sat, 01 Jun 2024 00:00:30 GMT"),
        );
        headers.insert(
            DATE,
            HeaderValue::from_static("Sat, 01 Jun 2024 00:00:00 GMT"),
        );
        let now = at(1_717_200_025); // 25 s later
        assert_eq!(parse(&headers, now), Some(Duration::from_secs(30)));
        headers.insert(AGE, HeaderValue::from_static("25"));
        assert_eq!(parse(&headers, now), Some(Duration::from_secs(5)));
    }

    proptest! {
        #[test]
        fn no_field_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), now in 0_u64..300_000_000_000) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(RETRY_AFTER, value);
                let _ = parse(&headers, at(now));
            }
        }

        #[test]
        fn no_date_panics(
            weekday in "(Mon|Tuesday|Sunday|Wed)", day in 0_u32..40, month in "(Jan|Feb|Dec|Foo)",
            year in 0_u32..10_000, time in "[0-9]{2}:[0-9]{2}:[0-9]{2} GMT", now in 0_u64..300_000_000_000,
        ) {
            let _ = read(&format!("{weekday}, {day:02} {month} {year:04} {time}"), at(now));
            let _ = read(&format!("{weekday}, {day:02}-{month}-{:02} {time}", year % 100), at(now));
        }

        #[test]
        fn seconds_saturate(digits in "[0-9]{1,60}") {
            let expected = digits.parse::<u64>().unwrap_or(u64::MAX);
            prop_assert_eq!(read(&digits, at(0)), Some(Duration::from_secs(expected)));
        }
    }
}
