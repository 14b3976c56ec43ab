//! Requests whose response is downloaded to a file.

use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{ACCEPT_ENCODING, IF_RANGE, RANGE},
};
use http_body::Body as _;

use crate::{
    Body, DecodeLimits, Error, NoDecompression, RequestBuilder, description::Description,
    resume::Resume, setting,
};

impl RequestBuilder {
    /// Downloads the body to a file, in place of one that is there; it begins when it is awaited.
    ///
    /// Until it is whole, the file is another one beside it, `NAME.part`. If the download fails, or is
    /// dropped, or the program ends, the next one to the same file goes on with the first byte that is
    /// missing, provided that it asks for the same URL and the server still has the same version: a second
    /// file, `NAME.part.json`, has the validator, a strong `ETag` or a strong `Last-Modified`
    /// ([RFC 9110, section 13.1.5](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5)). Of the URL it
    /// has a hash. If the server has another version by then, or takes no ranges, the download begins anew.
    ///
    /// Within one download, a body that breaks off is [continued](crate::ClientBuilder::resume) unless
    /// that is turned off. A file that changes on the server meanwhile is an error, never a mix. It is held
    /// to a [floor of throughput](crate::SAVED_FLOOR) unless one was set by hand, like what
    /// [`Response::save_to`](crate::Response::save_to) saves.
    ///
    /// - **What cannot be continued is removed** when it fails: what has no strong validator, or has a wrong
    ///   digest. What can be is kept, and [`Error::partial_file`] names it. A process that is killed leaves
    ///   both files, and they stay until the next download to the same file.
    /// - **Digests** that the server sends are checked, `Repr-Digest` and `Content-Digest` with `sha-256` or
    ///   `sha-512` ([RFC 9530](https://www.rfc-editor.org/rfc/rfc9530)), and so is a
    ///   [SHA-256](crate::Download::sha256) that is given. A file that was continued is read again for that.
    /// - **Codings.** `Accept-Encoding: identity` is asked for, unless the request says something else. If
    ///   the body is encoded all the same, the partial file has the encoded bytes, and once they are whole, they
    ///   are decoded into the target. [`no_decompression`](Self::no_decompression) leaves them as they are.
    /// - **One at a time.** The partial file is locked, so that a second download to the same file fails as
    ///   long as the first one runs. On file systems without locks, both write.
    /// - **The name** is the one that is given: that in a `Content-Disposition` is not looked at. Symbolic
    ///   links are followed, and stay. The file takes over the mode of the one that it replaces, and its owner
    ///   and group where that is allowed. What is no regular file is refused; see
    ///   [`Response::save_to`](crate::Response::save_to).
    /// - **A loss of power** may leave bytes in the partial file that never came. Only a digest finds these.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let download = client.get("https://example.com/backup.tar").download_to("backup.tar");
    /// match download.await {
    ///     Ok(file) => println!("{} bytes, {} of them from before", file.length(), file.resumed_from()),
    ///     Err(error) => match error.partial_file() {
    ///         Some(part) => println!("{error}; the next time goes on with byte {}", part.length()),
    ///         None => println!("{error}"),
    ///     },
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the request is no GET, has a body or asks for a range, nothing is sent
    /// ([`is_builder`](Error::is_builder)). If the file cannot be written, is locked, or is there and
    /// [not to be replaced](crate::Download::keep_existing), the kind is [`Write`](crate::ErrorKind::Write).
    /// Any status but 200 and 203, and 206 for the rest, is an error that has it
    /// ([`is_status`](Error::is_status)). A digest that does not match is of the kind
    /// [`Digest`](crate::ErrorKind::Digest). All else is as with [`send`](Self::send) and
    /// [`Response::save_to`](crate::Response::save_to).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection. What can be continued is kept.
    pub fn download_to(self, path: impl AsRef<std::path::Path>) -> crate::Download<'static> {
        crate::Download::new(self, path.as_ref().to_owned())
    }

    /// Makes this the request of a download, which may be sent several times. Returns also its
    /// description, and the limits of decoding if the body is decoded.
    pub(crate) fn into_download(self) -> Result<(Self, Description, Option<DecodeLimits>), Error> {
        let client = self.client().clone();
        let mut request = self.build()?;
        let description = Description::of(&request, client.paths());
        check_download(&request).map_err(|error| description.name(error))?;
        let (resume, decode) = client.body_settings(&request);
        *request.body_mut() = Body::empty();
        let identity = HeaderValue::from_static("identity");
        request
            .headers_mut()
            .entry(ACCEPT_ENCODING)
            .or_insert(identity);
        // The partial file has the bytes as they come over the connection.
        setting::set(request.extensions_mut(), NoDecompression);
        if resume != Resume::None {
            // A body is continued once it is clear that it is saved.
            setting::set(request.extensions_mut(), Resume::Saved);
        }
        let request = Self::of_built(client, request).error_for_status(false);
        Ok((request, description, decode))
    }

    /// Makes the same request with headers that ask for a part.
    pub(crate) fn ask_for_rest(&self, ask: impl FnOnce(&mut HeaderMap)) -> Result<Self, Error> {
        let again = self.try_clone();
        let again = again.ok_or_else(|| Error::builder("the request cannot be sent again"))?;
        Ok(again.alter(|request| {
            ask(request.headers_mut());
            Ok(())
        }))
    }
}

/// Whether the body of the response to this request can be downloaded in several parts.
fn check_download(request: &Request<Body>) -> Result<(), Error> {
    let headers = request.headers();
    if request.method() != Method::GET || !request.body().is_end_stream() {
        return Err(Error::builder(
            "only the response to a GET without a body can be downloaded so; see `save_to`",
        ));
    }
    if headers.contains_key(RANGE) || headers.contains_key(IF_RANGE) {
        return Err(Error::builder(
            "a download asks for ranges itself, so its request has none; see `save_to`",
        ));
    }
    Ok(())
}
