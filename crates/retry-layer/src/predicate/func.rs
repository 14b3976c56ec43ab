use std::fmt;

use super::Predicate;
use crate::{class::Class, outcome::Outcome};

/// Makes a [`Predicate`] of a closure that returns a [`Class`], or a `bool`: `true` for
/// [`Class::Ambiguous`], `false` for [`Class::Final`].
///
/// ```
/// use retry_layer::{Class, Outcome, predicate_fn};
///
/// let teapots = predicate_fn(|outcome: &Outcome<'_>| outcome.status() == Some(http::StatusCode::IM_A_TEAPOT));
/// let refused = predicate_fn(|outcome: &Outcome<'_>| match outcome.error() {
///     Some(_) => Class::NotSent,
///     None => Class::Final,
/// });
/// # let _ = (teapots, refused);
/// ```
pub fn predicate_fn<F, C>(classify: F) -> PredicateFn<F>
where
    F: Fn(&Outcome<'_>) -> C + Send + Sync + 'static,
    C: Into<Class>,
{
    PredicateFn { classify }
}

/// A [`Predicate`] made of a closure by [`predicate_fn`].
#[derive(Clone, Copy)]
pub struct PredicateFn<F> {
    classify: F,
}

impl<F, C> Predicate for PredicateFn<F>
where
    F: Fn(&Outcome<'_>) -> C + Send + Sync + 'static,
    C: Into<Class>,
{
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        (self.classify)(outcome).into()
    }
}

impl<F> fmt::Debug for PredicateFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PredicateFn").finish_non_exhaustive()
    }
}
