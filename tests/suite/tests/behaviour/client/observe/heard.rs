//! A subscriber that keeps all events and spans of the three crates.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

pub(crate) type Fields = BTreeMap<String, String>;

/// What a subscriber was told.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Told>>);

#[derive(Default)]
pub(crate) struct Told {
    /// The fields of each event that has a message, and of the call that it belongs to.
    pub(crate) events: Vec<(Fields, Fields)>,
    /// The fields that spans of each name declare, and those that ever had a value.
    pub(crate) spans: BTreeMap<&'static str, (BTreeSet<&'static str>, BTreeSet<String>)>,
}

impl Heard {
    /// Hears all until the guard is dropped.
    pub(crate) fn begin() -> (Self, DefaultGuard) {
        let heard = Self::default();
        let subscriber = tracing_subscriber::registry().with(heard.clone());
        let guard = test_suite::subscribe(subscriber);
        (heard, guard)
    }

    pub(crate) fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().expect("no panic")
    }

    /// The events of this message.
    pub(crate) fn events(&self, message: &str) -> Vec<(Fields, Fields)> {
        let told = self.told();
        let events = told.events.iter();
        events
            .filter(|(event, _)| event.get("message").is_some_and(|it| it == message))
            .cloned()
            .collect()
    }
}

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

fn is_ours(target: &str) -> bool {
    let ours = ["client", "retry_layer", "session_layer"];
    ours.iter().any(|name| target.starts_with(name))
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Collect(&mut fields));
        let metadata = attributes.metadata();
        if is_ours(metadata.target()) {
            let mut told = self.told();
            let (declared, had) = told.spans.entry(metadata.name()).or_default();
            declared.extend(metadata.fields().iter().map(|field| field.name()));
            had.extend(fields.keys().cloned());
        }
        let span = context.span(id).expect("it is new");
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("it is there");
        let mut extensions = span.extensions_mut();
        let fields = extensions.get_mut::<Fields>().expect("it was new once");
        values.record(&mut Collect(fields));
        if is_ours(span.metadata().target()) {
            let mut told = self.told();
            let (_, had) = told.spans.entry(span.name()).or_default();
            had.extend(fields.keys().cloned());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !is_ours(event.metadata().target()) {
            return;
        }
        let mut fields = Fields::new();
        event.record(&mut Collect(&mut fields));
        let scope = context.event_scope(event).into_iter().flatten();
        let call = scope
            .filter(|span| span.name() == "http.client.call")
            .find_map(|span| span.extensions().get::<Fields>().cloned());
        self.told().events.push((fields, call.unwrap_or_default()));
    }
}
