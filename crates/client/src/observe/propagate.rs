use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry::{
    Context, global,
    propagation::{Injector, TextMapPropagator},
    trace::TraceContextExt as _,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Propagator;

type SharedPropagator = Arc<dyn TextMapPropagator + Send + Sync>;

/// The [`Propagator`] of OpenTelemetry, for version 0.33 of `opentelemetry` and 0.34 of
/// `tracing-opentelemetry`.
///
/// It writes the context of the attempt's span, which a subscriber with `tracing-opentelemetry`'s
/// layer has. If there is none, because the span is filtered out or no such layer is installed, it
/// writes OpenTelemetry's current context.
///
/// ```
/// use client::{Client, telemetry::OpenTelemetry};
/// use opentelemetry_sdk::propagation::TraceContextPropagator;
///
/// opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
/// let client = Client::builder().trace_context(OpenTelemetry::new()).build()?;
/// # Ok::<(), client::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct OpenTelemetry {
    /// `None` for the global propagator.
    propagator: Option<SharedPropagator>,
}

impl OpenTelemetry {
    /// Writes headers by the propagator that is installed for the process
    /// ([`set_text_map_propagator`](global::set_text_map_propagator)); none until one is installed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes headers by this propagator.
    #[must_use]
    pub fn with_propagator(propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        Self {
            propagator: Some(Arc::new(propagator)),
        }
    }
}

impl Propagator for OpenTelemetry {
    fn inject(&self, _: &Uri, headers: &mut HeaderMap) {
        let context = context();
        let mut headers = Headers(headers);
        match &self.propagator {
            Some(propagator) => propagator.inject_context(&context, &mut headers),
            None => global::get_text_map_propagator(|propagator| {
                propagator.inject_context(&context, &mut headers);
            }),
        }
    }
}

/// The context of the current span, or OpenTelemetry's current context.
fn context() -> Context {
    let of_span = Span::current().context();
    if of_span.span().span_context().is_valid() {
        of_span
    } else {
        Context::current()
    }
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        // A name or value that is not valid in a header is left out: the request matters more than
        // the trace.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

impl fmt::Debug for OpenTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTelemetry")
            .field("is_global", &self.propagator.is_none())
            .finish()
    }
}
