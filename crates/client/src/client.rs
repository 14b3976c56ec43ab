use std::{
    fmt,
    sync::atomic::Ordering::{Acquire, Release},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use retry_layer::{breaker::Breaker, health::Ledger, pause::Pause};
use session_layer::{CloseReport, Session, Stats};
use tower_service::Service;

use crate::{
    Body, Error, IntoUrl, ResponseBody, ResponseFuture,
    call::{self, Call, Core, Shared},
    deadline::TimerDeferral,
    error::BoxError,
    layers::AttemptBody,
    observe::Paths,
    stack::{Mode, Stack},
    target::{self, Target},
};
#[cfg(feature = "fs")]
use crate::{DecodeLimits, decode, resume::Resume};

/// A client: a cheap handle to one session, with retries over it.
///
/// See the [crate docs](crate) for what it does with a request. It is a
/// `Service<http::Request<B>>` for any body with `Data = Bytes`, always ready; called as a service
/// it behaves like [`send`](crate::RequestBuilder::send).
///
/// When the last clone is dropped, idle connections close; to wait for what is in flight, use
/// [`close`](Self::close).
#[derive(Clone)]
pub struct Client {
    shared: Shared,
}

/// How long [`Client::close`] waits for what is in flight.
const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

impl Client {
    pub(crate) fn assemble(
        mut settings: call::Settings,
        stack: Stack,
        session: Option<Session<AttemptBody>>,
    ) -> Self {
        // The wait for credentials has no upper bound, nor has the wait for a turn after a pause.
        let waits = settings.renews || settings.guards.is_some();
        let longest_wait = session.as_ref().filter(|_| !waits);
        let longest_wait = longest_wait.and_then(Session::longest_wait);
        settings.deferral = TimerDeferral::new(longest_wait, settings.deadline);
        Self {
            shared: Shared::new(Core {
                settings,
                stack,
                session,
            }),
        }
    }

    pub(crate) fn settings(&self) -> &call::Settings {
        &self.shared.settings
    }

    /// Makes the URL absolute by the base URL, and takes its credentials out of it.
    pub(crate) fn resolve(&self, url: impl IntoUrl) -> Result<Target, Error> {
        target::resolve(url, self.shared.settings.base.as_ref())
    }

    #[inline]
    pub(crate) fn start<W: Mode>(
        &self,
        request: Request<Body>,
        timeout: Option<Duration>,
    ) -> Call<W> {
        call::start(&self.shared, request, timeout)
    }

    /// The root of the base URL, without userinfo.
    pub(crate) fn base_origin(&self) -> Result<Option<http::Uri>, Error> {
        let base = self.shared.settings.base.as_ref();
        base.map(target::Base::origin).transpose()
    }

    /// The client's setting of whether a failed status is an error; a request may have its own.
    #[inline]
    pub(crate) fn raises_status(&self) -> bool {
        self.shared.settings.error_for_status
    }

    /// Returns which bodies are continued, and the limits within which the response to this request
    /// is decoded, if it is.
    #[cfg(feature = "fs")]
    pub(crate) fn body_settings<B>(&self, request: &Request<B>) -> (Resume, Option<DecodeLimits>) {
        let settings = &self.shared.settings;
        let decode = settings
            .decompression
            .then(|| decode::wanted(request, settings.decode_limits));
        (Resume::of(request, settings.resume), decode.flatten())
    }

    /// Whether errors show the paths of URLs.
    #[inline]
    pub(crate) fn paths(&self) -> Paths {
        self.shared.settings.paths
    }

    /// Returns the figures of the connection pool, or zeros over a service in the session's place.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let session = self.shared.session.as_ref();
        session.map(Session::stats).unwrap_or_default()
    }

    /// Returns what the client has learned of its origins: see
    /// [`ledger`](crate::ClientBuilder::ledger). `None` if it has neither a breaker nor pauses, and was
    /// given no ledger.
    #[must_use]
    pub fn ledger(&self) -> Option<&Ledger> {
        let guards = self.shared.settings.guards.as_ref();
        guards.map(|guards| &guards.ledger)
    }

    /// Returns the [breaker](crate::ClientBuilder::breaker), to look at its circuits, and to open and close
    /// them by hand.
    #[must_use]
    pub fn breaker(&self) -> Option<&Breaker> {
        self.shared.settings.guards.as_ref()?.breaker.as_ref()
    }

    /// Returns the [pauses](crate::ClientBuilder::pause), to end them by hand.
    #[must_use]
    pub fn pauses(&self) -> Option<&Pause> {
        self.shared.settings.guards.as_ref()?.pause.as_ref()
    }

    /// Whether the client, or the session that it shares with others, was closed.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.shared.session {
            Some(session) => session.is_closed(),
            None => self.shared.settings.closed.load(Acquire),
        }
    }

    /// Closes the client and all its clones: refuses new requests, and waits for those in flight,
    /// their bodies included, for up to 30 s, then cuts them off.
    ///
    /// A call that waits for its next attempt finds the client closed after its wait: its error is
    /// [`is_closed`](Error::is_closed), and [`retry_report`](Error::retry_report) has the attempts
    /// before it. Over a service in the session's place, closing only refuses new calls.
    ///
    /// # Cancel safety
    ///
    /// The client stays closed. Calls that are in flight are not aborted any more.
    pub async fn close(&self) -> CloseReport {
        self.close_within(CLOSE_DEADLINE).await
    }

    /// Closes the client like [`close`](Self::close), with this deadline in place of 30 s.
    ///
    /// # Cancel safety
    ///
    /// That of [`close`](Self::close).
    pub async fn close_within(&self, deadline: Duration) -> CloseReport {
        if let Some(session) = &self.shared.session {
            return session.close(deadline).await;
        }
        self.shared.settings.closed.store(true, Release);
        CloseReport::default()
    }
}

impl<B> Service<Request<B>> for Client
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.start(request.map(Body::new), None).into()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.shared.settings)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
