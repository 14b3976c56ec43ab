mod chain;
mod convert;
mod deadline;
mod display;
mod kind;

use std::{error::Error as StdError, io, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use retry_layer::{RetryReport, resume::ResumeError, transport};
use session_layer::Phase;

#[cfg(feature = "fs")]
use crate::download::{DigestError, DigestMismatch, PartialFile};
use crate::{
    TooSlow,
    decode::DecodeLimit,
    json::NotJson,
    observe::Paths,
    origin,
    redirect::{Answerer, Redirected},
};

use self::chain::{is_tls, session_cause};
pub(crate) use self::{chain::causes, display::What};
pub use self::{deadline::DeadlinePhase, kind::ErrorKind};

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

#[derive(Debug)]
pub(crate) enum Kind {
    /// The request, or the client, cannot be made as it was asked for.
    Builder(String),
    /// The session below failed; its cause is this error's cause too.
    Session(session_layer::Error),
    /// Another service below failed; `source` is its error.
    Service,
    Deadline(Duration),
    Closed,
    /// A request that a gateway received cannot be passed on; this status answers it.
    NotForwarded(StatusCode, &'static str),
    /// The response has a failed status, and the caller wanted an error then.
    Status,
    BodyTooLarge {
        limit: usize,
    },
    /// A part of a body is larger than allowed.
    TooLong {
        what: &'static str,
        limit: usize,
    },
    /// The server sent nothing of this for too long, on a stream that was open.
    Silent {
        what: &'static str,
        limit: Duration,
    },
    /// A body broke, and what came then is no continuation of it.
    Resume(ResumeError),
    /// So many connections of an event source in a row have brought no event.
    NoEvents(u32),
    /// What the body was to be written to failed.
    Write,
    /// The server gave the rest of a body in more parts than it is worth.
    #[cfg(feature = "fs")]
    SmallParts,
    /// The body is not the one of which a digest was given.
    #[cfg(feature = "fs")]
    Digest(DigestError),
    Decode(&'static str),
    /// The source of tokens failed; `source` is its error.
    Token,
    /// A redirect is not followed, and this is why.
    Redirect(String),
    /// The body cannot be read as JSON of the type that was asked for.
    Json(NotJson),
    /// The body is not what its content coding of this name says.
    Coding(&'static str),
    TooManyCodings(usize),
    /// The body decodes to more than this limit allows.
    DecodesToTooMuch(DecodeLimit),
}

/// What a call was waiting for when its time ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TimeoutPhase {
    /// A free place in the connection pool.
    Queue,
    /// The addresses of the name; [`is_dns`](Error::is_dns) holds too.
    Dns,
    /// The connection: TCP, a proxy, TLS.
    Connect,
    /// The head of the response.
    Head,
    /// The next bytes of the response body.
    Body,
    /// The whole call, all attempts and waits together.
    Deadline,
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Box::new(Inner {
            kind,
            method: None,
            origin: None,
            uri: None,
            source: None,
            report: None,
            paths: Paths::default(),
            phase: None,
            answer: None,
            #[cfg(feature = "fs")]
            partial_file: None,
        }))
    }

    pub(crate) fn builder(why: impl Into<String>) -> Self {
        Self::new(Kind::Builder(why.into()))
    }

    pub(crate) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says what is left of a download.
    #[cfg(feature = "fs")]
    pub(crate) fn with_partial_file(mut self, file: Option<PartialFile>) -> Self {
        self.0.partial_file = file;
        self
    }

    /// Says what the call was doing when its deadline passed.
    pub(crate) fn in_phase(mut self, phase: Option<DeadlinePhase>) -> Self {
        self.0.phase = phase;
        self
    }

    /// Takes the error of a service or a body whose errors are anybody's. One of this type, which
    /// passed through the caller's layers in a box, comes out as itself, and a session's is known.
    pub(crate) fn from_below(error: impl Into<BoxError>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        match error.downcast::<session_layer::Error>() {
            Ok(error) => Self::from(*error),
            Err(error) => Self::new(Kind::Service).with(error),
        }
    }

    /// Names the request, as far as it is not named yet.
    pub(crate) fn of(mut self, method: &Method, uri: Option<&Uri>) -> Self {
        self.0.method.get_or_insert_with(|| method.clone());
        if let Some(uri) = uri {
            self.locate(uri);
        }
        self
    }

    /// Says whether the line has the path of the URL.
    pub(crate) fn telling(mut self, paths: Paths) -> Self {
        self.0.paths = paths;
        self
    }

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

    fn locate(&mut self, uri: &Uri) {
        if self.0.origin.is_none() {
            self.0.origin = origin::display(uri);
        }
        // What could not be made whole is no URL.
        if self.0.uri.is_none() && uri.host().is_some() {
            self.0.uri = Some(uri.clone());
        }
    }

    /// Adds the response that had come, and what there is of its body. After a redirect it names the
    /// request that gave the response.
    pub(crate) fn answered<T>(mut self, response: &Response<T>, body: &[u8]) -> Self {
        if let Some(redirected) = response.extensions().get::<Redirected>() {
            self = self.of(redirected.method(), Some(redirected.uri()));
        } else if let Some(uri) = Answerer::of(response) {
            self.locate(uri);
        }
        // A copy: the error does not hold all of a large body.
        let kept = Bytes::copy_from_slice(body.get(..KEPT_OF_BODY).unwrap_or(body));
        self.0.answer = Some(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: kept,
        });
        self
    }

    pub(crate) fn set_report(&mut self, report: RetryReport) {
        self.0.report = Some(report);
    }

    /// Makes another report of the one there is, if there is any.
    pub(crate) fn alter_report(
        &mut self,
        alter: impl FnOnce(Option<RetryReport>) -> Option<RetryReport>,
    ) {
        self.0.report = alter(self.0.report.take());
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

    /// Asks the session's error, if that is what is below.
    fn session_is(&self, question: fn(&session_layer::Error) -> bool) -> bool {
        self.session_error().is_some_and(question)
    }

    /// Asks the error of a service that stands in the session's place.
    fn service_is(&self, question: fn(&(dyn StdError + 'static)) -> bool) -> bool {
        match (&self.0.kind, &self.0.source) {
            (Kind::Service, Some(source)) => question(source.as_ref()),
            _ => false,
        }
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

    /// Whether the request, or the client, was not valid, so that nothing was tried: a bad URL, a
    /// header with a line break, a setting that cannot be.
    #[must_use]
    pub fn is_builder(&self) -> bool {
        matches!(self.0.kind, Kind::Builder(_) | Kind::NotForwarded(..))
            || self.session_is(session_layer::Error::is_uri)
            || self.session_is(session_layer::Error::is_headers)
    }

    /// Whether no connection came to be, on the last attempt. Of a service in place of the session
    /// the causes tell: an [`io::Error`](std::io::Error) of kind
    /// [`ConnectionRefused`](std::io::ErrorKind::ConnectionRefused), or a connect error of
    /// hyper-util's client.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.session_is(session_layer::Error::is_connect) || self.service_is(transport::is_connect)
    }

    /// Whether the host's name could not be resolved. That of a proxy is a matter of the proxy.
    #[must_use]
    pub fn is_dns(&self) -> bool {
        self.session_is(session_layer::Error::is_dns)
    }

    /// Whether TLS with the server failed: certificate, name, protocol version, an alert.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.session_is(session_layer::Error::is_tls) || self.service_is(is_tls)
    }

    /// Whether a proxy stood in the way: it could not be reached or trusted, refused, or did not
    /// speak its protocol.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.session_is(session_layer::Error::is_proxy)
    }

    /// Returns the status by which an HTTP proxy refused to open a tunnel: 407 if it wants other
    /// credentials.
    #[must_use]
    pub fn proxy_status(&self) -> Option<StatusCode> {
        self.session_error()?.proxy_status()
    }

    /// Whether the host refused the connection: nothing listens at its port, or a firewall says no.
    #[must_use]
    pub fn is_connection_refused(&self) -> bool {
        self.kind() == ErrorKind::ConnectionRefused
    }

    /// Whether the connection pool had no room for the request: no connection became free in time,
    /// or the queue was full.
    #[must_use]
    pub fn is_queue(&self) -> bool {
        self.session_is(session_layer::Error::is_pool_timeout)
            || self.session_is(session_layer::Error::is_queue_full)
            || self.timeout_phase() == Some(TimeoutPhase::Queue)
    }

    /// Whether a reused connection turned out to be closed before the first byte of a response.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.kind() == ErrorKind::Stale
    }

    /// Whether the connection broke after bytes of the request were written and before the head of
    /// its response was complete, so that the request may have been processed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.kind() == ErrorKind::Broken
    }

    /// Whether the server sent what is not HTTP, or what HTTP's rules forbid to trust.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        self.kind() == ErrorKind::Protocol
    }

    /// Whether the server sent more than is allowed: a head, a body that was collected, or a part
    /// of one, or a body that [decodes](crate::DecodeLimits) to too much.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.kind() == ErrorKind::TooLarge
    }

    /// Whether the request's own body gave an error, or was not as long as announced.
    #[must_use]
    pub fn is_request_body(&self) -> bool {
        self.kind() == ErrorKind::RequestBody
    }

    /// Whether no token could be fetched to authorize the request.
    #[must_use]
    pub fn is_token(&self) -> bool {
        matches!(self.0.kind, Kind::Token)
    }

    /// Whether the deadline of the whole call passed.
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self.0.kind, Kind::Deadline(_))
    }

    /// Whether the server proved that it has not processed the request, though it may have been
    /// sent: it refused the HTTP/2 stream, or went away before it. It was sent again for as long as
    /// the policy allowed. A connection that is refused is another matter:
    /// [`is_connection_refused`](Self::is_connection_refused).
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        self.kind() == ErrorKind::Unprocessed
    }

    /// Whether the server reset the request's HTTP/2 stream, which proves nothing of what became of
    /// the request.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.kind() == ErrorKind::Reset
    }

    /// Whether a time ran out; [`timeout_phase`](Self::timeout_phase) tells which, unless it was
    /// that of a layer or service of the caller's.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.timeout_phase().is_some() || self.service_is(transport::is_timeout)
    }

    /// Returns what the call was waiting for when its time ran out.
    #[must_use]
    pub fn timeout_phase(&self) -> Option<TimeoutPhase> {
        match self.0.kind {
            Kind::Deadline(_) => return Some(TimeoutPhase::Deadline),
            Kind::Silent { .. } => return Some(TimeoutPhase::Body),
            _ => {}
        }
        match self.session_error()?.timeout_phase()? {
            Phase::Queue => Some(TimeoutPhase::Queue),
            Phase::Dns => Some(TimeoutPhase::Dns),
            Phase::Connect => Some(TimeoutPhase::Connect),
            Phase::Head => Some(TimeoutPhase::Head),
            // `Phase` may grow; what is added then comes with its own word here.
            _ => Some(TimeoutPhase::Body),
        }
    }

    /// Whether bytes came, or were taken, more slowly than a [floor](crate::ThroughputFloor) asks for.
    ///
    /// It is a [timeout](Self::is_timeout) too: of a response in the phase
    /// [`Body`](TimeoutPhase::Body), where it is also one of the [body](Self::is_body); of a request in
    /// the phase [`Head`](TimeoutPhase::Head), after which it may have been processed.
    #[must_use]
    pub fn is_too_slow(&self) -> bool {
        self.too_slow().is_some()
    }

    /// Returns by how much it was [too slow](Self::is_too_slow), and which way.
    #[must_use]
    pub fn too_slow(&self) -> Option<TooSlow> {
        self.session_error()?.too_slow()
    }

    /// Returns what the call was doing when its deadline passed. `None` for any other error, and where
    /// a layer or service of the caller's hides it.
    #[must_use]
    pub fn deadline_phase(&self) -> Option<DeadlinePhase> {
        self.0.phase
    }

    /// Whether the error was made of a failed status, by
    /// [`error_for_status`](crate::Response::error_for_status).
    #[must_use]
    pub fn is_status(&self) -> bool {
        matches!(self.0.kind, Kind::Status)
    }

    /// Whether a body was not what it was read as, JSON or text, or not encoded as its
    /// `Content-Encoding` says: cut, corrupt, or encoded too many times over.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        matches!(
            self.0.kind,
            Kind::Decode(_) | Kind::Json(_) | Kind::Coding(_) | Kind::TooManyCodings(_)
        )
    }

    /// Whether a redirect was against the rules: one too many, to another scheme than `http` and
    /// `https`, from `https` to `http`, or to what is no URL. See [`Redirects`](crate::Redirects).
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(self.0.kind, Kind::Redirect(_))
    }

    /// Whether a body failed: the response's broke off, stood still, was larger than allowed, had
    /// another digest than the one that was given, or could not be written to where it was to go, or the
    /// request's gave an error.
    #[must_use]
    pub fn is_body(&self) -> bool {
        #[cfg(feature = "fs")]
        if matches!(self.0.kind, Kind::SmallParts | Kind::Digest(_)) {
            return true;
        }
        matches!(
            self.0.kind,
            Kind::BodyTooLarge { .. }
                | Kind::TooLong { .. }
                | Kind::DecodesToTooMuch(_)
                | Kind::Silent { .. }
                | Kind::NoEvents(_)
                | Kind::Resume(_)
                | Kind::Write
        ) || self.session_is(session_layer::Error::is_response_body)
            || self.is_request_body()
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

    /// Whether a body that was to be collected is larger than the client's limit.
    pub(crate) fn is_over_max_body(&self) -> bool {
        matches!(self.0.kind, Kind::BodyTooLarge { .. })
    }

    /// Returns the status by which a gateway tells its caller of this error: 504 where a time ran
    /// out, 503 where there was no room for the request here or the client is closed, 400 where
    /// the caller's body broke off or its headers contradict each other, 400 or 501 where the
    /// request [cannot be passed on](crate::forward), 500 where the gateway itself asked for what
    /// cannot be, and 502 for all else.
    #[must_use]
    pub fn gateway_status(&self) -> StatusCode {
        use session_layer::Error as Session;

        let no_room = self.session_is(Session::is_pool_timeout)
            || self.session_is(Session::is_queue_full)
            || self.is_closed();
        let of_caller =
            self.session_is(Session::is_headers) || self.session_is(Session::is_request_body);
        if let Kind::NotForwarded(status, _) = self.0.kind {
            status
        } else if no_room {
            StatusCode::SERVICE_UNAVAILABLE
        } else if self.is_timeout() {
            StatusCode::GATEWAY_TIMEOUT
        } else if of_caller {
            StatusCode::BAD_REQUEST
        } else if self.is_builder() {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::BAD_GATEWAY
        }
    }

    /// Whether the client was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.0.kind, Kind::Closed) || self.session_is(session_layer::Error::is_closed)
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
