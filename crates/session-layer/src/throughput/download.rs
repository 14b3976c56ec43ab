use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::{ThroughputFloor, TooSlow, TransferDirection, looks::Looks, meter::Meter};

/// How long the verdict waits for bytes that have come at the last moment, and have not reached the
/// reader yet.
pub(super) const CONFIRM: Duration = Duration::from_millis(10);

/// Holds the body of a response to a floor, while its reader waits.
#[derive(Debug)]
pub(crate) struct DownloadMeter {
    floor: ThroughputFloor,
    meter: Meter,
    looks: Looks,
    /// Whether it was too slow at the last look.
    confirms: bool,
}

impl DownloadMeter {
    pub(crate) fn new(floor: ThroughputFloor) -> Self {
        Self {
            floor,
            meter: Meter::new(floor),
            looks: Looks::default(),
            confirms: false,
        }
    }

    /// Notes bytes that the reader got. `may_be_held_up` says whether this side may have kept the
    /// peer from sending.
    pub(crate) fn came(&mut self, bytes: usize, may_be_held_up: impl FnOnce() -> bool) {
        if let Some(time) = self.looks.end(self.meter.slot()) {
            if !may_be_held_up() {
                self.meter.waited(time);
            }
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.meter.passed(bytes);
        self.confirms = false;
    }

    /// Waits until it is too slow, for a reader that has found nothing. `waits_for_peer` says
    /// whether the peer is to blame: no bytes are on this side that the reader has not got, and
    /// nothing keeps the peer from sending.
    pub(crate) fn poll_too_slow(
        &mut self,
        cx: &mut Context<'_>,
        waits_for_peer: impl Fn() -> bool,
    ) -> Poll<TooSlow> {
        loop {
            let mut is_known = true;
            let now = if self.looks.is_running() {
                ready!(self.looks.poll_due(cx));
                let now = Instant::now();
                match self.looks.look(now, self.meter.slot()) {
                    Some(time) if waits_for_peer() => self.meter.waited(time),
                    Some(_) | None => is_known = false,
                }
                now
            } else {
                let now = Instant::now();
                self.looks.begin(now);
                now
            };
            let slow = self.meter.too_slow().filter(|_| is_known);
            match slow {
                Some(measured) if self.confirms => {
                    return Poll::Ready(TooSlow {
                        direction: TransferDirection::Download,
                        measured,
                        floor: self.floor,
                    });
                }
                Some(_) => self.looks.look_within(now, CONFIRM),
                None => self.looks.look_within(now, self.meter.until_next()),
            }
            self.confirms = slow.is_some();
        }
    }
}
