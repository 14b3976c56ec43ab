//! Runs hyper's futures of HTTP/2 connections.
//!
//! hyper has one type for all of them, as large as a whole connection: more than two kilobytes. As
//! the future of a task it would be moved ten times for each request, since it passes through the
//! functions that make the task, and tokio moves a future once more when it has ended. So each
//! future is put into a box that an earlier one has left, and the task moves only the box.

use std::{
    any::Any,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use hyper::rt::Executor;
use pin_project_lite::pin_project;

use crate::exchange::upload_task;

/// hyper's future that moves the frames of one connection.
pub(super) type Frames = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many boxes a session keeps for all its connections.
const MOST: usize = 64;

/// The boxes of futures that have ended, for the next ones.
#[derive(Default)]
pub(crate) struct Boxes(Mutex<Vec<Pin<Box<dyn Reusable>>>>);

impl Boxes {
    /// Puts a future into a kept box, or into a new one.
    fn fill<F>(&self, future: F) -> Pin<Box<dyn Reusable>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut future = Some(future);
        // The lock is held for an instant only, and a new box costs little more than a wait for it.
        let spare = self.0.try_lock().ok().and_then(|mut boxes| boxes.pop());
        if let Some(mut spare) = spare {
            if spare.as_mut().fill(&mut future) {
                return spare;
            }
        }
        Box::pin(Room { future })
    }

    /// Keeps the box of a future that has ended.
    fn keep(&self, empty: Pin<Box<dyn Reusable>>) {
        if let Ok(mut boxes) = self.0.try_lock() {
            if boxes.len() < MOST {
                boxes.push(empty);
            }
        }
    }
}

/// A box that holds futures of one type, one after the other.
trait Reusable: Future<Output = ()> + Send {
    /// Takes the future out of an `Option`, if it is of the type of this box; returns whether it
    /// is.
    fn fill(self: Pin<&mut Self>, future: &mut dyn Any) -> bool;

    /// Drops the future.
    fn empty(self: Pin<&mut Self>);
}

pin_project! {
    struct Room<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F> Reusable for Room<F>
where
    F: Future<Output = ()> + Send + 'static,
{
    fn fill(self: Pin<&mut Self>, future: &mut dyn Any) -> bool {
        let Some(future) = future.downcast_mut::<Option<F>>() else {
            return false;
        };
        self.project().future.set(future.take());
        true
    }

    fn empty(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }
}

impl<F: Future<Output = ()>> Future for Room<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project().future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// A future of hyper in its box, which is kept when the future has ended. If the future is dropped
/// before, so is the box.
struct Boxed {
    future: Option<Pin<Box<dyn Reusable>>>,
    boxes: Arc<Boxes>,
}

impl Future for Boxed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(future) = &mut self.future {
            if future.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        if let Some(mut ended) = self.future.take() {
            ended.as_mut().empty();
            self.boxes.keep(ended);
        }
        Poll::Ready(())
    }
}

/// The executor that hyper gives the futures of one connection to. The first one moves its frames,
/// and is kept for the driver. The others belong to requests, and run in tasks of their own.
#[derive(Clone)]
pub(super) struct Tasks(Arc<Inner>);

struct Inner {
    first: Mutex<First>,
    boxes: Arc<Boxes>,
}

enum First {
    Awaited,
    There(Frames),
    Taken,
}

impl Tasks {
    pub(super) fn new(boxes: Arc<Boxes>) -> Self {
        Self(Arc::new(Inner {
            first: Mutex::new(First::Awaited),
            boxes,
        }))
    }

    pub(super) fn take_frames(&self) -> Option<Frames> {
        match mem::replace(&mut *self.first(), First::Taken) {
            First::There(frames) => Some(frames),
            First::Awaited | First::Taken => None,
        }
    }

    fn first(&self) -> MutexGuard<'_, First> {
        self.0.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut first = self.first();
        if matches!(*first, First::Awaited) {
            *first = First::There(Box::pin(future));
            return;
        }
        drop(first);
        let boxes = self.0.boxes.clone();
        let future = Some(boxes.fill(future));
        upload_task::spawn(Boxed { future, boxes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(place: &Pin<Box<dyn Reusable>>) -> *const () {
        std::ptr::from_ref(&**place).cast()
    }

    #[tokio::test]
    async fn a_box_serves_one_future_after_the_other_of_its_type() {
        let until_polled = |held: Arc<()>| async move { drop(held) };
        let boxes = Arc::new(Boxes::default());
        let held = Arc::new(());
        let first = boxes.fill(until_polled(held.clone()));
        let used = address(&first);
        let task = Boxed {
            future: Some(first),
            boxes: boxes.clone(),
        };
        task.await;
        assert_eq!(Arc::strong_count(&held), 1, "the box is empty");
        let second = boxes.fill(until_polled(held.clone()));
        assert_eq!(address(&second), used);
        boxes.keep(second);
        // A future of another type, for which the box cannot be used.
        boxes.fill(std::future::ready(())).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
