mod chain;
mod convert;
mod deadline;
mod display;
mod gateway;
mod kind;
mod making;
mod questions;
mod reason;
mod timeout;

use std::{error::Error as StdError, io};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use retry_layer::{RetryReport, resume::ResumeError};

#[cfg(feature = "fs")]
use crate::download::{DigestMismatch, PartialFile};
use crate::{observe::Paths, origin};

use self::chain::session_cause;
pub(crate) use self::{chain::causes, display::What, reason::Kind};
pub use self::{deadline::DeadlinePhase, kind::ErrorKind, timeout::TimeoutPhase};

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a call has no answer.
///
/// [`Display`](std::fmt::Display) is one line that names the method, the origin, what failed and how
/// many attempts were made; the cause is in [`source`](StdError::source), and says nothing twice. Of
/// a setting that is not valid the line has the name, and the cause what is wrong with it. It holds neither
/// userinfo nor a query, and no header; a path only if the client
/// [records paths](crate::ClientBuilder::record_paths).
///
/// `{:#}` prints the same line with all causes behind it, separated by colons, for logs. `{:?}` prints
/// both over several lines for a person, as a program does whose `main` returns the error; `{:#?}`
/// prints the fields.
///
/// ```no_run
/// #[tokio::main]
/// async fn main() -> Result<(), client::Error> {
///     let client = client::Client::new();
///     // Error: GET http://127.0.0.1:1: cannot connect (3 attempts)
///     //
///     // Caused by:
///     //     Connection refused (os error 111)
///     client.get("http://127.0.0.1:1/").fetch().await?;
///     Ok(())
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    method: Option<Method>,
    origin: Option<String>,
    uri: Option<Uri>,
    source: Option<BoxError>,
    report: Option<RetryReport>,
    /// Whether the line has the path of the URL.
    paths: Paths,
    /// What the call was doing when its deadline passed, where that is known.
    phase: Option<DeadlinePhase>,
    /// The response, where it had come before the call failed.
    answer: Option<Answer>,
    /// What is left of a download.
    #[cfg(feature = "fs")]
    partial_file: Option<PartialFile>,
}

/// The head of a response, and the beginning of its body.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// How much of a body an error keeps.
pub(crate) const KEPT_OF_BODY: usize = 8 * 1024;

impl Error {
    /// The path, where the settings show it. With endpoints the URL may be another one's than the origin, and
    /// then its path is not what was asked for there.
    fn shown_path(&self) -> Option<&str> {
        if self.0.paths == Paths::Redacted {
            return None;
        }
        let uri = self.0.uri.as_ref()?;
        let of_uri = origin::display(uri)?;
        let origin = self.0.origin.as_deref()?;
        origin.eq_ignore_ascii_case(&of_uri).then(|| uri.path())
    }

    pub(crate) fn reason(&self) -> &Kind {
        &self.0.kind
    }

    /// Returns the session's error, which tells more of what happened. It is found too where a
    /// layer or a service has wrapped it in an error of its own.
    #[must_use]
    pub fn session_error(&self) -> Option<&session_layer::Error> {
        match &self.0.kind {
            Kind::Session(error) => Some(error),
            Kind::Service => session_cause(self.0.source.as_deref()?),
            _ => None,
        }
    }

    /// The causes that may be printed. That of JSON quotes what stands in the body, and its line
    /// has what else there is to say.
    fn told_causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let first = match self.0.kind {
            Kind::Json(_) => None,
            _ => StdError::source(self),
        };
        // An `io::Error` that wraps another error says what that one says.
        let wraps = |cause: &&(dyn StdError + 'static)| {
            let cause: Option<&io::Error> = cause.downcast_ref();
            cause.is_some_and(|it| it.get_ref().is_some())
        };
        first
            .into_iter()
            .flat_map(causes)
            .filter(move |it| !wraps(it))
    }

    /// Returns the request's method.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.0.method.as_ref()
    }

    /// Returns the origin that the request was for, as `scheme://host:port`.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.0.origin.as_deref()
    }

    /// Returns the URL that was asked, without userinfo: after redirects, that of the last hop. With
    /// [endpoints](crate::ClientBuilder::endpoints) it is that of the one that answered; if none did,
    /// it is the first one's, and [`origin`](Self::origin) tells which failed.
    ///
    /// Its path and query may hold what is in no log: neither [`Display`](std::fmt::Display) nor `Debug`
    /// of the error shows them, except the path where the client
    /// [records paths](crate::ClientBuilder::record_paths).
    #[must_use]
    pub fn url(&self) -> Option<&Uri> {
        self.0.uri.as_ref()
    }

    /// Returns what was tried, on all hops of a call that was redirected; `None` if the request did
    /// not reach the retry layer.
    #[must_use]
    pub fn retry_report(&self) -> Option<&RetryReport> {
        self.0.report.as_ref()
    }

    /// Returns the status of the response, where the call failed after its head had come: the error
    /// was made of a failed status, or the body broke off, was larger than allowed, could not be
    /// decoded or read as JSON, or had not ended at the deadline.
    ///
    /// Of a body that was read piece by piece it is `None`: its reader has the response's head.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.answer.as_ref().map(|answer| answer.status)
    }

    /// Returns the headers of the response, where there is a [`status`](Self::status).
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.0.answer.as_ref().map(|answer| &answer.headers)
    }

    /// Returns the beginning of the response's body, where there is a [`status`](Self::status) and
    /// anything of the body was collected: at most 8 KiB.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        let answer = self.0.answer.as_ref();
        answer.map(|it| &it.body).filter(|body| !body.is_empty())
    }

    /// Returns the status by which an HTTP proxy refused to open a tunnel: 407 if it wants other
    /// credentials.
    #[must_use]
    pub fn proxy_status(&self) -> Option<StatusCode> {
        self.session_error()?.proxy_status()
    }

    /// Returns why a body could not be [continued](crate::ClientBuilder::resume) where it broke, if the
    /// server's answer to that did not fit what was received.
    #[must_use]
    pub fn resume_error(&self) -> Option<&ResumeError> {
        match &self.0.kind {
            Kind::Resume(error) => Some(error),
            _ => None,
        }
    }

    /// Returns what a [download](crate::RequestBuilder::download_to) that failed has left, for the next one
    /// to go on from; `None` if nothing is left.
    #[cfg(feature = "fs")]
    #[must_use]
    pub fn partial_file(&self) -> Option<&PartialFile> {
        self.0.partial_file.as_ref()
    }

    /// Returns the digest that a [download](crate::RequestBuilder::download_to) was to have, and the one
    /// that it has.
    #[cfg(feature = "fs")]
    #[must_use]
    pub fn digest_mismatch(&self) -> Option<&DigestMismatch> {
        match &self.0.kind {
            Kind::Digest(mismatch) => Some(mismatch),
            _ => None,
        }
    }
}

/// Whether a status tells of a client's or a server's error. One above 599 is no status at all, and counts as a
/// server's error ([RFC 9110, section 15](https://www.rfc-editor.org/rfc/rfc9110#section-15)).
pub(crate) fn is_failed(status: StatusCode) -> bool {
    status >= StatusCode::BAD_REQUEST
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.kind {
            // Its own line says what the session's error says: the cause is the next below.
            Kind::Session(error) => error.source(),
            _ => self.0.source.as_ref().map(|source| source.as_ref() as _),
        }
    }
}

/// How many attempts were made; transparent retries do not count.
pub(crate) fn attempts(report: &RetryReport) -> usize {
    let transparent = usize::try_from(report.transparent_retries()).unwrap_or(usize::MAX);
    report.attempts().len().saturating_sub(transparent)
}
