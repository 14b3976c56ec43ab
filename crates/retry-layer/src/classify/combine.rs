use std::error::Error;

use http::StatusCode;

use super::Classifier;
use crate::{class::Class, details::AttemptDetails, outcome::Outcome, report::RetryReport};

/// Retries what both classifiers retry: made by [`Classifier::and`].
#[derive(Clone, Copy, Debug)]
pub struct And<A, B> {
    left: A,
    right: B,
}

impl<A, B> And<A, B> {
    pub(super) const fn new(left: A, right: B) -> Self {
        Self { left, right }
    }
}

impl<A, B> Classifier for And<A, B>
where
    A: Classifier,
    B: Classifier,
{
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        match (self.left.classify(outcome), self.right.classify(outcome)) {
            (Class::Permanent, _) | (_, Class::Permanent) => Class::Permanent,
            (Class::Final, _) | (_, Class::Final) => Class::Final,
            (left, right) => left.joined(right),
        }
    }

    fn is_always_final(&self, status: StatusCode) -> bool {
        self.left.is_always_final(status) || self.right.is_always_final(status)
    }

    fn is_success(&self, outcome: &Outcome<'_>) -> bool {
        self.left.is_success(outcome) && self.right.is_success(outcome)
    }

    fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        self.left.annotate(error, report.clone());
        self.right.annotate(error, report);
    }

    fn describe(&self, outcome: &Outcome<'_>) -> Option<AttemptDetails> {
        let left = self.left.describe(outcome);
        left.or_else(|| self.right.describe(outcome))
    }
}

/// Retries what either classifier retries: made by [`Classifier::or`].
#[derive(Clone, Copy, Debug)]
pub struct Or<A, B> {
    left: A,
    right: B,
}

impl<A, B> Or<A, B> {
    pub(super) const fn new(left: A, right: B) -> Self {
        Self { left, right }
    }
}

impl<A, B> Classifier for Or<A, B>
where
    A: Classifier,
    B: Classifier,
{
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        match (self.left.classify(outcome), self.right.classify(outcome)) {
            (Class::Permanent, _) | (_, Class::Permanent) => Class::Permanent,
            (left, right) => left.joined(right),
        }
    }

    fn is_always_final(&self, status: StatusCode) -> bool {
        self.left.is_always_final(status) && self.right.is_always_final(status)
    }

    fn is_success(&self, outcome: &Outcome<'_>) -> bool {
        self.left.is_success(outcome) && self.right.is_success(outcome)
    }

    fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        self.left.annotate(error, report.clone());
        self.right.annotate(error, report);
    }

    fn describe(&self, outcome: &Outcome<'_>) -> Option<AttemptDetails> {
        let left = self.left.describe(outcome);
        left.or_else(|| self.right.describe(outcome))
    }
}

/// Retries what the classifier does not: made by [`Classifier::not`].
#[derive(Clone, Copy, Debug)]
pub struct Not<P> {
    inner: P,
}

impl<P> Not<P> {
    pub(super) const fn new(inner: P) -> Self {
        Self { inner }
    }
}

impl<P: Classifier> Classifier for Not<P> {
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        match self.inner.classify(outcome) {
            Class::Permanent => Class::Permanent,
            class => (!class.is_retryable()).into(),
        }
    }

    fn is_success(&self, outcome: &Outcome<'_>) -> bool {
        self.inner.is_success(outcome)
    }

    fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        self.inner.annotate(error, report);
    }

    fn describe(&self, outcome: &Outcome<'_>) -> Option<AttemptDetails> {
        self.inner.describe(outcome)
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};

    use super::*;
    use crate::{class::Processed, classifier_fn};

    const ALL: [Class; 9] = [
        Class::Final,
        Class::Ambiguous,
        Class::NotSent,
        Class::Unprocessed,
        Class::Stale(Processed::Possibly),
        Class::Stale(Processed::Never),
        Class::Throttled(Processed::Never),
        Class::Throttled(Processed::Possibly),
        Class::Permanent,
    ];

    fn says(class: Class) -> impl Classifier {
        classifier_fn(move |_: &Outcome<'_>| class)
    }

    #[expect(clippy::needless_pass_by_value, reason = "read as an expression")]
    fn ask(classifier: impl Classifier) -> Class {
        let uri = Uri::default();
        classifier.classify(&Outcome::from_error(&Method::GET, &uri, &std::fmt::Error))
    }

    #[test]
    fn and_and_or_have_no_sides() {
        for a in ALL {
            for b in ALL {
                assert_eq!(
                    ask(says(a).and(says(b))),
                    ask(says(b).and(says(a))),
                    "{a:?} {b:?}"
                );
                assert_eq!(
                    ask(says(a).or(says(b))),
                    ask(says(b).or(says(a))),
                    "{a:?} {b:?}"
                );
                for c in ALL {
                    let left = ask(says(a).or(says(b)).or(says(c)));
                    assert_eq!(left, ask(says(a).or(says(b).or(says(c)))));
                    let left = ask(says(a).and(says(b)).and(says(c)));
                    assert_eq!(left, ask(says(a).and(says(b).and(says(c)))));
                }
            }
        }
    }

    #[test]
    fn whether_to_retry_follows_logic_unless_an_error_is_permanent() {
        for a in ALL {
            assert_eq!(ask(says(a).and(says(a))), a);
            assert_eq!(ask(says(a).or(says(a))), a);
            assert_eq!(ask(says(a).or(says(Class::Final))), a);
            let permanent = ask(says(a).or(says(Class::Permanent)));
            assert_eq!(permanent, Class::Permanent);
            for b in ALL {
                if a == Class::Permanent || b == Class::Permanent {
                    continue;
                }
                let (x, y) = (a.is_retryable(), b.is_retryable());
                assert_eq!(ask(says(a).and(says(b))).is_retryable(), x && y);
                assert_eq!(ask(says(a).or(says(b))).is_retryable(), x || y);
                assert_eq!(ask(says(a).not()).is_retryable(), !x);
                let negated = ask(says(a).and(says(b)).not());
                assert_eq!(negated, ask(says(a).not().or(says(b).not())));
            }
        }
    }

    #[test]
    fn a_status_is_settled_only_if_no_side_can_change_it() {
        let ok = StatusCode::OK;
        let certain = || crate::Standard::default();
        let open = || says(Class::Final);
        assert!(certain().and(open()).is_always_final(ok));
        assert!(!certain().or(open()).is_always_final(ok));
        assert!(certain().or(certain()).is_always_final(ok));
        assert!(!open().and(open()).is_always_final(ok));
        assert!(!certain().not().is_always_final(ok));
    }

    #[test]
    fn the_class_that_proves_more_is_kept() {
        let (maybe, unsent) = (Class::Ambiguous, Class::NotSent);
        let throttled = Class::Throttled;
        for (a, b, joined) in [
            (maybe, unsent, unsent),
            (maybe, Class::Unprocessed, Class::Unprocessed),
            (
                maybe,
                Class::Stale(Processed::Possibly),
                Class::Stale(Processed::Possibly),
            ),
            (
                maybe,
                throttled(Processed::Possibly),
                throttled(Processed::Possibly),
            ),
            (
                unsent,
                throttled(Processed::Possibly),
                throttled(Processed::Never),
            ),
            (Class::Unprocessed, unsent, unsent),
        ] {
            assert_eq!(ask(says(a).and(says(b))), joined);
            assert_eq!(ask(says(a).or(says(b))), joined);
        }
    }
}
