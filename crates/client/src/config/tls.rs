use serde::Deserialize;
use session_layer::{Connector, TlsConfigError, TlsOptions, TlsVersion};

use super::{invalid, together};
use crate::Error;

/// No `Debug`: a key is among it. Nothing that would trust less than TLS asks for can be said.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsConfig {
    roots_pem: Option<String>,
    only_added_roots: bool,
    certificate_pem: Option<String>,
    key_pem: Option<String>,
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
        let named = |key: &'static str| move |error: TlsConfigError| invalid(key).with(error);
        let mut options = TlsOptions::new();
        if let Some(pem) = self.roots_pem {
            options = options.add_roots_pem(pem).map_err(named("tls.roots_pem"))?;
        }
        if self.only_added_roots {
            options = options.only_added_roots();
        }
        options = match (self.certificate_pem, self.key_pem) {
            (None, None) => options,
            (Some(certificate), Some(key)) => options
                .client_certificate_pem(certificate, key)
                .map_err(named("tls.certificate_pem"))?,
            (Some(_), None) | (None, Some(_)) => {
                return Err(together("tls.certificate_pem", "tls.key_pem"));
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
