//! Requests a file, or the rest of it, until all of it has come.

use std::{
    future::{Future, IntoFuture},
    io,
    ops::Range,
    path::Path,
    pin::Pin,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AsHeaderName, CONTENT_ENCODING, LAST_MODIFIED},
};
use retry_layer::resume::{Checkpoint, Rest};

use super::{
    builder::{Download, OnProgress},
    decoded::Content,
    digest::{Expected, Hashing, REPR_DIGEST, Unverified},
    outcome::Downloaded,
    part::Part,
    record::{self, Record},
};
use crate::{
    DecodeLimits, Error, Progress, RequestBuilder, Response, SAVED_FLOOR,
    description::Description,
    error::Kind,
    read::destination::{self, Existing},
};

/// A server may send fewer bytes than were asked for, and is then asked for the rest. A response
/// with fewer bytes than this counts as small, and only so many small ones are accepted.
const SMALL_PART: u64 = 4 * 1024;
const MAX_SMALL_PARTS: u32 = 16;

impl<'a> IntoFuture for Download<'a> {
    type Output = Result<Downloaded, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

async fn run(download: Download<'_>) -> Result<Downloaded, Error> {
    let Download {
        request,
        path,
        existing,
        fresh,
        identity,
        sha256,
        on_progress,
    } = download;
    let (request, asked, decode) = request.into_download()?;
    let sha256 = sha256.map_err(|error| asked.name(error))?;
    let resource = match identity {
        Some(identity) => record::hash("identity", &identity),
        None => record::hash("url", &asked.uri().to_string()),
    };
    let opened = Part::open(&path, existing).await;
    let part = opened.map_err(|error| asked.name(destination::unwritten(&path, error)))?;
    let mut transfer = Transfer {
        request,
        resource,
        existing,
        fresh,
        decode,
        given: sha256.map(Expected::given),
        on_progress,
        part,
        resumed_from: 0,
        is_told: false,
        restarts: 0,
        total: None,
        codings: None,
        expected: Vec::new(),
        hashed: None,
    };
    let received = match transfer.receive().await {
        Ok(response) => transfer.verify().await.map(|content| (response, content)),
        Err(error) => Err(error),
    };
    match received {
        Ok((response, content)) => transfer.finish(&asked, &response, content).await,
        Err(error) => Err(asked.name(transfer.fail(error).await)),
    }
}

fn unwritten(error: io::Error) -> Error {
    Error::new(Kind::Write).with(error)
}

struct Transfer<'a> {
    request: RequestBuilder,
    /// Identifies the file from one run of the program to the next.
    resource: String,
    existing: Existing,
    /// Whether bytes that are there are not used.
    fresh: bool,
    /// The limits within which content codings are decoded; `None` if they are not.
    decode: Option<DecodeLimits>,
    /// The digest of the target that the caller gave.
    given: Option<Expected>,
    on_progress: Option<OnProgress<'a>>,
    part: Part,
    resumed_from: u64,
    /// Whether any progress was reported.
    is_told: bool,
    restarts: u32,
    total: Option<u64>,
    codings: Option<HeaderValue>,
    /// The digests of the partial file that the server gave.
    expected: Vec<Expected>,
    /// The hashes of all bytes from the first on; `None` if some bytes were there before.
    hashed: Option<Hashing>,
}

