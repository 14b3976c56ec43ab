//! The body of a request.

use http::{HeaderValue, header::CONTENT_TYPE};
use serde::Serialize;

use super::RequestBuilder;
use crate::{Body, Error, Progress, UploadProgress};

impl RequestBuilder {
    /// Sets the body.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.alter(|request| {
            *request.body_mut() = body.into();
            Ok(())
        })
    }

    /// Calls this function with the progress of the body while it is sent, for any kind of body:
    /// after each piece of at most 64 KiB, and where an attempt begins anew, [with one restart
    /// more](crate::Progress::restarts). It reports the newest attempt that sends, over all hops of
    /// the call. The connection's task calls the function, so it must not block.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let body = client::Body::from_file("backup.tar").await?;
    /// client
    ///     .put("https://example.com/backup")
    ///     .body(body)
    ///     .upload_progress(|progress| println!("{} of {:?}", progress.written, progress.total))
    ///     .send()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn upload_progress(self, tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.setting(UploadProgress::new(tell))
    }

    /// Makes the body anew for each attempt; see [`Body::from_fn`].
    pub fn body_with(self, make: impl Fn() -> Body + Send + Sync + 'static) -> Self {
        self.body(Body::from_fn(make))
    }

    /// Sets the body to this value as JSON, and `Content-Type` where it is not set.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Self {
        self.alter(|request| {
            let json = serde_json::to_vec(value)
                .map_err(|error| Error::builder("the JSON cannot be written").with(error))?;
            *request.body_mut() = json.into();
            request
                .headers_mut()
                .entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
            Ok(())
        })
    }

    /// Sets the body to the fields of a form, as `application/x-www-form-urlencoded`, and
    /// `Content-Type` where it is not set: a struct, a map, or a sequence of pairs.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let login = [("user", "anna"), ("password", "a&b")];
    /// client.post("https://example.com/login").form(&login).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn form(self, fields: &(impl Serialize + ?Sized)) -> Self {
        self.alter(|request| {
            let form = serde_html_form::to_string(fields)
                .map_err(|error| Error::builder("the form cannot be written").with(error))?;
            *request.body_mut() = form.into();
            let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
            let headers = request.headers_mut();
            headers.entry(CONTENT_TYPE).or_insert(urlencoded);
            Ok(())
        })
    }

    /// Sets the body to a form that may hold files, and `Content-Type`; see
    /// [`multipart`](crate::multipart).
    #[cfg(feature = "multipart")]
    pub fn multipart(self, form: crate::multipart::Form) -> Self {
        self.alter(|request| {
            // With the boundary, so it replaces any other.
            let content_type = form.content_type()?;
            request.headers_mut().insert(CONTENT_TYPE, content_type);
            *request.body_mut() = form.into_body()?;
            Ok(())
        })
    }
}
