//! What is done once per attempt: adds the client's headers, and converts the response and the
//! error to this crate's types.

use std::{
    future::{Future, Ready},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT},
};
use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::{Instrument as _, instrument::Instrumented};

use crate::{
    DeadlinePhase, Error, ResponseBody,
    auth::{Auth, Refresh},
    body, decode,
    extras::{Decorated, Extras},
    forward::AsItIs,
    guard::{Guarded, Guards},
    layers::AttemptBody,
    observe::{Paths, Record, Sinks},
    phase::ReportsPhase,
    redirect::Answerer,
    without_defaults::WithoutDefaults,
};

/// The settings of all attempts.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) sinks: Sinks,
    pub(crate) paths: Paths,
    /// The content codings that this client decodes; `None` if it decodes none.
    pub(crate) accept_encoding: Option<HeaderValue>,
    /// Boxed, as hardly any client has them.
    pub(crate) guards: Option<Box<Guards>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Attempt<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Attempt<S> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, R> Service<Request<AttemptBody>> for Attempt<S>
where
    S: Service<Request<AttemptBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: ReportsPhase + Send,
    R: Into<ResponseBody> + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Request<AttemptBody>) -> Self::Future {
        match self.settings.prepare(&mut request) {
            None => ResponseFuture::Plain {
                inner: self.inner.call(request),
            },
            Some(attention) => self.attend(request, attention),
        }
    }
}

/// What an attempt needs besides being sent.
struct Attention {
    decorated: Decorated,
    record: Option<Record>,
}

impl Settings {
    /// Adds the client's headers. Returns what is left to do for the attempt; `None` if it has only to be sent.
    fn prepare(&self, request: &mut Request<AttemptBody>) -> Option<Attention> {
        body::follow(request);
        // First, because a default header takes the place of a built-in one.
        let decorated = match &self.extras {
            Some(extras) => extras.decorate(request),
            None => Decorated::default(),
        };
        if decorated.refused {
            let record = None;
            return Some(Attention { decorated, record });
        }
        let as_it_is = AsItIs::is(request);
        let without = WithoutDefaults::of(request);
        if let Some(user_agent) = self.user_agent.as_ref().filter(|_| !as_it_is) {
            if !request.headers().contains_key(USER_AGENT) && !without.has(&USER_AGENT) {
                let user_agent = user_agent.clone();
                request.headers_mut().insert(USER_AGENT, user_agent);
            }
        }
        let accepted = self.accept_encoding.as_ref();
        if let Some(accepted) = accepted.filter(|_| !without.has(&ACCEPT_ENCODING)) {
            decode::advertise(request, accepted);
        }
        let record = Record::begin(request, &self.sinks, self.paths);
        if decorated.traced {
            let _entered = record.as_ref().map(|record| record.span().enter());
            if let Some(extras) = &self.extras {
                extras.trace_context.inject(request);
            }
        }
        if decorated.is_ready() && record.is_none() && self.guards.is_none() {
            return None;
        }
        Some(Attention { decorated, record })
    }
}

impl<S, R> Attempt<S>
where
    S: Service<Request<AttemptBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: ReportsPhase + Send,
    R: Into<ResponseBody> + 'static,
{
    /// Makes an attempt that needs more than to be sent.
    #[cold]
    fn attend(
        &mut self,
        request: Request<AttemptBody>,
        Attention { decorated, record }: Attention,
    ) -> ResponseFuture<S::Future> {
        if decorated.refused {
            let error = Error::builder("it would go out without TLS, and `https_only` is set");
            return ResponseFuture::Boxed {
                inner: Box::pin(std::future::ready(Err(error))),
            };
        }
        let spare = self.inner.clone();
        let service = mem::replace(&mut self.inner, spare);
        let attempt = Attended {
            state: State::Start {
                service: Some(Guarded::new(service, self.settings.guards.as_deref())),
                request: Some(request),
            },
            settings: self.settings.clone(),
            decorated,
        };
        ResponseFuture::Boxed {
            inner: match record {
                None => Box::pin(attempt),
                Some(record) => Box::pin(Recorded {
                    attempt: attempt.instrument(record.span().clone()),
                    record: Some(record),
                }),
            },
        }
    }
}

