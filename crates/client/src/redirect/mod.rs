//! Redirects ([RFC 9110, section 15.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.4)):
//! whether one is followed, where it leads, and what of the request goes along.

mod follow;
#[cfg(feature = "tower-http")]
mod foreign;
mod headers;
mod history;
mod location;
mod policy;

pub(crate) use self::{
    follow::{Again, First, History, Kept, Next, can_be_continued, follows_none, is_redirect},
    history::Answerer,
};
pub use self::{
    history::{CrossOrigin, Hop, Redirected},
    policy::{Redirect, RedirectAction, Redirects},
};
