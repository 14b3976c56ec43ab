use serde::Deserialize;
use session_layer::{PoolConfig, Timeouts};

use super::{
    duration::{Limit, Span},
    floor::Floor,
};

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PoolSettings {
    max_connections: Option<usize>,
    max_connections_per_origin: Option<usize>,
    max_waiting: Option<usize>,
    queue_timeout: Option<Limit>,
    idle_timeout: Option<Limit>,
    learned_keep_alive: Option<bool>,
    max_lifetime: Option<Limit>,
    max_requests_per_connection: Option<u64>,
    http1_read_buffer: Option<usize>,
    http1_max_headers: Option<usize>,
    http1_space_before_colon: Option<bool>,
    http1_ignore_invalid_headers: Option<bool>,
}

impl PoolSettings {
    pub(super) fn alter(self, mut pool: PoolConfig) -> PoolConfig {
        if let Some(limit) = self.max_connections {
            pool = pool.max_connections(limit);
        }
        if let Some(limit) = self.max_connections_per_origin {
            pool = pool.max_connections_per_origin(limit);
        }
        if let Some(limit) = self.max_waiting {
            pool = pool.max_waiting(limit);
        }
        if let Some(Limit(timeout)) = self.queue_timeout {
            pool = pool.queue_timeout(timeout);
        }
        if let Some(Limit(timeout)) = self.idle_timeout {
            pool = pool.idle_timeout(timeout);
        }
        if let Some(learned) = self.learned_keep_alive {
            pool = pool.learned_keep_alive(learned);
        }
        if let Some(Limit(lifetime)) = self.max_lifetime {
            pool = pool.max_lifetime(lifetime);
        }
        if let Some(limit) = self.max_requests_per_connection {
            pool = pool.max_requests_per_connection(limit);
        }
        if let Some(bytes) = self.http1_read_buffer {
            pool = pool.http1_read_buffer(bytes);
        }
        if let Some(fields) = self.http1_max_headers {
            pool = pool.http1_max_headers(fields);
        }
        if let Some(allowed) = self.http1_space_before_colon {
            pool = pool.http1_space_before_colon(allowed);
        }
        if let Some(ignored) = self.http1_ignore_invalid_headers {
            pool = pool.http1_ignore_invalid_headers(ignored);
        }
        pool
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TimeoutSettings {
    connect: Option<Limit>,
    head: Option<Limit>,
    body_idle: Option<Limit>,
    expect_continue: Option<Span>,
    download_floor: Option<Floor>,
    upload_floor: Option<Floor>,
}

impl TimeoutSettings {
    pub(super) fn alter(self, mut timeouts: Timeouts) -> Timeouts {
        if let Some(Limit(timeout)) = self.connect {
            timeouts = timeouts.connect(timeout);
        }
        if let Some(Limit(timeout)) = self.head {
            timeouts = timeouts.head(timeout);
        }
        if let Some(Limit(timeout)) = self.body_idle {
            timeouts = timeouts.body_idle(timeout);
        }
        if let Some(Span(timeout)) = self.expect_continue {
            timeouts = timeouts.expect_continue(timeout);
        }
        if let Some(Floor(floor)) = self.download_floor {
            timeouts = timeouts.download_floor(floor);
        }
        if let Some(Floor(floor)) = self.upload_floor {
            timeouts = timeouts.upload_floor(floor);
        }
        timeouts
    }
}
