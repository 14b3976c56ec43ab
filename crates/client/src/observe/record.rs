use http::{Request, Response};
use tracing::{Span, field::Empty};

#[cfg(feature = "metrics")]
use super::meter::Meter;
use super::{Metrics, Paths, body::Observed, fields};
use crate::{Error, ResponseBody, error::is_failed, origin};

/// The span and the figures of one attempt, from when it is begun until its body has ended.
#[derive(Debug)]
pub(crate) struct Record {
    span: Span,
    #[cfg(feature = "metrics")]
    meter: Option<Meter>,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing has come back by now.
    Waiting,
    Told,
}

impl Record {
    /// Begins a record, if anybody wants one.
    #[inline]
    pub(crate) fn begin<B>(request: &Request<B>, metrics: Metrics, paths: Paths) -> Option<Self> {
        let span = tracing::info_span!(
            target: "client",
            "http.client.request",
            otel.kind = "client",
            otel.name = name(request),
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
            "error.type" = Empty,
        );
        if span.is_disabled() && metrics == Metrics::Off {
            return None;
        }
        if fields::method(request.method()) == "_OTHER" {
            span.record("http.request.method_original", request.method().as_str());
        }
        let resends = fields::resends(request);
        if resends > 0 {
            span.record("http.request.resend_count", i64::from(resends));
        }
        Some(Self {
            span,
            #[cfg(feature = "metrics")]
            meter: (metrics == Metrics::On).then(|| Meter::begin(request)),
            state: State::Waiting,
        })
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Notes how the attempt was answered, and goes with the response until its body ends.
    pub(crate) fn ended(
        mut self,
        result: Result<Response<ResponseBody>, Error>,
    ) -> Result<Response<ResponseBody>, Error> {
        match result {
            Ok(mut response) => {
                self.answered(&response);
                // A report of the attempt finds it there.
                let connection = response
                    .body()
                    .connection()
                    .filter(|_| is_failed(response.status()));
                if let Some(connection) = connection.cloned() {
                    response.extensions_mut().insert(connection);
                }
                Ok(response.map(|body| ResponseBody::observed(Observed::new(body, self))))
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    fn answered<T>(&mut self, response: &Response<T>) {
        self.state = State::Told;
        let status = response.status();
        self.span
            .record("http.response.status_code", i64::from(status.as_u16()));
        let version = fields::version(response.version());
        if let Some(version) = version {
            self.span.record("network.protocol.version", version);
        }
        if is_failed(status) {
            self.span.record("error.type", status.as_str());
            self.span.record("otel.status_code", "ERROR");
        }
        #[cfg(feature = "metrics")]
        if let Some(meter) = &mut self.meter {
            meter.answered(status, version);
        }
    }

    pub(super) fn failed(&mut self, error: &Error) {
        self.tell(error.kind().as_str());
    }

    fn tell(&mut self, error_type: &'static str) {
        self.state = State::Told;
        self.span.record("error.type", error_type);
        self.span.record("otel.status_code", "ERROR");
        #[cfg(feature = "metrics")]
        if let Some(meter) = &mut self.meter {
            meter.failed(error_type);
        }
    }
}

fn name<B>(request: &Request<B>) -> &'static str {
    match fields::method(request.method()) {
        "_OTHER" => "HTTP",
        method => method,
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.state == State::Waiting {
            self.tell("cancelled");
        }
    }
}
