//! Errors of a body that is read as JSON.

use std::fmt;

use http::HeaderValue;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::shortened::Shortened;

/// Why a body cannot be read as JSON of a type. It holds only a path into the body: names of
/// fields, and indices.
#[derive(Debug)]
pub(crate) struct NotJson {
    fault: Fault,
    line: usize,
    column: usize,
}

#[derive(Debug)]
enum Fault {
    Empty,
    /// The text ends too early.
    Cut,
    Syntax {
        content_type: Option<String>,
    },
    Misfit {
        path: String,
        missing: Option<String>,
    },
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a body as JSON.
pub(crate) fn read<D: DeserializeOwned>(
    body: &[u8],
    content_type: Option<&HeaderValue>,
) -> Result<D, (NotJson, serde_json::Error)> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    serde_json::from_slice(body).or_else(|_| {
        // Reads the body a second time, because keeping track of the path takes time.
        let mut reader = serde_json::Deserializer::from_slice(body);
        let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            (path, error.into_inner())
        });
        read.and_then(|value| match reader.end() {
            Ok(()) => Ok(value),
            Err(error) => Err((String::new(), error)),
        })
        .map_err(|(path, error)| (NotJson::new(body, content_type, path, &error), error))
    })
}

impl NotJson {
    fn new(
        body: &[u8],
        content_type: Option<&HeaderValue>,
        path: String,
        error: &serde_json::Error,
    ) -> Self {
        let fault = match error.classify() {
            _ if body.trim_ascii().is_empty() => Fault::Empty,
            Category::Eof => Fault::Cut,
            Category::Syntax | Category::Io => Fault::Syntax {
                content_type: content_type
                    .and_then(|it| it.to_str().ok())
                    .map(ToOwned::to_owned),
            },
            Category::Data => Fault::Misfit {
                path,
                missing: missing_field(&error.to_string()),
            },
        };
        Self {
            fault,
            line: error.line(),
            column: error.column(),
        }
    }
}

/// The field that is missing by this message of serde. It is a name of the type, not of the body.
fn missing_field(message: &str) -> Option<String> {
    let (name, _) = message.strip_prefix("missing field `")?.split_once('`')?;
    Some(name.to_owned())
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Empty => return f.write_str("the body is not JSON: it is empty"),
            Fault::Cut => f.write_str("the body is not JSON: it breaks off")?,
            Fault::Syntax { content_type } => {
                f.write_str("the body is not JSON")?;
                match content_type {
                    Some(content_type) => {
                        write!(f, "; its content type is {}", Shortened(content_type))?;
                    }
                    None => f.write_str("; it has no content type")?,
                }
            }
            Fault::Misfit { path, missing } => {
                f.write_str("the JSON does not fit the type")?;
                // The path of the whole body is not printed.
                if !matches!(path.as_str(), "" | ".") {
                    write!(f, ", at `{}`", Shortened(path))?;
                }
                if let Some(field) = missing {
                    write!(f, ": the field `{}` is missing", Shortened(field))?;
                }
            }
        }
        write!(f, " (line {}, column {})", self.line, self.column)
    }
}
