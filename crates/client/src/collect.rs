//! Collects response bodies below the retries, so that one that breaks is an attempt that failed.
//!
//! One that is too large is none: its response goes on without it, is judged by its status and
//! headers like any other, and becomes an error above the retries.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, response};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{Error, ResponseBody, decode, redirect};

#[derive(Clone, Debug)]
pub(crate) struct Collect<S> {
    inner: S,
    limit: usize,
    when: When,
}

/// Which responses are collected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    Always,
    /// Those to requests that have a [`CollectBody`] in their extensions.
    Asked,
}

/// A request extension: the body of the response is to be collected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectBody;

/// A request extension: no redirect of it is followed, so that each is an answer to be collected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowsNone;

impl<S> Collect<S> {
    pub(crate) fn new(inner: S, limit: usize, when: When) -> Self {
        Self { inner, limit, when }
    }
}

impl<S, B> Service<Request<B>> for Collect<S>
where
    S: Service<Request<B>, Response = Response<ResponseBody>, Error = Error>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Collecting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Collecting<S::Future> {
        let collects = match self.when {
            When::Always => true,
            When::Asked => request.extensions().get::<CollectBody>().is_some(),
        };
        let how = How {
            limit: self.limit,
            decode: decode::IS_POSSIBLE && decode::is_wanted(&request),
            redirects: request.extensions().get::<FollowsNone>().is_some(),
        };
        Collecting {
            state: State::Head {
                inner: self.inner.call(request),
            },
            how: collects.then_some(how),
        }
    }
}

/// How a body is collected.
#[derive(Clone, Copy, Debug)]
struct How {
    limit: usize,
    decode: bool,
    /// Whether a redirect is one of them.
    redirects: bool,
}

pin_project! {
    /// Waits for the head, then for the body.
    pub(crate) struct Collecting<F> {
        #[pin]
        state: State<F>,
        // None if the body is not to be collected.
        how: Option<How>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Head { #[pin] inner: F },
        Body { gathering: Option<Gathering> },
    }
}

/// A body that is being collected.
pub(crate) struct Gathering {
    head: response::Parts,
    body: ResponseBody,
    collected: Collected,
    limit: usize,
}

/// What there is of it so far; one frame is kept as it came.
enum Collected {
    Nothing,
    One(Bytes),
    Many(BytesMut),
    TooLarge,
}

impl Gathering {
    pub(crate) fn new(response: Response<ResponseBody>, limit: usize) -> Self {
        let (head, body) = response.into_parts();
        let announced = body.size_hint().lower();
        let fits = usize::try_from(announced).is_ok_and(|announced| announced <= limit);
        let collected = if fits {
            Collected::Nothing
        } else {
            Collected::TooLarge
        };
        Self {
            head,
            body,
            collected,
            limit,
        }
    }

    /// Reads on to the end of the body, or to where it is larger than the limit.
    pub(crate) fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Collected::TooLarge = self.collected {
            return Poll::Ready(Ok(()));
        }
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            let frame = match frame {
                Ok(frame) => frame,
                // Collected before, and wrapped by somebody's layer since.
                Err(error) if error.is_too_large() => {
                    self.collected = Collected::TooLarge;
                    break;
                }
                Err(error) => return Poll::Ready(Err(error)),
            };
            // Trailers are of no use to somebody who gets bytes.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if self.collected.len().saturating_add(data.len()) > self.limit {
                self.collected = Collected::TooLarge;
                break;
            }
            self.collected.push(data, self.body.size_hint().lower());
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the response with what was collected; what is left of a body that was too large
    /// closes its connection here.
    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let bytes = match self.collected {
            Collected::Nothing => Some(Bytes::new()),
            Collected::One(bytes) => Some(bytes),
            Collected::Many(bytes) => Some(bytes.freeze()),
            Collected::TooLarge => None,
        };
        let body = match bytes {
            Some(bytes) => ResponseBody::collected(bytes, self.body.connection().cloned()),
            None => ResponseBody::too_large(self.limit),
        };
        Response::from_parts(self.head, body)
    }
}

/// The most memory that is set aside because a peer announced as much.
const MAX_RESERVED: usize = 1024 * 1024;

impl Collected {
    fn len(&self) -> usize {
        match self {
            Self::Nothing | Self::TooLarge => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    /// Adds a frame; `rest` is what the peer says will follow.
    fn push(&mut self, data: Bytes, rest: u64) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let rest = usize::try_from(rest).unwrap_or_default().min(MAX_RESERVED);
                let so_far = first.len().saturating_add(data.len());
                let mut bytes = BytesMut::with_capacity(so_far.saturating_add(rest));
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(&data);
                *self = Self::Many(bytes);
            }
            Self::Many(bytes) => bytes.extend_from_slice(&data),
            Self::TooLarge => {}
        }
    }
}

impl<F> Future for Collecting<F>
where
    F: Future<Output = Result<Response<ResponseBody>, Error>>,
{
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Head { inner } => {
                    let mut response = ready!(inner.poll(cx))?;
                    // Little of a redirect's body is read if it is followed, and the call
                    // collects it if it turns out that it is not.
                    let how = this
                        .how
                        .filter(|how| how.redirects || !redirect::is_redirect(&response));
                    let Some(How { limit, decode, .. }) = how else {
                        return Poll::Ready(Ok(response));
                    };
                    if decode {
                        response = decode::response(response)?;
                    }
                    let gathering = Some(Gathering::new(response, limit));
                    this.state.set(State::Body { gathering });
                }
                StateProj::Body { gathering } => {
                    if let Some(gathering) = gathering {
                        ready!(gathering.poll_gather(cx))?;
                    }
                    let gathered = gathering.take().expect("polled after it was ready");
                    return Poll::Ready(Ok(gathered.into_response()));
                }
            }
        }
    }
}
