//! How the fuzz targets make headers and times of the bytes they are given.

use std::{
    str,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The time at which the headers arrive: in November 2023.
#[must_use]
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// The lines of the input; one of them may be no header value, and then says nothing.
pub fn values(data: &[u8]) -> impl Iterator<Item = Option<HeaderValue>> + '_ {
    data.split(|byte| *byte == b'\n')
        .map(|line| HeaderValue::from_bytes(line).ok())
}

/// One line for each name, then one more for the first name, and so on.
#[must_use]
pub fn headers(data: &[u8], names: &[&'static str]) -> HeaderMap {
    values(data)
        .zip(names.iter().cycle())
        .filter_map(|(value, name)| Some((HeaderName::from_static(name), value?)))
        // No server is let past a hundred or so.
        .take(64)
        .fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
}

/// The digits without the blanks around them, if there is nothing else.
#[must_use]
pub fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.as_bytes();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !blank(byte))?;
    let end = text.iter().rposition(|byte| !blank(byte))?;
    let text = text.get(start..=end)?;
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // By another way than the code under test: what does not fit is the largest there is.
    let text = str::from_utf8(text).ok()?.trim_start_matches('0');
    match text {
        "" => Some(0),
        _ if text.len() > 20 => Some(u64::MAX),
        _ => text
            .parse()
            .ok()
            .map(|number: u128| u64::try_from(number).unwrap_or(u64::MAX)),
    }
}
