use std::{error::Error, fmt, time::Duration};

use crate::health::PartitionKey;

/// The circuit is open, or the service inside failed.
///
/// Either is the [`source`](Error::source): a [`CircuitOpen`], or the error of the service.
#[derive(Debug)]
pub struct BreakerError<E>(Kind<E>);

#[derive(Debug)]
enum Kind<E> {
    Open(CircuitOpen),
    Inner(E),
}

impl<E> BreakerError<E> {
    pub(super) fn open(error: CircuitOpen) -> Self {
        Self(Kind::Open(error))
    }

    pub(super) fn inner(error: E) -> Self {
        Self(Kind::Inner(error))
    }

    /// Whether the request was refused since the circuit is open. Nothing of it was sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.circuit_open().is_some()
    }

    /// What is known of the open circuit, if the request was refused.
    #[must_use]
    pub fn circuit_open(&self) -> Option<&CircuitOpen> {
        match &self.0 {
            Kind::Open(error) => Some(error),
            Kind::Inner(_) => None,
        }
    }

    /// Takes the two cases apart.
    ///
    /// # Errors
    ///
    /// With [`CircuitOpen`] if the request was refused; else the error of the service is returned.
    pub fn into_inner(self) -> Result<E, CircuitOpen> {
        match self.0 {
            Kind::Open(error) => Err(error),
            Kind::Inner(error) => Ok(error),
        }
    }
}

impl<E> fmt::Display for BreakerError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Open(_) => "the request was not sent",
            Kind::Inner(_) => "the attempt failed",
        })
    }
}

impl<E: Error + 'static> Error for BreakerError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.0 {
            Kind::Open(error) => error,
            Kind::Inner(error) => error,
        })
    }
}

/// A request was refused, because the circuit of its origin is open. No byte of it was sent.
///
/// The retry layer calls this error [`Final`](crate::Class::Final): another attempt on the same origin
/// would be refused as well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CircuitOpen {
    key: PartitionKey,
    retry_after: Option<Duration>,
}

impl CircuitOpen {
    pub(super) fn new(key: PartitionKey, retry_after: Option<Duration>) -> Self {
        Self { key, retry_after }
    }

    /// Whose circuit is open.
    #[must_use]
    pub fn key(&self) -> &PartitionKey {
        &self.key
    }

    /// After how long the next request may pass as a probe. `None` if the circuit was opened by hand.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_str();
        write!(f, "the circuit of {key} is open")?;
        match self.retry_after {
            Some(wait) => write!(f, " for {wait:.1?}"),
            None => Ok(()),
        }
    }
}

impl Error for CircuitOpen {}