impl Transfer<'_> {
    /// Receives the missing bytes, and returns the last response.
    async fn receive(&mut self) -> Result<Response, Error> {
        let mut checkpoint = self.stored();
        self.resumed_from = match checkpoint {
            Some(_) => self.part.length(),
            None => 0,
        };
        let mut small_parts = 0;
        loop {
            let received = self.leave_some_to_ask_for(&mut checkpoint).await?;
            let request = self.request_for(checkpoint.as_ref(), received)?;
            let response = request.send().await?;
            match response.status() {
                StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                    return self.receive_whole(response).await;
                }
                StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {}
                _ => return Err(refused(response).await),
            }
            let Some(known) = &mut checkpoint else {
                return Err(refused(response).await);
            };
            match self.judge(known, received, &response) {
                Rest::Complete => return Ok(response),
                Rest::Part { skip, length } => {
                    self.total = known.total();
                    let response = self.receive_part(known, response, skip, length).await?;
                    let length = self.part.length();
                    if self.total == Some(length) {
                        return Ok(response);
                    }
                    if length.saturating_sub(received) < SMALL_PART {
                        small_parts += 1;
                    }
                    if small_parts > MAX_SMALL_PARTS {
                        return Err(Error::new(Kind::SmallParts));
                    }
                }
                // The file has changed, or the server does not serve ranges as it announced. Ask
                // for the whole.
                _ => {
                    tracing::debug!("a download begins anew: what is there cannot be continued");
                    checkpoint = None;
                }
            }
        }
    }

    /// Returns where an earlier run stopped, if its bytes belong to the requested file.
    fn stored(&mut self) -> Option<Checkpoint> {
        let record = self.part.record()?;
        if self.fresh || !record.is_of(&self.resource) {
            return None;
        }
        let checkpoint = record.checkpoint()?;
        self.codings = HeaderValue::try_from(checkpoint.codings()).ok();
        self.expected = record.repr_digest().map_or_else(Vec::new, Expected::stored);
        Some(checkpoint)
    }

    /// Returns how many bytes of the file are there. If all are, the last one is left out, because
    /// there must be something to ask for: the response shows whether the validator still matches.
    async fn leave_some_to_ask_for(
        &mut self,
        checkpoint: &mut Option<Checkpoint>,
    ) -> Result<u64, Error> {
        let length = self.part.length();
        let Some(total) = checkpoint.as_ref().map(Checkpoint::total) else {
            return Ok(0);
        };
        match total {
            Some(total) if length > total => *checkpoint = None,
            Some(total) if length == total => {
                let last = total.saturating_sub(1);
                self.part.truncate(last).await.map_err(unwritten)?;
            }
            Some(_) | None => {}
        }
        if checkpoint.is_none() || self.part.length() == 0 {
            *checkpoint = None;
            return Ok(0);
        }
        Ok(self.part.length())
    }

    /// Makes the request for the bytes from this offset on, or for the whole.
    fn request_for(
        &self,
        checkpoint: Option<&Checkpoint>,
        received: u64,
    ) -> Result<RequestBuilder, Error> {
        self.request.ask_for_rest(|headers| {
            if let Some(checkpoint) = checkpoint {
                checkpoint.ask(received, headers);
            }
        })
    }

    fn judge(&self, known: &mut Checkpoint, received: u64, response: &Response) -> Rest {
        let record = self.part.record();
        let is_of_other_path =
            record.is_some_and(|record| !record.is_answered_by(known, response.url()));
        if is_of_other_path {
            return Rest::Other;
        }
        known.judge(received, response.get_ref())
    }

    /// Receives a body that begins with the first byte.
    async fn receive_whole(&mut self, mut response: Response) -> Result<Response, Error> {
        let checkpoint = Checkpoint::of(response.get_ref()).ok();
        let headers = response.headers();
        let repr_digest = lines(headers, REPR_DIGEST);
        let resource = self.resource.clone();
        let record = Record::new(resource, response.url(), checkpoint.as_ref(), repr_digest);
        self.expected = Expected::of_whole(headers);
        self.expected.extend(Expected::of_content(headers, None));
        self.codings =
            lines(headers, CONTENT_ENCODING).and_then(|it| HeaderValue::try_from(it).ok());
        self.total = response.content_length();
        self.resumed_from = 0;
        if self.is_told {
            self.restarts = self.restarts.saturating_add(1);
        }
        self.hashed = Some(Hashing::new(self.expected.iter().chain(&self.given)));
        self.part.begin(record).await.map_err(unwritten)?;
        response.continue_body();
        self.copy(&mut response, None).await?;
        Ok(response)
    }

    /// Receives a body that begins with bytes that are there already.
    async fn receive_part(
        &mut self,
        known: &Checkpoint,
        mut response: Response,
        skip: u64,
        length: u64,
    ) -> Result<Response, Error> {
        // The range of the whole that the body has.
        let first = self.part.length().saturating_sub(skip);
        let content = first..first.saturating_add(length);
        let headers = response.headers();
        for of_whole in Expected::of_whole(headers) {
            if !self.expected.contains(&of_whole) {
                self.expected.push(of_whole);
            }
        }
        let of_content = Expected::of_content(headers, Some(&content));
        self.expected.extend(of_content);
        // A partial response may leave out the date, which `If-Range` has made sure of.
        if !known.is_tag() {
            let headers = response.headers_mut();
            headers
                .entry(LAST_MODIFIED)
                .or_insert_with(|| known.validator().clone());
        }
        response.continue_body();
        self.copy(&mut response, Some(&content)).await?;
        Ok(response)
    }

    /// Writes a body, which has this range of the whole, or all of it.
    async fn copy(
        &mut self,
        response: &mut Response,
        content: Option<&Range<u64>>,
    ) -> Result<(), Error> {
        let mut position = content.map_or(0, |content| content.start);
        self.tell();
        while let Some(frame) = response.frame().await? {
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.expected.extend(Expected::of_whole(&trailers));
                    let of_content = Expected::of_content(&trailers, content);
                    self.expected.extend(of_content);
                    continue;
                }
            };
            let wanted = self.part.length()..content.map_or(u64::MAX, |content| content.end);
            let data = only(data, &mut position, &wanted);
            if data.is_empty() {
                continue;
            }
            if let Some(hashed) = &mut self.hashed {
                hashed.update(&data);
            }
            self.part.write(&data).await.map_err(unwritten)?;
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.is_told = true;
        if let Some(on_progress) = &mut self.on_progress {
            on_progress(Progress {
                written: self.part.length(),
                total: self.total,
                resumed_from: self.resumed_from,
                restarts: self.restarts,
            });
        }
    }

    /// Verifies the received file. Returns its content if it has to be decoded.
    async fn verify(&mut self) -> Result<Option<Content>, Error> {
        self.part.sync_length().await.map_err(unwritten)?;
        let content = match (&self.codings, self.decode) {
            (Some(codings), Some(limits)) => {
                let file = self.part.content().await.map_err(unwritten)?;
                Content::of(file, codings, limits).await
            }
            _ => Ok(None),
        };
        let content = content.inspect_err(|_| self.part.discard())?;
        let mut expected = self.expected.clone();
        if content.is_none() {
            expected.extend(self.given.clone());
        }
        match self.part.check(expected, self.hashed.take()).await {
            Ok(()) => Ok(content),
            Err(Unverified::Io(error)) => Err(unwritten(error)),
            Err(Unverified::Mismatch(mismatch)) => {
                // A wrong digest cannot be made right by more bytes.
                self.part.discard();
                Err(Error::new(Kind::Digest(mismatch)))
            }
        }
    }

    async fn finish(
        mut self,
        asked: &Description,
        response: &Response,
        content: Option<Content>,
    ) -> Result<Downloaded, Error> {
        let received = self.part.length();
        let verified =
            self.given.is_some() || self.expected.iter().any(|it| it.is_of_all(received));
        let path = self.part.target().to_owned();
        let length = if let Some(content) = content {
            let decoded = self.decode_to(&path, content).await;
            match decoded {
                Ok(length) => length,
                Err(error) => return Err(asked.name(self.fail(error).await)),
            }
        } else {
            let finished = self.part.finish(self.existing).await;
            finished.map_err(|error| {
                asked
                    .name(destination::unwritten(&path, error))
                    .with_partial_file(self.part.kept())
            })?;
            self.part.length()
        };
        Ok(Downloaded {
            path,
            length,
            resumed_from: self.resumed_from,
            verified,
            url: response.url().clone(),
            headers: response.headers().clone(),
            report: response.retry_report(),
        })
    }

    /// Writes the decoded content to the target, after which the partial file is not needed any
    /// more.
    async fn decode_to(&mut self, target: &Path, content: Content) -> Result<u64, Error> {
        let written = content.write(target, self.existing, self.given.as_ref());
        let written = written.await;
        match &written {
            // It can be decoded again when there is space for it.
            Err(error) if matches!(error.reason(), Kind::Write) => {}
            Ok(_) | Err(_) => self.part.discard(),
        }
        written
    }

    /// Adds to an error what is left for the next download.
    async fn fail(&mut self, error: Error) -> Error {
        // A failure here would add nothing to the error that is returned.
        self.part.sync_length().await.ok();
        error.with_partial_file(self.part.kept())
    }
}

/// The error of a response that has no part of the file.
async fn refused(mut response: Response) -> Error {
    // The body of a refused response is not waited for any longer than the file would be.
    response.body_mut().hold_to_default_floor(SAVED_FLOOR);
    match response.error_for_status_with_body().await {
        Ok(response) => response.unexpected_status(),
        Err(error) => error,
    }
}

/// Joins all values of a header to one list; `None` if there are none.
fn lines(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().map(record::text).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Removes from a piece at this position the bytes that are there already, and those beyond the
/// announced range. Moves the position behind the piece.
fn only(mut piece: Bytes, position: &mut u64, wanted: &Range<u64>) -> Bytes {
    let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let end = wanted.end.saturating_sub(*position);
    let known = wanted.start.saturating_sub(*position);
    let came = u64::try_from(piece.len()).unwrap_or(u64::MAX);
    *position = position.saturating_add(came);
    piece.truncate(length(end));
    piece.split_off(length(known).min(piece.len()))
}
