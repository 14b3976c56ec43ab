//! Sends GETs through a proxy, for `tests/real-peers/proxies`: `through_proxy PROXY URL..`.
//!
//! Prints one line for each response or error. The exit status is 0 if all were answered by 200, 3
//! if each failed by an error of the proxy or was answered by 407, and else 1.

use std::{env, error::Error as StdError, iter, process::ExitCode};

use bytes::Bytes;
use http::StatusCode;
use session_layer::{Connector, Error, Proxy, Session};
use test_suite::{BytesSession, fetch, get};

/// What became of a request.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Outcome {
    Answered,
    RefusedByProxy,
    Failed,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(Ok(proxy)) = arguments.next().map(|url| Proxy::all(&url)) else {
        eprintln!("usage: through_proxy PROXY URL..");
        return ExitCode::from(2);
    };
    let session: BytesSession = Session::new(Connector::new().proxy(proxy));
    let mut outcomes = Vec::new();
    for url in arguments {
        outcomes.push(outcome(&url, fetch(&session, get(&url)).await));
    }
    if outcomes.is_empty() {
        return ExitCode::from(2);
    }
    let all = |outcome| outcomes.iter().all(|one| *one == outcome);
    ExitCode::from(if all(Outcome::Answered) {
        0
    } else if all(Outcome::RefusedByProxy) {
        3
    } else {
        1
    })
}

fn outcome(url: &str, result: Result<(StatusCode, Bytes), Error>) -> Outcome {
    match result {
        Ok((status, body)) => {
            println!("{url}: {status}, {} bytes", body.len());
            match status {
                StatusCode::OK => Outcome::Answered,
                StatusCode::PROXY_AUTHENTICATION_REQUIRED => Outcome::RefusedByProxy,
                _ => Outcome::Failed,
            }
        }
        Err(error) => {
            println!("{url}: {}", chain(&error));
            if error.is_proxy() && error.is_unsent() {
                Outcome::RefusedByProxy
            } else {
                Outcome::Failed
            }
        }
    }
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let causes = iter::successors(Some(error), |error| (*error).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
