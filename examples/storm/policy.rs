//! A fleet whose clients have one configuration file.

use std::{fs, path::Path, time::Duration};

use client::{Client, ClientBuilder, ClientConfig};
use overload::Server;

use crate::variants;

/// Reads a configuration, and what a client of it would wait for.
pub(crate) fn read(path: &Path) -> Result<ClientConfig, String> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    let config: ClientConfig =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    // Its values are checked once, and not by each client.
    builder(&config)?
        .build()
        .map_err(|error| error.to_string())?;
    Ok(config)
}

pub(crate) fn builder(config: &ClientConfig) -> Result<ClientBuilder, String> {
    ClientBuilder::from_config(config.clone()).map_err(|error| error.to_string())
}

/// A client of the fleet.
pub(crate) fn client(config: &ClientConfig, server: Server, seed: u64) -> Client {
    let builder = builder(config).expect("it was checked when it was read");
    variants::over(builder, server, seed)
}

/// How long an attempt of such a client waits for its response: the simulated server is called without a session, which
/// would keep that time.
pub(crate) fn patience(config: &ClientConfig) -> Result<Option<Duration>, String> {
    let client = builder(config)?
        .build()
        .map_err(|error| error.to_string())?;
    let explained = client.get("https://localhost/").explain();
    let explained = explained.map_err(|error| error.to_string())?;
    Ok(explained.limits().head)
}
