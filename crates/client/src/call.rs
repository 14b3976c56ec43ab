//! What is done once per call: the URL made absolute, credentials out of it, the total deadline.

mod observed;
mod part;

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Acquire},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::{HeaderName, Method, Request, Response, Uri, header::AUTHORIZATION};
use http_body::Body as _;
use pin_project_lite::pin_project;
use retry_layer::{Deadline, ResponseExt as _, Retry, RetryPolicy, RetryReport};
use session_layer::{RequestOptions, Session};
use tokio::time::Instant;
use tower::{ServiceExt, util::Oneshot};
use tower_service::Service;

use self::{observed::Observed, part::Parts};
use crate::{
    Body, DeadlinePhase, DecodeLimits, Error, NoDecompression, Redirected, Redirects, ResponseBody,
    auth::{self, Refresh},
    collect::{CollectBody, FollowsNone, Gathering},
    deadline::{DeadlineTimer, Limit, TimerDeferral},
    decode,
    doing::Doing,
    error::Kind,
    id,
    layers::AttemptBody,
    observe::{self, CallRecord, CallSpans, Paths, Sinks},
    redirect::{self, Answerer, Drain, History, Kept, Next},
    resume::{self, Resume},
    setting,
    stack::{Custom, Stack, Way, way},
    target::{self, Base, Credentials, Target},
    without_defaults::WithoutDefaults,
};

/// The settings of all calls.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) base: Option<Base>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_body: usize,
    pub(crate) redirects: Redirects,
    /// Gets a random value on each call that does not have it.
    pub(crate) request_id: Option<HeaderName>,
    /// Whether calls have spans, where a subscriber wants them.
    pub(crate) call_spans: CallSpans,
    /// What spans and errors tell of paths.
    pub(crate) paths: Paths,
    pub(crate) sinks: Sinks,
    /// Whether credentials that are refused can be renewed.
    pub(crate) renews: bool,
    /// Whether any coding is decoded.
    pub(crate) decompression: bool,
    pub(crate) decode_limits: DecodeLimits,
    /// Whether a failed status is an error of `send` and `fetch`.
    pub(crate) error_for_status: bool,
    /// Which bodies are continued where they break.
    pub(crate) resume: Resume,
    /// The policy of the stack's retries, by which that is done.
    pub(crate) policy: RetryPolicy,
    /// How often a call may wait before its deadline gets a timer.
    pub(crate) deferral: TimerDeferral,
    /// Set when a client without a session is closed; a session knows by itself.
    pub(crate) closed: AtomicBool,
}

impl Settings {
    /// Whether anybody may observe calls: one look at a field and one at a static, where nobody does.
    #[inline]
    fn are_calls_observed(&self) -> bool {
        self.sinks.are_any() || self.call_spans.may_be_wanted()
    }
}

/// Shared by all clones of a client.
pub(crate) type Shared = Arc<Core>;

pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) stack: Stack,
    /// Absent over somebody's own service.
    pub(crate) session: Option<Session<AttemptBody>>,
}

type Retrying<W> = <Retry<W> as Service<Request<Body>>>::Future;

/// What is kept of a call to continue the body of its response.
pub(crate) type Source = resume::Source<Parts>;

/// A call whose response streams.
pub(crate) type Streaming = Call<way::Streaming>;

pin_project! {
    /// The future of a [`Client`](crate::Client): the response, or the error, within the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the call at once: no further attempt is made, and the present one is cut
    /// off. What was sent by then may have been processed.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture {
        #[pin]
        call: Streaming,
    }
}

