use std::num::NonZeroU32;

use retry_layer::hedge::{Hedging, HedgingBuilder};
use serde::{Deserialize, Deserializer};

use super::{
    TextOr,
    duration::Span,
    problem::{invalid, twice},
};
use crate::Error;

/// The key `hedge`: a word, or settings.
#[derive(Clone, Debug)]
pub(super) enum HedgeConfig {
    Word(Word),
    Settings(HedgeSettings),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    Learned,
    None,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HedgeSettings {
    after: Option<Span>,
    percentile: Option<u8>,
    min_answers: Option<NonZeroU32>,
    max_hedges: Option<NonZeroU32>,
    first_byte_within: Option<Span>,
}

impl<'de> Deserialize<'de> for HedgeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a table of settings, or \"learned\" or \"none\"";
        let read = deserializer.deserialize_any(TextOr::<Word, HedgeSettings>::new(expected))?;
        Ok(match read {
            Ok(word) => Self::Word(word),
            Err(settings) => Self::Settings(settings),
        })
    }
}

impl HedgeConfig {
    /// Alters what is set so far.
    pub(super) fn alter(self, hedging: Option<&Hedging>) -> Result<Option<Hedging>, Error> {
        let so_far = hedging.map(Hedging::to_builder);
        let builder = match self {
            Self::Word(Word::None) => return Ok(None),
            Self::Word(Word::Learned) => {
                so_far.map_or_else(Hedging::learned, HedgingBuilder::learned)
            }
            Self::Settings(settings) => settings.alter(so_far)?,
        };
        let built = builder.build().map_err(|error| invalid("hedge", error))?;
        Ok(Some(built))
    }
}

impl HedgeSettings {
    fn alter(self, so_far: Option<HedgingBuilder>) -> Result<HedgingBuilder, Error> {
        let Self {
            after,
            percentile,
            min_answers,
            max_hedges,
            first_byte_within,
        } = self;
        let mut builder = match (after, percentile, min_answers) {
            (Some(_), Some(_), _) => return Err(twice("hedge.after", "hedge.percentile")),
            (Some(_), None, Some(_)) => return Err(twice("hedge.after", "hedge.min_answers")),
            (Some(Span(delay)), None, None) => {
                so_far.map_or_else(|| Hedging::after(delay), |so_far| so_far.after(delay))
            }
            (None, None, None) => so_far.unwrap_or_else(Hedging::learned),
            (None, _, _) => so_far.map_or_else(Hedging::learned, HedgingBuilder::learned),
        };
        if let Some(percent) = percentile {
            builder = builder.percentile(percent);
        }
        if let Some(answers) = min_answers {
            builder = builder.min_answers(answers);
        }
        if let Some(hedges) = max_hedges {
            builder = builder.max_hedges(hedges);
        }
        if let Some(Span(time)) = first_byte_within {
            builder = builder.first_byte_within(time);
        }
        Ok(builder)
    }
}
