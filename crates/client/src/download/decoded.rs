use std::path::Path;

use http::header::{CONTENT_ENCODING, HeaderValue};
use http_body_util::BodyExt as _;
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::digest::{Expected, Hashing};
use crate::{
    Body, DecodeLimits, Error, ResponseBody, decode,
    error::Kind,
    read::destination::{Destination, Existing},
};

/// The decoded content of a partial file.
pub(super) struct Content {
    body: ResponseBody,
}

impl Content {
    /// `None` if nothing is to be decoded: there is no coding, or one that this build does not
    /// know.
    pub(super) async fn of(
        part: File,
        codings: &HeaderValue,
        limits: DecodeLimits,
    ) -> Result<Option<Self>, Error> {
        let body = ResponseBody::new(Body::from_open_file(part).await?);
        let mut encoded = http::Response::new(body);
        let headers = encoded.headers_mut();
        headers.insert(CONTENT_ENCODING, codings.clone());
        let decoded = decode::response(encoded, limits)?;
        let is_decoded = !decode::is_encoded(decoded.headers());
        Ok(is_decoded.then(|| Self {
            body: decoded.into_body(),
        }))
    }

    /// Writes the content to the target, and returns its length in bytes. The file has another name
    /// until it is whole.
    pub(super) async fn write(
        mut self,
        target: &Path,
        existing: Existing,
        expected: Option<&Expected>,
    ) -> Result<u64, Error> {
        let failed = |error| Error::new(Kind::Write).with(error);
        let mut destination = Destination::open(target).await.map_err(failed)?;
        let mut hashing = Hashing::new(expected);
        let mut length = 0_u64;
        while let Some(frame) = self.body.frame().await.transpose()? {
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            hashing.update(&piece);
            destination.file.write_all(&piece).await.map_err(failed)?;
            length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        if let Some(expected) = expected {
            let checked = hashing.check(expected);
            checked.map_err(|mismatch| Error::new(Kind::Digest(mismatch)))?;
        }
        destination.finish(existing).await.map_err(failed)?;
        Ok(length)
    }
}
