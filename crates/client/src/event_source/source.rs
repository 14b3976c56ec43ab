use std::{
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use http::{
    HeaderName, HeaderValue,
    header::{ACCEPT, CACHE_CONTROL},
};
use retry_layer::Backoff;
use tokio::time::{Sleep, sleep};

use super::{
    Reconnecting, SourceUpdate,
    answer::{Answer, is_lasting},
    open::{Clock, Limits, Open},
    waits::Waits,
};
use crate::{Error, Event, RequestBuilder, Response, error::Kind};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Server-sent events over as many connections as it takes, like `EventSource` in a browser; made
/// by [`RequestBuilder::event_source`].
///
/// ```
/// use client::{Client, testing::{Answer, Fake}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), client::Error> {
/// # let stream = |text: &'static str| Answer::new(200).header("content-type", "text/event-stream").body(text);
/// # let fake = Fake::new([stream("id: 1\ndata: a\n\n"), stream("id: 2\ndata: b\n\n"), Answer::new(204)]);
/// # let client = fake.client();
/// let mut source = client.get("https://example.com/news").event_source();
/// while let Some(event) = source.next_event().await.transpose()? {
///     println!("{}: {}", event.id, event.data);
/// }
/// # assert_eq!(fake.requests()[2].headers()["last-event-id"], "2");
/// # Ok(())
/// # }
/// ```
///
/// It reads events as [`Events`](crate::Events) does. When the server ends the response, the connection breaks, or
/// the server is silent for longer than it [may be](Self::silence_timeout), the request is sent
/// again with the id of the last whole event in `Last-Event-ID`, so that the server can go on after
/// it. Every request starts at the URL that was asked for, whatever redirects led to before.
///
/// # When it ends
///
/// - The server answers 204: there are no more events.
/// - The answer is another than 200, or has a `Content-Type` other than `text/event-stream`: an error, and the end.
///   408, 421, 429, 500, 502, 503 and 504 are a reason to connect again instead, after `Retry-After` where it is
///   the longer wait.
/// - An error that the next connection would meet too, such as a request that is not valid, a client that was
///   closed, or an event that is too long.
/// - [`max_failures`](Self::max_failures) connections in a row have brought no event, if that is set.
/// - A request that must not be sent twice has brought an event (see below), and its response ends.
///
/// # How often it connects
///
/// Each connection is a call of the client, with the client's retries, their budget, and its deadline up to the
/// head of the response. After it has failed or ended, the source waits for the reconnection time, 3 s unless
/// [set](Self::reconnection_time) here or by the server's `retry:`, and a [backoff](Self::backoff) beside it, which
/// grows with each connection that brings no event.
///
/// # Which requests are repeated
///
/// A request with an idempotent method ([RFC 9110, section
/// 9.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)), or one that is marked as
/// [idempotent](RequestBuilder::idempotent), is sent as often as it takes. Any other, such as a POST, is repeated
/// only as long as no event has come, though a server may have processed it; [`no_retry`](RequestBuilder::no_retry)
/// sends any request once. A body that is a stream cannot be sent again: the first end of a connection
/// is then that of the source.
///
/// # Cancel safety
///
/// Nothing is lost if a future of [`next`](Self::next) or [`next_event`](Self::next_event) is dropped. Dropping the
/// source closes its connection. While it is not polled, nothing is read, and no connection is made.
#[must_use = "a source does nothing unless polled"]
pub struct EventSource {
    /// The request for the next connection; `None` once it was sent and cannot be repeated.
    request: Option<RequestBuilder>,
    waits: Waits,
    limits: Limits,
    last_id: String,
    state: State,
    /// Whether any connection has brought an event.
    has_begun: bool,
}

enum State {
    /// The next request is to be sent.
    Start,
    Connecting(Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>),
    Open(Box<Open>),
    Waiting(Pin<Box<Sleep>>),
    Ended,
}

impl EventSource {
    fn new(request: RequestBuilder) -> Self {
        Self {
            request: Some(request),
            waits: Waits::new(),
            limits: Limits::default(),
            last_id: String::new(),
            state: State::Start,
            has_begun: false,
        }
    }

    /// Sets the id of the last event that an earlier source has seen, after which this one goes on.
    /// Default: empty, and then none is sent.
    pub fn last_event_id_is(mut self, id: impl Into<String>) -> Self {
        self.last_id = id.into();
        self
    }

    /// Sets the wait before another connection, until the server's `retry:` sets another. Default:
    /// 3 s; at most an hour, also where the server sets it.
    pub fn reconnection_time(mut self, time: Duration) -> Self {
        self.waits.set_reconnection_time(time);
        self
    }

    /// Sets the backoff, which is added to the reconnection time. It starts anew after each
    /// connection that has brought an event. Default: exponential from 1 s up to 60 s, with [full
    /// jitter](crate::Jitter::Full).
    pub fn backoff(mut self, backoff: impl Into<Backoff>) -> Self {
        self.waits.set_backoff(backoff.into());
        self
    }

    /// Ends the source once this many connections in a row have brought no event: with the error of
    /// the last one, if it has one. Default: never; [`Reconnecting`](SourceUpdate::Reconnecting)
    /// tells how many there were.
    pub fn max_failures(mut self, connections: u32) -> Self {
        self.limits.max_failures = Some(connections);
        self
    }

    /// Limits the time from the head of a response to its first event; comments do not count.
    /// Afterwards another connection is opened. Default: no limit.
    pub fn first_event_timeout(mut self, timeout: Duration) -> Self {
        self.limits.first_event = Some(timeout);
        self
    }

    /// Limits the time between two lines, of events or comments, on an open connection. Afterwards
    /// another connection is opened. Default: no limit, because events may be far apart; set one
    /// where the server sends comments to show that it is alive.
    pub fn silence_timeout(mut self, timeout: Duration) -> Self {
        self.limits.silence = Some(timeout);
        self
    }

    /// Limits the size of an event's data, and of a line, in bytes. Default: 1 MiB.
    pub fn max_length(mut self, bytes: usize) -> Self {
        self.limits.max_length = Some(bytes);
        self
    }

    /// Returns the id of the last event that had one; empty if none had. A later source goes on
    /// after it by [`last_event_id_is`](Self::last_event_id_is).
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        match &self.state {
            State::Open(open) => open.events.last_event_id(),
            State::Start | State::Connecting(_) | State::Waiting(_) | State::Ended => &self.last_id,
        }
    }

    /// Waits for the next item: a connection was opened, an event, or a connection has ended and
    /// will be replaced. `None` at the end.
    ///
    /// # Errors
    ///
    /// Those that end the source, see [above](Self#when-it-ends).
    pub async fn next(&mut self) -> Option<Result<SourceUpdate, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Waits for the next event, over as many connections as it takes. `None` at the end.
    ///
    /// # Errors
    ///
    /// Those that end the source, see [above](Self#when-it-ends).
    pub async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        loop {
            match self.next().await? {
                Ok(SourceUpdate::Event(event)) => return Some(Ok(event)),
                Ok(SourceUpdate::Open(_) | SourceUpdate::Reconnecting(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Returns the request for the next connection, and keeps a copy for the one after it, if that
    /// is allowed.
    fn request(&mut self) -> Option<RequestBuilder> {
        let again = self.request.as_ref()?.try_clone();
        let request = mem::replace(&mut self.request, again)?;
        // No cache may answer, as browsers ask. A failed status is judged here.
        let request = request
            .header_if_absent(ACCEPT, HeaderValue::from_static("text/event-stream"))
            .header_if_absent(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
            .error_for_status(false)
            // The source goes on by the id of the last event, not by bytes.
            .resume(false);
        // An id that is not valid in a header is left out: the server then repeats events, and none
        // is lost.
        match HeaderValue::from_bytes(self.last_id.as_bytes()) {
            Ok(id) if !id.is_empty() => Some(request.header(LAST_EVENT_ID, id)),
            Ok(_) | Err(_) => Some(request),
        }
    }

    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        Poll::Ready(match &mut self.state {
            State::Start => match self.request() {
                Some(request) => {
                    self.state = State::Connecting(Box::pin(request.send()));
                    Step::Continue
                }
                None => Step::End(None),
            },
            State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                Ok(response) => self.opened(response),
                Err(error) if is_lasting(&error) => Step::End(Some(error)),
                Err(error) => self.ended(Some(error), false, None),
            },
            State::Open(open) => match ready!(open.poll(cx, &self.limits)) {
                Ok(Some(event)) => {
                    self.has_begun = true;
                    Step::Tell(SourceUpdate::Event(event))
                }
                ended => self.closed(ended.err()),
            },
            State::Waiting(sleep) => {
                ready!(sleep.as_mut().poll(cx));
                self.state = State::Start;
                Step::Continue
            }
            State::Ended => Step::End(None),
        })
    }

    fn opened(&mut self, response: Response) -> Step {
        let mut head = http::Response::new(());
        *head.status_mut() = response.status();
        *head.version_mut() = response.version();
        *head.headers_mut() = response.headers().clone();
        *head.extensions_mut() = response.extensions().clone();
        match Answer::of(response) {
            Answer::Open(events) => {
                let events = events.after(mem::take(&mut self.last_id));
                let events = match self.limits.max_length {
                    Some(bytes) => events.max_length(bytes),
                    None => events,
                };
                let clock = Clock::new();
                self.state = State::Open(Box::new(Open { events, clock }));
                Step::Tell(SourceUpdate::Open(head))
            }
            Answer::End => Step::End(None),
            Answer::Again(error, asked) => self.ended(Some(error), false, asked),
            Answer::Fail(error) => Step::End(Some(error)),
        }
    }

    /// Keeps what the next connection needs of one that was open.
    fn closed(&mut self, error: Option<Error>) -> Step {
        let State::Open(open) = mem::replace(&mut self.state, State::Ended) else {
            return Step::End(error);
        };
        open.events.last_event_id().clone_into(&mut self.last_id);
        if let Some(time) = open.events.retry() {
            self.waits.set_reconnection_time(time);
        }
        match error {
            Some(error) if is_lasting(&error) => Step::End(Some(error)),
            error => self.ended(error, open.clock.opened.is_none(), None),
        }
    }

    /// Waits before another connection, or ends the source.
    fn ended(
        &mut self,
        error: Option<Error>,
        has_progressed: bool,
        asked: Option<Duration>,
    ) -> Step {
        let may_repeat = self.request.as_ref().is_some_and(|request| {
            !request.is_sent_once() && (!self.has_begun || request.is_idempotent())
        });
        let wait = self.waits.next(has_progressed, asked);
        let failures = self.waits.failures();
        let is_over = self.limits.max_failures.is_some_and(|max| failures >= max);
        if !may_repeat {
            return Step::End(error);
        }
        if is_over && !has_progressed {
            let none = || Error::new(Kind::NoEvents(failures));
            return Step::End(Some(error.unwrap_or_else(none)));
        }
        self.state = State::Waiting(Box::pin(sleep(wait)));
        Step::Tell(SourceUpdate::Reconnecting(Reconnecting {
            wait,
            failures,
            error,
        }))
    }
}

enum Step {
    Continue,
    Tell(SourceUpdate),
    End(Option<Error>),
}

impl Stream for EventSource {
    type Item = Result<SourceUpdate, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<SourceUpdate, Error>>> {
        loop {
            match ready!(self.poll_state(cx)) {
                Step::Continue => {}
                Step::Tell(update) => return Poll::Ready(Some(Ok(update))),
                Step::End(error) => {
                    self.state = State::Ended;
                    return Poll::Ready(error.map(Err));
                }
            }
        }
    }
}

impl RequestBuilder {
    /// Sends the request as often as it takes to get all [events](EventSource) of a server. Nothing
    /// is sent before the source is polled. If the request is not valid, the error is the first
    /// item.
    pub fn event_source(self) -> EventSource {
        EventSource::new(self)
    }
}

impl fmt::Debug for EventSource {
    // The id may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Start | State::Connecting(_) => "connecting",
            State::Open(_) => "open",
            State::Waiting(_) => "waiting",
            State::Ended => "ended",
        };
        f.debug_struct("EventSource")
            .field("request", &self.request)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
