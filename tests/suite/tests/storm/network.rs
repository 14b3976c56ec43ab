//! The simulated network: a client with one session, and four servers.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    callers::{self, PER_ORIGIN, Plan, TOTAL},
    ledger::{Ledger, Streak},
    server::{self, Host},
    weather::{CLIENT, Weather},
};

const TICK: Duration = Duration::from_millis(5);

/// After how many ticks a server may still count a connection that the client has closed: one for the message to
/// leave, one to travel, one for the server to look.
pub(crate) const NEWS: u32 = 3;

pub(crate) const HOSTS: [Host; 4] = [
    Host {
        name: "one",
        streams: None,
    },
    Host {
        name: "two",
        streams: None,
    },
    Host {
        name: "three",
        streams: Some(4),
    },
    Host {
        name: "four",
        streams: Some(100),
    },
];

pub(crate) struct Network {
    seed: u64,
}

/// What became of all calls, and of the limits.
#[derive(Debug)]
pub(crate) struct Report {
    seed: u64,
    outcomes: BTreeMap<String, u64>,
    opened: u64,
    most: (usize, usize),
    longest_excess: u32,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        // The session's own dice, and the servers'.
        fastrand::seed(seed);
        Self { seed }
    }

    /// Lets callers call for this long, then waits until all is quiet; panics where a promise is broken.
    pub(crate) fn run(self, time: Duration, weather: &mut impl Weather) -> Report {
        let latency = weather.latency();
        let mut sim = turmoil::Builder::new()
            .rng_seed(self.seed)
            .tick_duration(TICK)
            .simulation_duration(time + Duration::from_secs(3_600))
            .min_message_latency(latency.least)
            .max_message_latency(latency.most)
            .tcp_capacity(256)
            .build();
        let (at_client, at_servers) = (Ledger::default(), Ledger::default());
        for host in HOSTS {
            let ledger = at_servers.clone();
            sim.host(host.name, move || server::serve(host, ledger.clone()));
        }
        let over = Arc::new(AtomicBool::new(false));
        let outcomes = Arc::new(Mutex::new(BTreeMap::new()));
        let plan = Plan {
            seed: self.seed,
            over: over.clone(),
            outcomes: outcomes.clone(),
            ledger: at_client.clone(),
        };
        sim.client(CLIENT, callers::call(plan));

        let names = HOSTS.map(|host| host.name);
        let mut excess = Streak::default();
        loop {
            if sim.elapsed() < time {
                weather.pass(&mut sim, &names);
            } else if !over.swap(true, Ordering::Relaxed) {
                weather.clear(&mut sim, &names);
            }
            let ended = sim
                .step()
                .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
            let (one, all) = at_servers.now();
            excess.look(one > PER_ORIGIN || all > TOTAL);
            if ended {
                break;
            }
        }
        let most = at_client.most();
        assert!(
            most.0 <= PER_ORIGIN && most.1 <= TOTAL,
            "seed {}: {most:?}",
            self.seed
        );
        assert_eq!(at_client.now(), (0, 0), "seed {}", self.seed);
        let outcomes = outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Report {
            seed: self.seed,
            outcomes,
            opened: at_client.total(),
            most,
            longest_excess: excess.longest(),
        }
    }
}

impl Report {
    fn count(&self, what: impl Fn(&str) -> bool) -> u64 {
        let counts = self.outcomes.iter().filter(|(outcome, _)| what(outcome));
        counts.map(|(_, count)| count).sum()
    }

    /// Calls that were answered, and well.
    pub(crate) fn answered(&self) -> u64 {
        self.count(|outcome| outcome == callers::ANSWERED)
    }

    /// Calls that failed though nobody had asked for that.
    pub(crate) fn failed(&self) -> u64 {
        self.count(|outcome| outcome.starts_with(callers::FAILED))
    }

    pub(crate) fn failed_by(&self, kind: &str) -> u64 {
        self.count(|outcome| outcome.strip_prefix(callers::FAILED) == Some(kind))
    }

    pub(crate) fn reached_the_limits(&self) -> bool {
        self.most == (PER_ORIGIN, TOTAL)
    }

    /// For how many ticks in a row the servers counted more connections than there may be.
    pub(crate) fn longest_excess(&self) -> u32 {
        self.longest_excess
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} connections, at most {} with a host and {} in all; servers counted more for {} ticks",
            self.seed, self.opened, self.most.0, self.most.1, self.longest_excess,
        )?;
        for (outcome, count) in &self.outcomes {
            writeln!(f, "{count:>8}  {outcome}")?;
        }
        Ok(())
    }
}