pin_project! {
    /// A call that goes either way of the stack.
    #[project = Projected]
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Call<W>
    where
        W: Way,
    {
        #[pin]
        state: State<W>,
        timer: DeadlineTimer,
        // None if nothing is decoded here.
        decode: Option<DecodeLimits>,
        resume: Resume,
        shared: Shared,
        // What is known of the request, where the stack does not tell.
        kept: Option<Box<Kept>>,
        // The redirects by now: none, for most calls.
        history: Option<Box<History>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<W>
    where
        W: Way,
    {
        Standard { #[pin] call: Retrying<W> },
        Custom { #[pin] call: Oneshot<Custom, Request<Body>> },
        // The body of what the call returns, and the request that it answers.
        Gathering { gathering: Option<Gathering>, request: Option<Description> },
        Draining { drain: Drain, next: Option<Box<Request<Body>>> },
        Failed { error: Option<Error> },
        // All of the call, in a box: the others are no larger for it.
        Observed { observed: Box<Observed<W>> },
    }
}

impl<W: Way> State<W> {
    /// Gives the request to the stack.
    #[inline]
    fn enter(stack: &Stack, mut request: Request<Body>, now: Instant) -> Self {
        match stack {
            Stack::Standard(stack) => {
                let mut retry = W::of(stack).clone();
                let mut cx = Context::from_waker(Waker::noop());
                let ready = Service::<Request<Body>>::poll_ready(&mut retry, &mut cx);
                let Poll::Ready(Ok(())) = ready else {
                    unreachable!("a session is always ready, and each layer above it asks it alone")
                };
                Self::Standard {
                    call: retry.into_call(request, now),
                }
            }
            Stack::Custom(stack) => {
                if W::COLLECTS {
                    setting::set(request.extensions_mut(), CollectBody);
                }
                Self::Custom {
                    call: stack.clone().oneshot(request),
                }
            }
        }
    }

    /// What was tried by now, where a retry layer of this crate's type knows it.
    fn report_so_far(&self) -> Option<RetryReport> {
        match self {
            Self::Standard { call } => Some(call.report_so_far()),
            Self::Observed { .. }
            | Self::Custom { .. }
            | Self::Gathering { .. }
            | Self::Draining { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// Whether the first attempt of the call is under way, and the session keeps its times.
    #[inline]
    fn is_first_attempt(&self) -> bool {
        match self {
            Self::Standard { call } => call.is_first_attempt(),
            Self::Observed { .. }
            | Self::Custom { .. }
            | Self::Gathering { .. }
            | Self::Draining { .. }
            | Self::Failed { .. } => false,
        }
    }

    /// What the call is doing, where the stack tells.
    fn doing(&self) -> Option<DeadlinePhase> {
        match self {
            Self::Standard { call } => {
                let attempt = call.attempt().map(Doing::doing);
                Some(attempt.unwrap_or(DeadlinePhase::Retry))
            }
            Self::Gathering { .. } => Some(DeadlinePhase::Body),
            Self::Draining { .. } => Some(DeadlinePhase::Redirect),
            Self::Observed { .. } | Self::Custom { .. } | Self::Failed { .. } => None,
        }
    }

    fn is_stack(&self) -> bool {
        matches!(self, Self::Standard { .. })
    }

    /// The method and the URI that it is about.
    fn asked<'a>(&'a self, kept: Option<&'a Kept>) -> Option<(&'a Method, &'a Uri)> {
        match self {
            Self::Standard { call } => Some((call.method(), call.uri())),
            Self::Custom { .. } => kept.map(Kept::asked),
            Self::Gathering { request, .. } => request.as_ref().map(Description::asked),
            Self::Draining { next, .. } => next.as_ref().map(|it| (it.method(), it.uri())),
            Self::Observed { observed } => {
                let call = observed.get_ref()?;
                call.state.asked(call.kept.as_deref())
            }
            Self::Failed { .. } => None,
        }
    }

    /// What the stack keeps of the request, where it keeps anything.
    #[cold]
    fn kept(&self, settings: &Settings) -> Option<Box<Kept>> {
        let (request, body) = match self {
            Self::Standard { call } => (call.request_again()?, call.body_again()),
            Self::Observed { .. }
            | Self::Custom { .. }
            | Self::Gathering { .. }
            | Self::Draining { .. }
            | Self::Failed { .. } => return None,
        };
        let request = request.map(|()| body.map(Body::new));
        Some(Box::new(Kept::new(request, &settings.redirects)))
    }
}

/// Keeps what the stack does not keep.
fn keep(stack: &Stack, request: &Request<Body>, settings: &Settings) -> Option<Box<Kept>> {
    (!stack.keeps(request)).then(|| keep_all(request, settings))
}

fn keep_all(request: &Request<Body>, settings: &Settings) -> Box<Kept> {
    let mut again = Request::new(request.body().again());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Box::new(Kept::new(again, &settings.redirects))
}

/// What an error says of the request.
#[derive(Clone)]
pub(crate) struct Description {
    method: Method,
    uri: Uri,
    paths: Paths,
}

impl Description {
    pub(crate) fn new(method: &Method, uri: &Uri, paths: Paths) -> Self {
        Self {
            method: method.clone(),
            uri: uri.clone(),
            paths,
        }
    }

    pub(crate) fn of<B>(request: &Request<B>, paths: Paths) -> Self {
        Self::new(request.method(), request.uri(), paths)
    }

    pub(crate) fn asked(&self) -> (&Method, &Uri) {
        (&self.method, &self.uri)
    }

    /// The request that gave this response, which after a redirect is not the one that was made, and
    /// with endpoints may have gone to another URL.
    pub(crate) fn answered_by<T>(&self, response: &Response<T>) -> Self {
        if let Some(redirected) = response.extensions().get::<Redirected>() {
            return Self::new(redirected.method(), redirected.uri(), self.paths);
        }
        let uri = Answerer::of(response).unwrap_or(&self.uri);
        Self::new(&self.method, uri, self.paths)
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn name(&self, error: Error) -> Error {
        error.of(&self.method, Some(&self.uri)).telling(self.paths)
    }
}

/// Starts a call.
#[inline]
pub(crate) fn start<W: Way>(
    shared: &Shared,
    request: Request<Body>,
    timeout: Option<Duration>,
) -> Call<W> {
    let now = Instant::now();
    if shared.settings.are_calls_observed() {
        return start_observed(shared, request, timeout, now);
    }
    enter(shared, request, timeout, now, prepare)
}

/// Starts a call that a subscriber or a sink of metrics may want to know of.
#[cold]
fn start_observed<W: Way>(
    shared: &Shared,
    mut request: Request<Body>,
    timeout: Option<Duration>,
    now: Instant,
) -> Call<W> {
    let prepared = prepare(&shared.settings, &mut request);
    let Settings {
        call_spans,
        sinks,
        paths,
        deferral,
        ..
    } = &shared.settings;
    let Some(record) = CallRecord::begin(&request, *call_spans, sinks, *paths) else {
        return enter(shared, request, timeout, now, |_, _| prepared);
    };
    if sinks.are_any() {
        observe::count_sent(&mut request);
    }
    let observed = Observed::start(record, request, |request| {
        enter(shared, request, timeout, now, |_, _| prepared)
    });
    let limit = observed.get_ref().and_then(Call::limit);
    let resume = observed.get_ref().map_or(Resume::None, Call::resume);
    Call {
        state: State::Observed {
            observed: Box::new(observed),
        },
        timer: DeadlineTimer::new(limit, deferral),
        decode: None,
        resume,
        shared: shared.clone(),
        kept: None,
        history: None,
    }
}

/// Prepares a call, and gives it to the stack.
#[inline]
fn enter<W: Way>(
    shared: &Shared,
    mut request: Request<Body>,
    timeout: Option<Duration>,
    now: Instant,
    prepare: impl FnOnce(&Settings, &mut Request<Body>) -> Result<(), Error>,
) -> Call<W> {
    let settings = &shared.settings;
    let prepared = prepare(settings, &mut request);
    if let Some(timeout) = timeout {
        setting::set(request.extensions_mut(), Deadline::within(timeout));
    }
    let of_request = request.extensions().get::<Deadline>();
    let within = timeout
        .or(of_request.map(Deadline::remaining))
        .or(settings.deadline);
    let limit = within.and_then(|within| Limit::new(now, within));
    let mut timer = DeadlineTimer::new(limit, &settings.deferral);
    let options = request.extensions().get::<RequestOptions>();
    if options.is_some_and(RequestOptions::may_wait_long) {
        // The session's timeouts, on which a call without a timer relies, do not count.
        timer.arm();
    }
    if !request.body().is_end_stream() {
        // How long it takes to be sent is bound by nothing else.
        timer.arm();
        if let Some(factory) = request.body().factory() {
            setting::set(request.extensions_mut(), factory);
        }
    }
    // Nothing is left to decode if the body was collected, below the retries.
    let decode = if settings.decompression {
        decode::wanted(&request, settings.decode_limits)
    } else {
        None
    };
    // To call the stack is to begin: what is too late must not get there.
    let prepared = prepared.and_then(|()| match limit {
        Some(limit) if limit.within().is_zero() => {
            Err(limit.exceeded().while_doing(Some(DeadlinePhase::Start)))
        }
        Some(_) | None => Ok(()),
    });
    if W::COLLECTS && redirect::follows_none(&request, &settings.redirects) {
        setting::set(request.extensions_mut(), FollowsNone);
    }
    if let Err(error) = prepared {
        return Call::failed(shared, &request, error);
    }
    let kept = keep(&shared.stack, &request, settings);
    let resume = if W::COLLECTS {
        Resume::None
    } else {
        Resume::of(&request, settings.resume)
    };
    // One literal, with the state made where it stays.
    Call {
        state: State::enter(&shared.stack, request, now),
        timer,
        decode,
        resume,
        shared: shared.clone(),
        kept,
        history: None,
    }
}

fn prepare(settings: &Settings, request: &mut Request<Body>) -> Result<(), Error> {
    if settings.closed.load(Acquire) {
        return Err(Error::new(Kind::Closed));
    }
    let credentials = if target::is_sendable(request.uri()) {
        None
    } else {
        let uri = mem::take(request.uri_mut());
        let Target { uri, credentials } = target::resolve(uri, settings.base.as_ref())?;
        *request.uri_mut() = uri;
        if target::is_asterisk(request.uri()) && request.method() != Method::OPTIONS {
            return Err(Error::builder(
                "only an OPTIONS request can be about the server as a whole, with `*` for its path",
            ));
        }
        credentials
    };
    let request_id = settings.request_id.as_ref();
    if let Some(name) = request_id.filter(|name| !WithoutDefaults::of(request).has(name)) {
        id::give(request.headers_mut(), name);
    }
    if settings.renews {
        setting::set(request.extensions_mut(), Refresh::default());
    }
    if decode::IS_POSSIBLE && !settings.decompression {
        setting::set(request.extensions_mut(), NoDecompression);
    }
    authorize(request, credentials)
}

/// Sends the credentials of a URL as Basic ones, unless the request has others.
pub(crate) fn authorize(
    request: &mut Request<Body>,
    credentials: Option<Credentials>,
) -> Result<(), Error> {
    let Some(Credentials { user, password }) = credentials else {
        return Ok(());
    };
    let value = auth::basic(&user, &password)?;
    request.headers_mut().entry(AUTHORIZATION).or_insert(value);
    Ok(())
}

impl<W: Way> Call<W> {
    #[cold]
    fn failed(shared: &Shared, request: &Request<Body>, error: Error) -> Self {
        let description = Description::of(request, shared.settings.paths);
        let error = Some(description.name(error));
        Self {
            state: State::Failed { error },
            timer: DeadlineTimer::new(None, &shared.settings.deferral),
            decode: None,
            resume: Resume::None,
            shared: shared.clone(),
            kept: None,
            history: None,
        }
    }

    pub(crate) fn limit(&self) -> Option<Limit> {
        self.timer.limit()
    }

    /// Which bodies are continued where they break.
    #[inline]
    pub(crate) fn resume(&self) -> Resume {
        self.resume
    }

    /// Takes what is needed to continue the body of the response, which is there; `None` if that is not
    /// wanted, or cannot be done whatever the response says.
    #[inline]
    pub(crate) fn take_source(self: Pin<&mut Self>) -> Option<Source> {
        let this = self.project();
        if *this.resume == Resume::None {
            return None;
        }
        let (headers, extensions) = match (this.kept, this.state.project()) {
            (Some(kept), _) => kept.take_first()?,
            (None, StateProj::Standard { call }) if call.method() == Method::GET => {
                call.take_head()?
            }
            (None, StateProj::Observed { observed }) => return observed.take_source(),
            (None, _) => return None,
        };
        Some(Source::new(Parts::of(this.shared), headers, extensions))
    }

    /// The method and the URI of the call, before any redirect.
    fn first_asked(&self) -> Option<(&Method, &Uri)> {
        if let State::Observed { observed } = &self.state {
            return observed.get_ref()?.first_asked();
        }
        let kept = self.kept.as_deref();
        kept.map(Kept::first_asked)
            .or_else(|| self.state.asked(kept))
    }

    /// The most bytes of a body that are collected.
    pub(crate) fn max_body(&self) -> usize {
        self.shared.settings.max_body
    }
}

impl From<Streaming> for ResponseFuture {
    fn from(call: Streaming) -> Self {
        Self { call }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.project().call;
        if call.resume == Resume::All {
            return call.poll_continued(cx);
        }
        call.poll(cx)
    }
}

impl<W: Way> Call<W> {
    /// Gives the response with a body that is continued where it breaks.
    #[cold]
    fn poll_continued(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut polled = self.as_mut().poll(cx);
        if let Poll::Ready(Ok(response)) = &mut polled {
            self.continue_body(response);
        }
        polled
    }

    /// Has the body of the response continued where it breaks.
    #[cold]
    pub(crate) fn continue_body(mut self: Pin<&mut Self>, response: &mut Response<ResponseBody>) {
        let asked = self.first_asked();
        let paths = self.shared.settings.paths;
        let asked = asked.map(|(method, uri)| Description::new(method, uri, paths));
        if let (Some(asked), Some(source)) = (asked, self.as_mut().take_source()) {
            let (method, uri) = asked.asked();
            source.wrap(method, uri, response);
        }
    }
}

impl<W: Way> Future for Call<W> {
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
            Poll::Pending if this.state.is_first_attempt() && this.timer.take_untimed_wait() => {
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

/// What comes of a call.
type Answer = Result<Response<ResponseBody>, Error>;

impl<W: Way> Projected<'_, W> {
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
        let mut waits = self.state.is_stack();
        loop {
            let answer = match mem::replace(polled, Poll::Pending) {
                Poll::Pending if !waits => self.poll_state(cx),
                ready_or_not => ready_or_not,
            };
            let Poll::Ready(answer) = answer else {
                break;
            };
            waits = false;
            match answer.and_then(|response| self.look(response)) {
                Ok(None) => {}
                Ok(Some(response)) => {
                    *polled = Poll::Ready(Ok(response));
                    return;
                }
                Err(error) => {
                    *polled = Poll::Ready(Err(self.named(error)));
                    return;
                }
            }
        }
        if !self.state.is_first_attempt() {
            self.timer.arm();
        }
        if let Poll::Ready(limit) = self.timer.poll(cx) {
            let mut error = limit.exceeded().while_doing(self.state.doing());
            if let Some(report) = self.state.report_so_far() {
                error.set_report(report);
            }
            if let StateProj::Gathering { gathering, .. } = self.state.as_mut().project() {
                error = match gathering.take() {
                    Some(gathering) => gathering.fail_call(error),
                    None => error,
                };
            }
            *polled = Poll::Ready(Err(self.named(error)));
        }
    }

    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        loop {
            return match self.state.as_mut().project() {
                StateProj::Standard { call } => call.poll(cx),
                StateProj::Custom { call } => call.poll(cx),
                StateProj::Observed { observed } => observed.poll(cx),
                StateProj::Gathering { gathering, .. } => poll_gathering(gathering, cx),
                StateProj::Draining { drain, next } => {
                    ready!(drain.as_mut().poll(cx));
                    let next = next.take().expect("there is one until it is sent");
                    let Core {
                        stack, settings, ..
                    } = &**self.shared;
                    let first = self.kept.as_mut().and_then(|kept| kept.first.take());
                    *self.kept = match first {
                        Some(first) => {
                            let mut kept = keep_all(&next, settings);
                            kept.first = Some(first);
                            Some(kept)
                        }
                        None => keep(stack, &next, settings),
                    };
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
        if let Some(history) = self.history.take() {
            history.annotate(self.state.asked(self.kept.as_deref()), &mut response);
        }
        if W::COLLECTS && !response.body().is_collected() {
            let request = self.state.asked(self.kept.as_deref());
            let paths = self.shared.settings.paths;
            let request = request.map(|(method, uri)| Description::new(method, uri, paths));
            let gathering = Some(Gathering::new(response, self.shared.settings.max_body));
            self.state.set(State::Gathering { gathering, request });
            return Ok(None);
        }
        Ok(Some(response))
    }

    /// Follows a redirect, if it is followed; says whether it is.
    fn redirect(&mut self, response: &mut Response<ResponseBody>) -> Result<bool, Error> {
        if self.kept.is_none() {
            *self.kept = self.state.kept(&self.shared.settings);
        }
        let Some(kept) = self.kept else {
            return Ok(false);
        };
        match kept.next(self.history, self.timer.limit(), response) {
            Next::Return => Ok(false),
            Next::Follow(next) => {
                // From here on nothing else bounds how long it takes.
                self.timer.arm();
                let drain = redirect::drain(mem::take(response).into_body());
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
        match self.state.asked(self.kept.as_deref()) {
            Some((method, uri)) => error.of(method, Some(uri)),
            None => error,
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

impl<W: Way> fmt::Debug for Call<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.state.asked(self.kept.as_deref());
        f.debug_struct("ResponseFuture")
            .field("method", &asked.map(|(method, _)| method))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}
