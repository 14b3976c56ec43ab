use std::time::Duration;

/// What a client's settings cannot say: how its peers behave, and who else repeats its requests.
#[derive(Clone, Debug, Default)]
#[must_use = "surroundings do nothing until settings are checked in them"]
pub struct Surroundings {
    pub(super) peer_keep_alive: Option<Duration>,
    pub(super) attempts_elsewhere: Vec<u32>,
    pub(super) call_interval: Option<Duration>,
}

impl Surroundings {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets after which time the server, or the load balancer before it, closes a connection that stands idle, such as nginx's
    /// `keepalive_timeout`.
    pub fn peer_keep_alive(mut self, time: Duration) -> Self {
        self.peer_keep_alive = Some(time);
        self
    }

    /// Sets how long it is from one call to an origin to the next on average: 100 milliseconds for ten calls a second.
    pub fn call_interval(mut self, interval: Duration) -> Self {
        self.call_interval = Some(interval);
        self
    }

    /// Adds a place that makes up to so many attempts of each request too, above the client or below it: a service mesh, a
    /// gateway, a job that is run again. Each further call adds one.
    pub fn attempts_elsewhere(mut self, attempts: u32) -> Self {
        self.attempts_elsewhere.push(attempts);
        self
    }
}
