use crate::report::AttemptOutcome;

/// Tells the services below the layer which attempt they see: a request extension.
///
/// Present from the second exchange of a call on; a request without it is the first.
///
/// ```
/// use retry_layer::Attempt;
///
/// fn resend_count<B>(request: &http::Request<B>) -> Option<u32> {
///     request.extensions().get::<Attempt>().map(|attempt| attempt.number() + attempt.resends() - 1)
/// }
/// # assert_eq!(resend_count(&http::Request::new(())), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    pub(crate) number: u32,
    pub(crate) resends: u32,
    pub(crate) previous: AttemptOutcome,
}

impl Attempt {
    /// The number of the attempt among those that count, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How many free resends came before, this exchange included if it is one.
    #[must_use]
    pub fn resends(&self) -> u32 {
        self.resends
    }

    /// How the exchange before this one ended.
    #[must_use]
    pub fn previous(&self) -> AttemptOutcome {
        self.previous
    }
}
