//! Checks the head of a response, and decides whether its connection can be reused.

use bytes::Bytes;
use http::{
    HeaderMap, Request, StatusCode, Version,
    header::{CONNECTION, TRANSFER_ENCODING},
    response::Parts,
};
use http_body::Body;
use hyper::body::Incoming;

use super::{Exchange, Lost, Wants};
use crate::{
    SessionBody,
    body::Lease,
    box_error::BoxError,
    error::Kind,
    exchange::{Began, Cause, MAX_HEAD, RequestBody},
    pool::PooledConnection,
    reuse,
};

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    #[inline]
    pub(super) fn answered(
        &mut self,
        pooled: PooledConnection<B>,
        head: &mut Parts,
        body: Incoming,
    ) -> Result<SessionBody, Lost<B>> {
        let status = head.status;
        if let Some(request) = self.without_expectation(&pooled, status) {
            return Err(self.unexpected(pooled, head, request));
        }
        let exchange = pooled.exchange();
        let began = exchange.head_came();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(pooled, body);
        }
        let misdirected = status == StatusCode::MISDIRECTED_REQUEST;
        if pooled.is_stream() {
            exchange.forgive(Cause::HeadTimeout);
            if exchange.aborted() == Some(Cause::WrongLength) {
                return Err(self.failed(pooled, None));
            }
            if misdirected {
                pooled.drain(Cause::Suspect);
            }
        }
        let ends = match ends_by_head(&pooled, head) {
            Ok(ends) => ends,
            Err(kind) => return Err(self.refused(pooled, kind)),
        };
        if misdirected {
            // The connections opened before lead to the same wrong server.
            pooled
                .connection()
                .pool()
                .close_idle_before(pooled.origin(), self.began);
        }
        let ends = if misdirected {
            Some(Cause::Suspect)
        } else if ends.is_some() {
            ends
        } else if !reuse::is_clean(status, began, exchange.request_body_bytes()) {
            Some(Cause::Unclean)
        } else {
            self.last.then_some(Cause::Served)
        };
        let info = self.info(&pooled);
        pooled.note_answered(self.began);
        let (connection, stream) = pooled.hand_to_body();
        let lease = Lease {
            connection,
            stream,
            ends,
        };
        let mut body = SessionBody::new(body, Some(lease), info);
        if began == Began::Early {
            body.came_early();
        } else if let Some(floors) = self.rare.as_ref().and_then(|it| it.timers.floors()) {
            body.hold_to(floors, &head.headers);
        }
        if self.wants == Wants::Head || reuse::is_bare(status) {
            body.announces_nothing();
        }
        Ok(body)
    }

    #[cold]
    fn switched(
        &self,
        pooled: PooledConnection<B>,
        body: Incoming,
    ) -> Result<SessionBody, Lost<B>> {
        pooled.note_answered(self.began);
        if self.asked_upgrade {
            // The socket belongs to the upgrade now, and carries no exchange.
            pooled.exchange().end();
            let info = self.info(&pooled);
            return Ok(SessionBody::new(body, None, info));
        }
        let why = "it switches to a protocol that was not asked for";
        Err(self.refused(pooled, Kind::Protocol(why)))
    }

    /// Ends the wait of a withheld body, since a final response has come; returns the request
    /// without its expectation if only that was refused.
    #[inline]
    fn without_expectation(
        &mut self,
        pooled: &PooledConnection<B>,
        status: StatusCode,
    ) -> Option<Request<RequestBody<B>>> {
        let expectation = self.rare.as_mut()?.expectation.take()?;
        expectation.end(status, pooled.carrier())
    }
}

/// Reads what the head of a response says of its connection; returns a cause if that must end.
///
/// Over HTTP/2 a head says nothing of it: h2 refuses such headers ([RFC 9113, section
/// 8.2.2](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2)).
#[inline]
fn ends_by_head<B: Send + 'static>(
    pooled: &PooledConnection<B>,
    head: &mut Parts,
) -> Result<Option<Cause>, Kind> {
    let (version, headers) = (head.version, &mut head.headers);
    if pooled.is_stream() {
        return check_head_size(headers).map(|()| None);
    }
    let mut speaks = version == Version::HTTP_10;
    let mut is_coded = false;
    // One pass: most heads have none of the three, and each lookup would hash its name.
    for name in headers.keys() {
        speaks |= *name == CONNECTION || *name == reuse::KEEP_ALIVE;
        is_coded |= *name == TRANSFER_ENCODING;
    }
    let framed = !is_coded || reuse::check_framing(headers)?;
    if speaks {
        if let Some(seconds) = reuse::keep_alive_hint(headers) {
            pooled.connection().hint_idle(seconds);
        }
        if reuse::is_last(version, headers) {
            return Ok(Some(Cause::Broken));
        }
    }
    Ok((!framed).then_some(Cause::Unclean))
}

/// Holds a head over HTTP/2 to the size that one over HTTP/1 may have, as
/// [RFC 9113, section 6.5.2](https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2) counts it.
fn check_head_size(headers: &HeaderMap) -> Result<(), Kind> {
    const PER_FIELD: usize = 32;
    let sizes = headers.iter().map(|(name, value)| {
        let size = name.as_str().len().saturating_add(value.len());
        size.saturating_add(PER_FIELD)
    });
    let size = sizes.fold(0, usize::saturating_add);
    if u64::try_from(size).is_ok_and(|size| size <= MAX_HEAD) {
        return Ok(());
    }
    Err(Kind::TooLarge("its head"))
}
