//! The client, as people use it.

mod auth;
mod bodies;
mod calls;
mod config;
mod credentials;
mod decode;
mod endpoints;
mod event_source;
mod fetch;
mod files;
mod forward;
mod layers;
mod log_storms;
mod multipart;
mod observe;
mod readers;
mod session;
mod status;
mod testing;
mod timeouts;
mod uploads;
mod urls;
