use std::error::Error as StdError;

/// An error of code that this crate does not know: of a connector, a request body or a callback.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;