pin_project! {
    /// An attempt that waits for credentials before it is sent, or whose response is inspected for
    /// refused ones.
    struct Attended<S, B, F> {
        #[pin]
        state: State<S, B, F>,
        settings: Arc<Settings>,
        decorated: Decorated,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Start { service: Option<S>, request: Option<Request<B>> },
        Authorizing { service: S, authorizing: Authorizing<B> },
        Sending { #[pin] response: F, authorized: Option<Authorized> },
    }
}

/// Gives the request with its credentials added.
type Authorizing<B> = Pin<Box<dyn Future<Output = Result<(Request<B>, Authorized), Error>> + Send>>;

impl<S, B, R> Future for Attended<S, B, S::Future>
where
    S: Service<Request<B>, Response = Response<R>, Error = Error>,
    B: Send + 'static,
    R: Into<ResponseBody>,
{
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Start { service, request } => {
                    let request = request.take().expect("replaced when it is polled");
                    let mut service = service.take().expect("replaced when it is polled");
                    if this.decorated.authorizes && auth_of(this.settings).is_some() {
                        let settings = this.settings.clone();
                        let authorizing = Box::pin(authorize(settings, request));
                        this.state.set(State::Authorizing {
                            service,
                            authorizing,
                        });
                    } else {
                        let response = service.call(request);
                        let authorized = None;
                        this.state.set(State::Sending {
                            response,
                            authorized,
                        });
                    }
                }
                StateProj::Authorizing {
                    service,
                    authorizing,
                } => {
                    let (request, authorized) = ready!(authorizing.as_mut().poll(cx))?;
                    let response = service.call(request);
                    let authorized = Some(authorized);
                    this.state.set(State::Sending {
                        response,
                        authorized,
                    });
                }
                StateProj::Sending {
                    response,
                    authorized,
                } => {
                    let answer = ready!(response.poll(cx))?;
                    let mut answer = answer.map(Into::into);
                    if let (Some(auth), Some(authorized)) =
                        (auth_of(this.settings), authorized.take())
                    {
                        authorized.look_at(auth, &mut answer);
                    }
                    if let Some(uri) = this.decorated.moved.take() {
                        answer.extensions_mut().insert(Answerer(uri));
                    }
                    return Poll::Ready(Ok(answer));
                }
            }
        }
    }
}

impl<S, B, F: ReportsPhase> ReportsPhase for Attended<S, B, F> {
    fn phase(&self) -> DeadlinePhase {
        match &self.state {
            State::Start { .. } => DeadlinePhase::Start,
            State::Authorizing { .. } => DeadlinePhase::Token,
            State::Sending { response, .. } => response.phase(),
        }
    }
}

pin_project! {
    /// An attempt within its span, with the metrics that are recorded of it.
    struct Recorded<F> {
        #[pin]
        attempt: Instrumented<F>,
        record: Option<Record>,
    }
}

impl<F: Future<Output = Answer>> Future for Recorded<F> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = self.project();
        let result = ready!(this.attempt.poll(cx));
        let record = this.record.take().expect("polled after it was ready");
        Poll::Ready(record.ended(result))
    }
}

impl<F: ReportsPhase> ReportsPhase for Recorded<F> {
    fn phase(&self) -> DeadlinePhase {
        self.attempt.inner().phase()
    }
}

/// An attempt as a trait object.
pub(crate) trait DynAttempt: Future<Output = Answer> + ReportsPhase + Send {}

impl<F: Future<Output = Answer> + ReportsPhase + Send> DynAttempt for F {}

impl ReportsPhase for Ready<Answer> {
    fn phase(&self) -> DeadlinePhase {
        DeadlinePhase::Start
    }
}

fn auth_of(settings: &Settings) -> Option<&Auth> {
    settings.extras.as_ref()?.auth.as_ref()
}

/// The credentials of one attempt, as they were sent.
struct Authorized {
    used: Option<HeaderValue>,
    uri: Uri,
    refresh: Option<Refresh>,
}

async fn authorize<B>(
    settings: Arc<Settings>,
    mut request: Request<B>,
) -> Result<(Request<B>, Authorized), Error> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let used = match auth_of(&settings) {
        Some(auth) => auth.header(&method, &uri).await?,
        None => None,
    };
    if let Some(value) = &used {
        request.headers_mut().insert(AUTHORIZATION, value.clone());
    }
    let refresh = Refresh::of(&request);
    Ok((request, Authorized { used, uri, refresh }))
}

impl Authorized {
    /// Renews refused credentials, and asks for another attempt unless the call has had one for
    /// that.
    fn look_at<T>(self, auth: &Auth, response: &mut Response<T>) {
        if response.status() == StatusCode::UNAUTHORIZED
            && auth.is_refused(self.used.as_ref(), &self.uri, response.headers())
        {
            if let Some(refresh) = self.refresh {
                refresh.ask_again(response);
            }
        }
    }
}

pin_project! {
    #[project = Projected]
    #[must_use = "futures do nothing unless polled"]
    pub(crate) enum ResponseFuture<F> {
        Plain { #[pin] inner: F },
        // An attempt that waits before it is sent, or that inspects its response.
        Boxed { inner: Pin<Box<dyn DynAttempt>> },
    }
}

type Answer = Result<Response<ResponseBody>, Error>;

impl<F: ReportsPhase> ReportsPhase for ResponseFuture<F> {
    fn phase(&self) -> DeadlinePhase {
        match self {
            Self::Plain { inner } => inner.phase(),
            Self::Boxed { inner } => inner.phase(),
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Into<ResponseBody>,
    E: Into<Error>,
{
    type Output = Answer;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.project() {
            Projected::Plain { inner } => inner
                .poll(cx)
                .map_ok(|response| response.map(Into::into))
                .map_err(Into::into),
            Projected::Boxed { inner } => inner.as_mut().poll(cx),
        }
    }
}
