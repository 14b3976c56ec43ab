//! What happens to the network while requests go over it.

use std::time::Duration;

use turmoil::Sim;

/// The host that sends requests.
pub(crate) const CLIENT: &str = "client";

/// How long a message may travel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

/// Changes the network as time goes by.
pub(crate) trait Weather {
    fn latency(&self) -> Latency;

    /// Does what is due at this moment.
    fn pass(&mut self, sim: &mut Sim<'_>, hosts: &[&'static str]);

    /// Puts everything right.
    fn clear(&mut self, sim: &mut Sim<'_>, hosts: &[&'static str]);
}

/// Every message takes the same time, and arrives.
pub(crate) struct Calm;

impl Weather for Calm {
    fn latency(&self) -> Latency {
        let same = Duration::from_millis(5);
        Latency {
            least: same,
            most: same,
        }
    }

    fn pass(&mut self, _: &mut Sim<'_>, _: &[&'static str]) {}

    fn clear(&mut self, _: &mut Sim<'_>, _: &[&'static str]) {}
}

/// At each moment something may be wrong with each host.
pub(crate) struct Storm {
    random: fastrand::Rng,
    next: Duration,
    troubles: Vec<(Duration, &'static str, Trouble)>,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// All its tasks end at once, its sockets with them; later it starts anew.
    Crash,
    /// Messages in either direction, or in one of them, are lost for good.
    Partition,
    Deaf,
    Mute,
    /// Messages wait until the end of it.
    Hold,
}

const TROUBLES: [Trouble; 5] = [
    Trouble::Crash,
    Trouble::Partition,
    Trouble::Deaf,
    Trouble::Mute,
    Trouble::Hold,
];

impl Storm {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            next: Duration::ZERO,
            troubles: Vec::new(),
        }
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(least..=most))
    }

    fn begin(&mut self, sim: &mut Sim<'_>, hosts: &[&'static str]) {
        let Some(&host) = self.random.choice(hosts) else {
            return;
        };
        if self
            .troubles
            .iter()
            .any(|(_, troubled, _)| *troubled == host)
        {
            return;
        }
        if self.random.u8(..4) == 0 {
            // A restart that takes no time.
            return sim.bounce(host);
        }
        let &trouble = self.random.choice(&TROUBLES).expect("there are some");
        match trouble {
            Trouble::Crash => sim.crash(host),
            Trouble::Partition => sim.partition(CLIENT, host),
            Trouble::Deaf => sim.partition_oneway(CLIENT, host),
            Trouble::Mute => sim.partition_oneway(host, CLIENT),
            Trouble::Hold => sim.hold(CLIENT, host),
        }
        let until = sim.elapsed() + self.between(50, 6_000);
        self.troubles.push((until, host, trouble));
    }
}

impl Weather for Storm {
    fn latency(&self) -> Latency {
        Latency {
            least: Duration::from_millis(1),
            most: Duration::from_millis(80),
        }
    }

    fn pass(&mut self, sim: &mut Sim<'_>, hosts: &[&'static str]) {
        let now = sim.elapsed();
        self.troubles.retain(|(until, host, trouble)| {
            let goes_on = *until > now;
            if !goes_on {
                trouble.end(sim, host);
            }
            goes_on
        });
        if now >= self.next {
            self.next = now + self.between(100, 2_000);
            self.begin(sim, hosts);
        }
    }

    fn clear(&mut self, sim: &mut Sim<'_>, _: &[&'static str]) {
        for (_, host, trouble) in self.troubles.drain(..) {
            trouble.end(sim, host);
        }
    }
}

impl Trouble {
    fn end(self, sim: &mut Sim<'_>, host: &str) {
        match self {
            Self::Crash => sim.bounce(host),
            Self::Partition => sim.repair(CLIENT, host),
            Self::Deaf => sim.repair_oneway(CLIENT, host),
            Self::Mute => sim.repair_oneway(host, CLIENT),
            Self::Hold => sim.release(CLIENT, host),
        }
    }
}
