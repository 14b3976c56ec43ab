use session_layer::{Event, Observer, Origin};

use super::{
    fields,
    figure::Figure,
    sink::{Label, Sinks},
};

/// The metrics of connections.
pub(crate) struct Connections(pub(crate) Sinks);

impl Observer for Connections {
    fn observe(&self, event: &Event<'_>) {
        let Self(sinks) = self;
        match event {
            Event::Opened {
                origin,
                version,
                took,
                ..
            } => {
                let mut labels = labels_of(origin);
                sinks.add(Figure::OpenConnections, 1, &labels);
                labels.extend(version_of(*version));
                sinks.record(Figure::ConnectionSetUp, took.as_secs_f64(), &labels);
            }
            Event::Acquired { origin, waited, .. } => {
                let labels = labels_of(origin);
                sinks.record(Figure::TimeInQueue, waited.as_secs_f64(), &labels);
            }
            Event::Closed {
                origin,
                version,
                lived,
                ..
            } => {
                let mut labels = labels_of(origin);
                sinks.add(Figure::OpenConnections, -1, &labels);
                labels.extend(version_of(*version));
                sinks.record(Figure::ConnectionDuration, lived.as_secs_f64(), &labels);
            }
            _ => {}
        }
    }
}

fn labels_of(origin: &Origin) -> Vec<Label> {
    vec![
        Label::new("server.address", fields::bare(origin.host()).to_owned()),
        Label::new("server.port", origin.port()),
    ]
}

fn version_of(version: http::Version) -> Option<Label> {
    let version = fields::version(version)?;
    Some(Label::new("network.protocol.version", version))
}
