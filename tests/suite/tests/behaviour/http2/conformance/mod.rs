//! What RFC 9113 and RFC 7541 ask of a client, section by section.
//!
//! Each test has a peer that does one thing, mostly a wrong one, and asks two questions: does the client do what the
//! section says (a connection error with its code, a stream error with its code, or nothing), and does it keep what
//! this library promises on top of that:
//!
//! - whoever asked gets an error of a kind, at once;
//! - a request that only shared the connection fails as one that may have been processed, never as one whose
//!   response was invalid;
//! - the next request works, over a new connection if the old one is lost;
//! - no stream, waiter or connection is left behind.
//!
//! `docs/conformance.md` lists all of them.

mod chapter_3_starting;
mod chapter_4_frames;
mod chapter_5_streams;
mod chapter_6_flow_control;
mod chapter_6_frames;
mod chapter_6_headers;
mod chapter_6_settings;
mod chapter_8_http;
mod hpack;
mod retried;
mod scene;
mod table;
