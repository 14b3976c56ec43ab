//! The metrics of one attempt, and of one call.

use http::{Request, Response, StatusCode};
use retry_layer::{Attempt, AttemptOutcome, RetryReport, StopReason};
use tokio::time::Instant;

use super::{
    fields,
    figure::Figure,
    sent::SentBytes,
    sink::{Label, Sinks},
};
use crate::{Error, error::is_failed, origin};

/// The outcome of an attempt or a call, as far as it is known.
#[derive(Debug, Default)]
struct Outcome {
    status: Option<StatusCode>,
    version: Option<&'static str>,
    error: Option<&'static str>,
}

/// The metrics of one attempt. Those of its end are recorded when it is dropped.
#[derive(Debug)]
pub(super) struct Meter {
    sinks: Sinks,
    began: Instant,
    /// Method and server.
    labels: Vec<Label>,
    outcome: Outcome,
    sent: Option<SentBytes>,
    /// How many bytes of the response's body have come.
    received: u64,
}

/// The metrics of one call. Those of its end are recorded when it is dropped.
#[derive(Debug)]
pub(super) struct CallMeter {
    sinks: Sinks,
    began: Instant,
    labels: Vec<Label>,
    outcome: Outcome,
}

impl Outcome {
    fn add_to(&self, labels: &mut Vec<Label>) {
        if let Some(status) = self.status {
            labels.push(Label::new("http.response.status_code", status.as_u16()));
        }
        if let Some(version) = self.version {
            labels.push(Label::new("network.protocol.version", version));
        }
        if let Some(error) = self.error {
            labels.push(Label::new("error.type", error));
        } else if let Some(status) = self.status.filter(|status| is_failed(*status)) {
            labels.push(Label::new("error.type", status.as_str().to_owned()));
        }
    }
}

impl Meter {
    pub(super) fn begin<B: http_body::Body>(request: &Request<B>, sinks: &Sinks) -> Self {
        let labels = labels_of(request);
        sinks.add(Figure::ActiveRequests, 1, &labels);
        if let Some(attempt) = request.extensions().get::<Attempt>() {
            let mut labels = labels.clone();
            labels.push(previous(attempt.previous()));
            sinks.add(Figure::RetryAttempts, 1, &labels);
        }
        Self {
            sinks: sinks.clone(),
            began: Instant::now(),
            labels,
            outcome: Outcome::default(),
            sent: SentBytes::of(request),
            received: 0,
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode, version: Option<&'static str>) {
        self.outcome.status = Some(status);
        self.outcome.version = version;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(bytes);
    }

    pub(super) fn failed(&mut self, error_type: &'static str) {
        self.outcome.error = Some(error_type);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let Self { sinks, labels, .. } = self;
        sinks.add(Figure::ActiveRequests, -1, labels);
        self.outcome.add_to(labels);
        let took = self.began.elapsed().as_secs_f64();
        sinks.record(Figure::RequestDuration, took, labels);
        if self.outcome.status.is_none() {
            return;
        }
        if let Some(sent) = self.sent.as_ref().map(SentBytes::count) {
            sinks.record(Figure::RequestBodySize, float(sent), labels);
        }
        sinks.record(Figure::ResponseBodySize, float(self.received), labels);
    }
}

impl CallMeter {
    pub(super) fn begin<B>(request: &Request<B>, sinks: &Sinks) -> Self {
        Self {
            sinks: sinks.clone(),
            began: Instant::now(),
            labels: labels_of(request),
            outcome: Outcome::default(),
        }
    }

    pub(super) fn answered<T>(&mut self, response: &Response<T>) {
        self.outcome.status = Some(response.status());
        if let Some(report) = response.extensions().get::<RetryReport>() {
            self.stopped(report.stop());
        }
    }

    pub(super) fn failed(&mut self, error: &Error) {
        self.outcome.status = error.status().or(self.outcome.status);
        self.outcome.error = Some(error.kind().as_str());
    }

    pub(super) fn stopped(&self, stop: StopReason) {
        let labels = [Label::new("retry.stop", stop.as_str())];
        self.sinks.add(Figure::RetryStops, 1, &labels);
    }

    pub(super) fn cancelled(&mut self) {
        self.outcome.error = Some(fields::CANCELLED);
        self.stopped(StopReason::Cancelled);
    }
}

impl Drop for CallMeter {
    fn drop(&mut self) {
        self.outcome.add_to(&mut self.labels);
        let took = self.began.elapsed().as_secs_f64();
        self.sinks.record(Figure::CallDuration, took, &self.labels);
    }
}

fn labels_of<B>(request: &Request<B>) -> Vec<Label> {
    let uri = request.uri();
    let mut labels = vec![
        Label::new("http.request.method", fields::method(request.method())),
        Label::new("server.address", fields::address(uri).to_owned()),
        Label::new("server.port", origin::port(uri)),
    ];
    if let Some(template) = fields::template(request) {
        labels.push(Label::new("url.template", template.to_owned()));
    }
    labels
}

fn previous(outcome: AttemptOutcome) -> Label {
    const NAME: &str = "retry.previous";
    match outcome {
        AttemptOutcome::Status(status) => Label::new(NAME, status.as_str().to_owned()),
        AttemptOutcome::Error(class) => Label::new(NAME, class.as_str()),
        // A hedge: the one before is still under way.
        AttemptOutcome::Unanswered => Label::new(NAME, "unanswered"),
        _ => Label::new(NAME, "_OTHER"),
    }
}

/// A count of bytes for a histogram: not exact beyond 2^53, which no body reaches.
#[expect(clippy::cast_precision_loss, reason = "no body is as long")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}
