//! A file on a server, and a place to download it to.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use async_compression::tokio::write::GzipEncoder;
use client::{Backoff, Client, ClientBuilder, RetryPolicy};
use http::Response;
use test_support::Request;
use tokio::io::AsyncWriteExt as _;

/// A file on a server that serves ranges.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) content: Arc<[u8]>,
    pub(crate) tag: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

impl File {
    pub(crate) fn new(content: impl Into<Vec<u8>>) -> Self {
        Self {
            content: content.into().into(),
            tag: "\"v1\"",
            headers: &[],
        }
    }

    /// The range that is asked for, if it is asked for with the right validator.
    pub(crate) fn asked(
        &self,
        range: Option<&str>,
        if_range: Option<&str>,
    ) -> Option<(usize, usize)> {
        let date = self
            .headers
            .iter()
            .find(|(name, _)| *name == "last-modified");
        let validator = date.map_or(self.tag, |(_, date)| date);
        let range = range.filter(|_| if_range.is_none_or(|it| it == validator))?;
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let last = last.parse().unwrap_or(self.content.len() - 1);
        Some((first.parse().expect("a range begins somewhere"), last))
    }

    /// The head and the body of the answer.
    pub(crate) fn answer(
        &self,
        range: Option<&str>,
        if_range: Option<&str>,
    ) -> (Response<()>, &[u8]) {
        let mut head = Response::builder();
        if !self.tag.is_empty() {
            head = head.header("etag", self.tag);
        }
        let asked = self.asked(range, if_range);
        for (name, value) in self.headers {
            // The answer to an `If-Range` leaves out what its sender has (RFC 9110, section 15.3.7).
            if asked.is_none() || *name != "last-modified" {
                head = head.header(*name, *value);
            }
        }
        let total = self.content.len();
        let (head, body) = match asked {
            Some((first, last)) => {
                let head = head.status(206);
                let head = head.header("content-range", format!("bytes {first}-{last}/{total}"));
                (head, &self.content[first..=last])
            }
            None => (head, &self.content[..]),
        };
        let head = head.header("content-length", body.len());
        (head.body(()).expect("the head is valid"), body)
    }

    /// The same, as it goes over HTTP/1.
    pub(crate) fn answer_http1(&self, request: &Request) -> (Vec<u8>, &[u8]) {
        let (head, body) = self.answer(request.header("range"), request.header("if-range"));
        let mut text = format!("HTTP/1.1 {}\r\n", head.status());
        for (name, value) in head.headers() {
            let value = value.to_str().expect("the test's headers are text");
            write!(text, "{name}: {value}\r\n").expect("a string takes all");
        }
        text.push_str("\r\n");
        (text.into_bytes(), body)
    }
}

pub(crate) fn content(length: usize) -> Vec<u8> {
    // No period that a wrong offset could hide behind.
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

pub(crate) fn settings() -> ClientBuilder {
    let no_wait = RetryPolicy::builder().backoff(Backoff::fixed(Duration::ZERO));
    Client::builder().retry(no_wait)
}

pub(crate) async fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(content).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}
