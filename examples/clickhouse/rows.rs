//! Rows as they come.

use std::marker::PhantomData;

use client::Lines;
use serde::de::DeserializeOwned;

use crate::error::{Exception, QueryError};

/// The answer to a SELECT, one row at a time: never more of it than a line is in memory.
///
/// An exception that comes in the middle is the last item. It stands in the body, since the head
/// with its status 200 was sent before anything was wrong. A connection that breaks is an error
/// too; so a reader that gets to the end has seen all rows.
pub(crate) struct Rows<T> {
    lines: Lines,
    ended: bool,
    of: PhantomData<fn() -> T>,
}

/// An exception and what is around it has at most 16 KiB.
const MAX_EXCEPTION: usize = 16 * 1024;

impl<T: DeserializeOwned> Rows<T> {
    pub(crate) fn new(lines: Lines) -> Self {
        Self {
            lines,
            ended: false,
            of: PhantomData,
        }
    }

    /// Waits for the next row; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<T, QueryError>> {
        if self.ended {
            return None;
        }
        let line = match self.lines.next().await? {
            Ok(line) => line,
            Err(error) => return Some(Err(self.end(error.into()))),
        };
        if let Some(exception) = in_format(&line) {
            return Some(Err(self.end(QueryError::Exception(exception))));
        }
        match serde_json::from_str(&line) {
            Ok(row) => Some(Ok(row)),
            Err(error) => {
                let error = self.explain(line, &error).await;
                Some(Err(self.end(error)))
            }
        }
    }

    /// Says why a line is not a row: it is where an exception begins, or it is of another type.
    ///
    /// The exception may follow a piece of a row. Servers since 25.11 write it between two lines
    /// `__exception__`, with an empty one before them.
    async fn explain(&mut self, line: String, error: &serde_json::Error) -> QueryError {
        let mut text = line;
        while text.len() < MAX_EXCEPTION {
            // However it goes on: what came is what there is to be told.
            let Some(Ok(line)) = self.lines.next().await else {
                break;
            };
            text.push('\n');
            text.push_str(&line);
        }
        match Exception::find(&text) {
            Some(exception) => QueryError::Exception(exception),
            // The line itself may be personal data.
            None => QueryError::Unexpected(format!("a row cannot be read: {error}")),
        }
    }

    fn end(&mut self, error: QueryError) -> QueryError {
        self.ended = true;
        error
    }
}

/// The exception as a row of its own, which `http_write_exception_in_output_format` asks for and
/// which was the default for a while.
fn in_format(line: &str) -> Option<Exception> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        exception: String,
    }

    line.starts_with("{\"exception\":")
        .then(|| serde_json::from_str::<Row>(line).ok())?
        .and_then(|row| Exception::find(&row.exception))
}

#[cfg(test)]
mod tests {
    use client::Client;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Number {
        n: u32,
    }

    /// Reads a body, and gives the numbers before the end or the error.
    async fn read(body: &'static str) -> (Vec<u32>, Option<QueryError>) {
        let answer = tower::service_fn(move |_: http::Request<client::Body>| async move {
            Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(
                bytes::Bytes::from_static(body.as_bytes()),
            )))
        });
        let response = Client::from_service(answer).get("http://any/").send().await;
        let mut rows = Rows::<Number>::new(response.expect("it answers").lines());
        let mut numbers = Vec::new();
        loop {
            match rows.next().await {
                None => return (numbers, None),
                Some(Ok(row)) => numbers.push(row.n),
                Some(Err(error)) => return (numbers, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn an_exception_in_the_body_is_an_error_however_it_is_written() {
        for body in [
            "{\"n\":1}\nCode: 153, e.displayText() = DB::Exception: Division by zero",
            "{\"n\":1}\n{\"n\":Code: 153. DB::Exception: Division by zero. (ILLEGAL_DIVISION)\n",
            "{\"n\":1}\n{\"exception\": \"Code: 153. DB::Exception: Division by zero.\"}\n",
            "{\"n\":1}\n\r\n__exception__\r\nabcdefghijklmnop\r\n\
             Code: 153. DB::Exception: Division by zero.\n44 abcdefghijklmnop\r\n__exception__\r\n",
        ] {
            let (numbers, error) = read(body).await;
            assert_eq!(numbers, [1], "{body}");
            let Some(QueryError::Exception(exception)) = error else {
                panic!("{body}: {error:?}");
            };
            assert_eq!(exception.code, Some(153), "{body}");
            assert!(exception.message.starts_with("Division by zero"), "{body}");
        }
    }

    #[tokio::test]
    async fn a_row_of_another_type_is_an_error_without_the_row() {
        let (numbers, error) = read("{\"n\":1}\n{\"n\":\"secret\"}\n{\"n\":3}\n").await;
        assert_eq!(numbers, [1]);
        let error = error.expect("it is no number");
        assert!(matches!(error, QueryError::Unexpected(_)), "{error:?}");
    }

    #[tokio::test]
    async fn all_rows_come() {
        let (numbers, error) = read("{\"n\":1}\n{\"n\":2}\n").await;
        assert_eq!(numbers, [1, 2]);
        assert!(error.is_none(), "{error:?}");
    }
}
