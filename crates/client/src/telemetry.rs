//! Metrics, the context of traces, and the templates of URLs.
//!
//! `docs/telemetry.md` in the repository has each span, event and metric, with its fields, unit and
//! buckets. In short:
//!
//! - A call is the span `http.client.call`, and each of its attempts the span `http.client.request`
//!   below it, both of the level INFO and the target `client`.
//!   [`call_spans`](crate::ClientBuilder::call_spans) turns the first one off.
//! - [`METRICS`] has all metrics. `record_metrics` (feature `metrics`) and `meter_provider` (feature
//!   `opentelemetry`) of the [builder](crate::ClientBuilder) record them.
//! - A [`Propagator`] writes `traceparent` and its like into the headers of each attempt;
//!   `OpenTelemetry` (feature `opentelemetry`) is a ready one.
//! - [`UrlTemplate`] gives the URLs of requests a name without their ids.

#[cfg(feature = "opentelemetry")]
pub use crate::observe::OpenTelemetry;
pub use crate::observe::{
    Instrument, METRICS, Metric, Propagator, PropagatorFn, UrlTemplate, propagator_fn,
};
