use std::time::Duration;

use hashbrown::hash_table::{HashTable, OccupiedEntry};
use tokio::time::Instant;

use super::{bucket::Bucket, window::Window};
use crate::budget::origin::Origin;

pub(super) struct Table {
    pub(super) buckets: HashTable<Bucket>,
    pub(super) marks: u64,
    pub(super) window: Window,
    sweep_at: usize,
    /// When the unused buckets were removed last.
    swept: Instant,
}

impl Table {
    const SMALLEST_SWEEP: usize = 128;
    pub(super) const IDLE: Duration = Duration::from_secs(600);

    /// Beyond this many origins with failures, all others share one bucket, so that made-up hosts
    /// get neither tokens nor memory.
    pub(super) const MOST: usize = 4_096;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            buckets: HashTable::new(),
            marks: 0,
            window: Window::new(now, 0, None),
            sweep_at: Self::SMALLEST_SWEEP,
            swept: now,
        }
    }

    /// The owner of the bucket that this origin uses: the origin, or the one that several share.
    fn owner<'a>(&self, origin: Origin<'a>) -> Origin<'a> {
        let has_room = self.buckets.len() < Self::MOST;
        if has_room
            || self
                .buckets
                .find(origin.hash(), |it| it.is_of(origin))
                .is_some()
        {
            origin
        } else {
            Origin::any()
        }
    }

    pub(super) fn find(&mut self, origin: Origin<'_>) -> Option<OccupiedEntry<'_, Bucket>> {
        let owner = self.owner(origin);
        self.buckets
            .find_entry(owner.hash(), |it| it.is_of(owner))
            .ok()
    }

    pub(super) fn mark_anew(&mut self) {
        self.marks = self
            .buckets
            .iter()
            .fold(0, |marks, bucket| marks | bucket.mark());
    }

    /// Removes the buckets without a withdrawal for a long time.
    pub(super) fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= Self::IDLE {
            self.sweep_all(now);
        }
    }

    fn sweep_all(&mut self, now: Instant) {
        self.swept = now;
        self.buckets
            .retain(|bucket| now.saturating_duration_since(bucket.asked) < Self::IDLE);
        let left = self.buckets.len();
        self.sweep_at = left.saturating_mul(2).max(Self::SMALLEST_SWEEP);
        self.buckets.shrink_to(self.sweep_at, Bucket::hash);
        self.mark_anew();
    }

    pub(super) fn bucket(
        &mut self,
        origin: Origin<'_>,
        successes: u64,
        now: Instant,
    ) -> &mut Bucket {
        let owner = self.owner(origin);
        let rate = self.window.rate(successes, now);
        if self.buckets.len() >= self.sweep_at {
            self.sweep_all(now);
        }
        let marks = &mut self.marks;
        self.buckets
            .entry(owner.hash(), |it| it.is_of(owner), Bucket::hash)
            .or_insert_with(|| {
                let bucket = Bucket::full(owner, rate, now);
                *marks |= bucket.mark();
                bucket
            })
            .into_mut()
    }
}
