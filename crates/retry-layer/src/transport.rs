//! What a transport error says about the request: the chain of sources is walked whole, and every
//! known type in it is asked; the text of an error never is.

use std::{error::Error, io};

use crate::{outcome::chain, predicate::Class, replay::ReplayBodyError};

/// Classifies an error by what is found in its chain of sources.
///
/// Known are [`std::io::Error`] and, by feature, the errors of hyper, hyper-util's legacy client,
/// h2 and rustls. The outermost one that says anything decides, except that a permanent cause
/// anywhere in the chain makes the whole error [`Permanent`](Class::Permanent). An error about
/// which nothing is known is [`Final`](Class::Final).
///
/// | found | class |
/// |---|---|
/// | connection refused, address not available; network or host unreachable while connecting | [`NotSent`](Class::NotSent) |
/// | reset, aborted, broken pipe, not connected, unexpected end, timed out | [`Ambiguous`](Class::Ambiguous) |
/// | hyper: canceled before it was dispatched | `NotSent` |
/// | hyper: incomplete message, channel closed, timeout | `Ambiguous` |
/// | hyper: misuse, an error of the request's own body, a response that is not HTTP | `Permanent` |
/// | hyper-util: could not connect | `NotSent` |
/// | h2: `REFUSED_STREAM`, a stream above a GOAWAY | [`Unprocessed`](Class::Unprocessed) |
/// | h2: another reset by the peer | `Ambiguous`, or `Permanent` for a protocol error |
/// | rustls: certificate, name, or protocol that cannot be agreed upon | `Permanent` |
#[must_use]
pub fn classify(error: &(dyn Error + 'static)) -> Class {
    let mut found = None;
    let mut connected = false;
    for cause in chain(error) {
        match inspect(cause, connected) {
            Finding::Nothing => {}
            Finding::Connected => connected = true,
            Finding::Suggests(Class::Permanent) => return Class::Permanent,
            Finding::Suggests(class) => found = found.or(Some(class)),
            Finding::Settles(class) => return found.unwrap_or(class),
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
    Settles(Class),
}

fn inspect(error: &(dyn Error + 'static), connected: bool) -> Finding {
    if error.is::<ReplayBodyError>() {
        return Finding::Suggests(Class::Permanent);
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
    Finding::Nothing
}

fn inspect_io(kind: io::ErrorKind, connected: bool) -> Finding {
    use io::ErrorKind as Io;
    match kind {
        Io::ConnectionRefused | Io::AddrNotAvailable => Finding::Suggests(Class::NotSent),
        // TCP reports these for an established connection too, once its retransmissions gave up:
        // below an error of a connection they prove nothing.
        Io::NetworkUnreachable | Io::HostUnreachable if !connected => {
            Finding::Suggests(Class::NotSent)
        }
        Io::NetworkUnreachable
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
        // hyper cancels only what it had not handed to the connection yet; the cause below is
        // what happened to an earlier message.
        return Finding::Settles(Class::NotSent);
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
    if !error.is_remote() {
        return Finding::Nothing;
    }
    let reason = error.reason();
    if error.is_go_away() {
        // h2 fails a stream with the peer's GOAWAY only if its id is above the last one that the
        // peer will process. A peer that asks for calm is not asked again at once.
        return Finding::Suggests(if reason == Some(h2::Reason::ENHANCE_YOUR_CALM) {
            Class::NotSent
        } else {
            Class::Unprocessed
        });
    }
    Finding::Suggests(match reason {
        Some(h2::Reason::REFUSED_STREAM) => Class::Unprocessed,
        Some(h2::Reason::PROTOCOL_ERROR) => Class::Permanent,
        _ => Class::Ambiguous,
    })
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
        // `rustls::Error` may grow; what is not about trust may pass.
        _ => Finding::Nothing,
    }
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

    #[cfg(feature = "rustls")]
    #[test]
    fn a_bad_certificate_is_permanent_below_any_wrapper() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let error = io::Error::new(io::ErrorKind::ConnectionReset, tls);
        assert_eq!(classify(&error), Class::Permanent);
    }

    #[cfg(feature = "h2")]
    #[test]
    fn a_reset_of_our_own_is_not_the_peers_word() {
        let error = h2::Error::from(h2::Reason::REFUSED_STREAM);
        assert_eq!(classify(&error), Class::Final);
    }
}
