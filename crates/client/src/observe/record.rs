use std::borrow::Cow;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use tracing::{Span, field::Empty};

use super::{
    Paths, Sinks,
    body::{Observed, Recorder},
    fields,
    meter::Meter,
};
use crate::{Error, ResponseBody, body::Place, error::is_failed, origin};

/// The span and the metrics of one attempt, from its begin until the body of its response has
/// ended.
#[derive(Debug)]
pub(crate) struct Record {
    span: Span,
    meter: Option<Meter>,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// No response has come yet.
    Waiting,
    Told,
}

impl Record {
    /// Begins a record, if there is a sink or a subscriber for it.
    #[inline]
    pub(crate) fn begin<B>(request: &Request<B>, sinks: &Sinks, paths: Paths) -> Option<Self>
    where
        B: http_body::Body,
    {
        let span = tracing::info_span!(
            target: "client",
            "http.client.request",
            otel.kind = "client",
            otel.name = &*name(request),
            otel.status_code = Empty,
            http.request.method = fields::method(request.method()),
            http.request.method_original = Empty,
            http.request.resend_count = Empty,
            http.response.status_code = Empty,
            network.protocol.name = "http",
            network.protocol.version = Empty,
            server.address = fields::address(request.uri()),
            server.port = i64::from(origin::port(request.uri())),
            url.full = fields::url(request.uri(), paths),
            url.template = fields::template(request),
            "error.type" = Empty,
        );
        if span.is_disabled() && !sinks.are_any() {
            return None;
        }
        if fields::method(request.method()) == fields::OTHER {
            span.record("http.request.method_original", request.method().as_str());
        }
        let resends = fields::resends(request);
        if resends > 0 {
            span.record("http.request.resend_count", i64::from(resends));
        }
        Some(Self {
            span,
            meter: sinks.are_any().then(|| Meter::begin(request, sinks)),
            state: State::Waiting,
        })
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Records the response of the attempt, and attaches the record to it until its body ends.
    pub(crate) fn ended(
        mut self,
        result: Result<Response<ResponseBody>, Error>,
    ) -> Result<Response<ResponseBody>, Error> {
        match result {
            Ok(mut response) => {
                self.answered(&response);
                // The report of the attempt reads it from there.
                let connection = response
                    .body()
                    .connection()
                    .filter(|_| is_failed(response.status()));
                if let Some(connection) = connection.cloned() {
                    response.extensions_mut().insert(connection);
                }
                Ok(response.map(|body| ResponseBody::wrapped(Observed::new(body, self))))
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    fn answered<T>(&mut self, response: &Response<T>) {
        self.state = State::Told;
        fields::record_status(&self.span, response.status());
        let version = fields::version(response.version());
        if let Some(version) = version {
            self.span.record("network.protocol.version", version);
        }
        if let Some(meter) = &mut self.meter {
            meter.answered(response.status(), version);
        }
    }

    fn tell(&mut self, error_type: &'static str) {
        self.state = State::Told;
        fields::record_error(&self.span, error_type);
        if let Some(meter) = &mut self.meter {
            meter.failed(error_type);
        }
    }
}

impl Recorder for Record {
    const PLACE: Place = Place::Attempt;

    fn span(&self) -> &Span {
        &self.span
    }

    fn received(&mut self, frame: &Frame<Bytes>) {
        if let Some(meter) = &mut self.meter {
            meter.received(frame.data_ref().map_or(0, Bytes::len));
        }
    }

    fn failed(&mut self, error: &Error) {
        self.tell(error.kind().as_str());
    }
}

/// The name of the span: the method, and the template if there is one.
fn name<B>(request: &Request<B>) -> Cow<'static, str> {
    let method = match fields::method(request.method()) {
        fields::OTHER => "HTTP",
        method => method,
    };
    match fields::template(request) {
        Some(template) => format!("{method} {template}").into(),
        None => method.into(),
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.state == State::Waiting {
            self.tell(fields::CANCELLED);
        }
    }
}
