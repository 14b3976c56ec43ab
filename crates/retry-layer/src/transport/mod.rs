//! What a transport error says about the request: the chain of sources is walked whole, and every
//! known type in it is asked; the text of an error never is.

use std::{error::Error, io};

#[cfg(any(feature = "h2", feature = "hyper"))]
use crate::class::Processed;
use crate::{
    attempt_timeout::AttemptElapsed, breaker::CircuitOpen, causes::chain, class::Class,
    replay::ReplayBodyError,
};

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
/// | tokio, tower's `Timeout`, [`AttemptTimeoutLayer`](crate::attempt_timeout::AttemptTimeoutLayer): elapsed | `Ambiguous` |
///
/// A name that cannot be resolved is [`NotSent`](Class::NotSent) if hyper-util's client says that
/// it could not connect; the system's resolver does not tell whether the name exists at all.
#[must_use]
pub fn classify(error: &(dyn Error + 'static)) -> Class {
    let mut found = None;
    let mut connected = false;
    for cause in chain(error) {
        match inspect(cause, connected) {
            Finding::Nothing => {}
            Finding::Connected => connected = true,
            Finding::Suggests(class @ (Class::Permanent | Class::Final)) => return class,
            Finding::Suggests(class) => found = found.or(Some(class)),
            Finding::Decides(class) => return found.unwrap_or(class),
        }
    }
    found.unwrap_or(Class::Final)
}

enum Finding {
    Nothing,
    /// Says nothing by itself, but a connection stood: what is found below happened on it.
    #[cfg_attr(not(feature = "hyper"), expect(dead_code, reason = "only hyper tells"))]
    Connected,
    Suggests(Class),
    /// What lies below is about something else.
    #[cfg_attr(not(feature = "hyper"), expect(dead_code, reason = "only hyper tells"))]
    Decides(Class),
}

fn inspect(error: &(dyn Error + 'static), connected: bool) -> Finding {
    if error.is::<ReplayBodyError>() {
        return Finding::Suggests(Class::Permanent);
    }
    if error.is::<CircuitOpen>() {
        return Finding::Suggests(Class::Final);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return inspect_io(error.kind(), connected);
    }
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return inspect_hyper(error);
    }
    #[cfg(feature = "hyper-util")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return if error.is_connect() {
            Finding::Suggests(Class::NotSent)
        } else {
            Finding::Nothing
        };
    }
    #[cfg(feature = "h2")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return inspect_h2(error);
    }
    #[cfg(feature = "rustls")]
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return inspect_rustls(error);
    }
    #[cfg(feature = "rustls")]
    if error.is::<rustls::pki_types::InvalidDnsNameError>() {
        return Finding::Suggests(Class::Permanent);
    }
    #[cfg(feature = "tower")]
    if error.is::<tower::load_shed::error::Overloaded>() {
        return Finding::Suggests(Class::Final);
    }
    if is_elapsed(error) {
        return Finding::Suggests(Class::Ambiguous);
    }
    Finding::Nothing
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
            if let Finding::Suggests(Class::NotSent) = inspect_io(error.kind(), false) {
                return true;
            }
        } else if let Finding::Connected | Finding::Decides(_) = inspect(cause, false) {
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

fn is_elapsed(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "tower")]
    if error.is::<tower::timeout::error::Elapsed>() {
        return true;
    }
    error.is::<tokio::time::error::Elapsed>() || error.is::<AttemptElapsed>()
}

fn inspect_io(kind: io::ErrorKind, connected: bool) -> Finding {
    use io::ErrorKind as Io;
    match kind {
        // TCP reports these for an established connection too, once its retransmissions gave up
        // and a router had refused them: below an error of a connection they prove nothing.
        Io::ConnectionRefused
        | Io::AddrNotAvailable
        | Io::NetworkUnreachable
        | Io::HostUnreachable
            if !connected =>
        {
            Finding::Suggests(Class::NotSent)
        }
        Io::ConnectionRefused
        | Io::AddrNotAvailable
        | Io::NetworkUnreachable
        | Io::HostUnreachable
        | Io::NetworkDown
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::NotConnected
        | Io::BrokenPipe
        | Io::UnexpectedEof
        | Io::TimedOut => Finding::Suggests(Class::Ambiguous),
        // `ErrorKind` belongs to std and may grow.
        _ => Finding::Nothing,
    }
}

