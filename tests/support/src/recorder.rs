use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

/// Notes the order in which requests pass the layers that it makes.
///
/// ```
/// use test_support::Recorder;
/// use tower::{ServiceBuilder, ServiceExt as _, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let recorder = Recorder::new();
/// let stack = ServiceBuilder::new()
///     .layer(recorder.layer("outer"))
///     .layer(recorder.layer("inner"))
///     .service(service_fn(async |number: u8| Ok::<_, ()>(number)));
///
/// assert_eq!(stack.oneshot(7).await, Ok(7));
/// assert_eq!(recorder.names(), ["outer", "inner"]);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    names: Arc<Mutex<Vec<&'static str>>>,
}

impl Recorder {
    /// Returns a recorder that has noted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a layer that notes `name` at each call.
    #[must_use]
    pub fn layer(&self, name: &'static str) -> RecordLayer {
        RecordLayer {
            recorder: self.clone(),
            name,
        }
    }

    /// Notes a name by hand, as the service in the middle of a stack may.
    pub fn note(&self, name: &'static str) {
        self.lock().push(name);
    }

    /// Returns the names in the order of the calls.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A layer of a [`Recorder`].
#[derive(Clone, Debug)]
pub struct RecordLayer {
    recorder: Recorder,
    name: &'static str,
}

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;

    fn layer(&self, inner: S) -> Record<S> {
        Record {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service of a [`RecordLayer`].
#[derive(Clone, Debug)]
pub struct Record<S> {
    inner: S,
    layer: RecordLayer,
}

impl<S, Request> Service<Request> for Record<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.layer.recorder.note(self.layer.name);
        self.inner.call(request)
    }
}
