//! What can go wrong, and where `ClickHouse` says so.

use std::{error::Error, fmt};

use bytes::Bytes;
use client::Response;

/// Why a query failed.
#[derive(Debug)]
pub(crate) enum QueryError {
    /// No answer, or only a part of one.
    Http(client::Error),
    /// `ClickHouse`'s own error.
    Exception(Exception),
    /// An answer that is neither: not what the type of the rows says, or of something between.
    Unexpected(String),
}

impl QueryError {
    /// Reads an answer that was collected.
    ///
    /// A header, the status, and the text of the body may each be the only sign: old servers send
    /// no header, and an insert that fails after its head was written has the status 200.
    pub(crate) fn check(response: &Response<Bytes>) -> Result<(), Self> {
        let text = String::from_utf8_lossy(response.body());
        let code = response.headers().get("x-clickhouse-exception-code");
        let exception = Exception::find(&text);
        match (exception, code) {
            (Some(exception), _) => Err(Self::Exception(exception)),
            (None, Some(code)) => Err(Self::Exception(Exception {
                code: code.to_str().ok().and_then(|code| code.parse().ok()),
                message: one_line(&text),
            })),
            (None, None) if response.status().is_success() => Ok(()),
            (None, None) => Err(Self::Unexpected(format!(
                "{}: {}",
                response.status(),
                one_line(&text)
            ))),
        }
    }
}

impl From<client::Error> for QueryError {
    fn from(error: client::Error) -> Self {
        Self::Http(error)
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => error.fmt(f),
            Self::Exception(exception) => exception.fmt(f),
            Self::Unexpected(what) => write!(f, "not an answer of ClickHouse: {what}"),
        }
    }
}

impl Error for QueryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Http(error) => error.source(),
            Self::Exception(_) | Self::Unexpected(_) => None,
        }
    }
}

/// An error of `ClickHouse`.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Exception {
    /// See `system.errors`; `None` if it could not be read.
    pub(crate) code: Option<u32>,
    pub(crate) message: String,
}

impl Exception {
    /// Finds an exception in a text: `Code: 60. DB::Exception: Table …`, and before 21.10
    /// `Code: 60, e.displayText() = DB::Exception: Table …`.
    pub(crate) fn find(text: &str) -> Option<Self> {
        let text = text.get(text.rfind("Code: ")?..)?;
        let (code, message) = text.strip_prefix("Code: ")?.split_once(['.', ','])?;
        let code = code.parse().ok()?;
        let (before, message) = message.split_once("DB::Exception: ")?;
        let message = message.split(", e.what() =").next()?;
        // What comes of a server; data may hold both texts, far from each other.
        matches!(before.trim(), "" | "e.displayText() =").then(|| Self {
            code: Some(code),
            message: one_line(message),
        })
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "exception {code}: {}", self.message),
            None => write!(f, "exception: {}", self.message),
        }
    }
}

/// The beginning of the first line of a server's text.
fn one_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    let shown = line.chars().filter(|it| !it.is_control());
    shown.take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_an_exception_are_read() {
        let new = "Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)";
        let old = "Code: 60, e.displayText() = DB::Exception: Table x does not exist., \
                   e.what() = DB::Exception";
        for (text, message) in [
            (new, "Table x does not exist. (UNKNOWN_TABLE)"),
            (old, "Table x does not exist."),
        ] {
            let exception = Exception::find(text).expect("it is one");
            assert_eq!(exception.code, Some(60));
            assert_eq!(exception.message, message);
        }
    }

    #[test]
    fn other_texts_are_no_exceptions() {
        for text in [
            "",
            "Code: ",
            "Code: 60",
            "Code: x. DB::Exception: ",
            "Code: 7. y",
            "Ok.",
        ] {
            assert_eq!(Exception::find(text), None, "{text}");
        }
    }
}
