//! The `metrics` facade as a sink.

use metrics::{
    SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use super::{
    figure::{Figure, Instrument, METRICS},
    sink::{Label, LabelValue, Sink},
};

/// Writes to the recorder that is installed for the process, or for the thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facade;

impl Facade {
    /// Registers the metrics' descriptions and units with the recorder.
    pub(crate) fn described() -> Self {
        for metric in &METRICS {
            let unit = match metric.unit() {
                "s" => Unit::Seconds,
                "By" => Unit::Bytes,
                _ => Unit::Count,
            };
            let (name, description) = (metric.name(), metric.description());
            match metric.instrument() {
                Instrument::Counter => describe_counter!(name, unit, description),
                Instrument::UpDownCounter => describe_gauge!(name, unit, description),
                Instrument::Histogram => describe_histogram!(name, unit, description),
            }
        }
        Self
    }
}

impl Sink for Facade {
    fn add(&self, figure: Figure, by: i64, labels: &[Label]) {
        let metric = figure.metric();
        let labels = for_facade(labels);
        match (metric.instrument(), u64::try_from(by)) {
            (Instrument::Counter, Ok(by)) => counter!(metric.name(), labels).increment(by),
            // Only small numbers, which a float holds exactly.
            (_, Ok(by)) => gauge!(metric.name(), labels).increment(float(by)),
            (_, Err(_)) => gauge!(metric.name(), labels).decrement(float(by.unsigned_abs())),
        }
    }

    fn record(&self, figure: Figure, value: f64, labels: &[Label]) {
        histogram!(figure.metric().name(), for_facade(labels)).record(value);
    }
}

fn float(count: u64) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}

/// The facade has labels of text only.
fn for_facade(labels: &[Label]) -> Vec<metrics::Label> {
    let convert = |label: &Label| {
        let value: SharedString = match &label.value {
            LabelValue::Text(text) => text.clone().into(),
            LabelValue::Number(number) => number.to_string().into(),
        };
        metrics::Label::new(label.name, value)
    };
    labels.iter().map(convert).collect()
}
