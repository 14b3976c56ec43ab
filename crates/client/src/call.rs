//! What is done once per call: the URL made absolute, credentials out of it, the total deadline.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Acquire},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderName, Method, Request, Response, Uri, header::AUTHORIZATION};
use pin_project_lite::pin_project;
use retry_layer::{Deadline, ResponseExt as _, RetryReport};
use session_layer::Session;
use tokio::time::{Instant, Sleep};
use tower::{ServiceExt, util::Oneshot};
use tower_service::Service;

use crate::{
    Body, Error, NoDecompression, Redirects, ResponseBody,
    auth::{self, Refresh},
    collect::{CollectBody, Gathering},
    decode,
    error::Kind,
    id,
    redirect::{self, Drain, Kept, Next},
    stack::{Collecting, Custom, Stack, Streaming, WireBody},
    target::{self, Base, Credentials, Target},
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
    #[cfg(feature = "metrics")]
    pub(crate) metrics: crate::observe::Metrics,
    /// Whether credentials that are refused can be renewed.
    pub(crate) renews: bool,
    pub(crate) decompression: bool,
    /// Set when a client without a session is closed; a session knows by itself.
    pub(crate) closed: AtomicBool,
}

/// Shared by all clones of a client.
pub(crate) type Shared = Arc<Core>;

pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) stack: Stack,
    /// Absent over somebody's own service.
    pub(crate) session: Option<Session<WireBody>>,
}

/// Where the response body is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Streaming,
    Collecting,
}

type Retrying<S> = <S as Service<Request<Body>>>::Future;

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
        state: State,
        // Set up only once the call has to wait.
        #[pin]
        timer: Option<Sleep>,
        limit: Option<Limit>,
        mode: Mode,
        shared: Shared,
        // None if no redirect is followed.
        kept: Option<Kept>,
        decode: bool,
        request: Description,
    }
}

/// When a call has to be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    /// How long that was from the start of the call.
    within: Duration,
}

impl Limit {
    /// A limit that lies beyond what the clock can express is none.
    fn new(within: Duration) -> Option<Self> {
        let at = Instant::now().checked_add(within)?;
        Some(Self { at, within })
    }

