//! A span for each call, one for each of its attempts, and metrics, with the names of
//! [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span).

mod body;
mod call;
mod connections;
mod context;
#[cfg(feature = "metrics")]
mod facade;
mod fields;
mod figure;
mod meter;
#[cfg(feature = "opentelemetry")]
mod otel;
mod pool;
#[cfg(feature = "opentelemetry")]
mod propagate;
mod record;
mod sent;
mod sink;
mod template;

#[cfg(feature = "metrics")]
pub(crate) use self::facade::Facade;
#[cfg(feature = "opentelemetry")]
pub(crate) use self::otel::Instruments;
#[cfg(feature = "opentelemetry")]
pub use self::propagate::OpenTelemetry;
pub(crate) use self::{
    call::{CallRecord, CallSpans},
    connections::Connections,
    context::{Scope, TraceContext, is_trace_context},
    pool::Observers,
    record::Record,
    sent::{SentBytes, count_sent},
    sink::{Sink, Sinks},
};
pub use self::{
    context::{Propagator, PropagatorFn, propagator_fn},
    figure::{Instrument, METRICS, Metric},
    template::UrlTemplate,
};

/// Whether spans, events and errors show the paths of URLs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Paths {
    #[default]
    Redacted,
    Recorded,
}

/// A request extension: how often the call had sent a request before it was redirected here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentBefore(pub(crate) u32);
