//! What a transport error says about the request: the chain of sources is walked whole, and every
//! known type in it is asked; the text of an error never is.

mod inspect;
#[cfg(test)]
mod tests;

use std::{error::Error, io};

use self::inspect::{Connection, Finding, inspect, inspect_io, is_elapsed};
use crate::{causes::chain, class::Class};

/// Classifies an error by what is found in its chain of sources.
///
/// Known are [`std::io::Error`] and, by feature, the errors of hyper, hyper-util's legacy client,
/// h2, rustls and tower. The outermost one that says anything decides, except that a permanent cause
/// anywhere in the chain makes the whole error [`Permanent`](Class::Permanent), and one that is
/// final makes it [`Final`](Class::Final). An error about which nothing is known is final too.
///
/// | found | class |
/// |---|---|
/// | connection refused, address not available; network or host unreachable while connecting | [`NotSent`](Class::NotSent) |
/// | reset, aborted, broken pipe, not connected, unexpected end, timed out | [`Ambiguous`](Class::Ambiguous) |
/// | hyper: canceled before it was dispatched | [`Stale`](Class::Stale), nothing written |
/// | hyper: incomplete message, channel closed, timeout | `Ambiguous` |
/// | hyper: misuse, an error of the request's own body, a response that is not HTTP | `Permanent` |
/// | hyper-util: could not connect | `NotSent` |
/// | h2: `REFUSED_STREAM`, a stream above a GOAWAY | [`Unprocessed`](Class::Unprocessed) |
/// | h2: `ENHANCE_YOUR_CALM` | [`Throttled`](Class::Throttled), as refused if it came in a GOAWAY |
/// | h2: a reset for `PROTOCOL_ERROR`, `FLOW_CONTROL_ERROR`, `FRAME_SIZE_ERROR`, `COMPRESSION_ERROR` or `INADEQUATE_SECURITY` | `Permanent` |
/// | h2: any other reset by the peer, a connection that ended by an error | `Ambiguous` |
/// | rustls: certificate, name, or protocol that cannot be agreed upon; the peer's alert about one | `Permanent` |
/// | tower: shed by `LoadShed` | [`Final`](Class::Final): nothing was sent, but to come again would only add to what is too much |
/// | a [breaker](crate::breaker) below: its circuit is open | `Final`: nothing was sent, and it would be refused again |
/// | a [pause](crate::pause) below: it is too long for this request | `Final`: nothing was sent, and it would wait no shorter |
/// | tokio, tower's `Timeout`, [`AttemptTimeoutLayer`](crate::attempt_timeout::AttemptTimeoutLayer): elapsed | `Ambiguous` |
///
/// A name that cannot be resolved is [`NotSent`](Class::NotSent) if hyper-util's client says that
/// it could not connect; the system's resolver does not tell whether the name exists at all.
#[must_use]
pub fn classify(error: &(dyn Error + 'static)) -> Class {
    let mut found = None;
    let mut connection = Connection::Unknown;
    for cause in chain(error) {
        match inspect(cause, connection) {
            Finding::Nothing => {}
            Finding::Connected => connection = Connection::Stood,
            Finding::Suggests(class @ (Class::Permanent | Class::Final)) => return class,
            Finding::Suggests(class) => found = found.or(Some(class)),
            Finding::Decides(class) => return found.unwrap_or(class),
        }
    }
    found.unwrap_or(Class::Final)
}

/// Whether anything in the chain of sources says that time ran out: an [`io::Error`] of kind
/// [`TimedOut`](io::ErrorKind::TimedOut), the timeouts of tokio, and by feature those of hyper and
/// tower.
#[must_use]
pub fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| {
        #[cfg(feature = "hyper")]
        if cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_timeout)
        {
            return true;
        }
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
            || is_elapsed(cause)
    })
}

/// Whether anything in the chain of sources says that no connection came to be: an error of
/// hyper-util's client that says so, or an [`io::Error`] that the system gives for it (connection
/// refused, address not available, host or network unreachable) which did not happen on a
/// connection that stood already.
#[must_use]
pub fn is_connect(error: &(dyn Error + 'static)) -> bool {
    for cause in chain(error) {
        #[cfg(feature = "hyper-util")]
        if cause
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
        {
            return true;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if let Finding::Suggests(Class::NotSent) = inspect_io(error.kind(), Connection::Unknown)
            {
                return true;
            }
        } else if let Finding::Connected | Finding::Decides(_) = inspect(cause, Connection::Unknown)
        {
            return false;
        }
    }
    false
}

/// Whether the peer let the connection go before it processed the request.
pub(crate) fn is_go_away(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "h2")]
    return chain(error)
        .filter_map(|cause| cause.downcast_ref::<h2::Error>())
        .any(|error| error.is_go_away() && error.is_remote());
    #[cfg(not(feature = "h2"))]
    {
        let _ = error;
        false
    }
}
