//! The one place where the body of a response is collected.

use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, response};
use http_body::Body as _;
use retry_layer::ResponseExt as _;
use tokio::time::sleep_until;

use crate::{DeadlinePhase, Error, ResponseBody, deadline::Limit};

/// A response extension: the trailers of a body that was collected.
#[derive(Clone, Debug)]
pub(crate) struct Trailers(pub(crate) HeaderMap);

/// A body that is being collected.
pub(crate) struct Gathering {
    head: response::Parts,
    body: ResponseBody,
    collected: Collected,
    limit: usize,
    beyond: Beyond,
}

/// What becomes of a body that is larger than the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Beyond {
    /// Nothing of it is kept.
    Refused,
    /// What fits is kept, and nothing more is read.
    CutOff,
}

/// What there is of it so far; one frame is kept as it came.
enum Collected {
    Nothing,
    One(Bytes),
    Many(BytesMut),
    TooLarge,
}

impl Gathering {
    /// Collects a body that is no larger than the limit.
    pub(crate) fn new(response: Response<ResponseBody>, limit: usize) -> Self {
        let announced = response.body().size_hint().lower();
        let fits = usize::try_from(announced).is_ok_and(|announced| announced <= limit);
        let mut gathering = Self::begun(response, limit, Beyond::Refused);
        if !fits {
            gathering.collected = Collected::TooLarge;
        }
        gathering
    }

    /// Collects the beginning of a body, up to the limit.
    pub(crate) fn beginning(response: Response<ResponseBody>, limit: usize) -> Self {
        Self::begun(response, limit, Beyond::CutOff)
    }

    fn begun(response: Response<ResponseBody>, limit: usize, beyond: Beyond) -> Self {
        let (head, body) = response.into_parts();
        Self {
            head,
            body,
            collected: Collected::Nothing,
            limit,
            beyond,
        }
    }

    /// Reads on as [`poll_gather`](Self::poll_gather) does, but no longer than the call may take.
    pub(crate) async fn gather(&mut self, limit: Option<Limit>) -> Result<(), Error> {
        // Set up only once the body has to be waited for.
        let mut timer = pin!(None);
        poll_fn(|cx| {
            // The body first, the clock second: what came in time is given.
            if let Poll::Ready(ended) = self.poll_gather(cx) {
                return Poll::Ready(ended);
            }
            let Some(limit) = limit else {
                return Poll::Pending;
            };
            if timer.is_none() {
                timer.set(Some(sleep_until(limit.at)));
            }
            if let Some(timer) = timer.as_mut().as_pin_mut() {
                ready!(timer.poll(cx));
            }
            let phase = Some(DeadlinePhase::Body);
            Poll::Ready(Err(limit.exceeded().in_phase(phase)))
        })
        .await
    }

    /// Reads on to the end of the body, or to where it is larger than the limit.
    pub(crate) fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Collected::TooLarge = self.collected {
            return Poll::Ready(Ok(()));
        }
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            let frame = match frame {
                Ok(frame) => frame,
                // Collected before, and wrapped by a layer of the caller's since.
                Err(error) if error.is_over_max_body() => {
                    self.collected = Collected::TooLarge;
                    break;
                }
                Err(error) => return Poll::Ready(Err(error)),
            };
            let mut data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.head.extensions.insert(Trailers(trailers));
                    }
                    continue;
                }
            };
            let room = self.limit.saturating_sub(self.collected.len());
            if self.beyond == Beyond::Refused && data.len() > room {
                self.collected = Collected::TooLarge;
                break;
            }
            data.truncate(room);
            let rest = usize::try_from(self.body.size_hint().lower()).unwrap_or_default();
            let rest = rest.min(room.saturating_sub(data.len()));
            self.collected.push(data, rest.min(MAX_RESERVED));
            if self.beyond == Beyond::CutOff && self.collected.len() >= self.limit {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Adds to an error of this body the response that it is of.
    pub(crate) fn fail(self, error: Error) -> Error {
        let head = Response::from_parts(self.head, ());
        error.answered(&head, self.collected.so_far())
    }

    /// Adds to the error that ends a call what was tried, too.
    pub(crate) fn fail_call(mut self, mut error: Error) -> Error {
        let report = self.body.take_report();
        let head = Response::from_parts(self.head, ());
        error.set_report(report.unwrap_or_else(|| head.retry_report()));
        error.answered(&head, self.collected.so_far())
    }

    /// Gives the response with what was collected; what is left of a body that was too large
    /// closes its connection here.
    pub(crate) fn into_response(mut self) -> Response<ResponseBody> {
        if let Some(report) = self.body.take_report() {
            self.head.extensions.insert(report);
        }
        let bytes = match self.collected {
            Collected::Nothing => Some(Bytes::new()),
            Collected::One(bytes) => Some(bytes),
            Collected::Many(bytes) => Some(bytes.freeze()),
            Collected::TooLarge => None,
        };
        let body = match bytes {
            Some(bytes) => ResponseBody::collected(bytes, self.body.connection().cloned()),
            None => ResponseBody::too_large(self.limit),
        };
        Response::from_parts(self.head, body)
    }
}

