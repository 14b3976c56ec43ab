use std::{fmt, num::NonZeroU32};

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};

use crate::{DecodeLimits, Error};

/// The limits of what an encoded body may decode to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DecodeLimitsConfig {
    bytes: Option<Most>,
    ratio: Option<Most>,
    ratio_from: Option<u64>,
}

impl DecodeLimitsConfig {
    pub(super) fn alter(self, mut limits: DecodeLimits) -> Result<DecodeLimits, Error> {
        if let Some(Most(bytes)) = self.bytes {
            limits = limits.bytes(bytes);
        }
        if let Some(Most(ratio)) = self.ratio {
            limits = match ratio {
                None => limits.ratio(None),
                Some(ratio) => {
                    let ratio = u32::try_from(ratio).ok().and_then(NonZeroU32::new);
                    limits.ratio(Some(ratio.ok_or_else(|| {
                        Error::builder(
                            "decode_limits.ratio must be from 1 to 4294967295, or \"none\"",
                        )
                    })?))
                }
            };
        }
        if let Some(bytes) = self.ratio_from {
            limits = limits.ratio_from(bytes);
        }
        Ok(limits)
    }
}

/// A number, or `"none"` for no limit.
#[derive(Clone, Copy, Debug)]
struct Most(Option<u64>);

impl<'de> Deserialize<'de> for Most {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or \"none\"")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Option<u64>, E> {
        Ok(Some(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Option<u64>, E> {
        match u64::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u64>, E> {
        match text {
            "none" => Ok(None),
            text => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}
