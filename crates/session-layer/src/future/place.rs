//! The part of a request's future that waits for a connection. It is boxed, and can tell which step
//! it waits for.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{
    Step,
    origin::Origin,
    pool::{Arrival, Pool, Waiting},
};

/// A future of a `T` that can tell which step it has come to.
pub(crate) trait Stepwise<T>: Future<Output = T> + Send {
    fn step(&self) -> Step;
}

/// The box of such a future.
pub(crate) type CheckingOut<T> = Pin<Box<dyn Stepwise<T>>>;

pin_project! {
    /// A future that holds a place in the pool's queue.
    struct Placed<F, B>
    where
        B: Send,
        B: 'static,
    {
        #[pin]
        future: F,
        place: Option<Place<B>>,
    }
}

pin_project! {
    /// A future that looks up where its request goes before it has a place.
    struct Finding<F, B>
    where
        B: Send,
        B: 'static,
    {
        #[pin]
        future: F,
        place: Found<B>,
    }
}

/// The place that a request has once its addresses are known, if it has to wait then.
pub(crate) type Found<B> = Arc<OnceLock<Option<Place<B>>>>;

/// The place of a request in the queue, shared between the future that waits there and its box.
pub(crate) struct Place<B: Send + 'static> {
    pool: Arc<Pool<B>>,
    origin: Origin,
    arrival: Arrival,
}

impl<B: Send + 'static> Place<B> {
    pub(crate) fn of(pool: &Arc<Pool<B>>, waiting: &Waiting<B>) -> Self {
        Self {
            pool: pool.clone(),
            origin: waiting.origin().clone(),
            arrival: waiting.arrival(),
        }
    }

    fn step(&self) -> Step {
        self.pool.step(&self.origin, self.arrival)
    }
}

/// Boxes a future that waits at this place, or without a place for its connection to take a
/// request.
pub(crate) fn at<T, B: Send + 'static>(
    place: Option<Place<B>>,
    future: impl Future<Output = T> + Send + 'static,
) -> CheckingOut<T> {
    Box::pin(Placed { future, place })
}

impl<F: Future, B: Send + 'static> Future for Placed<F, B> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

impl<F: Future + Send, B: Send + 'static> Stepwise<F::Output> for Placed<F, B> {
    fn step(&self) -> Step {
        match &self.place {
            Some(place) => place.step(),
            None => Step::Queue,
        }
    }
}

/// Boxes what looks up where its request goes, and then notes the place at which it waits.
pub(crate) fn finding<T, B: Send + 'static>(
    place: Found<B>,
    future: impl Future<Output = T> + Send + 'static,
) -> CheckingOut<T> {
    Box::pin(Finding { future, place })
}

impl<F: Future, B: Send + 'static> Future for Finding<F, B> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

impl<F: Future + Send, B: Send + 'static> Stepwise<F::Output> for Finding<F, B> {
    fn step(&self) -> Step {
        match self.place.get() {
            None => Step::Dns,
            Some(Some(place)) => place.step(),
            Some(None) => Step::Queue,
        }
    }
}
