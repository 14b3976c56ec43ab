use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use session_layer::{Connector, TlsConfigError, TlsOptions, TlsVersion};

use super::{Chain, invalid, together, twice};
use crate::Error;

/// No `Debug`, because it holds a key. It has no setting that trusts less than TLS asks for.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsConfig {
    ca_file: Option<PathBuf>,
    roots_pem: Option<String>,
    only_added_roots: bool,
    certificate_pem: Option<String>,
    key_pem: Option<String>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    min_version: Option<VersionConfig>,
}

#[derive(Clone, Copy, Deserialize)]
enum VersionConfig {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

impl TlsConfig {
    pub(super) fn alter(self, connector: Connector) -> Result<Connector, Error> {
        let named = |key: &'static str| move |error: TlsConfigError| invalid(key, Chain(&error));
        let mut options = TlsOptions::new();
        if let Some(path) = self.ca_file {
            let pem = read("tls.ca_file", &path)?;
            options = options.add_roots_pem(pem).map_err(|error| {
                let (path, why) = (path.display(), Chain(&error));
                invalid("tls.ca_file", format_args!("the file `{path}`: {why}"))
            })?;
        }
        if let Some(pem) = self.roots_pem {
            options = options.add_roots_pem(pem).map_err(named("tls.roots_pem"))?;
        }
        if self.only_added_roots {
            options = options.only_added_roots();
        }
        options = match (self.certificate_pem, self.key_pem) {
            (None, None) => options,
            _ if self.client_certificate.is_some() => {
                return Err(twice("tls.certificate_pem", "tls.client_certificate"));
            }
            (Some(certificate), Some(key)) => options
                .client_certificate_pem(certificate, key)
                .map_err(named("tls.certificate_pem"))?,
            (Some(_), None) | (None, Some(_)) => {
                return Err(together("tls.certificate_pem", "tls.key_pem"));
            }
        };
        options = match (self.client_certificate, self.client_key) {
            (None, None) => options,
            (None, Some(_)) => return Err(together("tls.client_certificate", "tls.client_key")),
            (Some(certificate), key) => {
                let chain = read("tls.client_certificate", &certificate)?;
                // One file may hold both.
                let key = match key {
                    Some(key) => read("tls.client_key", &key)?,
                    None => chain.clone(),
                };
                options
                    .client_certificate_pem(chain, key)
                    .map_err(named("tls.client_certificate"))?
            }
        };
        if let Some(version) = self.min_version {
            options = options.min_version(match version {
                VersionConfig::Tls12 => TlsVersion::Tls12,
                VersionConfig::Tls13 => TlsVersion::Tls13,
            });
        }
        connector.tls(options).map_err(named("tls"))
    }
}

/// Reads a file while the configuration is applied, which is when an app starts.
fn read(key: &str, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| {
        let path = path.display();
        invalid(
            key,
            format_args!("the file `{path}` cannot be read: {error}"),
        )
    })
}
