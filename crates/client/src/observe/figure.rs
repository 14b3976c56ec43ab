//! The metrics of a client, in one table.

use std::fmt;

/// A metric that a client records; all of them are in [`METRICS`].
///
/// ```
/// use client::telemetry::METRICS;
///
/// for metric in METRICS {
///     println!("{} in {}: {:?}", metric.name(), metric.unit(), metric.buckets());
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    name: &'static str,
    instrument: Instrument,
    unit: &'static str,
    description: &'static str,
    buckets: &'static [f64],
    attributes: &'static [&'static str],
}

/// How the values of a [`Metric`] add up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Instrument {
    /// A sum that only grows.
    Counter,
    /// A sum that grows and shrinks: a gauge of the `metrics` facade.
    UpDownCounter,
    /// A distribution of values.
    Histogram,
}

impl Metric {
    /// Returns the name, such as `http.client.request.duration`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns how its values add up.
    #[must_use]
    pub const fn instrument(&self) -> Instrument {
        self.instrument
    }

    /// Returns the unit as [UCUM](https://ucum.org) writes it: `s`, `By`, or what is counted in
    /// braces.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        self.unit
    }

    /// Returns what it measures, in a sentence.
    #[must_use]
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// Returns the upper bounds of the buckets of a histogram; none of anything else.
    #[must_use]
    pub const fn buckets(&self) -> &'static [f64] {
        self.buckets
    }

    /// Returns the names of the attributes, which are labels in Prometheus. Some are recorded only
    /// where they apply.
    #[must_use]
    pub const fn attributes(&self) -> &'static [&'static str] {
        self.attributes
    }
}

impl Instrument {
    /// Returns the name: `counter`, `updowncounter` or `histogram`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Histogram => "histogram",
        }
    }
}

impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The metrics by their names in this crate, in the order of [`METRICS`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    CallDuration,
    RequestDuration,
    RequestBodySize,
    ResponseBodySize,
    TimeInQueue,
    ActiveRequests,
    OpenConnections,
    ConnectionSetUp,
    ConnectionDuration,
    RetryAttempts,
    RetryStops,
}

/// All metrics that a client records. Those of OpenTelemetry's [conventions for
/// HTTP](https://opentelemetry.io/docs/specs/semconv/http/http-metrics/) have their names, units and
/// buckets.
pub static METRICS: [Metric; 11] = [
    Figure::CallDuration.metric(),
    Figure::RequestDuration.metric(),
    Figure::RequestBodySize.metric(),
    Figure::ResponseBodySize.metric(),
    Figure::TimeInQueue.metric(),
    Figure::ActiveRequests.metric(),
    Figure::OpenConnections.metric(),
    Figure::ConnectionSetUp.metric(),
    Figure::ConnectionDuration.metric(),
    Figure::RetryAttempts.metric(),
    Figure::RetryStops.metric(),
];

/// The buckets that OpenTelemetry recommends for the duration of requests, in seconds.
const REQUEST_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The same buckets, extended to the default deadline of a call.
const CALL_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
    120.0, 300.0,
];

/// The buckets that OpenTelemetry recommends for the duration of connections, in seconds, extended
/// to the default lifetime.
const CONNECTION_SECONDS: &[f64] = &[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
];

