use std::{fmt, time::Duration};

use jiff::fmt::friendly::SpanParser;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A duration as people write it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

/// A duration, or `"none"` for no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) Option<Duration>);

struct Reader {
    limit: bool,
}

impl Visitor<'_> for Reader {
    type Value = Option<Duration>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"2s\" or \"500ms\"")?;
        if self.limit {
            f.write_str(", or \"none\"")?;
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Duration>, E> {
        if self.limit && text == "none" {
            return Ok(None);
        }
        let duration = SpanParser::new().parse_unsigned_duration(text);
        duration
            .map(Some)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duration = deserializer.deserialize_str(Reader { limit: false })?;
        Ok(Self(duration.unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Reader { limit: true })
            .map(Self)
    }
}
