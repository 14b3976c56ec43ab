use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{Error, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Reads a value that is a word, as `Ok`, or a table, as `Err`. Unlike an untagged enum it keeps the
/// errors of each, which name the key that is wrong.
pub(super) struct TextOr<T, M> {
    expected: &'static str,
    read: PhantomData<(T, M)>,
}

impl<T, M> TextOr<T, M> {
    pub(super) fn new(expected: &'static str) -> Self {
        Self {
            expected,
            read: PhantomData,
        }
    }
}

impl<'de, T: Deserialize<'de>, M: Deserialize<'de>> Visitor<'de> for TextOr<T, M> {
    type Value = Result<T, M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(text.into_deserializer()).map(Ok)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(Err)
    }
}
