use std::{fmt, time::Duration};

use super::{Error, FailedOn, Kind, Phase};
use crate::Step;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            Kind::Uri(why) => write!(f, "cannot send to this URI: {why}")?,
            Kind::Headers(why) => write!(f, "cannot send these headers: {why}")?,
            Kind::Dns => f.write_str("cannot resolve the name")?,
            Kind::Connect => f.write_str("cannot connect")?,
            Kind::Proxy => f.write_str("cannot go through the proxy")?,
            Kind::Tls => f.write_str("cannot set up TLS")?,
            Kind::PoolTimeout(after) => write!(f, "no connection became free within {after:?}")?,
            Kind::QueueFull(limit) => write!(f, "the pool's queue is full ({limit} waiting)")?,
            Kind::Closed => f.write_str("the session is closed")?,
            Kind::Aborted => f.write_str("cut off when the session closed")?,
            Kind::Unsent => f.write_str("the connection ended before the request was sent")?,
            Kind::Stale(_) => f.write_str("the reused connection had been closed")?,
            Kind::Unprocessed => f.write_str("the peer refused the request unprocessed")?,
            Kind::Reset => f.write_str("the peer reset the request's stream")?,
            Kind::Broken => f.write_str("the connection broke before the response came")?,
            Kind::Timeout(Phase::Queue, after) => {
                write!(f, "its connection has not sent it within {after:?}")?;
            }
            Kind::Timeout(Phase::Dns, Duration::ZERO) => {
                f.write_str("the name servers did not answer in time")?;
            }
            Kind::Timeout(Phase::Dns, after) => write!(f, "no address within {after:?}")?,
            Kind::Timeout(Phase::Connect, Duration::ZERO) => {
                f.write_str("the system gave up connecting")?;
            }
            Kind::Timeout(Phase::Connect, after) => {
                write!(f, "no connection within {after:?}")?;
                match self.0.step {
                    Some(Step::Proxy) => f.write_str(", at the proxy")?,
                    Some(Step::Tls) => f.write_str(", in the TLS handshake")?,
                    _ => {}
                }
            }
            Kind::Timeout(Phase::Head, after) => write!(f, "no response within {after:?}")?,
            Kind::Timeout(Phase::Body, after) => {
                write!(f, "the response body stood still for {after:?}")?;
            }
            Kind::TooSlow(slow) => write!(f, "{slow}")?,
            Kind::Protocol(why) => write!(f, "the response is not valid: {why}")?,
            Kind::TooLarge(what) => write!(f, "the response is too large: {what}")?,
            Kind::RequestBody => f.write_str("the request body failed")?,
            Kind::ResponseBody => f.write_str("the response body broke off")?,
        }
        match &self.0.origin {
            Some(origin) if !f.alternate() => write!(f, " ({origin})"),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind);
        if let Some(origin) = &self.0.origin {
            out.field("origin", origin);
        }
        if let Some(FailedOn { info, others }) = &self.0.connection {
            out.field("connection", info).field("others", others);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}
