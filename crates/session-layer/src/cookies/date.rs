//! The dates of cookies, by the algorithm of
//! [RFC 6265, section 5.1.1](https://www.rfc-editor.org/rfc/rfc6265#section-5.1.1).
//!
//! It splits a date into tokens, and looks for a time, a day, a month and a year among them, in any
//! order. All other tokens are ignored: the day of the week, and also the zone, since the date
//! always counts as UTC.

use time::{Date, Month, OffsetDateTime, Time};

/// Reads a date; `None` if it is not valid, so that its attribute is ignored.
pub(super) fn parse(text: &str) -> Option<OffsetDateTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let tokens = text.as_bytes().split(|byte| is_delimiter(*byte));
    for token in tokens.filter(|token| !token.is_empty()) {
        // Each part is taken from the first token that fits and that no other part has taken.
        if time.is_none() && take(&mut time, read_time(token)) {
            continue;
        }
        if day.is_none() && take(&mut day, leading_number(token, 1..=2)) {
            continue;
        }
        if month.is_none() && take(&mut month, read_month(token)) {
            continue;
        }
        if year.is_none() {
            take(&mut year, leading_number(token, 2..=4));
        }
    }
    let (hour, minute, second) = time?;
    let year = match i32::from(year?) {
        year @ 0..=69 => year + 2000,
        year @ 70..=99 => year + 1900,
        year => year,
    };
    if year < 1601 {
        return None;
    }
    let day = u8::try_from(day?).ok()?;
    // These refuse a day that the month does not have, and a leap second.
    let date = Date::from_calendar_date(year, month?, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    Some(date.with_time(time).assume_utc())
}

fn take<T>(part: &mut Option<T>, found: Option<T>) -> bool {
    *part = found;
    part.is_some()
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e)
}

/// Reads three fields of one or two digits; what follows the last one is ignored unless it begins
/// with a digit.
fn read_time(token: &[u8]) -> Option<(u8, u8, u8)> {
    let mut fields = token.splitn(3, |byte| *byte == b':');
    let mut whole = || {
        let field = fields.next()?;
        field.iter().all(u8::is_ascii_digit).then_some(field)
    };
    let (hour, minute) = (whole()?, whole()?);
    let second = fields.next()?;
    let number = |field| u8::try_from(leading_number(field, 1..=2)?).ok();
    Some((number(hour)?, number(minute)?, number(second)?))
}

/// Reads a number of that many digits; what follows it is ignored.
fn leading_number(token: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<u16> {
    let count = token
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = token.get(..count).filter(|_| digits.contains(&count))?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn read_month(token: &[u8]) -> Option<Month> {
    let name = token.get(..3)?.to_ascii_lowercase();
    Some(match &*name {
        b"jan" => Month::January,
        b"feb" => Month::February,
        b"mar" => Month::March,
        b"apr" => Month::April,
        b"may" => Month::May,
        b"jun" => Month::June,
        b"jul" => Month::July,
        b"aug" => Month::August,
        b"sep" => Month::September,
        b"oct" => Month::October,
        b"nov" => Month::November,
        b"dec" => Month::December,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The date as digits: year, month, day, time.
    fn read(text: &str) -> Option<String> {
        let date = parse(text)?;
        assert!(date.offset().is_utc());
        let (day, time) = (date.date(), date.time());
        Some(format!(
            "{day} {:02}:{:02}:{:02}",
            time.hour(),
            time.minute(),
            time.second()
        ))
    }

    #[test]
    fn dates_are_read_in_whatever_form_they_come() {
        for text in [
            // The three of RFC 9110, and that of Netscape.
            "Tue, 03 Mar 2037 07:08:09 GMT",
            "Tuesday, 03-Mar-37 07:08:09 GMT",
            "Tue Mar  3 07:08:09 2037",
            "Tue, 03-Mar-2037 07:08:09 GMT",
            // Digits, names and cases.
            "Tue, 3 Mar 2037 7:8:9 GMT",
            "Tuesday, 03 March 2037 07:08:09 GMT",
            "tue, 03 mar 2037 07:08:09 gmt",
            "TUE, 03 MAR 2037 07:08:09 GMT",
            "Tue, 03 Marzo 2037 07:08:09",
            "3rd March 2037 07:08:09",
            // Zones, or none: they do not count.
            "Tue, 03 Mar 2037 07:08:09 UTC",
            "Tue, 03 Mar 2037 07:08:09 +0100",
            "Tue, 03 Mar 2037 07:08:09 PST",
            "Tue, 03 Mar 2037 07:08:09",
            "Tue Mar 03 2037 07:08:09 GMT+0000 (Coordinated Universal Time)",
            // Order and delimiters.
            "2037 07:08:09 Mar 03",
            "07:08:09 03 37 mar",
            "03/Mar/2037 07:08:09",
            "\"Tue, 03 Mar 2037 07:08:09 GMT\"",
            "03,Mar,2037,,,07:08:09,",
            "!@03#Mar$2037%07:08:09^",
            // What else is there is ignored.
            "Xyz, 03 Mar 2037 07:08:09 GMT; x",
            "03 Mar 2037 07:08:09 04 Apr 2038 10:11:12",
            "Tue, 03 Mar 2037 07:08:09.123 GMT",
            "03 Mar 2037y 07:08:09Z",
            "03 Mar 2037 07:08:09:10",
        ] {
            let date = read(text);
            assert_eq!(date.as_deref(), Some("2037-03-03 07:08:09"), "{text}");
        }
    }

    #[test]
    fn what_lacks_a_part_or_has_a_wrong_one_is_no_date() {
        for text in [
            "",
            "never",
            "0",
            "Tue, 03 Mar 2037",
            "07:08:09 Mar 2037",
            "07:08:09 03 2037",
            "03 Mar 07:08:09",
            "03 Mar 2037 07:08",
            "03 Mar 2037 7:08:009",
            "03 Mar 2037 07::09",
            "03 Mar 2037 -07:08:",
            "00 Mar 2037 07:08:09",
            "32 Mar 2037 07:08:09",
            "003 Mar 20377 07:08:09",
            "30 Feb 2037 07:08:09",
            "29 Feb 2037 07:08:09",
            "31 Apr 2037 07:08:09",
            "03 Mar 2037 24:00:00",
            "03 Mar 2037 07:60:09",
            "03 Mar 2037 07:08:60",
            "03 Mar 1600 07:08:09",
            "03 Mar 100 07:08:09",
            "03 Mar 20370 07:08:09",
            "03 Ma 2037 07:08:09",
            "03-03-2037 07:08:09",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn years_below_a_hundred_are_those_around_the_epoch() {
        for (year, expected) in [
            ("00", 2000),
            ("69", 2069),
            ("70", 1970),
            ("99", 1999),
            ("0001", 2001),
            ("1601", 1601),
            ("9999", 9999),
        ] {
            let date = parse(&format!("29 Jan {year} 00:00:00")).expect("a date");
            assert_eq!(date.year(), expected);
        }
        assert!(parse("29 Feb 2036 00:00:00").is_some());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".*") {
            _ = parse(&text);
        }

        #[test]
        fn every_date_is_read_as_it_was_written(seconds in -11_644_473_600_i64..=253_402_300_799) {
            let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let (day, time) = (date.date(), date.time());
            let text = format!(
                "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                date.weekday(), day.day(), day.month(), day.year(),
                time.hour(), time.minute(), time.second(),
            );
            prop_assert_eq!(parse(&text), Some(date));
        }
    }
}
