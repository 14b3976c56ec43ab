//! The context of a trace, as the headers of requests carry it.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, Request, Uri};

use crate::{CrossOrigin, forward::AsItIs, without_defaults::WithoutDefaults};

/// Writes the context of a trace into the headers of each attempt: `traceparent` and `tracestate` of
/// [W3C](https://www.w3.org/TR/trace-context/), `baggage`, or others.
///
/// It is called once for each attempt, within the attempt's span, which becomes the parent of the
/// server's span. The trait depends on no version of any tracing library;
/// `client::telemetry::OpenTelemetry` (feature `opentelemetry`) implements it for OpenTelemetry.
///
/// ```
/// use client::{Client, telemetry::Propagator};
/// use http::{HeaderMap, HeaderValue, Uri};
///
/// struct Fixed;
///
/// impl Propagator for Fixed {
///     fn inject(&self, _: &Uri, headers: &mut HeaderMap) {
///         // A real one asks the tracing system about `tracing::Span::current()`.
///         let value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
///         headers.insert("traceparent", HeaderValue::from_static(value));
///     }
/// }
///
/// let client = Client::builder().trace_context(Fixed).build()?;
/// # Ok::<(), client::Error>(())
/// ```
pub trait Propagator: Send + Sync {
    /// Writes the headers of an attempt to this URI. The map is empty; its headers replace those of
    /// the same names in the request.
    fn inject(&self, uri: &Uri, headers: &mut HeaderMap);
}

/// A [`Propagator`] made of a function.
#[derive(Clone, Copy)]
pub struct PropagatorFn<F>(F);

/// Makes a [`Propagator`] of a function.
///
/// ```
/// use client::{Client, telemetry::propagator_fn};
/// use http::{HeaderMap, HeaderValue, Uri};
///
/// let propagator = propagator_fn(|_: &Uri, headers: &mut HeaderMap| {
///     headers.insert("x-trace", HeaderValue::from_static("17"));
/// });
/// let client = Client::builder().trace_context(propagator).build()?;
/// # Ok::<(), client::Error>(())
/// ```
pub fn propagator_fn<F>(inject: F) -> PropagatorFn<F>
where
    F: Fn(&Uri, &mut HeaderMap) + Send + Sync,
{
    PropagatorFn(inject)
}

impl<F> Propagator for PropagatorFn<F>
where
    F: Fn(&Uri, &mut HeaderMap) + Send + Sync,
{
    fn inject(&self, uri: &Uri, headers: &mut HeaderMap) {
        (self.0)(uri, headers);
    }
}

impl<F> fmt::Debug for PropagatorFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PropagatorFn").finish_non_exhaustive()
    }
}

/// How far the context of a trace goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Scope {
    /// Only to the first origin, and not beyond a redirect to another.
    #[default]
    FirstOrigin,
    Everywhere,
}

/// A client's propagator, if it has one.
#[derive(Clone, Default)]
pub(crate) struct TraceContext {
    pub(crate) propagator: Option<Arc<dyn Propagator>>,
    pub(crate) scope: Scope,
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const BAGGAGE: &str = "baggage";

/// Whether the standards use this header for the context of a trace. Its content may identify the
/// users of one origin, so it is not sent to another.
pub(crate) fn is_trace_context(name: &HeaderName) -> bool {
    [TRACEPARENT, TRACESTATE, BAGGAGE].contains(&name.as_str())
}

impl TraceContext {
    pub(crate) fn is_set(&self) -> bool {
        self.propagator.is_some()
    }

    /// Whether it is written into this request.
    pub(crate) fn is_for<B>(&self, request: &Request<B>) -> bool {
        let goes_there = match self.scope {
            Scope::FirstOrigin => request.extensions().get::<CrossOrigin>().is_none(),
            Scope::Everywhere => true,
        };
        self.is_set() && goes_there && !AsItIs::is(request)
    }

    /// Writes it into a request's headers. Has to be called within the attempt's span.
    pub(crate) fn inject<B>(&self, request: &mut Request<B>) {
        let Some(propagator) = &self.propagator else {
            return;
        };
        let mut written = HeaderMap::new();
        propagator.inject(request.uri(), &mut written);
        let without = WithoutDefaults::of(request);
        let headers = request.headers_mut();
        if written.contains_key(TRACEPARENT) && !without.has_named(TRACEPARENT) {
            // `tracestate` belongs to the `traceparent` that is replaced.
            headers.remove(TRACESTATE);
        }
        for name in written.keys().filter(|name| !without.has(name)) {
            headers.remove(name);
            // An empty value has no meaning.
            let values = written.get_all(name).iter().filter(|it| !it.is_empty());
            for value in values {
                let mut value = value.clone();
                if name.as_str() == BAGGAGE {
                    // The value may identify a user: kept out of `Debug` and of HPACK's tables.
                    value.set_sensitive(true);
                }
                headers.append(name, value);
            }
        }
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceContext")
            .field("is_set", &self.is_set())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
