use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::deadline::Deadline;

/// The header that carries the number of the attempt; see
/// [`RetryPolicyBuilder::attempt_header`](crate::RetryPolicyBuilder::attempt_header).
///
/// It tells the server something about its client, so it is sent only if it is set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttemptHeader(Attempts);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Attempts {
    Grpc,
    Aws,
    Numbered(HeaderName),
}

impl AttemptHeader {
    /// `grpc-previous-rpc-attempts`: how many attempts came before; absent on the first one (gRFC
    /// A6).
    #[must_use]
    pub const fn grpc() -> Self {
        Self(Attempts::Grpc)
    }

    /// `amz-sdk-request: attempt=2; max=3`, as the SDKs of AWS send it, on every attempt.
    #[must_use]
    pub const fn aws() -> Self {
        Self(Attempts::Aws)
    }

    /// A header of this name with the number of the attempt, from 1, on every attempt.
    #[must_use]
    pub const fn numbered(name: HeaderName) -> Self {
        Self(Attempts::Numbered(name))
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap, number: u32, max: u32) {
        match &self.0 {
            Attempts::Grpc => {
                const NAME: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
                match number.saturating_sub(1) {
                    0 => headers.remove(NAME),
                    previous => headers.insert(NAME, HeaderValue::from(previous)),
                };
            }
            Attempts::Aws => {
                const NAME: HeaderName = HeaderName::from_static("amz-sdk-request");
                insert(headers, NAME, format!("attempt={number}; max={max}"));
            }
            Attempts::Numbered(name) => {
                headers.insert(name, HeaderValue::from(number));
            }
        }
    }
}

/// A header that says how much time is left for a call, read from a caller or sent to a server.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderName};
/// use retry_layer::{Deadline, TimeoutHeader};
///
/// let mut incoming = HeaderMap::new();
/// incoming.insert("grpc-timeout", "250m".parse()?);
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let deadline = Deadline::from_headers(&incoming, &TimeoutHeader::grpc()).expect("it is there");
/// assert!(deadline.remaining() <= Duration::from_millis(250));
///
/// let seconds = TimeoutHeader::seconds(HeaderName::from_static("x-timeout"));
/// assert!(Deadline::from_headers(&incoming, &seconds).is_none());
/// # });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimeoutHeader(Timeout);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Timeout {
    Grpc,
    Seconds(HeaderName),
    Milliseconds(HeaderName),
}

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The largest number that `grpc-timeout` can hold: eight digits.
const GRPC_LARGEST: u128 = 99_999_999;

impl TimeoutHeader {
    /// `grpc-timeout`: at most eight digits and a unit, from hours (`H`) to nanoseconds (`n`).
    #[must_use]
    pub const fn grpc() -> Self {
        Self(Timeout::Grpc)
    }

    /// A header of this name with whole seconds. The value is rounded up, since some servers take a
    /// timeout of 0 for none.
    #[must_use]
    pub const fn seconds(name: HeaderName) -> Self {
        Self(Timeout::Seconds(name))
    }

    /// A header of this name with whole milliseconds, rounded up.
    #[must_use]
    pub const fn milliseconds(name: HeaderName) -> Self {
        Self(Timeout::Milliseconds(name))
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap, remaining: Duration) {
        match &self.0 {
            Timeout::Grpc => insert(headers, GRPC_TIMEOUT, grpc_text(remaining)),
            Timeout::Seconds(name) => {
                let seconds = remaining.as_nanos().div_ceil(1_000_000_000);
                insert(headers, name.clone(), seconds.to_string());
            }
            Timeout::Milliseconds(name) => {
                let milliseconds = remaining.as_nanos().div_ceil(1_000_000);
                insert(headers, name.clone(), milliseconds.to_string());
            }
        }
    }

    /// Its value, if the header is there once and is valid.
    fn read(&self, headers: &HeaderMap) -> Option<Duration> {
        let name = match &self.0 {
            Timeout::Grpc => &GRPC_TIMEOUT,
            Timeout::Seconds(name) | Timeout::Milliseconds(name) => name,
        };
        let mut values = headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let text = value.as_bytes().trim_ascii();
        match &self.0 {
            Timeout::Grpc => {
                let (unit, digits) = text.split_last()?;
                (digits.len() <= 8).then_some(())?;
                let number = digits_of(digits)?;
                match unit {
                    b'H' => Some(Duration::from_secs(number.saturating_mul(3_600))),
                    b'M' => Some(Duration::from_secs(number.saturating_mul(60))),
                    b'S' => Some(Duration::from_secs(number)),
                    b'm' => Some(Duration::from_millis(number)),
                    b'u' => Some(Duration::from_micros(number)),
                    b'n' => Some(Duration::from_nanos(number)),
                    _ => None,
                }
            }
            Timeout::Seconds(_) => digits_of(text).map(Duration::from_secs),
            Timeout::Milliseconds(_) => digits_of(text).map(Duration::from_millis),
        }
    }
}

