//! How an error is printed.

use std::{fmt, time::Duration};

use retry_layer::{RetryReport, StopReason};

use super::{Answer, DeadlinePhase, Error, Inner, Kind, attempts, is_failed};
use crate::decode::DecodeLimit;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            method,
            origin,
            report,
            ..
        } = &*self.0;
        let path = self.shown_path().unwrap_or_default();
        match (method, origin) {
            (Some(method), Some(origin)) => write!(f, "{method} {origin}{path}: ")?,
            (Some(method), None) => write!(f, "{method}: ")?,
            (None, Some(origin)) => write!(f, "{origin}{path}: ")?,
            (None, None) => {}
        }
        write!(f, "{}", What(self))?;
        match report {
            Some(report) if !self.is_closed() && !self.is_builder() => tried(report, f)?,
            Some(_) | None => {}
        }
        #[cfg(feature = "fs")]
        if let Some(file) = &self.0.partial_file {
            write!(f, "; {file}")?;
        }
        if f.alternate() {
            for cause in self.told_causes() {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

/// Prints an error without the request and the attempts.
pub(crate) struct What<'a>(pub(crate) &'a Error);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            answer,
            report,
            phase,
            ..
        } = &*self.0.0;
        let status = answer.as_ref().map(|answer| answer.status);
        if let (Some(status), false) = (status.filter(|it| is_failed(*it)), self.0.is_status()) {
            write!(f, "the server answered {status}, and ")?;
        }
        match kind {
            Kind::Builder(why) | Kind::Redirect(why) => f.write_str(why)?,
            // The alternate form leaves out the origin, which is already printed.
            Kind::Session(error) => write!(f, "{error:#}")?,
            Kind::Service => f.write_str("the service failed")?,
            Kind::CircuitOpen => f.write_str("the circuit breaker did not let the request pass")?,
            Kind::Paused => {
                f.write_str("the server asks for a longer pause than the request may wait")?;
            }
            Kind::Token => f.write_str("no token could be fetched to authorize the request")?,
            Kind::Deadline(Duration::ZERO) => {
                f.write_str("the deadline had passed before the call began")?;
            }
            Kind::Deadline(after) if answer.is_some() || *phase == Some(DeadlinePhase::Body) => {
                write!(f, "the body had not ended at the deadline of {after:?}")?;
            }
            Kind::Deadline(after) => {
                write!(f, "no answer within the deadline of {after:?}")?;
                if let Some(phase) = phase {
                    phase.describe(report.as_ref().map_or(0, attempts), f)?;
                }
            }
            Kind::Closed => f.write_str("the client is closed")?,
            Kind::NotForwarded(_, why) => f.write_str(why)?,
            Kind::Status => match status {
                Some(status) => write!(f, "the server answered {status}")?,
                None => f.write_str("the server answered a failed status")?,
            },
            Kind::BodyTooLarge { limit } => {
                write!(f, "the body is larger than {limit} bytes; see `max_body`")?;
            }
            Kind::TooLong { what, limit } => {
                write!(
                    f,
                    "{what} of the body is longer than {limit} bytes; see `max_length`"
                )?;
            }
            Kind::NoEvents(connections) => {
                write!(
                    f,
                    "{connections} connections in a row have brought no event"
                )?;
            }
            Kind::Silent { what, limit } => write!(f, "{what} came for {limit:?}")?,
            Kind::DecodesToTooMuch(DecodeLimit::Bytes(limit)) => write!(
                f,
                "the body decodes to more than {limit} bytes; see `decode_limits`"
            )?,
            Kind::DecodesToTooMuch(DecodeLimit::Ratio(ratio)) => write!(
                f,
                "the body decodes to more than {ratio} bytes for each that came; see \
                 `decode_limits`"
            )?,
            Kind::Resume(error) => error.fmt(f)?,
            Kind::Write => f.write_str("the body cannot be written to where it was to go")?,
            #[cfg(feature = "fs")]
            Kind::SmallParts => {
                f.write_str("the server gave the rest of the body in tiny parts")?;
            }
            #[cfg(feature = "fs")]
            Kind::Digest(mismatch) => mismatch.fmt(f)?,
            Kind::Json(why) => why.fmt(f)?,
            Kind::Decode(what) | Kind::Coding(what) => {
                write!(f, "the body is not valid {what}")?;
            }
            Kind::TooManyCodings(codings) => {
                write!(
                    f,
                    "the body is encoded {codings} times over, which is too many"
                )?;
            }
        }
        Ok(())
    }
}

/// Prints how often a request was sent and, where it is not obvious, why not more often.
fn tried(report: &RetryReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let transparent = usize::try_from(report.transparent_retries()).unwrap_or(usize::MAX);
    let attempts = attempts(report);
    let plural = |count| if count == 1 { "" } else { "s" };
    write!(f, " ({attempts} attempt{}", plural(attempts))?;
    if transparent > 0 {
        let retries = if transparent == 1 { "retry" } else { "retries" };
        write!(f, ", {transparent} transparent {retries}")?;
    }
    match report.stop() {
        StopReason::Answered
        | StopReason::AttemptsExhausted
        | StopReason::StatusNotRetryable
        | StopReason::ErrorNotRetryable
        | StopReason::Disabled => {}
        stop => write!(f, "; {stop}")?,
    }
    f.write_str(")")
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            write!(f, "{self}")?;
            let mut label = "\n\nCaused by:";
            for cause in self.told_causes() {
                write!(f, "{label}\n    {cause}")?;
                label = "";
            }
            return Ok(());
        }
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind);
        if let Some(Answer { status, .. }) = &self.0.answer {
            // The body and the headers may hold secrets.
            out.field("status", status);
        }
        if let Some(method) = &self.0.method {
            out.field("method", method);
        }
        if let Some(origin) = &self.0.origin {
            out.field("origin", origin);
        }
        if let Some(phase) = &self.0.phase {
            out.field("phase", phase);
        }
        if let Some(report) = &self.0.report {
            out.field("report", report);
        }
        match &self.0.source {
            // It quotes the body.
            Some(_) if matches!(self.0.kind, Kind::Json(_)) => {}
            Some(source) => {
                out.field("source", source);
            }
            None => {}
        }
        out.finish()
    }
}
