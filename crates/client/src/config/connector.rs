use std::net::IpAddr;

use serde::Deserialize;
use session_layer::Connector;

use super::duration::Limit;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConnectorConfig {
    happy_eyeballs_delay: Option<Limit>,
    local_address: Option<IpAddr>,
    tcp_keepalive: Option<Limit>,
    tcp_nodelay: Option<bool>,
    #[cfg(unix)]
    unix_socket: Option<std::path::PathBuf>,
}

impl ConnectorConfig {
    pub(super) fn alter(self, mut connector: Connector) -> Connector {
        if let Some(Limit(delay)) = self.happy_eyeballs_delay {
            connector = connector.happy_eyeballs_delay(delay);
        }
        if let Some(address) = self.local_address {
            connector = connector.local_address(address);
        }
        if let Some(Limit(after)) = self.tcp_keepalive {
            connector = connector.tcp_keepalive(after);
        }
        if let Some(on) = self.tcp_nodelay {
            connector = connector.tcp_nodelay(on);
        }
        #[cfg(unix)]
        if let Some(path) = self.unix_socket {
            connector = connector.unix_socket(path);
        }
        connector
    }
}
