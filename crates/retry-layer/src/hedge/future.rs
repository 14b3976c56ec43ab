use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    HedgeBody,
    call::{Ended, Failure, HedgedCall},
    origins::OriginLatency,
    race::{Move, Race},
    runner::{News, Runner},
};
use crate::{
    attempt::Attempt,
    budget::Withdrawal,
    extras::AttemptNumber,
    hint::RequestedWait,
    named::{BoxError, ServiceError},
    replay::{Copying, ReplayBody, ReplaySource},
    report::{AttemptOutcome, Role},
};

pin_project! {
    /// The future of [`Hedge`](super::Hedge).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops all attempts that are under way; what they had sent may have been processed. A
    /// hedge that was not sent yet gives its token back to the budget.
    ///
    /// # Panics
    ///
    /// If it is polled again after it was ready.
    #[must_use = "futures do nothing unless polled"]
    pub struct HedgeFuture<S, B, F, R: Body, E> {
        #[pin]
        state: State<S, B, F, R, E>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F, R: Body, E> {
        Passing { #[pin] attempt: F },
        // Boxed, because an attempt that is not hedged would have room for it otherwise.
        Raced { raced: Pin<Box<Raced<S, B, F, R, E>>> },
    }
}

pin_project! {
    /// An attempt that may be hedged.
    struct Raced<S, B, F, R: Body, E> {
        #[pin]
        first: Runner<F, R, E>,
        // Armed when nothing is there at once.
        #[pin]
        timer: Option<Sleep>,
        racing: Racing<S, B, F, R, E>,
    }
}

/// What there is of a hedged attempt beside its own future.
pub(super) struct Racing<S, B, F, R: Body, E> {
    call: HedgedCall,
    /// Made the attempt, and makes its hedges; `None` when no further hedge is sent, since it may have a
    /// place in the queue of a limit.
    service: Option<S>,
    source: ReplaySource<B>,
    race: Race,
    /// Of the attempt itself.
    number: AttemptNumber,
    first: Sent,
    hedges: Vec<HedgeRunner<F, R, E>>,
    /// The hedge that is sent when the service is ready.
    prepared: Option<(ReplayBody<B>, Withdrawal)>,
    /// Where the time of the answer is noted, if delays are learned.
    latency: Option<OriginLatency>,
}

/// What is noted of an attempt that was sent.
struct Sent {
    at: Instant,
    /// There when it has failed.
    failure: Option<Failure>,
}

struct HedgeRunner<F, R: Body, E> {
    // Dropped before the token, which is settled when the attempt is over.
    runner: Pin<Box<Runner<F, R, E>>>,
    sent: Sent,
    /// Until it has failed, or the race is over.
    withdrawal: Option<Withdrawal>,
}

impl<S, B, F, R: Body, E> HedgeFuture<S, B, F, R, E> {
    #[inline]
    pub(super) fn passing(attempt: F) -> Self {
        Self {
            state: State::Passing { attempt },
        }
    }

    #[inline]
    pub(super) fn racing(attempt: F, racing: Racing<S, B, F, R, E>) -> Self {
        Self {
            state: State::Raced {
                raced: Box::pin(Raced {
                    first: Runner::new(attempt),
                    timer: None,
                    racing,
                }),
            },
        }
    }

    /// The future of the attempt that the retry layer made, while there is no head of its response. Its
    /// hedges are not told of.
    #[must_use]
    pub fn attempt(&self) -> Option<&F> {
        match &self.state {
            State::Passing { attempt } => Some(attempt),
            State::Raced { raced } => raced.first.attempt(),
        }
    }
}

impl<S, B, R> Future for HedgeFuture<S, B, S::Future, R, S::Error>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: ServiceError,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Output = Result<Response<HedgeBody<R>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Passing { attempt } => attempt
                .poll(cx)
                .map_ok(|response| response.map(HedgeBody::passing)),
            StateProj::Raced { raced } => {
                let raced = raced.as_mut().project();
                raced.racing.poll(raced.first, raced.timer, cx)
            }
        }
    }
}

impl<S, B, F, R: Body, E> Racing<S, B, F, R, E> {
    #[inline]
    pub(super) fn new(
        call: HedgedCall,
        service: S,
        source: ReplaySource<B>,
        race: Race,
        number: AttemptNumber,
        at: Instant,
        latency: Option<OriginLatency>,
    ) -> Self {
        Self {
            call,
            service: Some(service),
            source,
            race,
            number,
            first: Sent { at, failure: None },
            hedges: Vec::new(),
            prepared: None,
            latency,
        }
    }
}

