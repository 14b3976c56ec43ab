use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use http_body::{Body, SizeHint};

use super::ExchangeState;

/// A request body that hyper and the request's future share. hyper gets it when it may be sent. The
/// future gets it back if the request is sent again without its expectation.
pub(crate) struct Withheld<B> {
    size_hint: SizeHint,
    /// Whether only the bytes that come tell of an informational response.
    by_bytes: AtomicBool,
    state: Mutex<State<B>>,
}

enum State<B> {
    /// hyper may not have the body yet. Its task is woken when it may.
    Waits(B, Option<Waker>),
    /// hyper gets the body when it asks for it.
    Goes(B),
    Taken,
}

impl<B> Withheld<B> {
    pub(crate) fn new(body: B) -> Self
    where
        B: Body,
    {
        Self {
            size_hint: body.size_hint(),
            by_bytes: AtomicBool::new(false),
            state: Mutex::new(State::Waits(body, None)),
        }
    }

    /// Has the body sent as soon as the first bytes of a response come.
    pub(crate) fn ask_by_bytes(&self) {
        self.by_bytes.store(true, Relaxed);
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.size_hint
    }

    /// Gives hyper the body, once it may be sent; `None` if it is sent over another connection.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<B>> {
        let mut state = self.state();
        match mem::replace(&mut *state, State::Taken) {
            State::Goes(body) => Poll::Ready(Some(body)),
            State::Waits(body, _) => {
                *state = State::Waits(body, Some(cx.waker().clone()));
                Poll::Pending
            }
            State::Taken => Poll::Ready(None),
        }
    }

    /// Lets hyper have the body if bytes of a response have come, and nothing else tells of them.
    /// hyper polls the body again whenever it has read something.
    pub(crate) fn note_heard(&self, exchange: &ExchangeState) {
        if self.by_bytes.load(Relaxed) && exchange.has_heard() {
            self.allow();
        }
    }

    /// Lets hyper have the body.
    pub(crate) fn allow(&self) {
        let mut state = self.state();
        let waker = match mem::replace(&mut *state, State::Taken) {
            State::Waits(body, waker) => {
                *state = State::Goes(body);
                waker
            }
            other => {
                *state = other;
                None
            }
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the body back, if hyper has not got it.
    pub(crate) fn take_back(&self) -> Option<B> {
        let taken = mem::replace(&mut *self.state(), State::Taken);
        match taken {
            State::Waits(body, waker) => {
                // The stream that was to carry it then ends.
                if let Some(waker) = waker {
                    waker.wake();
                }
                Some(body)
            }
            State::Goes(body) => Some(body),
            State::Taken => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
