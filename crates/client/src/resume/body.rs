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

use super::again::{Again, Asking};
use crate::{Body, Error, ResponseBody, error::Kind};

type Inner = ResumeBody<ResponseBody, Error, Ask<Again, Body, Asking>>;

/// A body that is continued where it breaks.
pub(crate) struct Resumed {
    inner: Inner,
    /// That of the response; the rest may come over others.
    connection: Option<ConnectionInfo>,
    /// How many exchanges the report had that was taken last.
    taken: usize,
}

impl Resumed {
    pub(super) fn new(inner: Inner, connection: Option<ConnectionInfo>) -> Self {
        Self {
            inner,
            connection,
            taken: 0,
        }
    }

    pub(crate) fn connection(&self) -> Option<&ConnectionInfo> {
        self.connection.as_ref()
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut ResponseBody> {
        self.inner.get_mut()
    }

    /// What was tried by now, if that is more than when it was taken last.
    pub(crate) fn take_report(&mut self) -> Option<RetryReport> {
        let exchanges = self.inner.exchanges();
        if exchanges == self.taken {
            return None;
        }
        self.taken = exchanges;
        self.inner.report()
    }
}

impl HttpBody for Resumed {
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
                // The layer may come to tell more.
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