/// The most memory that is set aside because a peer announced as much.
const MAX_RESERVED: usize = 1024 * 1024;

impl Collected {
    fn len(&self) -> usize {
        self.so_far().len()
    }

    fn so_far(&self) -> &[u8] {
        match self {
            Self::Nothing | Self::TooLarge => &[],
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes,
        }
    }

    /// Adds a frame; `rest` is how many bytes more are expected.
    fn push(&mut self, data: Bytes, rest: usize) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let so_far = first.len().saturating_add(data.len());
                let mut bytes = BytesMut::with_capacity(so_far.saturating_add(rest));
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(&data);
                *self = Self::Many(bytes);
            }
            Self::Many(bytes) => bytes.extend_from_slice(&data),
            Self::TooLarge => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::error::Kind;

    /// A body that brings these pieces, and then neither more nor its end.
    struct Unended(Vec<&'static str>);

    impl futures_core::Stream for Unended {
        type Item = Result<http_body::Frame<Bytes>, Error>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            if self.0.is_empty() {
                return Poll::Pending;
            }
            let piece = self.0.remove(0);
            Poll::Ready(Some(Ok(http_body::Frame::data(piece.into()))))
        }
    }

    fn polled(gathering: &mut Gathering) -> Poll<Result<(), Error>> {
        gathering.poll_gather(&mut Context::from_waker(Waker::noop()))
    }

    fn unended() -> Response<ResponseBody> {
        Response::new(ResponseBody::new(StreamBody::new(Unended(vec![
            "abc", "def",
        ]))))
    }

    #[test]
    fn the_beginning_of_a_body_is_what_fits_and_nothing_more_is_waited_for() {
        for (limit, kept) in [(2, "ab"), (5, "abcde"), (6, "abcdef")] {
            let mut gathering = Gathering::beginning(unended(), limit);
            assert!(polled(&mut gathering).is_ready(), "{limit}");
            let error = gathering.fail_call(Error::new(Kind::Status));
            assert_eq!(error.body().map(|it| &it[..]), Some(kept.as_bytes()));
        }
        let mut gathering = Gathering::beginning(unended(), 7);
        assert!(polled(&mut gathering).is_pending());
        let announced = Response::new(ResponseBody::new(Full::<Bytes>::from("abcdef")));
        let mut gathering = Gathering::beginning(announced, 2);
        assert!(polled(&mut gathering).is_ready());
        let error = gathering.fail_call(Error::new(Kind::Status));
        assert_eq!(error.body().map(|it| &it[..]), Some(&b"ab"[..]));
    }

    #[test]
    fn nothing_is_kept_of_a_body_that_is_larger_than_the_limit() {
        for (limit, response) in [
            (5, unended()),
            (
                5,
                Response::new(ResponseBody::new(Full::<Bytes>::from("abcdef"))),
            ),
        ] {
            let mut gathering = Gathering::new(response, limit);
            assert!(polled(&mut gathering).is_ready());
            let body = gathering.into_response().into_body();
            assert_eq!(body.into_collected().unwrap_err(), limit);
        }
        let whole = Response::new(ResponseBody::new(Full::<Bytes>::from("abcdef")));
        let mut gathering = Gathering::new(whole, 6);
        assert!(polled(&mut gathering).is_ready());
        let body = gathering.into_response().into_body();
        assert_eq!(body.into_collected().unwrap(), "abcdef");
    }
}
