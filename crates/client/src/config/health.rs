use std::num::NonZeroU32;

use retry_layer::{
    breaker::{Breaker, BreakerBuilder, SuccessRate},
    pause::{Pause, PauseBuilder},
};
use serde::{Deserialize, Deserializer};

use super::{
    TextOr,
    duration::{Limit, Span},
};

/// A part that is off unless it is set: `"default"`, `"none"`, or a table of settings.
#[derive(Clone, Debug)]
pub(super) enum Switch<T> {
    Preset(SwitchPreset),
    Settings(T),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SwitchPreset {
    Default,
    None,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a table of settings, or \"default\" or \"none\"";
        let read = deserializer.deserialize_any(TextOr::<SwitchPreset, T>::new(expected))?;
        Ok(match read {
            Ok(preset) => Self::Preset(preset),
            Err(settings) => Self::Settings(settings),
        })
    }
}

/// The key `breaker`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BreakerConfig {
    consecutive_failures: Option<NonZeroU32>,
    failing_for: Option<Span>,
    success_rate: Option<SuccessRateConfig>,
    min_wait: Option<Span>,
    max_wait: Option<Span>,
    max_retry_after: Option<Span>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuccessRateConfig {
    percent: u8,
    window: Span,
    min_requests: Option<NonZeroU32>,
}

/// The key `pause`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PauseConfig {
    without_hint: Option<Limit>,
    max_pause: Option<Span>,
    max_wait: Option<Span>,
    max_waiting: Option<usize>,
}

impl Switch<BreakerConfig> {
    /// The settings that follow from those that code has set, if it has.
    pub(super) fn breaker(self, so_far: Option<BreakerBuilder>) -> Option<BreakerBuilder> {
        let start = || so_far.unwrap_or_else(Breaker::builder);
        match self {
            Self::Preset(SwitchPreset::None) => None,
            Self::Preset(SwitchPreset::Default) => Some(start()),
            Self::Settings(settings) => Some(settings.alter(start())),
        }
    }
}

impl Switch<PauseConfig> {
    /// The settings that follow from those that code has set, if it has.
    pub(super) fn pause(self, so_far: Option<PauseBuilder>) -> Option<PauseBuilder> {
        let start = || so_far.unwrap_or_else(Pause::builder);
        match self {
            Self::Preset(SwitchPreset::None) => None,
            Self::Preset(SwitchPreset::Default) => Some(start()),
            Self::Settings(settings) => Some(settings.alter(start())),
        }
    }
}

impl BreakerConfig {
    fn alter(self, mut breaker: BreakerBuilder) -> BreakerBuilder {
        if let Some(failures) = self.consecutive_failures {
            breaker = breaker.consecutive_failures(failures);
        }
        if let Some(Span(time)) = self.failing_for {
            breaker = breaker.failing_for(time);
        }
        if let Some(rate) = self.success_rate {
            let of_window = SuccessRate::new(rate.percent, rate.window.0);
            breaker = breaker.success_rate(match rate.min_requests {
                Some(requests) => of_window.min_requests(requests),
                None => of_window,
            });
        }
        if let Some(Span(wait)) = self.min_wait {
            breaker = breaker.min_wait(wait);
        }
        if let Some(Span(wait)) = self.max_wait {
            breaker = breaker.max_wait(wait);
        }
        if let Some(Span(wait)) = self.max_retry_after {
            breaker = breaker.max_retry_after(wait);
        }
        breaker
    }
}

impl PauseConfig {
    fn alter(self, mut pause: PauseBuilder) -> PauseBuilder {
        if let Some(Limit(without_hint)) = self.without_hint {
            pause = pause.without_hint(without_hint);
        }
        if let Some(Span(longest)) = self.max_pause {
            pause = pause.max_pause(longest);
        }
        if let Some(Span(wait)) = self.max_wait {
            pause = pause.max_wait(wait);
        }
        if let Some(requests) = self.max_waiting {
            pause = pause.max_waiting(requests);
        }
        pause
    }
}
