//! What the process itself takes.

use std::{fmt, fs, time::Duration};

/// How much more the last third of the time may take than the second.
const SLACK_PERCENT: u64 = 10;
const SLACK_KIB: u64 = 8 * 1_024;

/// How many descriptors the process has open.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The resident memory of the process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Samples of the memory over the whole time.
#[derive(Debug)]
pub(crate) struct Watch {
    interval: Duration,
    samples: Vec<u64>,
}

impl Watch {
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            interval: (length / 60).max(Duration::from_secs(1)),
            samples: Vec::new(),
        }
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes a sample, without what this program itself keeps.
    pub(crate) fn look(&mut self, own_bytes: usize) {
        let own = u64::try_from(own_bytes / 1_024).unwrap_or(0);
        self.samples.push(resident().saturating_sub(own));
    }

    /// Whether the last third of the time took no more than the second, but for some slack.
    pub(crate) fn is_flat(&self) -> bool {
        let third = self.samples.len() / 3;
        let most = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
        let (first, rest) = self.samples.split_at(third);
        let (second, last) = rest.split_at(third);
        let [first, second, last] = [first, second, last].map(most);
        println!("memory, at most in each third: {first}, {second}, {last} KiB");
        last <= second + second * SLACK_PERCENT / 100 + SLACK_KIB
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.samples.last().copied().unwrap_or(0);
        write!(f, "{now} KiB, {} descriptors", descriptors())
    }
}
