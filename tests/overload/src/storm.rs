use std::{ops::Range, time::Duration};

use http::StatusCode;

/// A fleet, its server, and what happens to it.
#[derive(Clone, Debug)]
pub struct Storm {
    /// How many clients there are.
    pub clients: u32,
    /// How many calls each of them makes in a second, on average.
    pub rate: f64,
    /// How many requests the server can answer in a second.
    pub capacity: f64,
    /// What goes wrong.
    pub trouble: Trouble,
    /// When it begins.
    pub begins: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// For how long the clients go on calling after it.
    pub afterwards: Duration,
    /// How long an attempt waits for its response; `None` for as long as it takes.
    pub patience: Option<Duration>,
    /// After so long a caller gives up: its call is dropped, and counts as one that failed.
    pub good_within: Duration,
    /// All randomness follows from it.
    pub seed: u64,
}

/// What goes wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// Its capacity falls to so many percent. It queues whatever comes.
    Slow {
        /// Percent of the usual capacity.
        percent: u8,
    },
    /// Its capacity falls to so many percent. At all times it refuses what would wait for longer than the limit, by a response
    /// that says when to come back. That costs it a tenth of an answer.
    Shedding {
        /// The status of what is refused.
        status: StatusCode,
        /// Percent of the usual capacity.
        percent: u8,
        /// The longest wait in its queue.
        limit: Duration,
        /// The seconds of `Retry-After`.
        retry_after: u64,
    },
    /// It answers all requests with 503 at once.
    Refusing,
}

impl Storm {
    /// When the trouble is, from the start.
    pub(crate) fn trouble_range(&self) -> Range<Duration> {
        self.begins..self.begins + self.lasts
    }

    /// When the last call is made.
    pub(crate) fn end(&self) -> Duration {
        self.begins + self.lasts + self.afterwards
    }

    /// Calls in a second, of all clients together.
    #[must_use]
    pub fn calls_per_second(&self) -> f64 {
        f64::from(self.clients) * self.rate
    }
}

/// A hundred clients with eight calls a second each; a server that is used to four fifths, and has 30 percent of its capacity
/// for ten seconds.
impl Default for Storm {
    fn default() -> Self {
        Self {
            clients: 100,
            rate: 8.0,
            capacity: 1_000.0,
            trouble: Trouble::Slow { percent: 30 },
            begins: Duration::from_secs(15),
            lasts: Duration::from_secs(10),
            afterwards: Duration::from_secs(50),
            patience: Some(Duration::from_secs(1)),
            good_within: Duration::from_secs(10),
            seed: 0,
        }
    }
}
