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

/// The error of a call.
///
/// [`Display`](std::fmt::Display) is one line with the method, the origin, what failed, and how
/// many attempts were made. The cause is the [`source`](StdError::source), and is not repeated in
/// the line. For a setting that is not valid, the line has its name and the source says what is
/// wrong with it. The line has no userinfo, no query and no header, and a path only if the client
/// [records paths](crate::ClientBuilder::record_paths).
///
/// `{:#}` prints the same line followed by all causes, separated by colons, for logs. `{:?}` prints
/// them over several lines, as a program does whose `main` returns the error; `{:#?}` prints the
/// fields.
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
    /// Whether the line shows the path of the URL.
    paths: Paths,
    /// What the call was doing when its deadline passed, if known.
    phase: Option<DeadlinePhase>,
    /// The response, if its head had come before the call failed.
    answer: Option<Answer>,
    /// The partial file of a failed download.
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
    /// Returns the path if the settings show it. With endpoints, the URL may be another endpoint's
    /// than the origin, and its path was not requested there.
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

    /// Returns the error of the session, which has more detail. It is also found where a layer or a
    /// service has wrapped it in an error of its own.
    #[must_use]
    pub fn session_error(&self) -> Option<&session_layer::Error> {
        match &self.0.kind {
            Kind::Session(error) => Some(error),
            Kind::Service => session_cause(self.0.source.as_deref()?),
            _ => None,
        }
    }

    /// Returns the causes that may be printed. The cause of a JSON error quotes the body, and
    /// everything else that it says is in this error's line.
    fn told_causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let first = match self.0.kind {
            Kind::Json(_) => None,
            _ => StdError::source(self),
        };
        // An `io::Error` that wraps another error prints the same as that error.
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

    /// Returns the URL that was requested, without userinfo: after redirects, that of the last hop.
    /// With [endpoints](crate::ClientBuilder::endpoints) it is the URL of the endpoint that
    /// answered; if none did, it is that of the first, and [`origin`](Self::origin) is that of the
    /// one that failed.
    ///
    /// Its path and query may hold secrets: neither [`Display`](std::fmt::Display) nor `Debug` of
    /// the error shows them, except the path where the client [records
    /// paths](crate::ClientBuilder::record_paths).
    #[must_use]
    pub fn url(&self) -> Option<&Uri> {
        self.0.uri.as_ref()
    }

    /// Returns the report of all attempts, on all hops of a call that was redirected; `None` if the
    /// request did not reach the retry layer.
    #[must_use]
    pub fn retry_report(&self) -> Option<&RetryReport> {
        self.0.report.as_ref()
    }

    /// Returns the status of the response, if the call failed after its head had come: the error
    /// was made of a failed status, or the body broke off, was larger than allowed, could not be
    /// decoded or read as JSON, or had not ended at the deadline.
    ///
    /// `None` for a body that was read piece by piece: its reader has the head of the response.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.answer.as_ref().map(|answer| answer.status)
    }

    /// Returns the headers of the response, if there is a [`status`](Self::status).
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.0.answer.as_ref().map(|answer| &answer.headers)
    }

    /// Returns the beginning of the response's body, at most 8 KiB, if there is a
    /// [`status`](Self::status) and any of the body was collected.
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

    /// Returns why a body could not be [continued](crate::ClientBuilder::resume) where it broke, if
    /// the server's response to that did not fit the received part.
    #[must_use]
    pub fn resume_error(&self) -> Option<&ResumeError> {
        match &self.0.kind {
            Kind::Resume(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the part of the file that a failed [download](crate::RequestBuilder::download_to)
    /// has left, from which the next one goes on; `None` if nothing is left.
    #[cfg(feature = "fs")]
    #[must_use]
    pub fn partial_file(&self) -> Option<&PartialFile> {
        self.0.partial_file.as_ref()
    }

    /// Returns the expected and the actual digest of a
    /// [download](crate::RequestBuilder::download_to), if they differ.
    #[cfg(feature = "fs")]
    #[must_use]
    pub fn digest_mismatch(&self) -> Option<&DigestMismatch> {
        match &self.0.kind {
            Kind::Digest(mismatch) => Some(mismatch),
            _ => None,
        }
    }
}

/// Whether this is the status of a client's or a server's error. A status above 599 is not valid,
/// and counts as a server's error ([RFC 9110, section
/// 15](https://www.rfc-editor.org/rfc/rfc9110#section-15)).
pub(crate) fn is_failed(status: StatusCode) -> bool {
    status >= StatusCode::BAD_REQUEST
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.kind {
            // This error's line already has the session error's text, so the source is that error's
            // source.
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
