//! What a request allocates, and the layers on its way.
//!
//! A binary of its own: what other tests switch on in their process, such as a subscriber of `tracing`, would be counted too.

mod client;
mod cookies;
mod request;