#[cfg(feature = "hyper")]
fn inspect_hyper(error: &hyper::Error) -> Finding {
    if error.is_canceled() {
        // hyper cancels only what it had not handed to the connection yet, because that closed
        // meanwhile; the cause below is what happened to an earlier message.
        return Finding::Decides(Class::Stale(Processed::Never));
    }
    if error.is_user() || error.is_parse() {
        return Finding::Suggests(Class::Permanent);
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_timeout() {
        return Finding::Suggests(Class::Ambiguous);
    }
    Finding::Connected
}

#[cfg(feature = "h2")]
fn inspect_h2(error: &h2::Error) -> Finding {
    if let Some(error) = error.get_io() {
        return inspect_io(error.kind(), true);
    }
    let Some(reason) = error.reason() else {
        return Finding::Nothing;
    };
    if error.is_go_away() {
        let remote = error.is_remote();
        return Finding::Suggests(h2_go_away(reason, remote));
    }
    if error.is_reset() && error.is_remote() {
        return Finding::Suggests(h2_reset(reason));
    }
    // A stream that this side reset: what the peer sent, or what the caller did, will not change.
    Finding::Nothing
}

#[cfg(feature = "h2")]
fn h2_go_away(reason: h2::Reason, remote: bool) -> Class {
    match reason {
        // This side ended the connection: the peer may have processed what it has read.
        _ if !remote => Class::Ambiguous,
        // h2 fails a stream with the peer's GOAWAY only if its id is above the last one that the
        // peer will process. A peer that asks for calm is not asked again at once.
        h2::Reason::ENHANCE_YOUR_CALM => Class::Throttled(Processed::Never),
        _ => Class::Unprocessed,
    }
}

#[cfg(feature = "h2")]
fn h2_reset(reason: h2::Reason) -> Class {
    use h2::Reason;
    match reason {
        Reason::REFUSED_STREAM => Class::Unprocessed,
        Reason::ENHANCE_YOUR_CALM => Class::Throttled(Processed::Possibly),
        Reason::PROTOCOL_ERROR
        | Reason::FLOW_CONTROL_ERROR
        | Reason::FRAME_SIZE_ERROR
        | Reason::COMPRESSION_ERROR
        | Reason::INADEQUATE_SECURITY => Class::Permanent,
        // HTTP_1_1_REQUIRED among them: the protocol is for the service below to choose.
        _ => Class::Ambiguous,
    }
}

#[cfg(feature = "rustls")]
fn inspect_rustls(error: &rustls::Error) -> Finding {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(_)
        | Tls::NoCertificatesPresented
        | Tls::UnsupportedNameType
        | Tls::PeerIncompatible(_)
        | Tls::NoApplicationProtocol
        | Tls::InconsistentKeys(_) => Finding::Suggests(Class::Permanent),
        Tls::AlertReceived(alert) if is_about_trust(*alert) => Finding::Suggests(Class::Permanent),
        // `rustls::Error` may grow; what is not about trust may pass.
        _ => Finding::Nothing,
    }
}

