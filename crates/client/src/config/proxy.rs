use serde::{Deserialize, Deserializer};
use session_layer::{Proxy, ProxyConfigError};

use super::{Chain, TextOr, invalid};
use crate::{ClientBuilder, Error};

/// The key `proxy`. No `Debug`: each URL may have credentials in it.
#[derive(Clone)]
pub(super) enum ProxyConfig {
    /// `"env"`, `"none"`, or the URL of one proxy for all requests.
    Text(String),
    Settings(Box<ProxySettings>),
}

impl<'de> Deserialize<'de> for ProxyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a table of settings, a proxy's URL, \"env\" or \"none\"";
        let read = deserializer.deserialize_any(TextOr::<String, ProxySettings>::new(expected))?;
        Ok(match read {
            Ok(text) => Self::Text(text),
            Err(settings) => Self::Settings(Box::new(settings)),
        })
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProxySettings {
    http: Option<String>,
    https: Option<String>,
    all: Option<String>,
    no_proxy: Option<String>,
}

type Make = fn(&str) -> Result<Proxy, ProxyConfigError>;

impl ProxyConfig {
    pub(super) fn apply(self, builder: ClientBuilder) -> Result<ClientBuilder, Error> {
        match self {
            Self::Settings(settings) => settings.apply(builder),
            Self::Text(text) => match text.as_str() {
                "none" => Ok(builder.map_connector(session_layer::Connector::no_proxies)),
                "env" => {
                    Ok(builder.proxy(Proxy::from_env().map_err(|error| refuse("proxy", &error))?))
                }
                url => Ok(builder.proxy(Proxy::all(url).map_err(|error| refuse("proxy", &error))?)),
            },
        }
    }
}

impl ProxySettings {
    fn apply(self, mut builder: ClientBuilder) -> Result<ClientBuilder, Error> {
        // The first proxy that applies is used, so the one for all comes last.
        let proxies: [(_, _, Make); 3] = [
            ("proxy.http", self.http, Proxy::http),
            ("proxy.https", self.https, Proxy::https),
            ("proxy.all", self.all, Proxy::all),
        ];
        if self.no_proxy.is_some() && proxies.iter().all(|(_, url, _)| url.is_none()) {
            return Err(Error::builder(
                "the setting `proxy.no_proxy` does nothing without a proxy beside it: `proxy.all`, \
                 `proxy.http` or `proxy.https`",
            ));
        }
        let exempt = self.no_proxy.unwrap_or_default();
        for (key, url, make) in proxies {
            let Some(url) = url else {
                continue;
            };
            let proxy = make(&url).map_err(|error| refuse(key, &error))?;
            let proxy = proxy.try_no_proxy(exempt.clone());
            let proxy = proxy.map_err(|error| refuse("proxy.no_proxy", &error))?;
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }
}

/// The value is left out, because it may have credentials in it. The error says what is wrong.
fn refuse(key: &str, error: &ProxyConfigError) -> Error {
    invalid(key, Chain(error))
}
