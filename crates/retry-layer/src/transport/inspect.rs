//! What one error of the chain says.

use std::{error::Error, io};

#[cfg(any(feature = "h2", feature = "hyper"))]
use crate::class::Processed;
use crate::{
    attempt_timeout::AttemptElapsed, breaker::CircuitOpen, class::Class, pause::Paused,
    replay::ReplayBodyError,
};

pub(super) enum Finding {
    Nothing,
    /// Says nothing by itself, but a connection stood: what is found below happened on it.
    #[cfg_attr(not(feature = "hyper"), expect(dead_code, reason = "only hyper tells"))]
    Connected,
    Suggests(Class),
    /// What lies below is about something else.
    #[cfg_attr(not(feature = "hyper"), expect(dead_code, reason = "only hyper tells"))]
    Decides(Class),
}

/// What the causes that were looked at so far say of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Connection {
    Unknown,
    /// It had been opened: the error came later.
    Stood,
}

pub(super) fn inspect(error: &(dyn Error + 'static), connection: Connection) -> Finding {
    if error.is::<ReplayBodyError>() {
        return Finding::Suggests(Class::Permanent);
    }
    if error.is::<CircuitOpen>() || error.is::<Paused>() {
        return Finding::Suggests(Class::Final);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return inspect_io(error.kind(), connection);
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

pub(super) fn is_elapsed(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "tower")]
    if error.is::<tower::timeout::error::Elapsed>() {
        return true;
    }
    error.is::<tokio::time::error::Elapsed>() || error.is::<AttemptElapsed>()
}

pub(super) fn inspect_io(kind: io::ErrorKind, connection: Connection) -> Finding {
    use io::ErrorKind as Io;
    match kind {
        // TCP reports these for an established connection too, once its retransmissions gave up
        // and a router had refused them: below an error of a connection they prove nothing.
        Io::ConnectionRefused
        | Io::AddrNotAvailable
        | Io::NetworkUnreachable
        | Io::HostUnreachable
            if connection == Connection::Unknown =>
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
        return inspect_io(error.kind(), Connection::Stood);
    }
    let Some(reason) = error.reason() else {
        return Finding::Nothing;
    };
    if error.is_go_away() {
        let sender = if error.is_remote() {
            Sender::Peer
        } else {
            Sender::ThisSide
        };
        return Finding::Suggests(h2_go_away(reason, sender));
    }
    if error.is_reset() && error.is_remote() {
        return Finding::Suggests(h2_reset(reason));
    }
    // A stream that this side reset: what the peer sent, or what the caller did, will not change.
    Finding::Nothing
}

/// Which side sent a GOAWAY.
#[cfg(feature = "h2")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sender {
    Peer,
    ThisSide,
}

#[cfg(feature = "h2")]
pub(super) fn h2_go_away(reason: h2::Reason, sender: Sender) -> Class {
    match reason {
        // This side ended the connection: the peer may have processed what it has read.
        _ if sender == Sender::ThisSide => Class::Ambiguous,
        // h2 fails a stream with the peer's GOAWAY only if its id is above the last one that the
        // peer will process. A peer that asks for calm is not asked again at once.
        h2::Reason::ENHANCE_YOUR_CALM => Class::Throttled(Processed::Never),
        _ => Class::Unprocessed,
    }
}

#[cfg(feature = "h2")]
pub(super) fn h2_reset(reason: h2::Reason) -> Class {
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
