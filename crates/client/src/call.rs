//! A call: all attempts for one request of the caller, on all hops, within one deadline.

mod observed;
mod part;
mod poll;
mod start;
mod state;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderName, Method, Request, Response};
use pin_project_lite::pin_project;
use retry_layer::RetryPolicy;
use session_layer::Session;

pub(crate) use self::start::{authorize, prepare, start};
use self::{
    part::Parts,
    start::enter,
    state::{State, StateProj},
};
use crate::{
    Body, DecodeLimits, Error, Redirects, ResponseBody,
    deadline::{DeadlineTimer, Limit, TimerDeferral},
    description::Description,
    explain::Facts,
    guard::Guards,
    layers::AttemptBody,
    observe::{CallSpans, Paths, Sinks},
    redirect::{First, History, Kept, can_be_continued},
    resume::{self, Resume},
    spreading::Spreading,
    stack::{Mode, Stack, mode},
    target::Base,
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
    pub(crate) spreading: Spreading,
    /// What guards the attempts.
    pub(crate) guards: Option<Box<Guards>>,
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
    /// What else an [explanation](crate::Client::explain) of a request contains.
    pub(crate) facts: Facts,
    /// Set when a client without a session is closed; a session knows by itself.
    pub(crate) closed: AtomicBool,
}

impl Settings {
    /// Whether calls may be observed. Where they are not, that costs a look at a field and one at a static.
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
    /// Absent over a service in the session's place.
    pub(crate) session: Option<Session<AttemptBody>>,
}

/// What comes of a call.
type Answer = Result<Response<ResponseBody>, Error>;

/// What is kept of a call to continue the body of its response.
pub(crate) type Source = resume::Source<Parts>;

/// A call whose response streams.
pub(crate) type Streaming = Call<mode::Streaming>;

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
    /// A call in either mode.
    #[project = Projected]
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Call<W>
    where
        W: Mode,
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

impl<W: Mode> Call<W> {
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

    /// Takes what is known of the request whose response is there: what the response says of it, and what is
    /// needed to continue the body of the response. `None` if that is not wanted, or cannot be done whatever the
    /// response says.
    #[inline]
    pub(crate) fn take_asked(self: Pin<&mut Self>) -> (Description, Option<Source>) {
        let mut this = self.project();
        if let StateProj::Observed { observed } = this.state.as_mut().project() {
            return observed.take_asked();
        }
        if let (None, None, StateProj::Standard { call }) =
            (&this.kept, &this.history, this.state.as_mut().project())
        {
            // What most calls come to.
            let (method, uri) = (call.method().clone(), call.uri().clone());
            let continued = *this.resume != Resume::None && method == Method::GET;
            let source = if continued {
                call.take_request()
                    .filter(|request| request.body().is_empty())
                    .map(|request| {
                        let (head, _) = request.into_parts();
                        Source::new(Parts::of(this.shared), None, head.headers, head.extensions)
                    })
            } else {
                None
            };
            let asked = Description::new(method, uri, this.shared.settings.paths);
            return (asked, source);
        }
        this.take_asked_slowly()
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

impl<W: Mode> Call<W> {
    /// Gives the response with a body that is continued where it breaks.
    #[cold]
    fn poll_continued(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut polled = self.as_mut().poll(cx);
        if let Poll::Ready(Ok(response)) = &mut polled {
            if let (asked, Some(source)) = self.take_asked() {
                source.wrap(&asked, response);
            }
        }
        polled
    }
}

impl<W: Mode> Projected<'_, W> {
    /// As [`Call::take_asked`], where the call has kept its request, or was redirected.
    #[cold]
    fn take_asked_slowly(&mut self) -> (Description, Option<Source>) {
        let last = match self.kept.take() {
            Some(kept) => Some(kept.into_request()),
            None => self.state.as_mut().take_request(),
        };
        let last = last.expect("the call keeps what the stack does not");
        let resumes = *self.resume != Resume::None;
        let continued = resumes && can_be_continued(&last);
        let (last, _) = last.into_parts();
        let (method, uri) = (last.method, last.uri);
        let of_last = continued.then_some((last.headers, last.extensions));
        let first = self.history.as_mut().and_then(|it| it.first.take());
        let ((method, uri), hop, head) = match first {
            None => ((method, uri), None, of_last),
            Some(First {
                method: first_method,
                uri: first_uri,
                head,
            }) => {
                let hop = head.is_none().then(|| Box::new((method, uri)));
                ((first_method, first_uri), hop, head.or(of_last))
            }
        };
        let source = head.filter(|_| resumes).map(|(headers, extensions)| {
            Source::new(Parts::of(self.shared), hop, headers, extensions)
        });
        let paths = self.shared.settings.paths;
        (Description::new(method, uri, paths), source)
    }
}

impl<W: Mode> fmt::Debug for Call<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("doing", &self.state)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}
