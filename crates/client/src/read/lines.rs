use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{line::LineReader, split::Ends};
use crate::{Error, Response, error::Kind};

/// A response's body as a stream of its lines; made by [`Response::lines`].
///
/// A line ends with a line feed, or a carriage return and a line feed, which are not part of it;
/// the last line may end with the body. A byte order mark at the beginning is skipped. A line that
/// is not UTF-8 or too long is an error, after which the stream has ended.
#[derive(Debug)]
#[must_use = "a stream does nothing unless polled"]
pub struct Lines {
    reader: LineReader,
}

impl Lines {
    /// Limits the length of a line, in bytes without its end. Default: 1 MiB.
    pub fn max_length(mut self, bytes: usize) -> Self {
        *self.reader.limit() = bytes;
        self
    }

    /// Waits for the next line; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// No line is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Lines {
    type Item = Result<String, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<String, Error>>> {
        let line = ready!(self.reader.poll_line(cx));
        Poll::Ready(line.map(|line| {
            let text = String::from_utf8(Vec::from(line?));
            // The error of the conversion holds the line, which may be a secret of the caller's.
            text.map_err(|error| {
                let cause = error.utf8_error();
                self.reader.fail(Kind::Decode("UTF-8")).with(cause)
            })
        }))
    }
}

impl Response {
    /// Gives the body as a stream of lines, for instance of JSON
    /// ([NDJSON](https://github.com/ndjson/ndjson-spec)).
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let mut lines = client.get("https://example.com/rows").send().await?.lines();
    /// while let Some(line) = lines.next().await.transpose()? {
    ///     println!("{line}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn lines(self) -> Lines {
        Lines {
            reader: LineReader::new(self.stream(), Ends::Feed),
        }
    }
}