    pub(crate) fn exceeded(&self) -> Error {
        Error::new(Kind::Deadline(self.within))
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        Streaming { #[pin] call: Retrying<Streaming> },
        Collecting { #[pin] call: Retrying<Collecting> },
        Custom { #[pin] call: Oneshot<Custom, Request<Body>> },
        Gathering { gathering: Option<Gathering> },
        Draining { drain: Drain, next: Option<Box<Request<Body>>> },
        Failed { error: Option<Error> },
    }
}

impl State {
    fn enter(stack: &mut Stack, mut request: Request<Body>, mode: Mode) -> Self {
        match (stack, mode) {
            // The session is ready at any time, and each layer above it asks no more than that.
            (Stack::Standard(stack), Mode::Streaming) => Self::Streaming {
                call: stack.streaming.call(request),
            },
            (Stack::Standard(stack), Mode::Collecting) => Self::Collecting {
                call: stack.collecting.call(request),
            },
            (Stack::Custom(stack), mode) => {
                if mode == Mode::Collecting {
                    request.extensions_mut().insert(CollectBody);
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
            Self::Streaming { call } => Some(call.report_so_far()),
            Self::Collecting { call } => Some(call.report_so_far()),
            Self::Custom { .. }
            | Self::Gathering { .. }
            | Self::Draining { .. }
            | Self::Failed { .. } => None,
        }
    }
}

/// What an error says of the request.
#[derive(Clone)]
pub(crate) struct Description {
    method: Method,
    uri: Uri,
}

impl Description {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
        }
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn name(&self, error: Error) -> Error {
        error.of(&self.method, Some(&self.uri))
    }
}

/// Starts a call.
pub(crate) fn start(
    shared: &Shared,
    stack: &mut Stack,
    mut request: Request<Body>,
    mode: Mode,
    timeout: Option<Duration>,
) -> ResponseFuture {
    let settings = &shared.settings;
    let prepared = prepare(settings, &mut request);
    if let Some(timeout) = timeout {
        request.extensions_mut().insert(Deadline::within(timeout));
    }
    let description = Description::of(&request);
    let of_request = request.extensions().get::<Deadline>();
    let within = timeout
        .or(of_request.map(Deadline::remaining))
        .or(settings.deadline);
    let limit = within.and_then(Limit::new);
    if let Some(factory) = request.body().factory() {
        request.extensions_mut().insert(factory);
    }
    if !settings.decompression {
        request.extensions_mut().insert(NoDecompression);
    }
    // Nothing is left to decode if the body was collected, below the retries.
    let decode = decode::is_wanted(&request);
    // To call the stack is to begin: what is too late must not get there.
    let prepared = prepared.and_then(|()| match limit {
        Some(limit) if limit.within.is_zero() => Err(limit.exceeded()),
        Some(_) | None => Ok(()),
    });
    let kept = Kept::new(&request, &settings.redirects);
    let state = match prepared {
        Ok(()) => State::enter(stack, request, mode),
        Err(error) => State::Failed { error: Some(error) },
    };
    ResponseFuture {
        state,
        timer: None,
        limit,
        mode,
        shared: shared.clone(),
        kept,
        decode,
        request: description,
    }
}

fn prepare(settings: &Settings, request: &mut Request<Body>) -> Result<(), Error> {
    if settings.closed.load(Acquire) {
        return Err(Error::new(Kind::Closed));
    }
    let uri = mem::take(request.uri_mut());
    let Target { uri, credentials } = target::resolve(uri, settings.base.as_ref())?;
    *request.uri_mut() = uri;
    if let Some(name) = &settings.request_id {
        id::give(request.headers_mut(), name);
    }
    if settings.renews {
        request.extensions_mut().insert(Refresh::default());
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

impl ResponseFuture {
    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            // The answer first, the clock second: what came in time is given.
            let mut polled = match this.state.as_mut().project() {
                StateProj::Streaming { call } => call.poll(cx),
                StateProj::Collecting { call } => call.poll(cx),
                StateProj::Custom { call } => call.poll(cx),
                StateProj::Gathering { gathering } => poll_gathering(gathering, cx),
                StateProj::Draining { drain, next } => {
                    if drain.as_mut().poll(cx).is_pending() {
                        break;
                    }
                    let next = next.take().expect("there is one until it is sent");
                    *this.request = Description::of(&next);
                    let stack = &mut this.shared.stack.clone();
                    this.state.set(State::enter(stack, *next, *this.mode));
                    continue;
                }
                StateProj::Failed { error } => {
                    Poll::Ready(Err(error.take().expect("polled after it had failed")))
                }
            };
            let Poll::Ready(result) = &mut polled else {
                break;
            };
            #[cfg(feature = "metrics")]
            if this.shared.settings.metrics == crate::observe::Metrics::On
                && !matches!(*this.state, State::Gathering { .. })
            {
                crate::observe::count_stop(result);
            }
            let Ok(response) = result else {
                return polled.map_err(|error| this.request.name(whole(this.kept, error)));
            };
            if response.status().is_redirection() {
                match redirected(this.kept, this.request, *this.limit, response) {
                    Ok(None) => {}
                    Ok(Some(draining)) => {
                        this.state.set(draining);
                        continue;
                    }
                    Err(error) => {
                        return Poll::Ready(Err(this.request.name(whole(this.kept, error))));
                    }
                }
            }
            if *this.decode {
                match decode::response(mem::take(response)) {
                    Ok(decoded) => *response = decoded,
                    Err(error) => return Poll::Ready(Err(this.request.name(error))),
                }
            }
            if let Some(kept) = this.kept {
                kept.annotate(&this.request.uri, response);
            }
            if *this.mode == Mode::Collecting && !response.body().is_collected() {
                *this.kept = None;
                let gathering = Gathering::new(mem::take(response), this.shared.settings.max_body);
                let gathering = Some(gathering);
                this.state.set(State::Gathering { gathering });
                continue;
            }
            return polled;
        }
        let Some(limit) = *this.limit else {
            return Poll::Pending;
        };
        if this.timer.is_none() {
            this.timer.set(Some(tokio::time::sleep_until(limit.at)));
        }
        if let Some(timer) = this.timer.as_mut().as_pin_mut() {
            ready!(timer.poll(cx));
        }
        let mut error = limit.exceeded();
        if let Some(report) = this.state.as_ref().get_ref().report_so_far() {
            error.set_report(report);
        }
        Poll::Ready(Err(this.request.name(whole(this.kept, error))))
    }
}

/// The error with what was tried on all hops.
fn whole(kept: &mut Option<Kept>, mut error: Error) -> Error {
    if let Some(kept) = kept {
        error.alter_report(|last| kept.complete(last));
    }
    error
}

/// Gives the state in which a redirect is followed, or nothing if it is the answer.
fn redirected(
    kept: &mut Option<Kept>,
    request: &Description,
    limit: Option<Limit>,
    response: &mut Response<ResponseBody>,
) -> Result<Option<State>, Error> {
    let Some(kept) = kept else {
        return Ok(None);
    };
    match kept.next(&request.method, &request.uri, response) {
        Next::Return => Ok(None),
        Next::Follow(mut next) => {
            if let Some(limit) = limit {
                next.extensions_mut().insert(Deadline::at(limit.at));
            }
            Ok(Some(State::Draining {
                drain: redirect::drain(mem::take(response).into_body()),
                next: Some(next),
            }))
        }
        Next::Fail(mut error) => {
            error.set_report(response.retry_report());
            Err(error)
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
    let response = gathered.into_response();
    Poll::Ready(match ended {
        Ok(()) => Ok(response),
        Err(mut error) => {
            error.set_report(response.retry_report());
            Err(error)
        }
    })
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("method", &self.request.method)
            .finish_non_exhaustive()
    }
}
