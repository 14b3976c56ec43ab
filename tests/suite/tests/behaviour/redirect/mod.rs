//! Redirects.

mod calls;
mod rules;
