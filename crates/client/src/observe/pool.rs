use std::fmt;

use session_layer::{Event, Observer};

/// The observers of the pool, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Observers(Vec<Box<dyn Observer>>);

impl Observers {
    pub(crate) fn add(&mut self, observer: impl Observer + 'static) {
        self.0.push(Box::new(observer));
    }

    /// `None` if there are no observers, so that the pool makes no events.
    pub(crate) fn listening(self) -> Option<Self> {
        (!self.0.is_empty()).then_some(self)
    }
}

impl Observer for Observers {
    fn observe(&self, event: &Event<'_>) {
        for observer in &self.0 {
            observer.observe(event);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observers({})", self.0.len())
    }
}
