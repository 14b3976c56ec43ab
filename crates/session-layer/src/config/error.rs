use std::{error::Error as StdError, fmt, time::Duration};

/// A setting that is not valid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    setting: &'static str,
    why: &'static str,
}

impl ConfigError {
    /// Returns the setting that is not valid, by the name of the method that sets it.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    pub(crate) fn new(setting: &'static str, why: &'static str) -> Self {
        Self { setting, why }
    }

    pub(crate) fn refuse_zero(setting: &'static str, time: Option<Duration>) -> Result<(), Self> {
        if time.is_some_and(|time| time.is_zero()) {
            return Err(Self::new(
                setting,
                "must be longer than 0; `None` turns it off, `\"none\"` in a configuration file",
            ));
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.why)
    }
}

impl StdError for ConfigError {}
