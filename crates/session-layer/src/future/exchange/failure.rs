//! Decides what a request that got no response returns: an error, or the request for another
//! connection.

use std::io;

use bytes::Bytes;
use http::{Request, response::Parts};
use http_body::Body;

use super::{Exchange, Lost};
use crate::{
    Error,
    box_error::BoxError,
    error::{Kind, Phase, Sent},
    exchange::{Cause, MAX_HEAD, RequestBody},
    future::turn::Turn,
    pool::{PooledConnection, Unanswered, Unsent},
    reuse,
};

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Hands a request back without its expectation, which the peer refused.
    ///
    /// Over HTTP/1 its connection cannot be used again. The request announced a body that was not
    /// sent, and the peer may still wait for it: it would take the next request for that body ([RFC
    /// 9110, section 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)).
    #[cold]
    pub(super) fn unexpected(
        &self,
        pooled: PooledConnection<B>,
        head: &Parts,
        request: Request<RequestBody<B>>,
    ) -> Lost<B> {
        let cause = if reuse::is_last(head.version, &head.headers) {
            Cause::Broken
        } else {
            Cause::Unclean
        };
        handed_back(pooled, self.turn(), Box::new(request), cause)
    }

    #[cold]
    pub(super) fn unsent(&mut self, request: Unsent<B>) -> Lost<B> {
        let pooled = self.pooled.take().expect("not polled after its end");
        self.returned(pooled, request)
    }

    #[cold]
    pub(super) fn unanswered(&self, pooled: PooledConnection<B>, error: Unanswered<B>) -> Lost<B> {
        let mut error = match error {
            Unanswered::Failed(error) => error,
            Unanswered::Unsent(request) => return self.returned(pooled, request),
        };
        match error.take_message() {
            Some(request) if pooled.has_been_used() => {
                pooled.note_stale(self.began);
                handed_back(pooled, self.turn(), Box::new(request), Cause::Broken)
            }
            // A new connection takes no request: another would hardly do better.
            Some(_) => {
                pooled.connection().pool().address_failed(pooled.origin());
                let mut failed = Error::new(Kind::Unsent);
                failed = match spoke_first(&pooled) {
                    Some(reason) => failed.with(reason),
                    None => failed.with(error.into_error()),
                };
                Lost::Failed(self.named(failed, &pooled))
            }
            None => self.failed(pooled, Some(error.into_error())),
        }
    }

    /// Makes the error of a request that hyper had begun to send, from hyper's error or from the
    /// cause for which it was aborted here.
    #[cold]
    pub(super) fn failed(
        &self,
        pooled: PooledConnection<B>,
        error: Option<hyper::Error>,
    ) -> Lost<B> {
        let pool = pooled.connection().pool();
        let exchange = pooled.exchange();
        // With a connection, all its streams are aborted.
        let aborted = exchange.aborted().or_else(|| pooled.socket().aborted());
        let untaken = pooled.take_back().is_some();
        let kind = match aborted {
            Some(Cause::Closed) if untaken => Kind::Closed,
            _ if untaken => Kind::Unsent,
            Some(Cause::HeadTimeout) => {
                // A request in the queue of its connection waits for a stream.
                let phase = if pooled.may_be_sent() {
                    Phase::Head
                } else {
                    Phase::Queue
                };
                // A request whose own head timeout is off is still limited while the peer takes
                // nothing of its body.
                let configured = pool.config().timeouts.head;
                let after = exchange.own_times().head.finite().or(configured);
                Kind::Timeout(phase, after.unwrap_or_default())
            }
            Some(Cause::HeadTooLarge) => Kind::TooLarge("its head"),
            Some(Cause::TooSlow) => {
                let slow = self.rare.as_ref().and_then(|it| it.timers.too_slow());
                slow.map_or(Kind::Broken, Kind::TooSlow)
            }
            Some(Cause::Closed) => Kind::Aborted,
            Some(Cause::Unanswered) => Kind::Broken,
            Some(Cause::WrongLength) => Kind::RequestBody,
            _ => {
                if exchange.has_body_failed() {
                    Kind::RequestBody
                } else {
                    error
                        .as_ref()
                        .map_or(Kind::Broken, |error| Self::broken(&pooled, error))
                }
            }
        };
        if matches!(kind, Kind::Stale(_)) {
            pooled.note_stale(self.began);
            pool.close_idle_before(pooled.origin(), self.began);
        }
        if matches!(kind, Kind::Broken | Kind::Unsent)
            && matches!(aborted, None | Some(Cause::Unanswered))
        {
            pool.address_failed(pooled.origin());
        }
        let own = match kind {
            Kind::RequestBody => exchange.take_error(),
            // The error of the failed write says why the peer was gone; that of the read does not.
            Kind::Broken | Kind::Stale(_) | Kind::Unsent
                if aborted.is_some()
                    || error
                        .as_ref()
                        .is_none_or(hyper::Error::is_incomplete_message) =>
            {
                pooled.socket().take_error()
            }
            _ => None,
        };
        let failed = self.named(Error::new(kind), &pooled);
        pooled.abort(Cause::Broken);
        if let Some(error) = own {
            return Lost::Failed(failed.with(error));
        }
        // hyper's error of a connection that was aborted here would only hide the cause.
        Lost::Failed(match error.filter(|_| aborted.is_none()) {
            _ if aborted == Some(Cause::Unanswered) => failed.with(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer to a PING",
            )),
            Some(error) => failed.with(error),
            None => failed,
        })
    }

    /// Ends a request whose connection did not take it.
    #[cold]
    fn returned(&self, pooled: PooledConnection<B>, request: Unsent<B>) -> Lost<B> {
        if pooled.is_closed() {
            if !pooled.has_been_used() {
                // A new connection takes no request: another would hardly do better.
                pooled.connection().pool().address_failed(pooled.origin());
                let mut failed = self.named(Error::new(Kind::Unsent), &pooled);
                if let Some(reason) = spoke_first(&pooled) {
                    failed = failed.with(reason);
                }
                pooled.abort(Cause::Broken);
                return Lost::Failed(failed);
            }
            pooled.note_stale(self.began);
        }
        handed_back(pooled, self.turn(), request, Cause::Broken)
    }

    #[cold]
    pub(super) fn refused(&self, pooled: PooledConnection<B>, kind: Kind) -> Lost<B> {
        let error = self.named(Error::new(kind), &pooled);
        pooled.abort(Cause::Unclean);
        Lost::Failed(error)
    }

    /// Adds the origin and the connection to an error.
    fn named(&self, error: Error, pooled: &PooledConnection<B>) -> Error {
        let others = pooled.connection().requests().saturating_sub(1);
        error.at(pooled.origin()).on(self.info(pooled), others)
    }

    /// The kind of failure that hyper's error is.
    fn broken(pooled: &PooledConnection<B>, error: &hyper::Error) -> Kind {
        let (exchange, socket) = (pooled.exchange(), pooled.socket());
        let wrote = exchange.written_since_begun(socket) > 0 && pooled.may_be_sent();
        let bytes_read = exchange.read_since_begun(socket);
        if let Some(kind) = reuse::stream_error(error, || pooled.is_alone()) {
            kind
        } else if error.is_parse_too_large() {
            // hyper has one error for all of its limits.
            let buffer = pooled.connection().pool().config().pool.http1_read_buffer;
            let buffer = buffer.and_then(|bytes| u64::try_from(bytes).ok());
            let most = buffer.map_or(MAX_HEAD, |bytes| bytes.min(MAX_HEAD));
            Kind::TooLarge(if bytes_read < most {
                "its head has more fields than `http1_max_headers` allows"
            } else {
                "its head"
            })
        } else if error.is_parse() {
            Kind::Protocol("it is not HTTP/1")
        } else if bytes_read > 0 && (wrote || !pooled.is_stream()) {
            Kind::Broken
        } else if pooled.has_been_used() {
            Kind::Stale(if wrote {
                Sent::Something
            } else {
                Sent::Nothing
            })
        } else if wrote {
            Kind::Broken
        } else {
            Kind::Unsent
        }
    }
}

/// Why a new connection took no request, if its peer sent bytes before it was asked anything. Over
/// HTTP/1 a server does not send first; over HTTP/2 it does, and hyper's error says neither.
fn spoke_first<B: Send + 'static>(pooled: &PooledConnection<B>) -> Option<io::Error> {
    let spoke = !pooled.is_stream() && pooled.socket().bytes_read() > 0;
    spoke.then(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the peer sent bytes before the request: it may speak HTTP/2, or no HTTP",
        )
    })
}

/// Hands a request back for the next connection: its body never left. `cause` is why this
/// connection ends, if it is not shared.
fn handed_back<B: Send + 'static>(
    pooled: PooledConnection<B>,
    turn: Turn,
    mut request: Unsent<B>,
    cause: Cause,
) -> Lost<B> {
    // Its stream is freed now, and not only when another connection is found.
    request.body_mut().detach();
    let pool = pooled.connection().pool().clone();
    let origin = pooled.origin().clone();
    pooled.abort(cause);
    Lost::HandedBack {
        pool,
        origin,
        turn,
        request,
    }
}
