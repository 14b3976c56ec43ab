//! One call, as both sides know it.

use http::{HeaderName, HeaderValue};

/// The header that carries a [`Call`].
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-call");

/// Which call a request belongs to; all its attempts have the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Call {
    pub(crate) worker: usize,
    pub(crate) number: usize,
    /// How many bytes its answer has.
    pub(crate) size: usize,
}

impl Call {
    pub(crate) fn to_header(self) -> HeaderValue {
        let text = format!("{} {} {}", self.worker, self.number, self.size);
        HeaderValue::from_str(&text).expect("numbers are valid in a header")
    }

    pub(crate) fn from_header(value: &HeaderValue) -> Option<Self> {
        let mut numbers = value.to_str().ok()?.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            worker: next()?,
            number: next()?,
            size: next()?,
        })
    }

    /// The bytes of its answer, which no other call's answer has.
    pub(crate) fn answer(self) -> Vec<u8> {
        let mark = format!("{}-{};", self.worker, self.number);
        mark.bytes().cycle().take(self.size).collect()
    }
}
