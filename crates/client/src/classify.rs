//! What the session's errors mean for a retry.

use std::{error::Error as StdError, time::Duration};

use http::{Extensions, StatusCode, Uri};
use retry_layer::{
    AttemptDetails, BuildError, Class, Classifier, Outcome, Processed, RetryPolicy, RetryReport,
    breaker::ServerFailures, classify::TransportClassifier, transport,
};
use session_layer::ConnectionInfo;

use crate::{
    Error,
    auth::TryAgain,
    error::{Kind, What, causes},
    origin,
    redirect::Answerer,
};

/// A response extension: the class that the policy gave the head, so that it is asked only once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged(pub(crate) Class);

/// The classifier of the session's errors, and what adds reports to errors, under whichever policy
/// a call has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SessionErrors {
    /// How many endpoints the attempts of a call go to, one after the other.
    endpoints: u32,
}

/// Makes the policy of a stack whose errors are this crate's and whose calls have a deadline.
pub(crate) fn over_session(
    policy: &RetryPolicy,
    deadline: Option<Duration>,
    endpoints: usize,
) -> Result<RetryPolicy, BuildError> {
    let builder = policy.to_builder().transport_classifier(SessionErrors {
        endpoints: u32::try_from(endpoints).unwrap_or(u32::MAX),
    });
    match deadline {
        // A wait that would end after the deadline is not begun.
        Some(deadline) => builder.max_deadline(deadline).build(),
        None => builder.build(),
    }
}

impl TransportClassifier for SessionErrors {
    fn classify(&self, outcome: &Outcome<'_>, policy: &dyn Classifier) -> Class {
        if TryAgain::is_asked_for(outcome) {
            return Class::Unprocessed;
        }
        if let Some(Judged(class)) = outcome.extensions().and_then(Extensions::get) {
            return *class;
        }
        let Some(error) = outcome.find_error::<Error>() else {
            return policy.classify(outcome);
        };
        if error.is_circuit_open() && outcome.attempt() < self.endpoints {
            // The next attempt goes to another endpoint.
            return Class::NotSent;
        }
        let outcome = with_session_error(*outcome, error);
        match class(error) {
            Some(class) => policy.classify(&outcome.with_error_class(class)),
            None => policy.classify(&outcome),
        }
    }

    fn describe(&self, outcome: &Outcome<'_>, policy: &dyn Classifier) -> Option<AttemptDetails> {
        if let Some(extensions) = outcome.extensions() {
            return Some(of_response(extensions));
        }
        match outcome.find_error::<Error>() {
            Some(error) => Some(details(error, outcome.uri())),
            None => policy.describe(outcome),
        }
    }

    fn annotate(
        &self,
        error: &mut (dyn StdError + 'static),
        report: RetryReport,
        policy: &dyn Classifier,
    ) {
        match error.downcast_mut::<Error>() {
            Some(error) => error.set_report(report),
            None => policy.annotate(error, report),
        }
    }
}

/// Which outcomes of a client's attempts are failures of their origin: the classifier of a [circuit
/// breaker](retry_layer::breaker) around each [attempt](crate::ClientBuilder::attempt_layer).
///
/// It extends [`ServerFailures`] by this crate's errors: an error that arose on this side, such as
/// a full queue of the pool, a token that could not be fetched or a request that is not valid, says
/// nothing about the origin.
///
/// ```
/// use client::{Client, OriginFailures, retry_layer::breaker::{Breaker, BreakerLayer}};
///
/// let breaker = Breaker::builder().classifier(OriginFailures::new()).build()?;
/// let client = Client::builder().attempt_layer(BreakerLayer::new(breaker)).build()?;
/// # Ok::<(), client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OriginFailures(ServerFailures);

impl OriginFailures {
    /// Makes the classifier.
    #[must_use]
    pub const fn new() -> Self {
        Self(ServerFailures::new())
    }
}

impl Classifier for OriginFailures {
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        let known = outcome.find_error::<Error>().and_then(class);
        known.unwrap_or_else(|| self.0.classify(outcome))
    }

