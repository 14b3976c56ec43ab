use std::time::Duration;

/// A timeout of one request, in place of the session's. It is compact, since it moves with each
/// request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct OwnTimeout(u32);

impl OwnTimeout {
    /// The session's timeout holds.
    pub(crate) const UNSET: Self = Self(0);
    /// No timeout.
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let Some(timeout) = timeout else {
            return Self::NONE;
        };
        // Rounded up, so that it never runs out too early.
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        Self(
            u32::try_from(millis)
                .unwrap_or(u32::MAX)
                .clamp(1, u32::MAX - 1),
        )
    }

    pub(crate) fn is_set(self) -> bool {
        self != Self::UNSET
    }

    /// The timeout, if the request has one.
    pub(crate) fn finite(self) -> Option<Duration> {
        let is_finite = self != Self::UNSET && self != Self::NONE;
        is_finite.then(|| Duration::from_millis(self.0.into()))
    }

    /// The timeout that holds if the session has this one.
    pub(crate) fn or(self, configured: Option<Duration>) -> Option<Duration> {
        if self == Self::UNSET {
            return configured;
        }
        self.finite()
    }
}

/// The timeouts that a request has in place of the session's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct OwnTimes {
    pub(crate) head: OwnTimeout,
    pub(crate) body_idle: OwnTimeout,
}

impl OwnTimes {
    /// Both as one number, which is 0 if neither is set.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        (u64::from(self.head.0) << u32::BITS) | u64::from(self.body_idle.0)
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, body_idle @ ..] = bits.to_be_bytes();
        Self {
            head: OwnTimeout(u32::from_be_bytes([a, b, c, d])),
            body_idle: OwnTimeout(u32::from_be_bytes(body_idle)),
        }
    }

    /// The shorter of the two, if there is one.
    #[inline]
    pub(crate) fn shortest(self) -> Option<Duration> {
        if self == Self::default() {
            return None;
        }
        let times = [self.head.finite(), self.body_idle.finite()];
        times.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requests_timeout_replaces_the_sessions_and_is_rounded_up() {
        let configured = Some(Duration::from_secs(30));
        for (own, counts) in [
            (OwnTimeout::UNSET, configured),
            (OwnTimeout::new(None), None),
            (
                OwnTimeout::new(Some(Duration::ZERO)),
                Some(Duration::from_millis(1)),
            ),
            (
                OwnTimeout::new(Some(Duration::from_micros(1001))),
                Some(Duration::from_millis(2)),
            ),
            (
                OwnTimeout::new(Some(Duration::MAX)),
                Some(Duration::from_millis(u64::from(u32::MAX) - 1)),
            ),
        ] {
            assert_eq!(own.or(configured), counts, "{own:?}");
            for times in [
                OwnTimes {
                    head: own,
                    body_idle: OwnTimeout::UNSET,
                },
                OwnTimes {
                    head: OwnTimeout::UNSET,
                    body_idle: own,
                },
            ] {
                assert_eq!(OwnTimes::from_bits(times.bits()), times);
            }
        }
    }
}
