use std::{collections::HashSet, error::Error as StdError, io, time::Duration};

use retry_layer::FailureKind;
use session_layer::{Phase, testing::Failure};

use crate::{
    Error, ErrorKind, ThroughputFloor, TransferDirection, decode::DecodeLimit, error::Kind,
};

type Question = fn(&Error) -> bool;

const QUESTIONS: [(&str, Question); 21] = [
    ("builder", Error::is_builder),
    ("closed", Error::is_closed),
    ("token", Error::is_token),
    ("queue", Error::is_queue),
    ("dns", Error::is_dns),
    ("connect", Error::is_connect),
    ("connection_refused", Error::is_connection_refused),
    ("proxy", Error::is_proxy),
    ("tls", Error::is_tls),
    ("stale", Error::is_stale),
    ("broken", Error::is_broken),
    ("reset", Error::is_reset),
    ("unprocessed", Error::is_unprocessed),
    ("protocol", Error::is_protocol),
    ("too_slow", Error::is_too_slow),
    ("too_large", Error::is_too_large),
    ("request_body", Error::is_request_body),
    ("body", Error::is_body),
    ("decode", Error::is_decode),
    ("redirect", Error::is_redirect),
    ("timeout", Error::is_timeout),
];

fn session(failure: Failure) -> Error {
    session_layer::Error::from(failure).into()
}

fn not_json() -> crate::json::NotJson {
    let read = crate::json::read::<()>(b"{", None);
    read.expect_err("it breaks off").0
}

fn timeout(phase: Phase) -> Error {
    session(Failure::Timeout(phase, Duration::from_secs(1)))
}

fn too_slow(direction: TransferDirection) -> Error {
    let floor = ThroughputFloor::new(100, Duration::from_secs(60));
    session(Failure::TooSlow(direction, floor))
}

fn silent() -> Error {
    let limit = Duration::from_secs(1);
    Error::new(Kind::Silent {
        what: "nothing",
        limit,
    })
}

fn service(kind: io::ErrorKind) -> Error {
    Error::from_below(io::Error::from(kind))
}

/// An error of each kind, its name, and the questions that it answers with yes.
fn errors() -> Vec<(Error, &'static str, &'static str)> {
    let body = || Error::new(Kind::BodyTooLarge { limit: 1 });
    let part = || {
        Error::new(Kind::TooLong {
            what: "a line",
            limit: 1,
        })
    };
    vec![
        (Error::builder("no"), "builder", "builder"),
        (Error::new(Kind::Closed), "closed", "closed"),
        (session(Failure::Closed), "closed", "closed"),
        (Error::new(Kind::Token), "token", "token"),
        (timeout(Phase::Queue), "queue_timeout", "queue timeout"),
        (session(Failure::QueueFull), "queue_full", "queue"),
        (session(Failure::Dns), "dns", "dns connect"),
        (timeout(Phase::Dns), "dns_timeout", "dns connect timeout"),
        (
            session(Failure::Connect),
            "connection_refused",
            "connect connection_refused",
        ),
        (
            service(io::ErrorKind::ConnectionRefused),
            "connection_refused",
            "connect connection_refused",
        ),
        (
            timeout(Phase::Connect),
            "connect_timeout",
            "connect timeout",
        ),
        (
            service(io::ErrorKind::HostUnreachable),
            "connect",
            "connect",
        ),
        (session(Failure::Proxy), "proxy", "proxy connect"),
        #[cfg(feature = "tls")]
        (session(Failure::Tls), "tls", "tls connect"),
        (session(Failure::Stale), "stale", "stale"),
        (session(Failure::Broken), "broken", "broken"),
        (service(io::ErrorKind::ConnectionReset), "broken", "broken"),
        (session(Failure::Reset), "reset", "reset"),
        (session(Failure::Unprocessed), "unprocessed", "unprocessed"),
        (timeout(Phase::Head), "head_timeout", "timeout"),
        (session(Failure::Protocol), "protocol", "protocol"),
        (session(Failure::TooLarge), "too_large", "too_large"),
        (body(), "too_large", "too_large body"),
        (
            Error::new(Kind::DecodesToTooMuch(DecodeLimit::Ratio(200))),
            "too_large",
            "too_large body",
        ),
        (part(), "too_large", "too_large body"),
        (
            session(Failure::RequestBody),
            "request_body",
            "request_body body",
        ),
        (session(Failure::ResponseBody), "body", "body"),
        (timeout(Phase::Body), "body_timeout", "body timeout"),
        (silent(), "body_timeout", "body timeout"),
        (
            too_slow(TransferDirection::Download),
            "too_slow",
            "too_slow body timeout",
        ),
        (
            too_slow(TransferDirection::Upload),
            "too_slow",
            "too_slow timeout",
        ),
        (Error::new(Kind::Write), "write", "body"),
        (Error::new(Kind::Decode("text")), "decode", "decode"),
        (Error::new(Kind::Json(not_json())), "decode", "decode"),
        (Error::new(Kind::Coding("gzip")), "decode", "decode"),
        (Error::new(Kind::TooManyCodings(9)), "decode", "decode"),
        (
            Error::new(Kind::Redirect(String::new())),
            "redirect",
            "redirect",
        ),
        (Error::new(Kind::Status), "status", ""),
        (
            Error::new(Kind::Deadline(Duration::ZERO)),
            "deadline",
            "timeout",
        ),
        (service(io::ErrorKind::TimedOut), "timeout", "timeout"),
        (service(io::ErrorKind::Other), "service", ""),
    ]
}

#[test]
fn kind_word_and_questions_of_every_error_agree() {
    for (error, word, answers) in errors() {
        assert_eq!(error.kind().as_str(), word, "{error:?}");
        assert_eq!(FailureKind::from(error.kind()).as_str(), word);
        let asked = QUESTIONS.iter().filter(|(_, question)| question(&error));
        let asked: HashSet<_> = asked.map(|(name, _)| *name).collect();
        assert_eq!(asked, answers.split_whitespace().collect(), "{error:?}");
        assert_eq!(error.is_status(), word == "status");
        assert_eq!(error.is_deadline(), word == "deadline");
        // An error keeps its kind when a layer boxes it.
        let boxed = Error::from_below(Box::new(error) as Box<dyn StdError + Send + Sync>);
        assert_eq!(boxed.kind().as_str(), word);
    }
}

#[test]
fn all_kinds_are_listed() {
    let listed: HashSet<_> = ErrorKind::ALL.iter().copied().collect();
    assert_eq!(listed.len(), ErrorKind::ALL.len());
    let tried: HashSet<_> = errors().iter().map(|(error, ..)| error.kind()).collect();
    let missing: Vec<_> = tried.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_words_of_both_layers_are_the_same() {
    for (error, ..) in errors() {
        let Kind::Service = error.0.kind else {
            continue;
        };
        let source = error.source().expect("a service's error has one");
        let kind = error.kind();
        if kind != ErrorKind::Service {
            assert_eq!(FailureKind::of(source).as_str(), kind.as_str());
        }
    }
}
