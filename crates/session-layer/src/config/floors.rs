use super::{OwnTimeout, Timeouts};
use crate::ThroughputFloor;

/// The floor of one request, in place of the session's. It is compact, since it moves with each
/// request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct OwnFloor {
    /// `UNSET` if the session's floor holds; `NONE` for no floor.
    window: OwnTimeout,
    bytes_per_second: u32,
}

impl OwnFloor {
    pub(crate) fn new(floor: Option<ThroughputFloor>) -> Self {
        let floor = floor.filter(|floor| floor.bytes_per_second() > 0);
        Self {
            window: OwnTimeout::new(floor.map(|floor| floor.window())),
            bytes_per_second: floor.map_or(0, |floor| {
                u32::try_from(floor.bytes_per_second()).unwrap_or(u32::MAX)
            }),
        }
    }

    #[inline]
    pub(crate) fn is_set(self) -> bool {
        self.window.is_set()
    }

    /// The floor that holds if the session has this one.
    #[inline]
    pub(crate) fn or(self, configured: Option<ThroughputFloor>) -> Option<ThroughputFloor> {
        if !self.is_set() {
            return configured;
        }
        let window = self.window.finite()?;
        let rate = self.bytes_per_second.into();
        Some(ThroughputFloor::new(rate, window))
    }
}

/// The floors that hold for one exchange.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Floors {
    pub(crate) upload: Option<ThroughputFloor>,
    pub(crate) download: Option<ThroughputFloor>,
    /// Whether the request itself sets the floor of its download, be it to none.
    pub(crate) download_is_own: bool,
}

impl Floors {
    /// `None` if neither the request nor the session has a floor.
    #[inline]
    pub(crate) fn of(upload: OwnFloor, download: OwnFloor, timeouts: &Timeouts) -> Option<Self> {
        if timeouts.has_floor() || upload.is_set() || download.is_set() {
            return Some(Self {
                upload: upload.or(timeouts.upload_floor),
                download: download.or(timeouts.download_floor),
                download_is_own: download.is_set(),
            });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_floor_of_a_request_takes_the_place_of_the_sessions() {
        let window = Duration::from_secs(5);
        let configured = Some(ThroughputFloor::new(1, window));
        let own = |floor| OwnFloor::new(floor).or(configured);
        assert_eq!(OwnFloor::default().or(configured), configured);
        assert_eq!(own(None), None);
        assert_eq!(own(Some(ThroughputFloor::new(0, window))), None);
        let floor = ThroughputFloor::new(7, window);
        assert_eq!(own(Some(floor)), Some(floor));
        // A floor that is too large for the type becomes its largest value.
        let most = ThroughputFloor::new(u64::from(u32::MAX), window);
        assert_eq!(
            own(Some(ThroughputFloor::new(u64::MAX, window))),
            Some(most)
        );
    }
}
