//! What holds for HTTP/1 alone.

mod conformance;
mod rules;
mod upgrades;
