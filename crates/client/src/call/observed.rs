//! A call that is within its span, and counted. Calls that are not observed have none of this.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;

use super::{Answer, Call, Source};
use crate::{Body, description::Description, observe::CallRecord, stack::Mode};

/// A call and its record, until the head of the response is there.
pub(super) struct Observed<W: Mode> {
    /// There until it is dropped.
    call: Option<Pin<Box<Call<W>>>>,
    /// There until the call is over.
    record: Option<CallRecord>,
}

impl<W: Mode> Observed<W> {
    /// Starts a call within the span of its record.
    pub(super) fn start(
        record: CallRecord,
        request: Request<Body>,
        start: impl FnOnce(Request<Body>) -> Call<W>,
    ) -> Self {
        let call = record.span().in_scope(|| Box::pin(start(request)));
        Self {
            call: Some(call),
            record: Some(record),
        }
    }

    pub(super) fn get_ref(&self) -> Option<&Call<W>> {
        self.call.as_deref()
    }

    pub(super) fn take_asked(&mut self) -> (Description, Option<Source>) {
        let call = self.call.as_mut().expect("there until it is dropped");
        call.as_mut().take_asked()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let call = self.call.as_mut().expect("there until it is dropped");
        let answer = {
            let _entered = self.record.as_ref().map(|record| record.span().enter());
            ready!(call.as_mut().poll(cx))
        };
        Poll::Ready(match self.record.take() {
            Some(record) => record.ended(answer),
            None => answer,
        })
    }
}

impl<W: Mode> Drop for Observed<W> {
    fn drop(&mut self) {
        let (call, Some(record)) = (self.call.take(), self.record.take()) else {
            return;
        };
        let report = call.as_ref().and_then(|call| call.state.report_so_far());
        let span = record.span().clone();
        record.cancelled(report.as_ref());
        // What the layers below tell when they are dropped belongs to the call.
        span.in_scope(|| drop(call));
    }
}
