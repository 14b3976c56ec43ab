use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use retry_layer::{ResponseExt as _, RetryReport, StopReason};
use tracing::{Span, field::Empty, level_filters::LevelFilter};

use super::{
    Paths, Sinks,
    body::{Observed, Recorder},
    fields,
    meter::CallMeter,
};
use crate::{Error, ResponseBody, body::Place, error, origin};

/// Whether calls have spans of their own.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum CallSpans {
    #[default]
    On,
    Off,
}

/// The span and the metrics of one call: all attempts, the waits between them, the redirects, and
/// the body of the response until it has ended.
#[derive(Debug)]
pub(crate) struct CallRecord {
    span: Span,
    meter: Option<CallMeter>,
}

impl CallSpans {
    /// Whether a subscriber may enable the span.
    #[inline]
    pub(crate) fn may_be_wanted(self) -> bool {
        self == Self::On && LevelFilter::current() >= LevelFilter::INFO
    }
}

impl CallRecord {
    /// Begins a record, if there is a sink or a subscriber for it.
    pub(crate) fn begin<B>(
        request: &Request<B>,
        spans: CallSpans,
        sinks: &Sinks,
        paths: Paths,
    ) -> Option<Self> {
        let span = match spans {
            CallSpans::On => span(request, paths),
            CallSpans::Off => Span::none(),
        };
        if span.is_disabled() && !sinks.are_any() {
            return None;
        }
        if fields::method(request.method()) == fields::OTHER {
            span.record("http.request.method_original", request.method().as_str());
        }
        let meter = sinks.are_any().then(|| CallMeter::begin(request, sinks));
        Some(Self { span, meter })
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Records the outcome of the call, and attaches the record to the response until its body
    /// ends.
    pub(crate) fn ended(
        mut self,
        result: Result<Response<ResponseBody>, Error>,
    ) -> Result<Response<ResponseBody>, Error> {
        match result {
            Ok(response) => {
                self.answered(&response);
                if response.body().is_collected() {
                    return Ok(response);
                }
                Ok(response.map(|body| ResponseBody::wrapped(Observed::new(body, self))))
            }
            Err(error) => {
                if let Some(report) = error.retry_report() {
                    self.tried(report);
                    if let Some(meter) = &self.meter {
                        meter.stopped(report.stop());
                    }
                }
                if let Some(status) = error.status() {
                    fields::record_status(&self.span, status);
                }
                self.failed(&error);
                Err(error)
            }
        }
    }

    /// Records that the call was dropped before its end.
    pub(crate) fn cancelled(mut self, report: Option<&RetryReport>) {
        if let Some(report) = report {
            self.sent(report);
        }
        self.span
            .record("retry.stop", StopReason::Cancelled.as_str());
        fields::record_error(&self.span, fields::CANCELLED);
        if let Some(meter) = &mut self.meter {
            meter.cancelled();
        }
    }

    /// Records that the body of the response broke off.
    fn answered<T>(&mut self, response: &Response<T>) {
        if !self.span.is_disabled() {
            self.tried(&response.retry_report());
            fields::record_status(&self.span, response.status());
        }
        if let Some(meter) = &mut self.meter {
            meter.answered(response);
        }
    }

    fn tried(&self, report: &RetryReport) {
        self.sent(report);
        self.span.record("retry.stop", report.stop().as_str());
    }

    /// Records the number of attempts.
    fn sent(&self, report: &RetryReport) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.span
            .record("retry.attempts", count(error::attempts(report)));
        let resends = report.attempts().len().saturating_sub(1);
        if resends > 0 {
            self.span
                .record("http.request.resend_count", count(resends));
        }
    }
}

impl Recorder for CallRecord {
    const PLACE: Place = Place::Call;

    fn span(&self) -> &Span {
        &self.span
    }

    fn received(&mut self, _: &Frame<Bytes>) {}

    fn failed(&mut self, error: &Error) {
        fields::record_error(&self.span, error.kind().as_str());
        if let Some(meter) = &mut self.meter {
            meter.failed(error);
        }
    }
}

/// OpenTelemetry's conventions have a span for each request that is sent, and none for the call. So
/// this one has a name of its own, and the kind `internal`.
fn span<B>(request: &Request<B>, paths: Paths) -> Span {
    // Counts only calls with a span: it distinguishes calls of one URL where the ids of spans are
    // not shown.
    static CALLS: AtomicU64 = AtomicU64::new(1);
    tracing::info_span!(
        target: "client",
        "http.client.call",
        otel.kind = "internal",
        otel.status_code = Empty,
        // Relaxed: the numbers have to be distinct, in any order.
        http.client.call.id = CALLS.fetch_add(1, Relaxed),
        http.request.method = fields::method(request.method()),
        http.request.method_original = Empty,
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        retry.attempts = Empty,
        retry.stop = Empty,
        server.address = fields::address(request.uri()),
        server.port = i64::from(origin::port(request.uri())),
        url.full = fields::url(request.uri(), paths),
        url.template = fields::template(request),
        "error.type" = Empty,
    )
}
