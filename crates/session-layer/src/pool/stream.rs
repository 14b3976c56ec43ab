use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::Body;

use super::{
    Connection,
    answer::{Answer, Unsent},
    shared::Shared,
    submission::Submission,
};
use crate::{
    box_error::BoxError,
    exchange::{ExchangeState, Release, RequestBody},
};

/// The right to send one request on a shared connection; released when dropped.
pub(crate) struct Stream<B: Send + 'static> {
    shared: Arc<Shared<B>>,
    /// Taken when a response body takes the exchange over.
    exchange: Option<Arc<ExchangeState>>,
    submission: Arc<Submission<B>>,
}

impl<B: Send + 'static> Stream<B> {
    pub(super) fn begin(shared: Arc<Shared<B>>) -> Self {
        let socket = shared.connection().state();
        let (exchange, submission) = shared.streams().take(|| socket.for_stream());
        Self {
            shared,
            exchange: Some(exchange),
            submission,
        }
    }

    pub(super) fn connection(&self) -> &Arc<Connection<B>> {
        self.shared.connection()
    }

    /// Whether no other request has been under way since it began.
    pub(super) fn is_alone(&self) -> bool {
        let number = self.exchange().alone();
        number.is_some_and(|number| self.shared.streams().begun() == number)
    }

    pub(super) fn exchange(&self) -> &Arc<ExchangeState> {
        self.exchange.as_ref().expect("taken only at its end")
    }

    /// Whether more requests are under way than the peer is known to allow.
    pub(super) fn is_too_much(&self) -> bool {
        self.shared.streams().is_over_limit()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.streams().is_closed()
    }

    /// Whether the HEADERS of its request may have been written.
    pub(super) fn may_be_sent(&self) -> bool {
        self.exchange().may_be_sent(self.shared.streams().gate())
    }

    /// Notes that a response has come.
    pub(super) fn note_answered(&self) {
        self.shared.streams().note_answered();
    }

    pub(super) fn poll_answer(&self, cx: &Context<'_>) -> Poll<Answer<B>> {
        self.submission.poll(self.exchange(), cx)
    }

    /// Takes the request back, if hyper was not given it.
    pub(super) fn take_back(&self) -> Option<Unsent<B>> {
        self.submission.take_back()
    }

    /// Hands the stream to a response body. The submission, whose answer was taken, is free for the
    /// next request.
    pub(super) fn hand_to_body(mut self) -> (Arc<dyn Release>, Option<Arc<ExchangeState>>) {
        self.shared.streams().keep(self.submission.clone());
        let exchange = self.exchange.take();
        (self.shared.clone(), exchange)
    }
}

impl<B> Stream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Gives the request to the driver, as
    /// [`PooledConnection::send`](super::PooledConnection::send) says.
    pub(super) fn send(&self, request: Request<RequestBody<B>>) -> Result<(), Unsent<B>> {
        self.submission.fill(request, self.exchange());
        if self.shared.streams().submit(&self.submission) {
            self.shared.connection().state().wake();
            return Ok(());
        }
        match self.submission.take_back() {
            Some(request) => Err(request),
            None => Ok(()),
        }
    }
}

impl<B: Send + 'static> Drop for Stream<B> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            // The drop of its future makes hyper reset the stream, and ends the request body.
            let is_reset =
                self.submission.clear() && exchange.may_be_sent(self.shared.streams().gate());
            self.shared.end(exchange);
            if is_reset {
                self.shared.note_given_up();
            }
        }
    }
}
