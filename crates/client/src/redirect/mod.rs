//! Redirects ([RFC 9110, section 15.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.4)):
//! whether one is followed, where it leads, and what of the request goes along.

mod drain;
mod follow;
mod headers;
mod history;
mod location;
mod policy;

pub(crate) use self::{
    drain::{Drain, drain},
    follow::{History, Kept, Next, follows_none, is_redirect},
    history::Answerer,
};
pub use self::{
    history::{CrossOrigin, Hop, Redirected},
    policy::{Redirect, RedirectAction, Redirects},
};
