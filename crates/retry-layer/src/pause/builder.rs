use std::{fmt, time::Duration};

use super::{
    Pause,
    shared::{Settings, Shared},
};
use crate::{
    error::{BuildError, Problem},
    health::Ledger,
    hint::Hints,
};

/// Settings of a [`Pause`].
#[must_use = "a builder does nothing until `build`"]
pub struct PauseBuilder {
    settings: Settings,
    ledger: Option<Ledger>,
}

impl Pause {
    /// Starts with the defaults.
    pub fn builder() -> PauseBuilder {
        PauseBuilder::default()
    }
}

impl Default for Pause {
    fn default() -> Self {
        match Self::builder().build() {
            Ok(pause) => pause,
            Err(error) => unreachable!("the defaults are valid: {error}"),
        }
    }
}

impl PauseBuilder {
    /// Keeps the pauses in this ledger, whose keys, number of origins and observer then hold for them.
    /// Default: a ledger of their own.
    ///
    /// Give the same ledger to several clients, so that one of them hears what another was told.
    pub fn ledger(mut self, ledger: Ledger) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Which hints of a response of status 429 or 503 say how long the pause is: `Retry-After` and
    /// `RateLimit` unless set.
    pub fn hints(mut self, hints: Hints) -> Self {
        self.settings.hints = hints;
        self
    }

    /// How long a response of status 429 pauses that says nothing of when to come back: 1 second unless
    /// set. `None`: not at all. A 503 without a hint never pauses.
    pub fn without_hint(mut self, pause: impl Into<Option<Duration>>) -> Self {
        self.settings.without_hint = pause.into();
        self
    }

    /// The longest pause that a hint can ask for: 120 seconds unless set. What is longer counts as
    /// this, so that a server cannot silence a client for a year.
    pub fn max_pause(mut self, pause: Duration) -> Self {
        self.settings.max_pause = pause;
        self
    }

    /// The longest that a request waits for its turn: 60 seconds unless set. One that would wait longer
    /// fails at once, with [`Paused`](super::Paused), and so does one whose
    /// [`Deadline`](crate::Deadline) comes before its turn.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.settings.max_wait = wait;
        self
    }

    /// Lowers the [longest wait](Self::max_wait) to this, if it is longer: to the deadline of all calls.
    pub fn cap_wait(mut self, wait: Duration) -> Self {
        self.settings.max_wait = self.settings.max_wait.min(wait);
        self
    }

    /// How many requests of a partition wait at most: 10,000 unless set. One that comes then fails at
    /// once.
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.settings.max_waiting = requests;
        self
    }

    /// Returns how long a response of status 429 pauses that says nothing of when to come back.
    #[must_use]
    pub fn pause_without_hint(&self) -> Option<Duration> {
        self.settings.without_hint
    }

    /// Returns the longest that a request waits.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        self.settings.max_wait
    }

    /// Makes the pause.
    ///
    /// # Errors
    ///
    /// If a pause would end at once, or no request could wait.
    pub fn build(self) -> Result<Pause, BuildError> {
        let Settings {
            without_hint,
            max_pause,
            max_wait,
            max_waiting,
            ..
        } = self.settings;
        let problem = if max_pause.is_zero() {
            "a pause must take some time: the longest is zero"
        } else if without_hint.is_some_and(|pause| pause.is_zero()) {
            "a pause must take some time: that without a hint is zero; use `None` for none"
        } else if max_wait.is_zero() || max_waiting == 0 {
            "a pause that no request may wait for makes each fail: use a circuit breaker for that"
        } else {
            return Ok(Pause::new(Shared {
                settings: self.settings,
                ledger: self.ledger.unwrap_or_default(),
            }));
        };
        Err(Problem::Pause(problem).into())
    }
}

impl Default for PauseBuilder {
    fn default() -> Self {
        Self {
            settings: Settings {
                hints: Hints::default(),
                without_hint: Some(Duration::from_secs(1)),
                max_pause: Duration::from_secs(120),
                max_wait: Duration::from_secs(60),
                max_waiting: 10_000,
            },
            ledger: None,
        }
    }
}

impl fmt::Debug for PauseBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
