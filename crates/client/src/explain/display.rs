//! An explanation as text.

use std::{fmt, time::Duration};

use super::{ExpectedVersion, ExplainedLayer, Explanation, Limits, Route};
use crate::{observe::Paths, origin};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = origin::display(&self.uri).unwrap_or_default();
        write!(f, "{} {origin}", self.method)?;
        if self.paths == Paths::Recorded {
            f.write_str(self.uri.path())?;
        }
        writeln!(f, ", by {}, {}", self.version, self.route)?;
        if !self.is_own_origin() {
            writeln!(
                f,
                "no own origin: the client's headers and credentials stay away"
            )?;
        }
        if self.endpoints > 1 {
            writeln!(f, "attempts go to {} endpoints in turn", self.endpoints)?;
        }
        match self.deadline {
            Some(deadline) => writeln!(f, "deadline: {deadline:?}")?,
            None => writeln!(f, "deadline: none")?,
        }
        writeln!(f, "timeouts: {}", self.limits)?;
        match self.redirects {
            Some(limit) => writeln!(f, "redirects: up to {limit}")?,
            None => writeln!(f, "redirects: not followed")?,
        }
        if self.resumes() {
            writeln!(f, "a body that breaks is continued")?;
        }
        f.write_str("layers: ")?;
        for (at, layer) in self.layers.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{layer}")?;
        }
        match &self.retry {
            Some(rules) => write!(f, "\nretries: {rules}"),
            None => f.write_str("\nretries: none"),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, limit)) in [
            ("queue", self.queue),
            ("connect", self.connect),
            ("head", self.head),
            ("body idle", self.body_idle),
        ]
        .into_iter()
        .enumerate()
        {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {}", Limited(limit))?;
        }
        for (name, floor) in [
            ("download", self.download_floor),
            ("upload", self.upload_floor),
        ] {
            if let Some(floor) = floor {
                let (rate, window) = (floor.bytes_per_second(), floor.window());
                write!(f, ", {name} at least {rate} bytes/s over {window:?}")?;
            }
        }
        Ok(())
    }
}

struct Limited(Option<Duration>);

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "{limit:?}"),
            None => f.write_str("none"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("directly"),
            Self::Proxy(proxy) => write!(f, "through {proxy}"),
            Self::OwnConnector => f.write_str("over a connector of the caller's"),
            Self::Service => f.write_str("over a service in the session's place"),
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Negotiated => "HTTP/2 or HTTP/1.1 as TLS negotiates",
            Self::Unknown => "any version",
        })
    }
}

impl fmt::Display for ExplainedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirects => f.write_str("redirects"),
            Self::CallLayers(count) => write!(f, "{count} of the caller's around each hop"),
            Self::Retry => f.write_str("retries"),
            Self::Hedge => f.write_str("hedges"),
            Self::AttemptLayers(count) => write!(f, "{count} of the caller's around each attempt"),
            Self::Attempt => f.write_str("headers and credentials"),
            Self::Breaker => f.write_str("circuit breaker"),
            Self::Pause => f.write_str("pauses"),
            Self::Cookies => f.write_str("cookies"),
            Self::Session => f.write_str("session"),
            Self::Service => f.write_str("service"),
        }
    }
}
