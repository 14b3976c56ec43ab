//! Spans, events and metrics of a client.

use std::{iter, sync::Arc};

#[cfg(feature = "metrics")]
use crate::observe::Facade;
#[cfg(feature = "opentelemetry")]
use crate::observe::Instruments;
use crate::{
    ClientBuilder,
    observe::{CallSpans, Paths, Scope, Sink, Sinks},
    telemetry::Propagator,
};

impl ClientBuilder {
    /// Whether each call has a span, `http.client.call`, above the spans of its attempts. It is
    /// made only where a subscriber enables spans of the level INFO and the target `client`. See
    /// [`telemetry`](crate::telemetry). Default: true.
    ///
    /// ```
    /// let client = client::Client::builder().call_spans(false).build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn call_spans(mut self, on: bool) -> Self {
        self.call_spans = if on { CallSpans::On } else { CallSpans::Off };
        self
    }

    /// Records the paths of URLs: in the attribute `url.full` of spans, in the field `path` of
    /// events, and in the line of an [`Error`](crate::Error). Default: they are left out, because
    /// many hold a secret: a signed link, a token to reset a password, the token of a chat's bot.
    /// The scheme, the host and the port are always recorded, userinfo and queries never.
    ///
    /// Where paths hold secrets, a [template](crate::RequestBuilder::url_template) can tell
    /// requests apart instead.
    ///
    /// ```
    /// let client = client::Client::builder().record_paths().build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn record_paths(mut self) -> Self {
        self.paths = Paths::Recorded;
        self
    }

    /// Records metrics by the [`metrics`](https://docs.rs/metrics) facade: those that
    /// [`telemetry`](crate::telemetry) lists, as counters, gauges and histograms. Default: none.
    #[cfg(feature = "metrics")]
    pub fn record_metrics(mut self) -> Self {
        self.facade = Some(Facade::described());
        self
    }

    /// Records metrics by a meter of this provider: those that [`telemetry`](crate::telemetry)
    /// lists, with their units and buckets. Each further call adds a provider; the `metrics` facade
    /// may be used beside it. Default: none, also where a global provider is installed;
    /// [`opentelemetry::global::meter_provider`] returns that one.
    ///
    /// ```
    /// use client::Client;
    /// use opentelemetry_sdk::metrics::SdkMeterProvider;
    ///
    /// let provider = SdkMeterProvider::builder().build();
    /// let client = Client::builder().meter_provider(&provider).build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    #[cfg(feature = "opentelemetry")]
    pub fn meter_provider(
        mut self,
        provider: &(impl opentelemetry::metrics::MeterProvider + ?Sized),
    ) -> Self {
        self.meters.push(Arc::new(Instruments::of(provider)));
        self
    }

    /// Writes the context of a trace into the headers of each attempt, by this propagator:
    /// `traceparent` and others, whose parent is the attempt's span. It replaces headers of these
    /// names that a request has. [`without_header`](crate::RequestBuilder::without_header) keeps
    /// one from a request; a header that is set after that stays as it is.
    ///
    /// It is not written after a redirect to another origin, unless
    /// [`trace_context_everywhere`](Self::trace_context_everywhere) is set, nor into requests that
    /// a gateway [forwards](crate::Client::forward). Default: none.
    ///
    /// See [`Propagator`] for an example.
    pub fn trace_context(mut self, propagator: impl Propagator + 'static) -> Self {
        self.extras.trace_context.propagator = Some(Arc::new(propagator));
        self
    }

    /// Writes the [context of a trace](Self::trace_context) also after a redirect to another
    /// origin, which may then learn who called, by `baggage` most of all. Default: it is not
    /// written there.
    pub fn trace_context_everywhere(mut self) -> Self {
        self.extras.trace_context.scope = Scope::Everywhere;
        self
    }

    /// Where the values of metrics go.
    #[cfg_attr(
        not(any(feature = "metrics", feature = "opentelemetry")),
        expect(clippy::unused_self, reason = "there is nothing that takes them")
    )]
    pub(super) fn sinks(&self) -> Sinks {
        let all = iter::empty::<Arc<dyn Sink>>();
        #[cfg(feature = "metrics")]
        let all = all.chain(self.facade.map(|facade| Arc::new(facade) as _));
        #[cfg(feature = "opentelemetry")]
        let all = all.chain(self.meters.iter().cloned());
        all.collect()
    }
}
