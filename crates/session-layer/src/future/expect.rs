//! `Expect: 100-continue`: a request body that waits until the peer asks for it
//! ([RFC 9110, section 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use http_body::Body;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    box_error::BoxError,
    exchange::{Carrier, RequestBody, Withheld},
    pool::PooledConnection,
    reuse::Length,
    runtime,
};

/// Marks a request whose callback for informational responses was set by its [`Expectation`], and
/// not by the caller.
#[derive(Clone, Copy, Debug)]
struct Told;

/// What a request with an expectation keeps until its body may be sent.
pub(crate) struct Expectation<B> {
    body: Arc<Withheld<B>>,
    length: Option<Length>,
    head: Parts,
    /// When the body is sent even if nothing has come.
    until: Option<Instant>,
    /// The timer, with the runtime on which it was made.
    timer: Option<(runtime::Id, Pin<Box<Sleep>>)>,
}

impl<B> Expectation<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Withholds the body of a request that has an expectation. The request has its final form, and
    /// was not sent.
    #[cold]
    pub(crate) fn begin(
        request: &mut Request<RequestBody<B>>,
        pooled: &PooledConnection<B>,
        now: Instant,
    ) -> Option<Self> {
        if !is_expected(request.headers()) {
            return None;
        }
        let (body, length) = request.body_mut().withhold()?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = request.method().clone();
        head.uri = request.uri().clone();
        head.version = request.version();
        head.headers = request.headers().clone();
        head.headers.remove(header::EXPECT);
        head.extensions = request.extensions().clone();
        if !pooled.is_stream() {
            ask_for_informational(request, &body, pooled);
        }
        let wait = pooled.connection().pool().config().timeouts.expect_continue;
        Some(Self {
            body,
            length,
            head,
            until: now.checked_add(wait),
            timer: None,
        })
    }

    /// Waits for the peer, and has the body sent after a while, since the peer or a proxy may not
    /// know expectations. Ready when the wait is over.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        let Some(here) = runtime::current() else {
            // Outside of a runtime there is no clock.
            self.body.allow();
            return Poll::Ready(());
        };
        if self.timer.as_ref().is_none_or(|(of, _)| *of != here) {
            self.timer = Some((here, Box::pin(sleep_until(until))));
        }
        if let Some((_, timer)) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
        }
        self.body.allow();
        Poll::Ready(())
    }

    /// Ends the wait, since a final status has come. Returns the request without its expectation if
    /// the peer refused only that, and hyper has not got the body.
    ///
    /// After a success the peer may go on to read the body. After any other status the body is not
    /// sent over HTTP/1, and the connection is closed. Over HTTP/2 it is sent, since a stream is
    /// complete only with its body.
    pub(crate) fn end(
        self,
        status: StatusCode,
        carrier: Carrier,
    ) -> Option<Request<RequestBody<B>>> {
        if status != StatusCode::EXPECTATION_FAILED {
            if carrier == Carrier::Stream || status.is_success() {
                self.body.allow();
            }
            return None;
        }
        let mut body = RequestBody::new(self.body.take_back()?);
        body.announce(self.length);
        Some(Request::from_parts(self.head, body))
    }
}

/// Has the body sent when a 100 (Continue) comes over HTTP/1.
///
/// hyper has room for one callback for informational responses, which cannot be taken out. So a
/// caller's own callback stays, and the body is then sent with the first bytes of any response.
fn ask_for_informational<B: Send + 'static>(
    request: &mut Request<RequestBody<B>>,
    body: &Arc<Withheld<B>>,
    pooled: &PooledConnection<B>,
) {
    // A callback of this crate, set for another connection that handed the request back.
    let is_ours = request.extensions().get::<Told>().is_some();
    let before = request.extensions().clone();
    let (told, exchange) = (body.clone(), pooled.exchange().clone());
    hyper::ext::on_informational(request, move |response| {
        exchange.note_informational();
        if response.status() == StatusCode::CONTINUE {
            told.allow();
        }
    });
    if !is_ours && request.extensions().len() == before.len() {
        *request.extensions_mut() = before;
        body.ask_by_bytes();
    } else {
        request.extensions_mut().insert(Told);
    }
}

/// Whether a request asks for a 100 (Continue) before its body.
fn is_expected(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::EXPECT).iter();
    values.any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
