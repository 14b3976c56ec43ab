use serde::Deserialize;
use session_layer::{Proxy, ProxyConfigError};

use crate::{ClientBuilder, Error};

/// No `Debug`: each URL may have credentials in it.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProxyConfig {
    http: Option<String>,
    https: Option<String>,
    all: Option<String>,
    no_proxy: Option<String>,
}

type Make = fn(&str) -> Result<Proxy, ProxyConfigError>;

impl ProxyConfig {
    pub(super) fn apply(self, mut builder: ClientBuilder) -> Result<ClientBuilder, Error> {
        // The first that applies is taken, so the one for everything comes last.
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
            let proxy = make(&url).map_err(|error| super::invalid(key).with(error))?;
            let proxy = proxy.try_no_proxy(exempt.clone());
            let proxy = proxy.map_err(|error| super::invalid("proxy.no_proxy").with(error))?;
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }
}
