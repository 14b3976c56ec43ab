//! The instruments of an OpenTelemetry meter as a sink.

use opentelemetry::{
    Key, KeyValue, Value,
    metrics::{Counter, Histogram, Meter, MeterProvider, UpDownCounter},
};

use super::{
    figure::{Figure, Instrument, METRICS, Metric},
    sink::{Label, LabelValue, Sink},
};

/// An instrument for each metric.
#[derive(Debug)]
pub(crate) struct Instruments([Made; METRICS.len()]);

#[derive(Debug)]
enum Made {
    Counter(Counter<u64>),
    UpDownCounter(UpDownCounter<i64>),
    Histogram(Histogram<f64>),
}

impl Instruments {
    pub(crate) fn of(provider: &(impl MeterProvider + ?Sized)) -> Self {
        let meter = provider.meter("client");
        Self(METRICS.map(|metric| Made::new(&meter, &metric)))
    }

    fn get(&self, figure: Figure) -> Option<&Made> {
        // There is one for each metric, in the same order.
        self.0.get(figure as usize)
    }
}

impl Made {
    fn new(meter: &Meter, metric: &Metric) -> Self {
        let (name, unit, description) = (metric.name(), metric.unit(), metric.description());
        match metric.instrument() {
            Instrument::Counter => {
                let counter = meter.u64_counter(name).with_unit(unit);
                Self::Counter(counter.with_description(description).build())
            }
            Instrument::UpDownCounter => {
                let counter = meter.i64_up_down_counter(name).with_unit(unit);
                Self::UpDownCounter(counter.with_description(description).build())
            }
            Instrument::Histogram => {
                let histogram = meter.f64_histogram(name).with_unit(unit);
                let histogram = histogram.with_description(description);
                Self::Histogram(histogram.with_boundaries(metric.buckets().to_vec()).build())
            }
        }
    }
}

impl Sink for Instruments {
    fn add(&self, figure: Figure, by: i64, labels: &[Label]) {
        match self.get(figure) {
            Some(Made::Counter(counter)) => counter.add(by.unsigned_abs(), &pairs(labels)),
            Some(Made::UpDownCounter(counter)) => counter.add(by, &pairs(labels)),
            Some(Made::Histogram(_)) | None => {}
        }
    }

    fn record(&self, figure: Figure, value: f64, labels: &[Label]) {
        if let Some(Made::Histogram(histogram)) = self.get(figure) {
            histogram.record(value, &pairs(labels));
        }
    }
}

fn pairs(labels: &[Label]) -> Vec<KeyValue> {
    let convert = |label: &Label| {
        let value = match &label.value {
            LabelValue::Text(text) => Value::from(text.clone()),
            LabelValue::Number(number) => Value::from(*number),
        };
        KeyValue::new(Key::from_static_str(label.name), value)
    };
    labels.iter().map(convert).collect()
}
