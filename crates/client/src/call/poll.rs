//! How a call goes on, until it has what its caller gets.

use std::{
    future::Future,
    mem,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use retry_layer::{Drain, ResponseExt as _};
use tokio::time::Instant;

use super::{
    Answer, Call, Core, Projected,
    start::keep,
    state::{State, StateProj},
};
use crate::{
    Error, ResponseBody,
    collect::Gathering,
    decode,
    redirect::{Kept, Next},
    so_far,
    stack::Mode,
};

impl<W: Mode> Future for Call<W> {
    type Output = Result<Response<ResponseBody>, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Looked at where it is, which is where the caller wants it: what is plain is not moved.
        let mut polled = match this.state.as_mut().project() {
            StateProj::Standard { call } => call.poll(cx),
            StateProj::Observed { observed } => return observed.poll(cx),
            StateProj::Custom { .. }
            | StateProj::Gathering { .. }
            | StateProj::Draining { .. }
            | StateProj::Failed { .. } => Poll::Pending,
        };
        let passes = match &polled {
            Poll::Ready(Ok(response)) => this.passes(response),
            // The answer first, the clock second: what came in time is given. Said here, and not by
            // moving `polled`, which is as large as a response.
            Poll::Pending if this.state.is_sending() && this.timer.take_untimed_wait() => {
                return Poll::Pending;
            }
            Poll::Ready(Err(_)) | Poll::Pending => false,
        };
        if !passes {
            this.go_on(cx, &mut polled);
        }
        polled
    }
}

