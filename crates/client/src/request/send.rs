//! Sends a request.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use pin_project_lite::pin_project;

use super::RequestBuilder;
use crate::{
    Error, Response, ResponseBody,
    call::Call,
    error::is_failed,
    resume::Resume,
    stack::{Mode, mode},
};

impl RequestBuilder {
    /// Sends the request and waits for the head of the response; the body streams. Once the head
    /// is there, nothing is tried again. The deadline goes on for a body that is then
    /// [collected](Response::collect).
    ///
    /// # Errors
    ///
    /// If the request was not valid, or the last attempt got no response. A failed status is a
    /// response, unless [`error_for_status`](Self::error_for_status) is on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call; what was sent by then may have been processed.
    pub fn send(self) -> impl Future<Output = Result<Response, Error>> + Send {
        Sent::<mode::Streaming>::new(self)
    }

    /// Sends the request and collects the body, up to [`max_body`](crate::ClientBuilder::max_body).
    /// A response is judged at its head, as by [`send`](Self::send): if it is retried, its body is
    /// not waited for. If the status is no failure and the body breaks, that is a failed attempt,
    /// like a connection that breaks. A failed status (4xx, 5xx) that is not retried is the
    /// outcome, even if its body breaks.
    ///
    /// # Errors
    ///
    /// If the request was not valid, the last attempt got no whole response, or its body was larger
    /// than the limit. A failed status is a response, unless
    /// [`error_for_status`](Self::error_for_status) is on. If the body of one breaks off, or does
    /// not end before the deadline, the error has [the status, the headers](Error::status) and the
    /// part of the body that came.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call; what was sent by then may have been processed.
    pub fn fetch(self) -> impl Future<Output = Result<Response<Bytes>, Error>> + Send {
        Sent::<mode::Collecting>::new(self)
    }
}

pin_project! {
    /// Sends a request when it is polled. Not an async block: that would be three times as large,
    /// and it is moved before it is polled.
    #[project = SentProj]
    enum Sent<W>
    where
        W: Mode,
    {
        Built {
            builder: Option<RequestBuilder>,
        },
        Called {
            #[pin]
            call: Call<W>,
            // Whether a failed status is an error.
            raises: bool,
        },
        // Reads the beginning of the body of a failed status for the error.
        Raising {
            raising: Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>,
        },
        // Ended; holds nothing.
        Done,
    }
}

impl<W: Mode> Sent<W> {
    fn new(builder: RequestBuilder) -> Self {
        Self::Built {
            builder: Some(builder),
        }
    }

    /// Calls the client, unless this was done before.
    #[inline]
    fn start(mut self: Pin<&mut Self>) -> Result<(), Error> {
        if let SentProj::Built { builder } = self.as_mut().project() {
            let builder = builder.take().expect("polled after it had failed");
            let request = builder.request?;
            let client = builder.client;
            // A call is large, so it is built in its place.
            self.set(Self::Called {
                raises: builder
                    .error_for_status
                    .unwrap_or_else(|| client.raises_status()),
                call: client.start(request, builder.timeout),
            });
        }
        Ok(())
    }

    /// Polls the call for its response. The call can be asked about it until [`Done`](Self::Done)
    /// takes its place.
    #[inline]
    fn poll_call(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<ResponseBody>, Error>> {
        match self.project() {
            SentProj::Called { call, .. } => call.poll(cx),
            _ => panic!("polled after it was ready"),
        }
    }

    /// Returns the call that was answered, and whether a failed status is an error.
    #[inline]
    fn called(self: Pin<&mut Self>) -> (Pin<&mut Call<W>>, bool) {
        match self.project() {
            SentProj::Called { call, raises } => (call, *raises),
            _ => panic!("asked after the call was over"),
        }
    }

    /// Waits for the beginning of the body for an error, if the state is `Raising`.
    fn poll_raising(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<Response, Error>>> {
        let SentProj::Raising { raising } = self.as_mut().project() else {
            return None;
        };
        let raised = raising.as_mut().poll(cx);
        if raised.is_ready() {
            self.set(Self::Done);
        }
        Some(raised)
    }
}

impl Sent<mode::Streaming> {
    /// Makes an error of a response with a failed status.
    #[cold]
    fn raise(
        mut self: Pin<&mut Self>,
        response: Response,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, Error>> {
        let raising = Box::pin(response.error_for_status_with_body());
        self.set(Self::Raising { raising });
        self.poll(cx)
    }
}

impl Future for Sent<mode::Streaming> {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(raised) = self.as_mut().poll_raising(cx) {
            return raised;
        }
        self.as_mut().start()?;
        let answer = ready!(self.as_mut().poll_call(cx));
        let (call, raises) = self.as_mut().called();
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                self.set(Self::Done);
                return Poll::Ready(Err(error));
            }
        };
        let (max_body, limit, resume) = (call.max_body(), call.limit(), call.resume());
        let (asked, mut source) = call.take_asked();
        self.set(Self::Done);
        if resume == Resume::All {
            if let Some(source) = source.take() {
                source.wrap(&asked, &mut response);
            }
        }
        let raises = raises && is_failed(response.status());
        #[cfg_attr(not(feature = "fs"), expect(unused_mut, reason = "nothing is saved"))]
        let mut response = Response::streaming(response, asked, max_body, limit);
        #[cfg(feature = "fs")]
        response.keep(source);
        if raises {
            return self.raise(response, cx);
        }
        Poll::Ready(Ok(response))
    }
}

impl Future for Sent<mode::Collecting> {
    type Output = Result<Response<Bytes>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.as_mut().start()?;
        let answer = ready!(self.as_mut().poll_call(cx));
        let (call, raises) = self.as_mut().called();
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                self.set(Self::Done);
                return Poll::Ready(Err(error));
            }
        };
        let (asked, _) = call.take_asked();
        self.set(Self::Done);
        Poll::Ready(if raises && is_failed(response.status()) {
            Err(Response::raised(response, &asked))
        } else {
            Response::collected(response, asked)
        })
    }
}
