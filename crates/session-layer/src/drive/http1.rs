use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::watch::{Look, Watch, look_at_exchange};
use crate::{
    exchange::{Cause, ExchangePhase, Release},
    exchange::{Drained, Unread},
    pool::{Connection, Expiry, close_idle},
};

pin_project! {
    /// The driver of one HTTP/1 connection: polls hyper, and keeps all timeouts of the connection
    /// with one timer.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Driver<F, B>
    where
        B: Send,
        B: 'static,
    {
        #[pin]
        hyper: Option<F>,
        #[pin]
        watch: Watch,
        // The rest of a response body that was dropped, while the connection reads it.
        unread: Option<Box<Unread>>,
        // The waker that the connection's state has. It mostly stays the same, and is compared here
        // so that no lock is taken.
        task: Option<Waker>,
        connection: Arc<Connection<B>>,
    }

    impl<F, B> PinnedDrop for Driver<F, B>
    where
        B: Send,
        B: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // The pool is told even if a foreign transport panics when it is dropped.
            let _tells = Ended(this.connection);
            // The socket is closed before the pool is told, so that one who waits for the pool may
            // rely on it.
            this.hyper.set(None);
        }
    }
}

/// Tells the pool, when dropped, that a connection has ended.
pub(super) struct Ended<'a, B: Send + 'static>(pub(super) &'a Arc<Connection<B>>);

impl<B: Send + 'static> Drop for Ended<'_, B> {
    fn drop(&mut self) {
        self.0.state().unregister();
        self.0.pool().ended(self.0);
    }
}

impl<F, B: Send + 'static> Driver<F, B> {
    pub(crate) fn new(hyper: F, connection: Arc<Connection<B>>) -> Self {
        Self {
            hyper: Some(hyper),
            watch: Watch::new(connection.pool().config(), None),
            unread: None,
            task: None,
            connection,
        }
    }
}

impl<F, B> Future for Driver<F, B>
where
    F: Future<Output = hyper::Result<()>>,
    B: Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let state = this.connection.state();
        if this
            .task
            .as_ref()
            .is_none_or(|it| !it.will_wake(cx.waker()))
        {
            state.register(cx);
            *this.task = Some(cx.waker().clone());
        }
        if state.aborted().is_some() {
            return Poll::Ready(());
        }
        let Some(hyper) = this.hyper.as_mut().as_pin_mut() else {
            return Poll::Ready(());
        };
        if let Poll::Ready(ended) = hyper.poll(cx) {
            let is_idle = state.phase() == ExchangePhase::Idle;
            // One that was upgraded ends here too.
            if is_idle && (ended.is_err() || state.has_read_ended()) {
                this.connection.note_closed_idle();
            }
            if let Err(error) = ended {
                tracing::trace!(origin = %this.connection.origin(), %error, "connection ended");
            }
            state.hyper_ended();
            this.hyper.set(None);
            return Poll::Ready(());
        }
        if let Some(hint) = this.connection.new_idle_hint() {
            this.watch.as_mut().shorten(hint);
        }
        if let Some(by) = state.take_look_by() {
            this.watch.as_mut().look_by(by);
            if let Some(unread) = this.connection.take_unread() {
                *this.unread = Some(unread);
            }
        }
        if let Some(unread) = this.unread {
            if let Poll::Ready(drained) = unread.poll(cx) {
                *this.unread = None;
                match drained {
                    // The same as where the caller has read the body to its end.
                    Drained::Ended if state.has_write_failed() => {
                        state.abort(Cause::Broken);
                        return Poll::Ready(());
                    }
                    Drained::Ended => this.connection.clone().release(None),
                    Drained::NotWorthIt => {
                        state.abort(Cause::Dropped);
                        return Poll::Ready(());
                    }
                }
            }
        }
        let cause = ready!(this.watch.poll(cx, |now| look(this.connection, now)));
        state.abort(cause);
        Poll::Ready(())
    }
}

/// Checks the timeouts that hold for the connection at this moment.
fn look<B: Send + 'static>(connection: &Arc<Connection<B>>, now: Instant) -> Look {
    let state = connection.state();
    if state.phase() == ExchangePhase::Idle {
        return look_at_idle(connection, now);
    }
    look_at_exchange(state, &connection.pool().config().timeouts, now)
}

fn look_at_idle<B: Send + 'static>(connection: &Arc<Connection<B>>, now: Instant) -> Look {
    let pool = connection.pool();
    if connection.expires().is_some_and(|expires| expires <= now) {
        // It is too old to be given out again; a request on it may finish.
        return match pool.take_idle(connection.id(), connection.origin()) {
            Some(_) => Look::Abort(Cause::TooOld),
            None => Look::Again(None),
        };
    }
    match pool.expire(connection, now) {
        Expiry::Expired(idle) => {
            close_idle(idle, Cause::Idle);
            Look::Abort(Cause::Idle)
        }
        Expiry::At(at) => Look::Again(Some(at).into_iter().chain(connection.expires()).min()),
        Expiry::InUse => Look::Again(connection.expires()),
    }
}