impl<W: Mode> Projected<'_, W> {
    /// Whether a response is what the caller gets, just as it is.
    #[inline]
    fn passes(&self, response: &Response<ResponseBody>) -> bool {
        let is_whole = !W::COLLECTS || response.body().is_collected();
        is_whole
            && self.history.is_none()
            && !response.status().is_redirection()
            && !(self.decode.is_some() && decode::is_encoded(response.headers()))
    }

    /// Looks at what has come by now, and goes on until the call is over or has to wait; what it
    /// comes to is in `polled`.
    #[cold]
    fn go_on(&mut self, cx: &mut Context<'_>, polled: &mut Poll<Answer>) {
        // The stack has just been polled, if there is one.
        let waits = self.state.is_stack();
        if self.go_on_while_ready(cx, polled, waits) {
            return;
        }
        if !self.state.is_sending() {
            self.timer.arm();
        }
        while let Poll::Ready(limit) = self.timer.poll(cx) {
            let so_far = match self.state.as_mut().so_far(cx) {
                ControlFlow::Continue(so_far) => so_far,
                ControlFlow::Break(answer) => {
                    *polled = Poll::Ready(answer);
                    if self.go_on_while_ready(cx, polled, false) {
                        return;
                    }
                    continue;
                }
            };
            let mut error = limit.exceeded().in_phase(so_far.phase);
            if let Some(report) = so_far.report {
                error.set_report(report);
            }
            if let StateProj::Gathering { gathering } = self.state.as_mut().project() {
                error = match gathering.take() {
                    Some(gathering) => gathering.fail_call(error),
                    None => error,
                };
            }
            *polled = Poll::Ready(Err(self.named(error)));
            return;
        }
    }

    /// Goes on until the call is over or has to wait; says whether it is over.
    fn go_on_while_ready(
        &mut self,
        cx: &mut Context<'_>,
        polled: &mut Poll<Answer>,
        mut waits: bool,
    ) -> bool {
        loop {
            let answer = match mem::replace(polled, Poll::Pending) {
                Poll::Pending if !waits => self.poll_state(cx),
                ready_or_not => ready_or_not,
            };
            let Poll::Ready(answer) = answer else {
                return false;
            };
            waits = false;
            match answer.and_then(|response| self.look(response)) {
                Ok(None) => {}
                Ok(Some(response)) => {
                    *polled = Poll::Ready(Ok(response));
                    return true;
                }
                Err(error) => {
                    *polled = Poll::Ready(Err(self.named(error)));
                    return true;
                }
            }
        }
    }

    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        loop {
            return match self.state.as_mut().project() {
                StateProj::Standard { call } => call.poll(cx),
                // What it tells is not of a call above it that asks.
                StateProj::Custom { call } => so_far::unasked(|| call.poll(cx)),
                StateProj::Observed { observed } => observed.poll(cx),
                StateProj::Gathering { gathering } => poll_gathering(gathering, cx),
                StateProj::Draining { drain, next } => {
                    if let Some(drain) = drain {
                        ready!(drain.as_mut().poll(cx));
                    }
                    let next = next.take().expect("there is one until it is sent");
                    let Core {
                        stack, settings, ..
                    } = &**self.shared;
                    *self.kept = keep(stack, &next, settings);
                    let next = State::enter(stack, *next, Instant::now());
                    self.state.set(next);
                    continue;
                }
                StateProj::Failed { error } => {
                    Poll::Ready(Err(error.take().expect("polled after it had failed")))
                }
            };
        }
    }

    /// Looks at a response, and gives what is the caller's of it; if it is not, the call goes on in
    /// another state.
    fn look(
        &mut self,
        mut response: Response<ResponseBody>,
    ) -> Result<Option<Response<ResponseBody>>, Error> {
        // One that is being gathered has been decided about.
        let undecided = !matches!(*self.state, State::Gathering { .. });
        if undecided && response.status().is_redirection() && self.redirect(&mut response)? {
            return Ok(None);
        }
        if let Some(limits) = *self.decode {
            response = decode::response(response, limits)?;
        }
        if undecided && self.history.is_some() {
            self.know();
            if let (Some(history), Some(kept)) = (&mut *self.history, &*self.kept) {
                history.annotate(kept, &mut response);
            }
        }
        if W::COLLECTS && !response.body().is_collected() {
            self.know();
            let gathering = Some(Gathering::new(response, self.shared.settings.max_body));
            self.state.set(State::Gathering { gathering });
            return Ok(None);
        }
        Ok(Some(response))
    }

    /// Follows a redirect, if it is followed; says whether it is.
    fn redirect(&mut self, response: &mut Response<ResponseBody>) -> Result<bool, Error> {
        self.know();
        let Some(kept) = self.kept else {
            return Ok(false);
        };
        match kept.next(self.history, self.timer.limit(), response) {
            Next::Return => Ok(false),
            Next::Follow(next) => {
                // From here on nothing else bounds how long it takes.
                self.timer.arm();
                let drain = Drain::of(mem::take(response).into_body()).map(Box::pin);
                let next = Some(next);
                self.state.set(State::Draining { drain, next });
                Ok(true)
            }
            Next::Fail(mut error) => {
                error.set_report(response.retry_report());
                Err(error)
            }
        }
    }

    /// Says of an error what it is about, and what was tried on all hops.
    fn named(&mut self, mut error: Error) -> Error {
        if let Some(history) = self.history {
            error.alter_report(|last| history.complete(last));
        }
        let error = error.telling(self.shared.settings.paths);
        let asked = match (&*self.state, &*self.kept) {
            (
                State::Draining {
                    next: Some(next), ..
                },
                _,
            ) => Some((next.method(), next.uri())),
            (_, Some(kept)) => Some(kept.asked()),
            (State::Standard { call }, None) => Some((call.method(), call.uri())),
            (_, None) => None,
        };
        match asked {
            Some((method, uri)) => error.of(method, Some(uri)),
            None => error,
        }
    }

    /// Takes what the stack has kept of the request, if the call has not kept it by itself. Only once the stack
    /// has answered.
    fn know(&mut self) {
        if self.kept.is_none() {
            let request = self.state.as_mut().take_request();
            let redirects = &self.shared.settings.redirects;
            *self.kept = request.map(|request| Box::new(Kept::new(request, redirects)));
        }
    }
}

fn poll_gathering(
    gathering: &mut Option<Gathering>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<ResponseBody>, Error>> {
    let ended = match gathering {
        Some(gathering) => ready!(gathering.poll_gather(cx)),
        None => Ok(()),
    };
    let gathered = gathering.take().expect("polled after it was ready");
    Poll::Ready(match ended {
        Ok(()) => Ok(gathered.into_response()),
        Err(error) => Err(gathered.fail_call(error)),
    })
}
