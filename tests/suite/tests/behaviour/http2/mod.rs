//! What holds for HTTP/2 alone.

mod conformance;
mod faults;
mod groups;
mod rules;
mod streams;