/// Whether the peer rejects what this side is, rather than what happened on the way.
#[cfg(feature = "rustls")]
fn is_about_trust(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::UnrecognisedName
            | Alert::NoApplicationProtocol
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_kinds_have_their_classes() {
        use io::ErrorKind as Io;
        for (kind, expected) in [
            (Io::ConnectionRefused, Class::NotSent),
            (Io::NetworkUnreachable, Class::NotSent),
            (Io::HostUnreachable, Class::NotSent),
            (Io::AddrNotAvailable, Class::NotSent),
            (Io::ConnectionReset, Class::Ambiguous),
            (Io::ConnectionAborted, Class::Ambiguous),
            (Io::BrokenPipe, Class::Ambiguous),
            (Io::UnexpectedEof, Class::Ambiguous),
            (Io::TimedOut, Class::Ambiguous),
            (Io::InvalidData, Class::Final),
            (Io::PermissionDenied, Class::Final),
        ] {
            assert_eq!(classify(&io::Error::from(kind)), expected, "{kind:?}");
            let wrapped = io::Error::other(io::Error::from(kind));
            assert_eq!(classify(&wrapped), expected, "wrapped {kind:?}");
        }
    }

    #[test]
    fn an_unknown_error_is_final() {
        assert_eq!(classify(&std::fmt::Error), Class::Final);
    }

    #[cfg(feature = "tower")]
    #[test]
    fn what_was_shed_here_is_final() {
        let shed = tower::load_shed::error::Overloaded::new();
        // As a connector that sheds load has it: there was no connection, and none is asked for.
        let error = io::Error::new(io::ErrorKind::ConnectionRefused, shed);
        assert_eq!(classify(&error), Class::Final);
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn a_bad_certificate_is_permanent_below_any_wrapper() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let error = io::Error::new(io::ErrorKind::ConnectionReset, tls);
        assert_eq!(classify(&error), Class::Permanent);
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn what_tls_says_about_trust_is_permanent_and_all_else_is_left_to_the_wrapper() {
        use rustls::{AlertDescription as Alert, CertificateError, Error as Tls};
        for (tls, expected) in [
            (
                Tls::InvalidCertificate(CertificateError::NotValidForName),
                Class::Permanent,
            ),
            (
                Tls::InvalidCertificate(CertificateError::UnknownIssuer),
                Class::Permanent,
            ),
            (Tls::UnsupportedNameType, Class::Permanent),
            (Tls::NoApplicationProtocol, Class::Permanent),
            (Tls::AlertReceived(Alert::UnknownCA), Class::Permanent),
            (
                Tls::AlertReceived(Alert::CertificateRequired),
                Class::Permanent,
            ),
            (Tls::AlertReceived(Alert::InternalError), Class::Ambiguous),
            (
                Tls::AlertReceived(Alert::HandshakeFailure),
                Class::Ambiguous,
            ),
            (Tls::DecryptError, Class::Ambiguous),
        ] {
            let text = format!("{tls:?}");
            let error = io::Error::new(io::ErrorKind::ConnectionReset, tls);
            assert_eq!(classify(&error), expected, "{text}");
        }
        let name = rustls::pki_types::ServerName::try_from("not a name").unwrap_err();
        assert_eq!(classify(&io::Error::other(name)), Class::Permanent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_known_at_any_depth() {
        let never = std::future::pending::<()>();
        let elapsed = tokio::time::timeout(std::time::Duration::ZERO, never)
            .await
            .unwrap_err();
        let deep = io::Error::other(io::Error::other(elapsed));
        assert!(is_timeout(&deep));
        assert_eq!(classify(&deep), Class::Ambiguous);
        assert!(is_timeout(&io::Error::from(io::ErrorKind::TimedOut)));
        assert!(!is_timeout(&io::Error::from(
            io::ErrorKind::ConnectionReset
        )));
        #[cfg(feature = "tower")]
        {
            let elapsed = tower::timeout::error::Elapsed::new();
            assert!(is_timeout(&elapsed));
            assert_eq!(classify(&elapsed), Class::Ambiguous);
        }
    }

    #[cfg(feature = "h2")]
    #[test]
    fn a_reset_of_our_own_is_not_the_peers_word() {
        let error = h2::Error::from(h2::Reason::REFUSED_STREAM);
        assert_eq!(classify(&error), Class::Final);
    }

    #[cfg(feature = "h2")]
    #[test]
    fn every_reason_of_http_2_has_its_class() {
        use h2::Reason;
        let throttled = Class::Throttled;
        for (reason, reset, go_away) in [
            (Reason::NO_ERROR, Class::Ambiguous, Class::Unprocessed),
            (Reason::PROTOCOL_ERROR, Class::Permanent, Class::Unprocessed),
            (Reason::INTERNAL_ERROR, Class::Ambiguous, Class::Unprocessed),
            (
                Reason::FLOW_CONTROL_ERROR,
                Class::Permanent,
                Class::Unprocessed,
            ),
            (
                Reason::SETTINGS_TIMEOUT,
                Class::Ambiguous,
                Class::Unprocessed,
            ),
            (Reason::STREAM_CLOSED, Class::Ambiguous, Class::Unprocessed),
            (
                Reason::FRAME_SIZE_ERROR,
                Class::Permanent,
                Class::Unprocessed,
            ),
            (
                Reason::REFUSED_STREAM,
                Class::Unprocessed,
                Class::Unprocessed,
            ),
            (Reason::CANCEL, Class::Ambiguous, Class::Unprocessed),
            (
                Reason::COMPRESSION_ERROR,
                Class::Permanent,
                Class::Unprocessed,
            ),
            (Reason::CONNECT_ERROR, Class::Ambiguous, Class::Unprocessed),
            (
                Reason::ENHANCE_YOUR_CALM,
                throttled(Processed::Possibly),
                throttled(Processed::Never),
            ),
            (
                Reason::INADEQUATE_SECURITY,
                Class::Permanent,
                Class::Unprocessed,
            ),
            (
                Reason::HTTP_1_1_REQUIRED,
                Class::Ambiguous,
                Class::Unprocessed,
            ),
            (Reason::from(0xdead), Class::Ambiguous, Class::Unprocessed),
        ] {
            assert_eq!(h2_reset(reason), reset, "{reason:?}");
            assert_eq!(h2_go_away(reason, true), go_away, "{reason:?}");
            assert_eq!(h2_go_away(reason, false), Class::Ambiguous, "{reason:?}");
        }
    }
}
