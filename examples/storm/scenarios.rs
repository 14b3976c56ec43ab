//! What the clients are put through.

use std::{num::NonZero, sync::Mutex, thread, time::Duration};

use http::StatusCode;
use overload::{Figures, Storm, Trouble};

use crate::variants::{VARIANTS, Variant};

/// What came of one variant.
pub(crate) struct Compared {
    pub(crate) variant: &'static Variant,
    pub(crate) slow: Figures,
    pub(crate) shedding: Figures,
    pub(crate) throttling: Figures,
    /// The share of the calls that a blip of 100 ms costs.
    pub(crate) blip: f64,
}

/// The server queues whatever comes.
pub(crate) fn slow() -> Storm {
    Storm::default()
}

/// The server refuses what it cannot answer soon, by this status.
fn shedding(status: StatusCode) -> Storm {
    Storm {
        trouble: shedding_by(status, 30),
        ..Storm::default()
    }
}

/// A server of so many percent of its capacity that refuses what it cannot answer soon.
pub(crate) fn shedding_by(status: StatusCode, percent: u8) -> Trouble {
    Trouble::Shedding {
        status,
        percent,
        limit: Duration::from_millis(500),
        retry_after: 2,
    }
}

/// Busy clients, and a server that refuses all for 100 ms.
fn blip(seed: u64) -> Storm {
    Storm {
        clients: 10,
        rate: 100.0,
        capacity: 2_000.0,
        trouble: Trouble::Refusing,
        begins: Duration::from_secs(3),
        lasts: Duration::from_millis(100),
        afterwards: Duration::ZERO,
        seed,
        ..Storm::default()
    }
}

/// How many blips there are: in each some hundred calls are made.
const BLIPS: u32 = 10;

/// Puts all variants through all of it, several at the same time. Each simulation has a clock of its own, so that changes nothing.
pub(crate) fn compare() -> Vec<Compared> {
    let next = Mutex::new(VARIANTS.iter());
    let done = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let variant = next.lock().expect("no holder panics").next();
                    let Some(variant) = variant else {
                        return;
                    };
                    let compared = Compared::of(variant);
                    done.lock().expect("no holder panics").push(compared);
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no holder panics");
    let place = |it: &Compared| VARIANTS.iter().position(|one| one.name == it.variant.name);
    done.sort_unstable_by_key(place);
    done
}

impl Compared {
    fn of(variant: &'static Variant) -> Self {
        let run = |storm: Storm| storm.run(|server, seed| variant.client(server, seed));
        let blips = (0..BLIPS).map(|seed| run(blip(seed.into())).lost_in_trouble());
        Self {
            variant,
            slow: run(slow()),
            shedding: run(shedding(StatusCode::SERVICE_UNAVAILABLE)),
            throttling: run(shedding(StatusCode::TOO_MANY_REQUESTS)),
            blip: blips.sum::<f64>() / f64::from(BLIPS),
        }
    }
}
