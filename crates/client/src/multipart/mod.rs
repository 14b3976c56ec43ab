//! Forms with files, as `multipart/form-data`
//! ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578)).
//!
//! ```no_run
//! use client::multipart::{Form, Part};
//!
//! # async fn example(client: client::Client) -> Result<(), client::Error> {
//! let form = Form::new()
//!     .text("title", "Notes")
//!     .part("picture", Part::bytes(&b"\x89PNG.."[..]).file_name("cat.png").content_type("image/png"));
//! client.post("https://example.com/upload").multipart(form).send().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A part made of a file, by the feature `fs`, is `.part("log", Part::file("app.log").await?)`.
//!
//! The length of the form is announced if that of each part is known. A retry can send the form
//! again if it can send each part again: text, bytes, files and bodies that are [made
//! anew](crate::Body::from_fn). A form with a stream among its parts is recorded like any other
//! stream.
//!
//! Names are written as browsers write them
//! ([WHATWG](https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data)):
//! in UTF-8, with quotes, line breaks and all other control characters escaped. So a name from
//! another party can add neither a header nor a part.

mod body;
mod boundary;
mod form;
mod part;

pub use self::{form::Form, part::Part};
