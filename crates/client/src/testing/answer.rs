use std::{fmt, io, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, Entry},
};
use serde::Serialize;

use super::Failure;
use crate::{Error, error::Kind};

/// The response, or failure, of a [`Fake`](super::Fake) to one request.
///
/// Made of a status (`503`), a text (`"pong"`, with the status 200), both (`(404, "no such item")`),
/// a response of the `http` crate, a [`Failure`], an [`Error`] or an [`io::Error`], by
/// [`From`]; or put together:
///
/// ```
/// use std::time::Duration;
/// use client::testing::Answer;
///
/// let busy = Answer::new(503).header("retry-after", "60").body("come back later");
/// let slow = Answer::json(&["a", "b"]).after(Duration::from_secs(5));
/// # let _ = (busy, slow);
/// ```
///
/// If something in it is not valid, such as the status 99, the call that gets it fails.
#[must_use = "an answer does nothing until a fake gives it"]
pub struct Answer {
    pub(super) outcome: Result<Response<Bytes>, Error>,
    pub(super) delay: Delay,
    pub(super) ending: Ending,
}

/// When the answer begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delay {
    After(Duration),
    Never,
}

/// What follows the bytes of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    Whole,
    BreaksOff,
    Stalls,
}

impl Answer {
    /// Makes a response with this status and an empty body.
    pub fn new(status: u16) -> Self {
        let outcome = match StatusCode::from_u16(status) {
            Ok(status) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = status;
                Ok(response)
            }
            Err(_) => Err(Error::builder(format!("{status} is not a status"))),
        };
        Self::of(outcome)
    }

    /// Makes a response with the status 200 and this value as JSON; [`status`](Self::status)
    /// changes the status.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => Self::new(200)
                .header(CONTENT_TYPE, "application/json")
                .body(json),
            Err(error) => Self::of(Err(Error::builder("the JSON cannot be written").with(error))),
        }
    }

    /// Never answers: the head [timeout](crate::Timeouts) ends the attempt, and the deadline the
    /// call.
    pub fn never() -> Self {
        Self {
            delay: Delay::Never,
            ..Self::new(200)
        }
    }

    fn of(outcome: Result<Response<Bytes>, Error>) -> Self {
        Self {
            outcome,
            delay: Delay::After(Duration::ZERO),
            ending: Ending::Whole,
        }
    }

    /// Sets the status.
    pub fn status(self, status: u16) -> Self {
        self.alter(|response| {
            *response.status_mut() = StatusCode::from_u16(status)
                .map_err(|_| Error::builder(format!("{status} is not a status")))?;
            Ok(())
        })
    }

    /// Adds a value of a header beside those that are set.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.alter(|response| {
            let name = name
                .try_into()
                .map_err(|_| Error::builder("a header's name is not valid"))?;
            let value = value
                .try_into()
                .map_err(|_| Error::builder(format!("the value of {name} is not valid")))?;
            match response.headers_mut().entry(name) {
                Entry::Vacant(vacant) => drop(vacant.insert(value)),
                Entry::Occupied(mut others) => others.append(value),
            }
            Ok(())
        })
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.alter(|response| {
            *response.body_mut() = body.into();
            Ok(())
        })
    }

    /// Waits this long before it answers, or fails.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Delay::After(delay);
        self
    }

    /// Lets the connection break after the bytes of the body.
    pub fn breaks_off(mut self) -> Self {
        self.ending = Ending::BreaksOff;
        self
    }

    /// Lets the body stand still after its bytes, until the body idle
    /// [timeout](crate::Timeouts) ends it.
    pub fn stalls(mut self) -> Self {
        self.ending = Ending::Stalls;
        self
    }

    fn alter(mut self, alter: impl FnOnce(&mut Response<Bytes>) -> Result<(), Error>) -> Self {
        if let Ok(response) = &mut self.outcome {
            if let Err(error) = alter(response) {
                self.outcome = Err(error);
            }
        }
        self
    }
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Self::new(status)
    }
}

impl From<StatusCode> for Answer {
    fn from(status: StatusCode) -> Self {
        Self::new(status.as_u16())
    }
}

impl From<&'static str> for Answer {
    fn from(body: &'static str) -> Self {
        Self::new(200).body(body)
    }
}

impl<B: Into<Bytes>> From<(u16, B)> for Answer {
    fn from((status, body): (u16, B)) -> Self {
        Self::new(status).body(body)
    }
}

impl<B: Into<Bytes>> From<Response<B>> for Answer {
    fn from(response: Response<B>) -> Self {
        Self::of(Ok(response.map(Into::into)))
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::of(Err(failure.into()))
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self::of(Err(error))
    }
}

/// The error of a service in place of the session, which is judged by its cause.
impl From<io::Error> for Answer {
    fn from(error: io::Error) -> Self {
        Self::of(Err(Error::new(Kind::Service).with(error)))
    }
}

impl fmt::Debug for Answer {
    // No headers and no body: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Answer");
        match &self.outcome {
            Ok(response) => out.field("status", &response.status()),
            Err(error) => out.field("error", error),
        };
        out.field("delay", &self.delay)
            .field("ending", &self.ending)
            .finish()
    }
}
