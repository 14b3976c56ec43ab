use serde::{Deserialize, Deserializer};
use session_layer::ThroughputFloor;

use super::{TextOr, duration::Span};

/// A floor of throughput, or `"none"` for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor(pub(super) Option<ThroughputFloor>);

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    None,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct FloorSettings {
    bytes_per_second: u64,
    window: Span,
}

impl<'de> Deserialize<'de> for Floor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a table of `bytes_per_second` and `window`, or \"none\"";
        let read = deserializer.deserialize_any(TextOr::<Word, FloorSettings>::new(expected))?;
        Ok(Self(match read {
            Ok(Word::None) => None,
            Err(FloorSettings {
                bytes_per_second,
                window: Span(window),
            }) => Some(ThroughputFloor::new(bytes_per_second, window)),
        }))
    }
}
