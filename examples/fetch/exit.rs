//! The exit status, by curl's numbers where curl has one.

use std::{error::Error as StdError, io, iter, process::ExitCode};

use client::{Error, ErrorKind};
use session_layer::DnsError;

/// What a download came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    /// The file is not what its digest says; curl does not check any.
    WrongDigest = 1,
    Usage = 2,
    BadUrl = 3,
    ProxyNotResolved = 5,
    HostNotResolved = 6,
    NotConnected = 7,
    NotHttp = 8,
    /// The body broke off, and could not be had in other attempts.
    Partial = 18,
    HttpError = 22,
    NotWritten = 23,
    Timeout = 28,
    /// The file has changed, or the server does not serve ranges of it.
    NotContinued = 33,
    TlsFailed = 35,
    TooManyRedirects = 47,
    /// The connection broke before there was an answer, or anything else went wrong.
    NotReceived = 56,
    NotTrusted = 60,
    /// The file of `--cacert` cannot be used.
    BadAuthority = 77,
    /// The number that a shell gives to a program that SIGINT has ended.
    Interrupted = 130,
}

impl Exit {
    pub(crate) fn of(error: &Error) -> Self {
        if error.digest_mismatch().is_some() {
            return Self::WrongDigest;
        }
        match error.kind() {
            ErrorKind::Builder => Self::BadUrl,
            ErrorKind::Dns => Self::HostNotResolved,
            ErrorKind::Connect | ErrorKind::ConnectionRefused => Self::NotConnected,
            ErrorKind::Proxy => Self::of_proxy(error),
            ErrorKind::Tls => Self::of_tls(error),
            ErrorKind::Protocol | ErrorKind::TooLarge => Self::NotHttp,
            ErrorKind::Body => Self::Partial,
            ErrorKind::Status => Self::HttpError,
            ErrorKind::Write => Self::NotWritten,
            ErrorKind::Resume => Self::NotContinued,
            ErrorKind::Redirect => Self::TooManyRedirects,
            _ if error.is_timeout() => Self::Timeout,
            _ => Self::NotReceived,
        }
    }

    fn of_proxy(error: &Error) -> Self {
        if causes(error).any(<dyn StdError>::is::<DnsError>) {
            Self::ProxyNotResolved
        } else if error.proxy_status().is_some() {
            // As curl has it for an answer to CONNECT that is no success.
            Self::NotReceived
        } else {
            Self::NotConnected
        }
    }

    fn of_tls(error: &Error) -> Self {
        let untrusted = causes(error).any(|cause| {
            let cause: Option<&rustls::Error> = cause.downcast_ref();
            matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
        });
        if untrusted {
            Self::NotTrusted
        } else {
            Self::TlsFailed
        }
    }
}

/// The error and its causes. It looks into an `io::Error`, whose `source` leaves out what it wraps.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error = *error;
        match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
