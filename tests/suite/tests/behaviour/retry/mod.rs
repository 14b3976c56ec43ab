//! Retries, by whole calls of a client.

mod aiohttp;
mod client;