impl<S, B, R> Racing<S, B, S::Future, R, S::Error>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: ServiceError,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    R: Body,
{
    fn poll(
        &mut self,
        mut first: Pin<&mut Runner<S::Future, R, S::Error>>,
        mut timer: Pin<&mut Option<Sleep>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<HedgeBody<R>>, S::Error>> {
        loop {
            if let Some((number, answer)) = self.poll_runners(first.as_mut(), cx) {
                // Without either the time is not needed.
                if self.latency.is_some() || !self.hedges.is_empty() {
                    let now = Instant::now();
                    self.note_answer(number, now);
                    self.tell(number, now);
                }
                self.end(first.as_mut());
                return Poll::Ready(Ok(answer));
            }
            if self.poll_prepared(cx) {
                continue;
            }
            let now = Instant::now();
            match self.race.next(now) {
                Move::Hedge => self.prepare(now),
                Move::Return(number) => {
                    let outcome = match number.checked_sub(1) {
                        None => first.as_mut().take(),
                        Some(hedge) => {
                            let hedge = self.hedges.get_mut(hedge);
                            hedge.and_then(|hedge| hedge.runner.as_mut().take())
                        }
                    };
                    self.note_head_alone(number, now);
                    self.tell(number, now);
                    self.end(first.as_mut());
                    return Poll::Ready(outcome.expect("polled after it was ready"));
                }
                Move::Wait(until) => {
                    let Some(until) = until else {
                        timer.set(None);
                        return Poll::Pending;
                    };
                    match timer.as_mut().as_pin_mut() {
                        Some(timer) if timer.deadline() == until => {}
                        Some(timer) => timer.reset(until),
                        None => timer.set(Some(sleep_until(until))),
                    }
                    let is_over = timer
                        .as_mut()
                        .as_pin_mut()
                        .is_some_and(|timer| timer.poll(cx).is_ready());
                    if !is_over {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Asks all attempts that are under way. Returns the first that is answered, with its number.
    fn poll_runners(
        &mut self,
        mut first: Pin<&mut Runner<S::Future, R, S::Error>>,
        cx: &mut Context<'_>,
    ) -> Option<(usize, Response<HedgeBody<R>>)> {
        let Self {
            call,
            race,
            number,
            first: sent_first,
            hedges,
            latency,
            ..
        } = self;
        let hedges = hedges.iter_mut().map(|hedge| {
            let HedgeRunner {
                runner,
                sent,
                withdrawal,
            } = hedge;
            (runner.as_mut(), sent, Some(withdrawal))
        });
        let all = std::iter::once((first.as_mut(), sent_first, None)).chain(hedges);
        for (index, (mut runner, sent, withdrawal)) in all.enumerate() {
            let attempt = number.after(index).attempt;
            loop {
                let mut failure = None;
                let has_failed = |result: &Result<Response<R>, S::Error>| {
                    failure = call.failure(result, attempt, sent.at);
                    failure.is_some()
                };
                match runner.as_mut().poll(cx, has_failed) {
                    Poll::Pending => break,
                    Poll::Ready(News::Head) => race.head(index, Instant::now()),
                    Poll::Ready(News::Answer(answer)) => return Some((index, answer)),
                    Poll::Ready(News::Failed) => {
                        let broken = || call.broken(sent.at);
                        sent.failure = Some(failure.unwrap_or_else(broken));
                        match withdrawal {
                            None => note_unanswered(latency.take(), race, sent.at),
                            // The outcome of a call is never that of a hedge that has failed.
                            Some(withdrawal) => {
                                runner.as_mut().end();
                                *withdrawal = None;
                            }
                        }
                        race.failed(index);
                        break;
                    }
                }
            }
        }
        None
    }

    /// Takes the token and the body of a hedge that is due.
    fn prepare(&mut self, now: Instant) {
        let body = match self.source.copy() {
            Copying::Copied(body) => body,
            Copying::Later => return self.race.put_off(now),
            Copying::Never => return self.give_up("body_not_replayable"),
        };
        match self.call.pay(now) {
            Some(withdrawal) => {
                self.prepared = Some((body, withdrawal));
                self.race.prepare();
            }
            None => self.give_up("budget_exhausted"),
        }
    }

    fn give_up(&mut self, reason: &'static str) {
        self.call.not_sent(reason);
        self.race.stop();
        self.prepared = None;
        self.service = None;
    }

    /// Sends the hedge that waits for the service. Returns whether it did.
    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.race.may_hedge() {
            // The token goes back, and so does the place in a queue.
            self.prepared = None;
            self.service = None;
        }
        let (Some(service), true) = (&mut self.service, self.prepared.is_some()) else {
            return false;
        };
        if !self.race.is_preparing(Instant::now()) {
            self.give_up("deadline_exceeded");
            return false;
        }
        match service.poll_ready(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => {
                // What the attempt itself comes to is not decided by that.
                self.give_up("service_not_ready");
                return false;
            }
        }
        let Some((body, mut withdrawal)) = self.prepared.take() else {
            return false;
        };
        let index = self.hedges.len().saturating_add(1);
        let number = self.number.after(index);
        let request = self.call.request(
            body,
            Attempt {
                number: number.attempt,
                transparent_retries: number.transparent_retries,
                previous: AttemptOutcome::Unanswered,
                hedge: u32::try_from(index).unwrap_or(u32::MAX),
                deadline: self.call.deadline(),
                // The attempt beside it may be in that place.
                place: None,
            },
        );
        let now = Instant::now();
        let after = now.saturating_duration_since(self.first.at);
        self.call
            .sent(&self.call.hedge(number.exchange(), after), now);
        withdrawal.spend();
        self.race.hedged(now);
        let runner = Box::pin(Runner::new(service.call(request)));
        self.hedges.push(HedgeRunner {
            runner,
            sent: Sent {
                at: now,
                failure: None,
            },
            withdrawal: Some(withdrawal),
        });
        true
    }

    /// Notes how long the attempt has taken when one of the two was answered.
    ///
    /// Only the attempts themselves are counted, each once, so that the delay is the percentile of what
    /// would be hedged. Of the hedges only those are known that were faster than what was left of their
    /// attempt: with them the delay would become shorter the more are sent.
    fn note_answer(&mut self, answered: usize, now: Instant) {
        let Some(latency) = self.latency.take() else {
            return;
        };
        let sent = self.first.at;
        let time = match answered {
            0 => Some(now.saturating_duration_since(sent)),
            _ => self.race.time_of_loser(sent, now),
        };
        if let Some(time) = time {
            latency.record(now, time);
        }
    }

    /// Notes that an attempt whose head is given out without a byte of its body has taken so long at least.
    fn note_head_alone(&mut self, number: usize, now: Instant) {
        if self.race.has_lasted(self.first.at, now) {
            self.note_answer(number, now);
        }
    }

    /// Drops all attempts and tokens, before the retry layer asks for a token of its own.
    fn end(&mut self, first: Pin<&mut Runner<S::Future, R, S::Error>>) {
        first.end();
        self.hedges.clear();
        self.prepared = None;
        self.service = None;
        self.latency = None;
    }

    /// Tells the retry layer what became of the hedges, if there were any.
    fn tell(&mut self, returned: usize, now: Instant) {
        if self.hedges.is_empty() {
            return;
        }
        let Some(sent) = self.all_sent().nth(returned).map(|sent| sent.at) else {
            return;
        };
        let hedges_sent = u32::try_from(self.hedges.len()).unwrap_or(u32::MAX);
        let mut records = Vec::with_capacity(self.hedges.len());
        let call = &self.call;
        let first = std::iter::once(&mut self.first);
        let hedges = self.hedges.iter_mut().map(|hedge| &mut hedge.sent);
        let others = first.chain(hedges).enumerate();
        let mut asked: Option<RequestedWait> = None;
        for (number, sent) in others.filter(|(number, _)| *number != returned) {
            let record = match sent.failure.take() {
                None => call.unanswered(sent.at, now),
                Some(failure) => {
                    call.report(&failure, self.number.after(number).attempt);
                    let is_longer =
                        |it: &RequestedWait| asked.is_none_or(|so_far| so_far.wait < it.wait);
                    asked = failure.asked.filter(is_longer).or(asked);
                    failure.record
                }
            };
            records.push(record.sent_as(role(number)));
        }
        self.call.end(Ended {
            hedges: hedges_sent,
            others: records,
            sent,
            role: role(returned),
            asked,
        });
    }
}

/// As what the attempt of this number was sent.
fn role(number: usize) -> Role {
    if number == 0 {
        Role::Attempt
    } else {
        Role::Hedge
    }
}

impl<S, B, F, R: Body, E> Racing<S, B, F, R, E> {
    fn all_sent(&self) -> impl Iterator<Item = &Sent> {
        let hedges = self.hedges.iter().map(|hedge| &hedge.sent);
        std::iter::once(&self.first).chain(hedges)
    }
}

/// Notes an attempt that has failed or was given up by its caller. Without those that were slow, only the
/// fast answers would be known of an origin that is too slow for its callers.
fn note_unanswered(latency: Option<OriginLatency>, race: &Race, sent: Instant) {
    let Some(latency) = latency else { return };
    let now = Instant::now();
    if let Some(time) = race.time_of_unanswered(sent, now) {
        latency.record(now, time);
    }
}

impl<S, B, F, R: Body, E> Drop for Racing<S, B, F, R, E> {
    fn drop(&mut self) {
        note_unanswered(self.latency.take(), &self.race, self.first.at);
    }
}

impl<S, B, F, R: Body, E> fmt::Debug for HedgeFuture<S, B, F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HedgeFuture");
        match &self.state {
            State::Passing { .. } => debug.field("state", &"passing"),
            State::Raced { raced } => debug
                .field("state", &"raced")
                .field("hedges", &raced.racing.hedges.len()),
        };
        debug.finish_non_exhaustive()
    }
}
