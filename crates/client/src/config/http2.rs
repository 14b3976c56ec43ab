use serde::Deserialize;
use session_layer::Http2;

use super::duration::{Limit, Span};

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http2Settings {
    prior_knowledge: Option<bool>,
    max_concurrent_streams: Option<usize>,
    keep_alive_interval: Option<Limit>,
    keep_alive_timeout: Option<Span>,
    stream_window: Option<u32>,
    connection_window: Option<u32>,
    adaptive_window: Option<bool>,
}

impl Http2Settings {
    pub(super) fn alter(self, mut http2: Http2) -> Http2 {
        if let Some(on) = self.prior_knowledge {
            http2 = http2.prior_knowledge(on);
        }
        if let Some(limit) = self.max_concurrent_streams {
            http2 = http2.max_concurrent_streams(limit);
        }
        if let Some(Limit(interval)) = self.keep_alive_interval {
            http2 = http2.keep_alive_interval(interval);
        }
        if let Some(Span(timeout)) = self.keep_alive_timeout {
            http2 = http2.keep_alive_timeout(timeout);
        }
        if let Some(bytes) = self.stream_window {
            http2 = http2.stream_window(bytes);
        }
        if let Some(bytes) = self.connection_window {
            http2 = http2.connection_window(bytes);
        }
        if let Some(on) = self.adaptive_window {
            http2 = http2.adaptive_window(on);
        }
        http2
    }
}
