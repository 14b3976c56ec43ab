use http::{Request, Response, StatusCode};
use metrics::{
    Gauge, Label, SharedString, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};
use retry_layer::{Attempt, AttemptOutcome, RetryReport};
use session_layer::{Event, Observer, Origin};
use tokio::time::Instant;

use super::fields;
use crate::{Error, ResponseBody, error::is_failed, origin};

const DURATION: &str = "http.client.request.duration";
const ACTIVE: &str = "http.client.active_requests";
const OPEN: &str = "http.client.open_connections";
const ATTEMPTS: &str = "retry.attempts";
const STOPS: &str = "retry.stops";

/// Tells the recorder what the figures mean.
pub(crate) fn describe() {
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "Duration of HTTP client requests, one for each attempt"
    );
    describe_gauge!(ACTIVE, Unit::Count, "Attempts that are under way");
    describe_gauge!(OPEN, Unit::Count, "Connections that are open, idle or not");
    describe_counter!(ATTEMPTS, Unit::Count, "Attempts that followed another");
    describe_counter!(
        STOPS,
        Unit::Count,
        "Calls that took several attempts, or failed, by why they ended"
    );
}

/// The figures of one attempt.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    /// Method and server.
    labels: Vec<Label>,
    status: Option<StatusCode>,
    version: Option<&'static str>,
    error: Option<&'static str>,
}

impl Meter {
    pub(super) fn begin<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let labels = vec![
            label("http.request.method", fields::method(request.method())),
            label("server.address", fields::address(uri).to_owned()),
            label("server.port", origin::port(uri).to_string()),
        ];
        gauge!(ACTIVE, labels.clone()).increment(1.0);
        if let Some(attempt) = request.extensions().get::<Attempt>() {
            let mut labels = labels.clone();
            let previous = match attempt.previous() {
                AttemptOutcome::Status(status) => {
                    label("retry.previous", status.as_u16().to_string())
                }
                AttemptOutcome::Error(class) => label("retry.previous", class.as_str()),
                _ => label("retry.previous", "_OTHER"),
            };
            labels.push(previous);
            counter!(ATTEMPTS, labels).increment(1);
        }
        Self {
            began: Instant::now(),
            labels,
            status: None,
            version: None,
            error: None,
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode, version: Option<&'static str>) {
        self.status = Some(status);
        self.version = version;
    }

    pub(super) fn failed(&mut self, error_type: &'static str) {
        self.error = Some(error_type);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut labels = std::mem::take(&mut self.labels);
        gauge!(ACTIVE, labels.clone()).decrement(1.0);
        if let Some(status) = self.status {
            labels.push(label(
                "http.response.status_code",
                status.as_u16().to_string(),
            ));
        }
        if let Some(version) = self.version {
            labels.push(label("network.protocol.version", version));
        }
        if let Some(error) = self.error {
            labels.push(label("error.type", error));
        } else if let Some(status) = self.status.filter(|it| is_failed(*it)) {
            labels.push(label("error.type", status.as_u16().to_string()));
        }
        histogram!(DURATION, labels).record(self.began.elapsed().as_secs_f64());
    }
}

/// Counts connections from when each is opened until it has ended.
pub(crate) struct OpenConnections;

impl Observer for OpenConnections {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Opened { origin, .. } => open_at(origin).increment(1.0),
            Event::Closed { origin, .. } => open_at(origin).decrement(1.0),
            _ => {}
        }
    }
}

fn open_at(origin: &Origin) -> Gauge {
    let labels = vec![
        label("server.address", fields::bare(origin.host()).to_owned()),
        label("server.port", origin.port().to_string()),
    ];
    gauge!(OPEN, labels)
}

/// Counts how a call ended, if there is anything to tell of it.
pub(crate) fn count_stop(result: &Result<Response<ResponseBody>, Error>) {
    let report: Option<&RetryReport> = match result {
        Ok(response) => response.extensions().get(),
        Err(error) => error.retry_report(),
    };
    if let Some(report) = report {
        counter!(STOPS, "retry.stop" => report.stop().as_str()).increment(1);
    }
}

fn label(name: &'static str, value: impl Into<SharedString>) -> Label {
    Label::new(name, value.into())
}
