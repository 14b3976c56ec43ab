//! The task in which hyper sends a request body over HTTP/2, which can be ended from outside.
//!
//! hyper holds the stream of a request whose body it sends, until that ends. It polls the body only
//! while the peer takes bytes, so a stream whose response was dropped would stay open. Dropping
//! hyper's future resets it at once ([RFC 9113, section
//! 8.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.1)).

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::ExchangeState;

thread_local! {
    /// Whether hyper is taking requests on this thread.
    static TAKING: Cell<bool> = const { Cell::new(false) };
    /// The exchange whose request body hyper polled last, if that body was not dropped.
    static POLLED: Cell<Option<Arc<ExchangeState>>> = const { Cell::new(None) };
}

/// Lets hyper take requests, and finds out for which bodies it spawns tasks.
///
/// hyper polls a body for the first time when it takes the request. If the body has ended then,
/// hyper drops it. Otherwise hyper spawns a task for it right then.
pub(crate) fn while_taking<R>(take: impl FnOnce() -> R) -> R {
    /// Resets the flags, even if hyper panics.
    struct Taking;
    impl Drop for Taking {
        fn drop(&mut self) {
            TAKING.set(false);
            drop(POLLED.take());
        }
    }
    TAKING.set(true);
    let _taking = Taking;
    take()
}

/// Notes that this request's body is polled.
pub(crate) fn note_polled(exchange: &Arc<ExchangeState>) {
    if TAKING.get() {
        POLLED.set(Some(exchange.clone()));
    }
}

/// Notes that a request body was dropped.
pub(crate) fn note_dropped() {
    if TAKING.get() {
        drop(POLLED.take());
    }
}

pin_project! {
    /// hyper's future that sends a body, until the exchange is over.
    struct UploadTask<F> {
        #[pin]
        hyper: Option<F>,
        exchange: Arc<ExchangeState>,
    }

    impl<F> PinnedDrop for UploadTask<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.hyper.set(None);
            ExchangeState::upload_task_ended(this.exchange);
        }
    }
}

/// Spawns hyper's future. If it sends a request body, the task ends with the exchange.
pub(crate) fn spawn(hyper: impl Future<Output = ()> + Send + 'static) {
    match POLLED.take() {
        Some(exchange) => {
            exchange.upload_task_begins();
            let hyper = Some(hyper);
            tokio::spawn(UploadTask { hyper, exchange });
        }
        None => {
            tokio::spawn(hyper);
        }
    }
}

impl<F: Future<Output = ()>> Future for UploadTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.exchange.is_over_for_upload(cx) {
            return Poll::Ready(());
        }
        match this.hyper.as_pin_mut() {
            Some(hyper) => hyper.poll(cx),
            None => Poll::Ready(()),
        }
    }
}
