use std::io;

#[cfg(feature = "h2")]
use super::inspect::{Sender, h2_go_away, h2_reset};
use super::{classify, is_timeout};
use crate::class::Class;
#[cfg(feature = "h2")]
use crate::class::Processed;

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
fn tls_errors_about_trust_are_permanent_and_others_left_to_the_wrapper() {
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
        assert_eq!(h2_go_away(reason, Sender::Peer), go_away, "{reason:?}");
        assert_eq!(
            h2_go_away(reason, Sender::ThisSide),
            Class::Ambiguous,
            "{reason:?}"
        );
    }
}
