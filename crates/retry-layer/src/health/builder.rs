use std::{fmt, sync::Arc};

use fastrand::Rng;
use tokio::time::Instant;

use super::{
    HealthObserver, Ledger, PartitionKey, RequestHead,
    ledger::{Inner, KeyBy},
    memo::LedgerId,
    table::Table,
};
use crate::{
    budget::SuccessCounts,
    error::{BuildError, Problem},
};

/// Settings of a [`Ledger`].
#[must_use = "a builder does nothing until `build`"]
pub struct LedgerBuilder {
    max_origins: usize,
    key_by: Option<KeyBy>,
    observer: Option<Arc<dyn HealthObserver>>,
    random: Option<u64>,
}

impl Ledger {
    /// Starts with the defaults.
    pub fn builder() -> LedgerBuilder {
        LedgerBuilder::default()
    }
}

impl Default for Ledger {
    fn default() -> Self {
        match Self::builder().build() {
            Ok(ledger) => ledger,
            Err(error) => unreachable!("the defaults are valid: {error}"),
        }
    }
}

impl LedgerBuilder {
    /// Of how many partitions something is known at a time: at least so many, 4096 unless set, and
    /// 1,048,576 at most. Beyond that the one that was not used for the longest time makes room, if it
    /// is healthy. If none of those that could make room is, nothing is kept of the new one, and its
    /// requests pass.
    pub fn max_origins(mut self, origins: usize) -> Self {
        self.max_origins = origins;
        self
    }

    /// Divides the requests to an origin: by tenant, or by the token to which a quota belongs. Where
    /// the closure returns `None`, the partition is the origin. It is called with each request, and
    /// must not block. What it returns is the whole key: a [part](PartitionKey::part) of the origin, or
    /// a [name](PartitionKey::named) that origins share.
    ///
    /// ```
    /// use retry_layer::health::{Ledger, PartitionKey, RequestHead};
    ///
    /// let ledger = Ledger::builder()
    ///     .key_by(|head: &RequestHead<'_>| {
    ///         let tenant = head.headers().get("x-tenant")?.to_str().ok()?;
    ///         Some(PartitionKey::of(head.uri()).part(tenant))
    ///     })
    ///     .build()?;
    /// # Ok::<(), retry_layer::BuildError>(())
    /// ```
    pub fn key_by<F>(mut self, key_by: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> Option<PartitionKey> + Send + Sync + 'static,
    {
        self.key_by = Some(Arc::new(key_by));
        self
    }

    /// Reports each change of a partition's state. Default: none. A `tracing` event is emitted in any
    /// case.
    pub fn observer(mut self, observer: impl HealthObserver) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Makes all jitter the same in every run, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Some(seed);
        self
    }

    /// Makes the ledger.
    ///
    /// # Errors
    ///
    /// If the number of origins is out of its range.
    pub fn build(self) -> Result<Ledger, BuildError> {
        const MOST_ORIGINS: usize = 1 << 20;
        if self.max_origins == 0 || self.max_origins > MOST_ORIGINS {
            return Err(Problem::Ledger("a ledger has room for 1 to 1048576 origins").into());
        }
        let random = self.random.map_or_else(Rng::new, Rng::with_seed);
        Ok(Ledger::new(Inner {
            id: LedgerId::new(),
            key_by: self.key_by,
            observer: self.observer,
            table: Table::new(self.max_origins, random),
            start: Instant::now(),
            success_counts: SuccessCounts::new(Instant::now()),
        }))
    }
}

impl Default for LedgerBuilder {
    fn default() -> Self {
        Self {
            max_origins: 4_096,
            key_by: None,
            observer: None,
            random: None,
        }
    }
}

impl fmt::Debug for LedgerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerBuilder")
            .field("max_origins", &self.max_origins)
            .field("has_key_by", &self.key_by.is_some())
            .finish_non_exhaustive()
    }
}
