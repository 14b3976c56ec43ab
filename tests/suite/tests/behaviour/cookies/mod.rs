//! Cookies: the layer alone, and in a client.

mod client;
mod rules;
mod secrets;
