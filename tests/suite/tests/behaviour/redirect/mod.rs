//! Redirects.

mod calls;
mod policies;
mod rules;