    fn is_always_final(&self, status: StatusCode) -> bool {
        self.0.is_always_final(status)
    }
}

/// The peer that gave a response, where it is not the one that the request was for.
fn of_response(extensions: &Extensions) -> AttemptDetails {
    let mut details = AttemptDetails::default();
    let answerer = extensions.get::<Answerer>();
    if let Some(peer) = answerer.and_then(|Answerer(uri)| origin::display(uri)) {
        details = details.peer(peer);
    }
    if let Some(connection) = extensions.get::<ConnectionInfo>() {
        details = on_connection(details, connection);
    }
    details
}

/// Adds the facts of the connection to those of the attempt.
fn on_connection(details: AttemptDetails, connection: &ConnectionInfo) -> AttemptDetails {
    let details = details
        .reused(connection.is_reused())
        .version(connection.version());
    match connection.peer_addr() {
        Some(address) => details.address(address),
        None => details,
    }
}

/// The facts of an attempt that ended with an error of this crate.
fn details(error: &Error, uri: &Uri) -> AttemptDetails {
    let kind = error.kind();
    let mut details = AttemptDetails::default().kind(kind.into());
    if let Some(phase) = kind.phase() {
        details = details.phase(phase);
    }
    if error.is_stale() {
        details = details.reused(true);
    }
    let session = error.session_error();
    if let Some(connection) = session.and_then(session_layer::Error::connection) {
        details = on_connection(details, connection);
    }
    if let Some(others) = session.and_then(session_layer::Error::other_requests) {
        details = details.other_requests(others);
    }
    if let Some(origin) = session.and_then(session_layer::Error::origin) {
        details = details.peer(origin);
    } else if let Some(origin) = origin::display(uri) {
        details = details.peer(origin);
    }
    let last = error.source().and_then(|source| causes(source).last());
    match (error.reason(), last) {
        // A timeout has no other cause.
        (Kind::Session(_), Some(last)) if !error.is_timeout() => {
            details.cause(format_args!("{}: {last}", What(error)))
        }
        (Kind::Service, Some(last)) => details.cause(last),
        // The other causes may quote a body, or the request for a token.
        _ => details.cause(What(error)),
    }
}

/// Lets a user's classifier find the session's error. It is not among the sources of this crate's
/// error, whose own line says the same.
fn with_session_error<'a>(outcome: Outcome<'a>, error: &'a Error) -> Outcome<'a> {
    match error.reason() {
        Kind::Session(session) => outcome.with_inner_error(session),
        _ => outcome,
    }
}

/// The class of an error of this crate; `None` if only its cause can tell.
fn class(error: &Error) -> Option<Class> {
    match error.reason() {
        Kind::Session(error) => Some(session_class(error)),
        // An error of a service in place of the session can be judged only by its causes. A session
        // may be below that service, in a layer that wraps errors.
        Kind::Service => error.session_error().map(session_class),
        // The body was corrupted on its way, or cut off.
        Kind::Coding(_) | Kind::Silent { .. } => Some(Class::Ambiguous),
        // Nothing was sent, and another attempt would be refused as well.
        Kind::CircuitOpen | Kind::Paused => Some(Class::Final),
        Kind::Builder(_)
        | Kind::Deadline(_)
        | Kind::Closed
        | Kind::NotForwarded(..)
        | Kind::Status
        | Kind::TooLong { .. }
        | Kind::Write
        | Kind::NoEvents(_)
        | Kind::Json(_)
        | Kind::BodyTooLarge { .. }
        | Kind::Decode(_)
        | Kind::TooManyCodings(_)
        | Kind::DecodesToTooMuch(_)
        | Kind::Token
        | Kind::Redirect(_)
        | Kind::Resume(_) => Some(Class::Permanent),
        #[cfg(feature = "fs")]
        Kind::SmallParts | Kind::Digest(_) => Some(Class::Permanent),
    }
}

