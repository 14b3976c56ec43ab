use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use http::header::CONTENT_TYPE;

use super::{
    line::LineReader,
    media_type::{EVENT_STREAM, is_event_stream},
    split::Ends,
};
use crate::{Error, Response, error::Kind};

/// An event that a server sent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The type of the event; `message` if the server does not set one.
    pub event: String,
    /// The data, with a line feed between each two lines.
    pub data: String,
    /// The id of the last event that had one; empty if none had.
    pub id: String,
}

/// A response's body as a stream of [server-sent events][spec]; made by [`Response::events`].
///
/// It follows the standard: comments are skipped, an event without data is skipped, and an event
/// that the end of the body cuts off is dropped. It ends with its response; an
/// [`EventSource`](crate::EventSource) connects again and goes on.
///
/// Events may be far apart, so the default of [`Timeouts::body_idle`](crate::Timeouts::body_idle)
/// does not apply here. If the server is silent for longer, the stream ends with an error only
/// where the timeout was set by hand, or by the request's
/// [`idle_timeout`](crate::RequestBuilder::idle_timeout): set one where the server sends comments
/// to show that it is alive. The client's floor of throughput does not apply either, only one that
/// the [request](crate::RequestBuilder::download_floor) sets. (If your own layer wraps the body,
/// this type cannot lift the default, and it applies.)
///
/// [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
#[derive(Debug)]
#[must_use = "a stream does nothing unless polled"]
pub struct Events {
    reader: LineReader,
    parser: Parser,
    /// Whether a line has come since this was last asked.
    heard: bool,
}

impl Events {
    /// Limits the size of an event's data, and of a line, in bytes. Default: 1 MiB.
    pub fn max_length(mut self, bytes: usize) -> Self {
        *self.reader.limit() = bytes;
        self
    }

    /// Returns the id of the last event that had one, for the `Last-Event-ID` of a request that
    /// goes on after it; empty if none had.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.parser.last_id
    }

    /// Returns how long the server wants a client to wait before it connects again, if it said so.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry
    }

    /// Goes on after the event with this id, on a new connection.
    pub(crate) fn after(mut self, id: String) -> Self {
        self.parser.id.clone_from(&id);
        self.parser.last_id = id;
        self
    }

    /// Whether a line has come since this was last called, a comment's included.
    pub(crate) fn take_heard(&mut self) -> bool {
        mem::take(&mut self.heard)
    }

    /// Ends the stream, and makes an error of this kind.
    pub(crate) fn fail(&mut self, kind: Kind) -> Error {
        self.reader.fail(kind)
    }

    /// Waits for the next event; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Result<Event, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Event, Error>>> {
        while let Some(line) = ready!(self.reader.poll_line(cx)?) {
            self.heard = true;
            let event = self.parser.line(&String::from_utf8_lossy(&line));
            if self.parser.data.len() > self.reader.limit().saturating_add(1) {
                return Poll::Ready(Some(Err(self.reader.too_long("an event"))));
            }
            if let Some(event) = event {
                return Poll::Ready(Some(Ok(event)));
            }
        }
        Poll::Ready(None)
    }
}

/// The part of the next event that was read.
#[derive(Debug, Default)]
struct Parser {
    event: String,
    /// Each line ends with a line feed.
    data: String,
    id: String,
    last_id: String,
    retry: Option<Duration>,
}

impl Parser {
    /// Reads a line, and returns the event that it ends, if it ends one.
    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            return self.end();
        }
        // A comment is a field without a name, and is ignored like every unknown field.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // A number that is too large is ignored.
                let time = value.parse().ok().map(Duration::from_millis);
                self.retry = time.or(self.retry);
            }
            _ => {}
        }
        None
    }

    fn end(&mut self) -> Option<Event> {
        self.last_id.clone_from(&self.id);
        let event = mem::take(&mut self.event);
        let mut data = mem::take(&mut self.data);
        // The line feed of the last line.
        data.pop()?;
        Some(Event {
            event: if event.is_empty() {
                "message".to_owned()
            } else {
                event
            },
            data,
            id: self.last_id.clone(),
        })
    }
}

impl Response {
    /// Gives the body as a stream of the events that the server sends.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let request = client.get("https://example.com/news").header("accept", "text/event-stream");
    /// let mut events = request.send().await?.error_for_status()?.events()?;
    /// while let Some(event) = events.next().await.transpose()? {
    ///     println!("{}: {}", event.event, event.data);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the `Content-Type` is not `text/event-stream`: such a body would be read as a stream
    /// without events. Without a `Content-Type` the body is read as events.
    pub fn events(mut self) -> Result<Events, Error> {
        let content_type = self.headers().get(CONTENT_TYPE);
        let is_events = content_type.is_none_or(is_event_stream);
        if is_events {
            self.body_mut().lift_default_idle_timeout();
        }
        let mut stream = self.stream();
        if !is_events {
            return Err(stream.fail(Kind::Decode(EVENT_STREAM)));
        }
        Ok(Events {
            reader: LineReader::new(stream, Ends::ReturnOrFeed),
            parser: Parser::default(),
            heard: false,
        })
    }
}
