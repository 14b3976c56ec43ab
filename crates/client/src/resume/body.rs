use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use retry_layer::{
    RetryReport,
    resume::{Ask, ResumeBody, ResumeBodyError},
};
use session_layer::ConnectionInfo;
use tower_service::Service;

use super::again::{Again, Calls, Defaults};
use crate::{
    Body, Error, ResponseBody, ThroughputFloor,
    body::{Place, Wrapper},
    error::Kind,
};

type Inner<C> = ResumeBody<
    ResponseBody,
    Error,
    Ask<Again<C>, Body, <Again<C> as Service<http::Request<Body>>>::Future>,
>;

/// A body that is continued where it breaks.
pub(super) struct Resumed<C: Calls> {
    inner: Inner<C>,
    /// The connection of the response; the rest may come over others.
    connection: Option<ConnectionInfo>,
    /// How many exchanges the last taken report had.
    taken: usize,
    defaults: Defaults,
}

impl<C: Calls> Resumed<C> {
    pub(super) fn new(
        inner: Inner<C>,
        connection: Option<ConnectionInfo>,
        defaults: Defaults,
    ) -> Self {
        Self {
            inner,
            connection,
            taken: 0,
            defaults,
        }
    }
}

impl<C: Calls> Wrapper for Resumed<C> {
    fn place(&self) -> Place {
        Place::Attempt
    }

    fn hold_to_default_floor(&mut self, floor: ThroughputFloor) {
        // Applies to the rest that is asked for, too.
        self.defaults.set_floor(floor);
        if let Some(body) = self.inner.get_mut() {
            body.hold_to_default_floor(floor);
        }
    }

    fn lift_default_idle_timeout(&mut self) {
        self.defaults.lift_idle_timeout();
        if let Some(body) = self.inner.get_mut() {
            body.lift_default_idle_timeout();
        }
    }

    fn inner(&mut self) -> Option<&mut ResponseBody> {
        self.inner.get_mut()
    }

    fn connection(&self) -> Option<&ConnectionInfo> {
        self.connection.as_ref()
    }

    fn take_report(&mut self) -> Option<RetryReport> {
        let exchanges = self.inner.exchanges();
        if exchanges == self.taken {
            return None;
        }
        self.taken = exchanges;
        self.inner.report()
    }
}

impl<C: Calls> HttpBody for Resumed<C> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| match error {
                ResumeBodyError::Resume(resume) => {
                    let report = resume.report().clone();
                    let mut error = Error::new(Kind::Resume(resume));
                    error.set_report(report);
                    error
                }
                ResumeBodyError::Inner(error) => error,
                // The error of the layer may grow.
                _ => Error::new(Kind::Service).with(error),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