fn session_class(error: &session_layer::Error) -> Class {
    if error.is_uri()
        || error.is_headers()
        // A call whose client was closed during its wait ends here too, although a call otherwise
        // returns its last real outcome: that outcome was dropped before the wait, since a call
        // that waits holds no connection. The report has it.
        || error.is_closed()
        || error.is_protocol()
        || error.is_too_large()
        || error.is_request_body()
        || error.is_address_refused()
        || error.is_host_not_found()
    {
        Class::Permanent
    } else if error.is_pool_timeout() || error.is_queue_full() {
        // Nothing was sent, but another attempt would only add to a queue that is full.
        Class::Final
    } else if error.proxy_status().is_some_and(is_final_of_proxy)
        || ((error.is_connect() || error.is_tls()) && is_permanent(error))
    {
        Class::Permanent
    } else if error.is_stale() {
        Class::Stale(if error.is_unsent() {
            Processed::Never
        } else {
            Processed::Possibly
        })
    } else if error.is_unsent() {
        Class::NotSent
    } else if error.is_unprocessed() || error.is_reset() {
        stream_class(error)
    } else {
        // The connection broke, no head came in time, or a body broke while it was collected.
        Class::Ambiguous
    }
}

/// The class of an error that ended one HTTP/2 stream, while the connection and its other streams
/// go on.
fn stream_class(error: &session_layer::Error) -> Class {
    match transport::classify(error) {
        // Without its feature for HTTP/2 the retry layer cannot tell.
        Class::Final if error.is_unprocessed() => Class::Unprocessed,
        Class::Final => Class::Ambiguous,
        // The reason of the reset says more: a peer may ask for calm, or refuse the request as
        // invalid.
        class => class,
    }
}

/// Whether a proxy that refused to open a tunnel by this status will do so again: it wants other
/// credentials, or does not serve the host. A gateway that failed or is busy may recover.
fn is_final_of_proxy(status: StatusCode) -> bool {
    let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !busy.contains(&status)
}

/// Whether the cause lasts: a certificate or a name that is not valid, a protocol that cannot be
/// agreed upon. A handshake that broke off, or an alert about anything else, may succeed the next
/// time.
fn is_permanent(error: &session_layer::Error) -> bool {
    transport::classify(error) == Class::Permanent
}

#[cfg(test)]
mod tests {
    use http::Method;
    use session_layer::{Phase, testing::Failure};

    use super::*;
    use crate::error::Kind;

    fn of(error: &Error) -> Class {
        let uri = Uri::from_static("http://peer/");
        let outcome = Outcome::from_error(&Method::GET, &uri, error);
        OriginFailures::new().classify(&outcome)
    }

    fn session(failure: Failure) -> Error {
        session_layer::Error::from(failure).into()
    }

    #[test]
    fn a_breaker_counts_what_the_origin_may_have_caused() {
        let late = |phase| session(Failure::Timeout(phase, Duration::from_secs(1)));
        for error in [
            late(Phase::Head),
            session(Failure::Broken),
            session(Failure::Reset),
        ] {
            assert_eq!(of(&error), Class::Ambiguous, "{error:?}");
        }
        for error in [late(Phase::Connect), session(Failure::Connect)] {
            assert_eq!(of(&error), Class::NotSent, "{error:?}");
        }
        for error in [late(Phase::Queue), session(Failure::QueueFull)] {
            assert_eq!(of(&error), Class::Final, "{error:?}");
        }
        for error in [Error::builder("no"), Error::new(Kind::Token)] {
            assert_eq!(of(&error), Class::Permanent, "{error:?}");
        }
        let unknown = Error::from_below(std::io::Error::other("unknown"));
        assert_eq!(of(&unknown), Class::Ambiguous);
    }
}
