use std::{fmt, num::NonZeroU32};

/// Limits of what an encoded body may decode to.
///
/// A few kilobytes of brotli or zstd can decode to many gigabytes. A body that is collected is
/// limited by [`max_body`](crate::ClientBuilder::max_body). These limits hold for it too, and for a
/// body that streams (to a file, line by line). A body beyond them is an
/// [error](crate::Error::is_too_large) and closes the connection; it is not retried, because the
/// same body would come.
///
/// | | default |
/// |---|---|
/// | [`bytes`](Self::bytes) | no limit: a stream may be as long as its reader likes |
/// | [`ratio`](Self::ratio) | 200 bytes for each byte that came, as Apache httpd's `DeflateInflateRatioLimit` |
/// | [`ratio_from`](Self::ratio_from) | 64 MiB, as much as `max_body` collects unless set: below that no ratio is refused |
///
/// Logs, CSV and JSON reach a ratio of 5 to 20, and very monotonous ones about 100. Gzip and deflate
/// cannot reach more than 1032; brotli and zstd can reach some 100,000.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use client::{Client, DecodeLimits};
///
/// # fn example() -> Result<(), client::Error> {
/// let limits = DecodeLimits::default()
///     .bytes(10 * 1024 * 1024 * 1024)
///     .ratio(NonZeroU32::new(1_000));
/// let client = Client::builder().decode_limits(limits).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct DecodeLimits {
    // Small, since each call has a copy.
    bytes: u64,
    ratio: u32,
    /// In KiB, plus one, so that an `Option` of the limits takes no more space.
    from: NonZeroU32,
}

const NO_BYTES: u64 = u64::MAX;
const NO_RATIO: u32 = u32::MAX;
const KIB: u64 = 1024;

const RATIO: u32 = 200;
const FROM: u64 = 64 * 1024 * KIB;

impl DecodeLimits {
    /// Sets no limit at all: for servers that are trusted as much as this program.
    #[must_use]
    pub fn none() -> Self {
        Self::default().bytes(None).ratio(None)
    }

    /// Limits how many bytes one body may decode to. `None` sets no limit. Default: none.
    #[must_use]
    pub fn bytes(self, bytes: impl Into<Option<u64>>) -> Self {
        let bytes = bytes.into().unwrap_or(NO_BYTES);
        Self { bytes, ..self }
    }

    /// Limits how many bytes one body may decode to for each byte that came over the connection,
    /// for all its codings together. `None` sets no limit. Default: 200.
    #[must_use]
    pub fn ratio(self, ratio: impl Into<Option<NonZeroU32>>) -> Self {
        let ratio = ratio.into().map_or(NO_RATIO, NonZeroU32::get);
        Self { ratio, ..self }
    }

    /// Sets up to how many bytes a body may decode to whatever its ratio is. Rounded up to whole
    /// KiB. Default: 64 MiB.
    #[must_use]
    pub fn ratio_from(self, bytes: u64) -> Self {
        let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        let from = NonZeroU32::MIN.saturating_add(kib);
        Self { from, ..self }
    }

    /// Returns the limit that is exceeded when so many encoded bytes have decoded to so many.
    pub(super) fn check(&self, decoded: u64, encoded: u64) -> Result<(), DecodeLimit> {
        if decoded > self.bytes {
            return Err(DecodeLimit::Bytes(self.bytes));
        }
        let most = encoded
            .saturating_mul(self.ratio.into())
            .max(floor(self.from));
        if decoded > most && self.ratio != NO_RATIO {
            return Err(DecodeLimit::Ratio(self.ratio));
        }
        Ok(())
    }
}

/// The number of bytes that this field stands for.
fn floor(from: NonZeroU32) -> u64 {
    u64::from(from.get()).saturating_sub(1).saturating_mul(KIB)
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            bytes: NO_BYTES,
            ratio: RATIO,
            from: NonZeroU32::MIN,
        }
        .ratio_from(FROM)
    }
}

impl fmt::Debug for DecodeLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = (self.bytes != NO_BYTES).then_some(self.bytes);
        let ratio = (self.ratio != NO_RATIO).then_some(self.ratio);
        f.debug_struct("DecodeLimits")
            .field("bytes", &bytes)
            .field("ratio", &ratio)
            .field("ratio_from", &floor(self.from))
            .finish()
    }
}

/// The limit that a body exceeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DecodeLimit {
    Bytes(u64),
    Ratio(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * KIB;

    #[test]
    fn what_a_body_may_decode_to() {
        let ratio = |ratio| DecodeLimits::default().ratio(NonZeroU32::new(ratio));
        for (limits, decoded, encoded, passes) in [
            // Up to the floor any ratio is allowed; beyond it each encoded byte counts.
            (DecodeLimits::default(), 64 * MIB, 1, true),
            (DecodeLimits::default(), 64 * MIB + 1, 1, false),
            (DecodeLimits::default(), 200 * MIB, MIB, true),
            (DecodeLimits::default(), 200 * MIB + 1, MIB, false),
            (DecodeLimits::default(), u64::MAX, u64::MAX / 2, true),
            (ratio(1).ratio_from(0), 10, 10, true),
            (ratio(1).ratio_from(0), 11, 10, false),
            (ratio(2).ratio_from(KIB + 1), 2 * KIB, 1, true),
            (ratio(2).ratio_from(KIB + 1), 2 * KIB + 1, 1, false),
            (ratio(2).ratio_from(u64::MAX), 4 << 40, 1, false),
            (DecodeLimits::default().bytes(9), 9, 9, true),
            (DecodeLimits::default().bytes(9), 10, 10, false),
            (DecodeLimits::none(), u64::MAX, 1, true),
        ] {
            let passed = limits.check(decoded, encoded);
            assert_eq!(passed.is_ok(), passes, "{limits:?} {decoded} of {encoded}");
        }
    }

    #[test]
    fn they_are_small() {
        assert_eq!(size_of::<Option<DecodeLimits>>(), 2 * size_of::<u64>());
    }
}
