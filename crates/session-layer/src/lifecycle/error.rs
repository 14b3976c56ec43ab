use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

use crate::box_error::BoxError;

/// The teardowns that failed; all others succeeded.
#[derive(Debug)]
pub struct ShutdownError {
    failures: Vec<TeardownError>,
}

impl ShutdownError {
    /// Makes an error of all failures, if there are any.
    pub(super) fn check(failures: Vec<TeardownError>) -> Result<(), Self> {
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Self { failures })
        }
    }

    /// Returns the failures, in the order in which they happened. There is at least one.
    #[must_use]
    pub fn failures(&self) -> &[TeardownError] {
        &self.failures
    }
}

/// Writes each failure with its causes, since there is no single [`source`](StdError::source).
impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.failures.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
            let mut source = failure.source();
            while let Some(error) = source {
                write!(f, ": {error}")?;
                source = error.source();
            }
        }
        Ok(())
    }
}

impl StdError for ShutdownError {}

/// A teardown failed, panicked, or took too long.
#[derive(Debug)]
pub struct TeardownError {
    name: Cow<'static, str>,
    cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    Failed(BoxError),
    Panicked(String),
    TimedOut(Duration),
}

impl TeardownError {
    pub(super) fn new(name: Cow<'static, str>, cause: Cause) -> Self {
        Self { name, cause }
    }

    /// Returns the name of the resource.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it took too long, and was dropped.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::TimedOut(_))
    }

    /// Whether it panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked(_))
    }
}

impl fmt::Display for TeardownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match &self.cause {
            Cause::Failed(_) => write!(f, "cannot tear down {name}"),
            Cause::Panicked(message) => write!(f, "the teardown of {name} panicked: {message}"),
            Cause::TimedOut(timeout) => {
                write!(f, "the teardown of {name} took longer than {timeout:?}")
            }
        }
    }
}

impl StdError for TeardownError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.cause {
            Cause::Failed(error) => Some(&**error),
            Cause::Panicked(_) | Cause::TimedOut(_) => None,
        }
    }
}

/// A resource could not be set up; those before it were torn down.
#[derive(Debug)]
pub struct SetupError {
    name: Cow<'static, str>,
    source: BoxError,
    shutdown: Option<ShutdownError>,
}

impl SetupError {
    pub(super) fn new(
        name: Cow<'static, str>,
        source: BoxError,
        shutdown: Option<ShutdownError>,
    ) -> Self {
        Self {
            name,
            source,
            shutdown,
        }
    }

    /// Returns the name of the resource.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the failures of the teardowns of those before it.
    #[must_use]
    pub fn shutdown_error(&self) -> Option<&ShutdownError> {
        self.shutdown.as_ref()
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot set up {}", self.name)?;
        match &self.shutdown {
            Some(shutdown) => write!(f, " (and then: {shutdown})"),
            None => Ok(()),
        }
    }
}

impl StdError for SetupError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
