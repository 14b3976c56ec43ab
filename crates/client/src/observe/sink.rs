//! Where the values of metrics go.

use std::{borrow::Cow, fmt, sync::Arc};

use super::figure::Figure;

/// Takes the values of metrics: a facade or a meter.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// Adds to a counter, or to an up-down counter.
    fn add(&self, figure: Figure, by: i64, labels: &[Label]);

    /// Records a value of a histogram.
    fn record(&self, figure: Figure, value: f64, labels: &[Label]);
}

/// An attribute of a value.
#[cfg_attr(
    not(any(feature = "metrics", feature = "opentelemetry")),
    allow(
        dead_code,
        reason = "only sinks read it, and without these features there are none"
    )
)]
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    pub(crate) value: LabelValue,
}

#[cfg_attr(
    not(any(feature = "metrics", feature = "opentelemetry")),
    allow(
        dead_code,
        reason = "only sinks read it, and without these features there are none"
    )
)]
#[derive(Clone, Debug)]
pub(crate) enum LabelValue {
    Text(Cow<'static, str>),
    Number(i64),
}

impl Label {
    pub(super) fn new(name: &'static str, value: impl Into<LabelValue>) -> Self {
        let value = value.into();
        Self { name, value }
    }
}

impl From<&'static str> for LabelValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for LabelValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for LabelValue {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

/// All sinks of a client. If there are none, nothing is recorded, for the price of one branch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sinks(Option<Arc<[Arc<dyn Sink>]>>);

impl Sinks {
    /// Whether anything is recorded.
    #[inline]
    pub(crate) fn are_any(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn add(&self, figure: Figure, by: i64, labels: &[Label]) {
        for sink in self.all() {
            sink.add(figure, by, labels);
        }
    }

    pub(super) fn record(&self, figure: Figure, value: f64, labels: &[Label]) {
        for sink in self.all() {
            sink.record(figure, value, labels);
        }
    }

    fn all(&self) -> impl Iterator<Item = &dyn Sink> {
        let all = self.0.as_deref().unwrap_or_default();
        all.iter().map(|sink| &**sink)
    }
}

impl FromIterator<Arc<dyn Sink>> for Sinks {
    fn from_iter<T: IntoIterator<Item = Arc<dyn Sink>>>(sinks: T) -> Self {
        let sinks: Arc<[_]> = sinks.into_iter().collect();
        Self((!sinks.is_empty()).then_some(sinks))
    }
}
