//! The bodies of requests and responses.

mod counted;
mod exact;
#[cfg(feature = "fs")]
mod file;
mod progress;
mod request;
mod response;

use std::{any::Any, pin::Pin};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

pub(crate) use self::progress::{follow, follow_once};
#[cfg(feature = "multipart")]
pub(crate) use self::request::Make;
pub(crate) use self::response::{Place, Wrapper};
pub use self::{progress::UploadProgress, request::Body, response::ResponseBody};
use crate::error::BoxError;

type Boxed = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>;

/// Converts `B` to `T` if they are the same type, without a box.
fn downcast<T: 'static, B: 'static>(body: B) -> Result<T, B> {
    let mut body = Some(body);
    let found = (&mut body as &mut dyn Any).downcast_mut::<Option<T>>();
    if let Some(found) = found.and_then(Option::take) {
        return Ok(found);
    }
    Err(body.expect("taken only if it was found"))
}

/// Gives the bytes as one frame, once.
fn take_frame(bytes: &mut Bytes) -> Option<Frame<Bytes>> {
    (!bytes.is_empty()).then(|| Frame::data(std::mem::take(bytes)))
}

fn exactly(bytes: &Bytes) -> SizeHint {
    SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}
