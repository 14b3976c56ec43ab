use std::fmt;

use http::StatusCode;

/// A set of status codes: one bit for each of 100 to 999.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub(crate) struct StatusSet {
    words: [u64; 15],
}

impl StatusSet {
    const LOWEST: u16 = 100;

    pub(crate) fn insert(&mut self, status: StatusCode) {
        let (word, bit) = Self::place(status);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    pub(crate) fn contains(&self, status: StatusCode) -> bool {
        let (word, bit) = Self::place(status);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    fn place(status: StatusCode) -> (usize, u64) {
        let index = status.as_u16().saturating_sub(Self::LOWEST);
        (usize::from(index / 64), 1 << (index % 64))
    }
}

impl FromIterator<StatusCode> for StatusSet {
    fn from_iter<I: IntoIterator<Item = StatusCode>>(statuses: I) -> Self {
        let mut set = Self::default();
        for status in statuses {
            set.insert(status);
        }
        set
    }
}

impl fmt::Debug for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes = (Self::LOWEST..1000).filter_map(|code| StatusCode::from_u16(code).ok());
        f.debug_set()
            .entries(
                codes
                    .filter(|status| self.contains(*status))
                    .map(|status| status.as_u16()),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_bit() {
        for code in 100..1000 {
            let status = StatusCode::from_u16(code).unwrap();
            let set = StatusSet::from_iter([status]);
            for other in 100..1000 {
                let other = StatusCode::from_u16(other).unwrap();
                assert_eq!(set.contains(other), status == other);
            }
        }
    }

    #[test]
    fn debug_lists_the_codes() {
        let set = StatusSet::from_iter([StatusCode::OK, StatusCode::BAD_GATEWAY]);
        assert_eq!(format!("{set:?}"), "{200, 502}");
    }
}
