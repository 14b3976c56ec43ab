use std::fmt;

use super::Classifier;
use crate::{class::Class, outcome::Outcome};

/// Makes a [`Classifier`] of a closure that returns a [`Class`], or a `bool`: `true` for
/// [`Class::Ambiguous`], `false` for [`Class::Final`].
///
/// ```
/// use retry_layer::{Class, Outcome, classifier_fn};
///
/// let teapots = classifier_fn(|outcome: &Outcome<'_>| outcome.status() == Some(http::StatusCode::IM_A_TEAPOT));
/// let refused = classifier_fn(|outcome: &Outcome<'_>| match outcome.error() {
///     Some(_) => Class::NotSent,
///     None => Class::Final,
/// });
/// # let _ = (teapots, refused);
/// ```
pub fn classifier_fn<F, C>(classify: F) -> ClassifierFn<F>
where
    F: Fn(&Outcome<'_>) -> C + Send + Sync + 'static,
    C: Into<Class>,
{
    ClassifierFn { classify }
}

/// A [`Classifier`] made of a closure by [`classifier_fn`].
#[derive(Clone, Copy)]
pub struct ClassifierFn<F> {
    classify: F,
}

impl<F, C> Classifier for ClassifierFn<F>
where
    F: Fn(&Outcome<'_>) -> C + Send + Sync + 'static,
    C: Into<Class>,
{
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        (self.classify)(outcome).into()
    }
}

impl<F> fmt::Debug for ClassifierFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassifierFn").finish_non_exhaustive()
    }
}
