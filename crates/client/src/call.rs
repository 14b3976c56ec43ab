//! What is done once per call: the URL made absolute, credentials out of it, the total deadline.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Acquire},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderValue, Method, Request, Response, Uri, header::AUTHORIZATION};
use pin_project_lite::pin_project;
use retry_layer::{Deadline, ResponseExt as _, RetryReport};
use tokio::time::{Instant, Sleep};
use tower::{ServiceExt, util::Oneshot};
use tower_service::Service;

use crate::{
    Body, Error, ResponseBody,
    collect::{CollectBody, Gathering},
    error::Kind,
    stack::{Collecting, Custom, Stack, Streaming},
    target::{self, Base, Credentials, Target},
};

/// The settings of all calls.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) base: Option<Base>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_body: usize,
    /// Set when a client without a session is closed; a session knows by itself.
    pub(crate) closed: AtomicBool,
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
        settings: Shared,
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

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody>, Error>> {
        match self.project() {
            StateProj::Streaming { call } => call.poll(cx),
            StateProj::Collecting { call } => call.poll(cx),
            StateProj::Custom { call } => call.poll(cx),
            StateProj::Gathering { gathering } => {
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
            StateProj::Failed { error } => {
                Poll::Ready(Err(error.take().expect("polled after it had failed")))
            }
        }
    }

    /// What was tried by now, where a retry layer of this crate's type knows it.
    fn report_so_far(&self) -> Option<RetryReport> {
        match self {
            Self::Streaming { call } => Some(call.report_so_far()),
            Self::Collecting { call } => Some(call.report_so_far()),
            Self::Custom { .. } | Self::Gathering { .. } | Self::Failed { .. } => None,
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

    pub(crate) fn name(&self, error: Error) -> Error {
        error.of(&self.method, Some(&self.uri))
    }
}

/// Starts a call.
pub(crate) fn start(
    settings: &Shared,
    stack: &mut Stack,
    mut request: Request<Body>,
    mode: Mode,
    timeout: Option<Duration>,
) -> ResponseFuture {
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
    // To call the stack is to begin: what is too late must not get there.
    let prepared = prepared.and_then(|()| match limit {
        Some(limit) if limit.within.is_zero() => Err(limit.exceeded()),
        Some(_) | None => Ok(()),
    });
    let state = match prepared {
        Ok(()) => State::enter(stack, request, mode),
        Err(error) => State::Failed { error: Some(error) },
    };
    ResponseFuture {
        state,
        timer: None,
        limit,
        mode,
        settings: settings.clone(),
        request: description,
    }
}

fn prepare(settings: &Settings, request: &mut Request<Body>) -> Result<(), Error> {
    if settings.closed.load(Acquire) {
        return Err(Error::new(Kind::Closed));
    }
    let uri = std::mem::take(request.uri_mut());
    let Target { uri, credentials } = target::resolve(uri, settings.base.as_ref())?;
    *request.uri_mut() = uri;
    authorize(request, credentials)
}

/// Sends the credentials of a URL as Basic ones ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)),
/// unless the request has others.
pub(crate) fn authorize(
    request: &mut Request<Body>,
    credentials: Option<Credentials>,
) -> Result<(), Error> {
    let Some(Credentials { user, password }) = credentials else {
        return Ok(());
    };
    let encoded = BASE64.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|error| Error::builder("the URL's credentials are not valid").with(error))?;
    value.set_sensitive(true);
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
            let polled = this.state.as_mut().poll(cx);
            let Poll::Ready(result) = polled else {
                break;
            };
            let response = match result {
                Ok(response) => response,
                Err(error) => return Poll::Ready(Err(this.request.name(error))),
            };
            if *this.mode == Mode::Collecting && !response.body().is_collected() {
                let gathering = Some(Gathering::new(response, this.settings.max_body));
                this.state.set(State::Gathering { gathering });
                continue;
            }
            return Poll::Ready(Ok(response));
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
        Poll::Ready(Err(this.request.name(error)))
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("method", &self.request.method)
            .finish_non_exhaustive()
    }
}

/// Shared by all clones of a client.
pub(crate) type Shared = Arc<Settings>;
