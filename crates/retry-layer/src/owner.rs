/// A request extension that switches retry layers further down off: the layer that inserted it makes
/// the retries of this call.
///
/// Two layers of three attempts each make nine of them. A layer puts it into the requests that it
/// sends if its policy says so
/// ([`RetryPolicyBuilder::own_retries`](crate::RetryPolicyBuilder::own_retries)); every layer that
/// finds it in a request sends that request once, as if it were marked [`NoRetry`](crate::NoRetry).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RetryOwner;