/// From 256 bytes to 64 MiB, the default limit of a body that is collected.
const BYTES: &[f64] = &[
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

const METHOD: &str = "http.request.method";
const TEMPLATE: &str = "url.template";
const ADDRESS: &str = "server.address";
const PORT: &str = "server.port";
const STATUS: &str = "http.response.status_code";
const VERSION: &str = "network.protocol.version";
const ERROR: &str = "error.type";
const PREVIOUS: &str = "retry.previous";
const STOP: &str = "retry.stop";

impl Figure {
    pub(crate) const fn metric(self) -> Metric {
        match self {
            Self::CallDuration => Metric {
                name: "http.client.call.duration",
                instrument: Instrument::Histogram,
                unit: "s",
                description: "Duration of whole calls: all attempts, the waits between them, the \
                              redirects, and the body until it was read or dropped",
                buckets: CALL_SECONDS,
                attributes: &[METHOD, TEMPLATE, ADDRESS, PORT, STATUS, ERROR],
            },
            Self::RequestDuration => Metric {
                name: "http.client.request.duration",
                instrument: Instrument::Histogram,
                unit: "s",
                description: "Duration of HTTP client requests, one for each attempt",
                buckets: REQUEST_SECONDS,
                attributes: &[METHOD, TEMPLATE, ADDRESS, PORT, STATUS, VERSION, ERROR],
            },
            Self::RequestBodySize => Metric {
                name: "http.client.request.body.size",
                instrument: Instrument::Histogram,
                unit: "By",
                description: "Size of the request bodies of attempts that were answered",
                buckets: BYTES,
                attributes: &[METHOD, TEMPLATE, ADDRESS, PORT, STATUS, VERSION, ERROR],
            },
            Self::ResponseBodySize => Metric {
                name: "http.client.response.body.size",
                instrument: Instrument::Histogram,
                unit: "By",
                description: "Size of response bodies before they are decoded, as far as they were \
                              read",
                buckets: BYTES,
                attributes: &[METHOD, TEMPLATE, ADDRESS, PORT, STATUS, VERSION, ERROR],
            },
            Self::TimeInQueue => Metric {
                name: "http.client.request.time_in_queue",
                instrument: Instrument::Histogram,
                unit: "s",
                description: "How long requests waited for their connection, in the queue and \
                              while it was being opened",
                buckets: REQUEST_SECONDS,
                attributes: &[ADDRESS, PORT],
            },
            Self::ActiveRequests => Metric {
                name: "http.client.active_requests",
                instrument: Instrument::UpDownCounter,
                unit: "{request}",
                description: "Attempts that are under way",
                buckets: &[],
                attributes: &[METHOD, TEMPLATE, ADDRESS, PORT],
            },
            Self::OpenConnections => Metric {
                name: "http.client.open_connections",
                instrument: Instrument::UpDownCounter,
                unit: "{connection}",
                description: "Connections that are open, idle or not",
                buckets: &[],
                attributes: &[ADDRESS, PORT],
            },
            Self::ConnectionSetUp => Metric {
                name: "http.client.connection.setup.duration",
                instrument: Instrument::Histogram,
                unit: "s",
                description: "How long it took to open connections: name, TCP, proxy and TLS",
                buckets: REQUEST_SECONDS,
                attributes: &[ADDRESS, PORT, VERSION],
            },
            Self::ConnectionDuration => Metric {
                name: "http.client.connection.duration",
                instrument: Instrument::Histogram,
                unit: "s",
                description: "How long connections were open",
                buckets: CONNECTION_SECONDS,
                attributes: &[ADDRESS, PORT, VERSION],
            },
            Self::RetryAttempts => Metric {
                name: "retry.attempts",
                instrument: Instrument::Counter,
                unit: "{attempt}",
                description: "Attempts that followed another",
                buckets: &[],
                attributes: &[METHOD, TEMPLATE, ADDRESS, PORT, PREVIOUS],
            },
            Self::RetryStops => Metric {
                name: "retry.stops",
                instrument: Instrument::Counter,
                unit: "{call}",
                description: "Calls that took several attempts, failed or were dropped, by why \
                              they ended",
                buckets: &[],
                attributes: &[STOP],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_metric_at_its_place() {
        for (index, metric) in METRICS.iter().enumerate() {
            let is_it = |figure: &Figure| *figure as usize == index;
            let figures = [
                Figure::CallDuration,
                Figure::RequestDuration,
                Figure::RequestBodySize,
                Figure::ResponseBodySize,
                Figure::TimeInQueue,
                Figure::ActiveRequests,
                Figure::OpenConnections,
                Figure::ConnectionSetUp,
                Figure::ConnectionDuration,
                Figure::RetryAttempts,
                Figure::RetryStops,
            ];
            let figure = figures.into_iter().find(is_it).unwrap();
            assert_eq!(metric.name(), figure.metric().name());
            let is_histogram = metric.instrument() == Instrument::Histogram;
            assert_eq!(is_histogram, !metric.buckets().is_empty());
            assert!(metric.buckets().is_sorted());
        }
    }
}
