//! What is done once per attempt: client-wide headers in, one type of response and error out.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT},
};
use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::Instrument as _;

use crate::{
    DeadlinePhase, Error, ResponseBody,
    auth::{Auth, Refresh},
    decode,
    doing::Doing,
    extras::{Dressed, Extras, WithoutDefaults},
    forward::AsItIs,
    observe::{Metrics, Paths, Record},
    redirect::Answerer,
};

/// The settings of all attempts.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) metrics: Metrics,
    pub(crate) paths: Paths,
    /// The codings that are decoded, if any are.
    pub(crate) accept_encoding: Option<HeaderValue>,
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

impl<S, B, R> Service<Request<B>> for Attempt<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: Send,
    B: Send + 'static,
    R: Into<ResponseBody> + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // First, since a default header takes the place of what is built in.
        let dressed = match &self.settings.extras {
            Some(extras) => extras.dress(&mut request),
            None => Dressed::default(),
        };
        if dressed.refused {
            let error = Error::builder("it would go out without TLS, and `https_only` is set");
            return ResponseFuture::Boxed {
                inner: Box::pin(std::future::ready(Err(error))),
            };
        }
        let as_it_is = AsItIs::is(&request);
        let without = WithoutDefaults::of(&request);
        if let Some(user_agent) = self.settings.user_agent.as_ref().filter(|_| !as_it_is) {
            if !request.headers().contains_key(USER_AGENT) && !without.has(&USER_AGENT) {
                let user_agent = user_agent.clone();
                request.headers_mut().insert(USER_AGENT, user_agent);
            }
        }
        let accepted = self.settings.accept_encoding.as_ref();
        if let Some(accepted) = accepted.filter(|_| !without.has(&ACCEPT_ENCODING)) {
            decode::advertise(&mut request, accepted);
        }
        let record = Record::begin(&request, self.settings.metrics, self.settings.paths);
        if dressed.is_ready() && record.is_none() {
            return ResponseFuture::Plain {
                inner: self.inner.call(request),
            };
        }
        let spare = self.inner.clone();
        let ready = mem::replace(&mut self.inner, spare);
        let attempt = attempt(ready, request, self.settings.clone(), dressed);
        ResponseFuture::Boxed {
            inner: match record {
                None => Box::pin(attempt),
                Some(record) => Box::pin(async move {
                    let span = record.span().clone();
                    let result = attempt.instrument(span).await;
                    record.ended(result)
                }),
            },
        }
    }
}

/// An attempt that waits before it is sent, or is looked at when it is over.
async fn attempt<S, B, R>(
    mut service: S,
    mut request: Request<B>,
    settings: Arc<Settings>,
    dressed: Dressed,
) -> Answer
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<Error>,
    R: Into<ResponseBody>,
{
    let auth = settings.extras.as_ref().and_then(|it| it.auth.as_ref());
    let auth = auth.filter(|_| dressed.authorizes);
    let authorized = match auth {
        Some(auth) => Some(authorize(auth, &mut request).await?),
        None => None,
    };
    let answer = service.call(request).await.map_err(Into::into)?;
    let mut response = answer.map(Into::into);
    if let (Some(auth), Some(authorized)) = (auth, authorized) {
        authorized.look_at(auth, &mut response);
    }
    if let Some(uri) = dressed.moved {
        response.extensions_mut().insert(Answerer(uri));
    }
    Ok(response)
}

/// What an attempt was authorized by.
struct Authorized {
    used: Option<HeaderValue>,
    uri: Uri,
    refresh: Option<Refresh>,
}

async fn authorize<B>(auth: &Auth, request: &mut Request<B>) -> Result<Authorized, Error> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let used = auth.header(&method, &uri).await?;
    if let Some(value) = &used {
        request.headers_mut().insert(AUTHORIZATION, value.clone());
    }
    let refresh = Refresh::of(request);
    Ok(Authorized { used, uri, refresh })
}

impl Authorized {
    /// Renews what was refused, and asks for another attempt if there was none for that yet.
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
        // What waits before it is sent, or looks at the response.
        Boxed { inner: Pin<Box<dyn Future<Output = Answer> + Send>> },
    }
}

type Answer = Result<Response<ResponseBody>, Error>;

impl<F: Doing> Doing for ResponseFuture<F> {
    fn doing(&self) -> DeadlinePhase {
        match self {
            Self::Plain { inner } => inner.doing(),
            Self::Boxed { .. } => DeadlinePhase::Attempt,
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
