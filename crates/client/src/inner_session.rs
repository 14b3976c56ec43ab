//! The service below each attempt: the session, with or without cookies.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use session_layer::{
    Error, ResponseFuture, Session, SessionBody,
    cookies::{Cookies, Jar, future},
};
use tower_service::Service;

use crate::{DeadlinePhase, layers::AttemptBody, phase::ReportsPhase};

/// The session of one client. Where there is no jar it costs one branch.
#[derive(Clone, Debug)]
pub(crate) enum InnerSession {
    Plain(Session<AttemptBody>),
    Jar(Cookies<Session<AttemptBody>>),
}

impl InnerSession {
    pub(crate) fn new(session: Session<AttemptBody>, jar: Option<Jar>) -> Self {
        match jar {
            None => Self::Plain(session),
            Some(jar) => Self::Jar(Cookies::new(session, jar)),
        }
    }
}

impl Service<Request<AttemptBody>> for InnerSession {
    type Response = Response<SessionBody>;
    type Error = Error;
    type Future = Exchange;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Plain(session) => session.poll_ready(cx),
            Self::Jar(cookies) => cookies.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<AttemptBody>) -> Exchange {
        match self {
            Self::Plain(session) => Exchange::Plain {
                future: session.call(request),
            },
            Self::Jar(cookies) => Exchange::Jar {
                future: Box::pin(cookies.call(request)),
            },
        }
    }
}

pin_project! {
    #[project = ExchangeProj]
    #[must_use = "futures do nothing unless polled"]
    pub(crate) enum Exchange {
        Plain {
            #[pin]
            future: ResponseFuture<AttemptBody>,
        },
        // Boxed, so that calls without cookies are not larger for it.
        Jar {
            future: Pin<Box<future::ResponseFuture<ResponseFuture<AttemptBody>>>>,
        },
    }
}

impl ReportsPhase for Exchange {
    fn phase(&self) -> DeadlinePhase {
        match self {
            Self::Plain { future } => future.phase(),
            Self::Jar { future } => future.as_ref().get_ref().phase(),
        }
    }
}

impl Future for Exchange {
    type Output = Result<Response<SessionBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ExchangeProj::Plain { future } => future.poll(cx),
            ExchangeProj::Jar { future } => future.as_mut().poll(cx),
        }
    }
}