impl Deadline {
    /// Reads how long a caller will wait for its answer. In a handler, put it into the extensions
    /// of each outgoing request, so that these calls end by then.
    ///
    /// The time counts from this call on. `None` if the header is not there, is there more than
    /// once, or cannot be read.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, header: &TimeoutHeader) -> Option<Self> {
        header.read(headers).map(Self::within)
    }
}

/// The number in these ASCII digits; one that is too large becomes the largest possible.
fn digits_of(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

/// The time in the finest unit in which it has at most eight digits, rounded up.
fn grpc_text(remaining: Duration) -> String {
    const UNITS: [(u128, char); 6] = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
        (3_600_000_000_000, 'H'),
    ];
    let nanos = remaining.as_nanos();
    for (size, unit) in UNITS {
        let number = nanos.div_ceil(size);
        if number <= GRPC_LARGEST {
            return format!("{number}{unit}");
        }
    }
    format!("{GRPC_LARGEST}H")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: String) {
    // It has only digits, letters and a few signs, so it is always a valid value.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(header: &TimeoutHeader, text: &str) -> Option<Duration> {
        let name = match &header.0 {
            Timeout::Grpc => GRPC_TIMEOUT,
            Timeout::Seconds(name) | Timeout::Milliseconds(name) => name.clone(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(name, text.parse().unwrap());
        header.read(&headers)
    }

    fn custom() -> HeaderName {
        HeaderName::from_static("x-timeout")
    }

    #[test]
    fn a_grpc_timeout_is_read_in_every_unit() {
        let grpc = TimeoutHeader::grpc();
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7_200))),
            ("3M", Some(Duration::from_secs(180))),
            ("4S", Some(Duration::from_secs(4))),
            ("5m", Some(Duration::from_millis(5))),
            ("6u", Some(Duration::from_micros(6))),
            ("7n", Some(Duration::from_nanos(7))),
            ("0S", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("100000000n", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("5 S", None),
            ("", None),
        ] {
            assert_eq!(read(&grpc, text), expected, "{text}");
        }
    }

    #[test]
    fn plain_numbers_are_read_and_saturate() {
        let seconds = TimeoutHeader::seconds(custom());
        assert_eq!(read(&seconds, " 30 "), Some(Duration::from_secs(30)));
        assert_eq!(
            read(&seconds, "99999999999999999999999"),
            Some(Duration::from_secs(u64::MAX))
        );
        assert_eq!(read(&seconds, "1.5"), None);
        let milliseconds = TimeoutHeader::milliseconds(custom());
        assert_eq!(
            read(&milliseconds, "1500"),
            Some(Duration::from_millis(1_500))
        );
    }

    #[test]
    fn two_timeouts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(GRPC_TIMEOUT, HeaderValue::from_static("1S"));
        headers.append(GRPC_TIMEOUT, HeaderValue::from_static("9S"));
        assert_eq!(TimeoutHeader::grpc().read(&headers), None);
    }

    #[test]
    fn attempts_are_told_in_three_styles() {
        let told = |header: &AttemptHeader, number| {
            let mut headers = HeaderMap::new();
            header.write(&mut headers, number, 3);
            headers
                .values()
                .next()
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(told(&AttemptHeader::grpc(), 1), None);
        assert_eq!(told(&AttemptHeader::grpc(), 3).as_deref(), Some("2"));
        assert_eq!(
            told(&AttemptHeader::aws(), 1).as_deref(),
            Some("attempt=1; max=3")
        );
        let numbered = AttemptHeader::numbered(HeaderName::from_static("x-attempt"));
        assert_eq!(told(&numbered, 2).as_deref(), Some("2"));
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read_back_and_never_shorter(nanos in any::<u64>()) {
            let remaining = Duration::from_nanos(nanos);
            for header in [
                TimeoutHeader::grpc(),
                TimeoutHeader::seconds(custom()),
                TimeoutHeader::milliseconds(custom()),
            ] {
                let mut headers = HeaderMap::new();
                header.write(&mut headers, remaining);
                let back = header.read(&headers).expect("it is readable");
                prop_assert!(back >= remaining && back.saturating_sub(remaining) <= Duration::from_secs(3_600));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                headers.insert(GRPC_TIMEOUT, value);
                let _ = TimeoutHeader::grpc().read(&headers);
            }
        }
    }
}
