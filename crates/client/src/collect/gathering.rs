use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, response};
use http_body::Body as _;
use retry_layer::ResponseExt as _;

use crate::{Error, ResponseBody};

/// A response extension: the trailers of a body that was collected.
#[derive(Clone, Debug)]
pub(crate) struct Trailers(pub(crate) HeaderMap);

/// A body that is being collected.
pub(crate) struct Gathering {
    head: response::Parts,
    body: ResponseBody,
    collected: Collected,
    limit: usize,
}

/// What there is of it so far; one frame is kept as it came.
enum Collected {
    Nothing,
    One(Bytes),
    Many(BytesMut),
    TooLarge,
}

impl Gathering {
    pub(crate) fn new(response: Response<ResponseBody>, limit: usize) -> Self {
        let (head, body) = response.into_parts();
        let announced = body.size_hint().lower();
        let fits = usize::try_from(announced).is_ok_and(|announced| announced <= limit);
        let collected = if fits {
            Collected::Nothing
        } else {
            Collected::TooLarge
        };
        Self {
            head,
            body,
            collected,
            limit,
        }
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
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.head.extensions.insert(Trailers(trailers));
                    }
                    continue;
                }
            };
            if self.collected.len().saturating_add(data.len()) > self.limit {
                self.collected = Collected::TooLarge;
                break;
            }
            self.collected.push(data, self.body.size_hint().lower());
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

    /// Adds a frame; `rest` is what the peer says will follow.
    fn push(&mut self, data: Bytes, rest: u64) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let rest = usize::try_from(rest).unwrap_or_default().min(MAX_RESERVED);
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
