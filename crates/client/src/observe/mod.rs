//! One span for each attempt, and figures of all, by the names of
//! [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span).

mod body;
mod fields;
#[cfg(feature = "metrics")]
mod meter;
mod pool;
mod record;

#[cfg(feature = "metrics")]
pub(crate) use self::meter::{OpenConnections, count_stop, describe};
pub(crate) use self::{body::Observed, pool::Observers, record::Record};

/// Which figures are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Metrics {
    #[default]
    Off,
    #[cfg(feature = "metrics")]
    On,
}

/// What spans tell of the paths of URLs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Paths {
    #[default]
    Redacted,
    Recorded,
}

/// A request extension: how often the call had sent a request before it was redirected here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentBefore(pub(crate) u32);
