use std::fmt;

use http::{HeaderName, HeaderValue, Method, Request};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Gives requests an `Idempotency-Key`, so that a server which knows that header processes each
/// call once however often it is sent.
///
/// Never added unasked: a layer does it for every call
/// ([`RetryPolicyBuilder::idempotency_keys`](crate::RetryPolicyBuilder::idempotency_keys)), or a
/// request asks for it by having this in its extensions. A call has one key, a random UUID, the
/// same on every attempt; a key that the caller has set is left alone. A request with a key is
/// retried like one whose method is idempotent. Each key is drawn from the operating system, so that
/// no other process draws it, not even a fork of this one.
///
/// POST and PATCH get a key unless [`methods`](Self::methods) says otherwise. The key is a string
/// of RFC 8941, in quotes, as the header's draft
/// (draft-ietf-httpapi-idempotency-key-header, section 2.1) has it; some services want it
/// [bare](Self::bare).
///
/// ```
/// use retry_layer::{IdempotencyKeys, RetryPolicy};
///
/// let every_call = RetryPolicy::builder().idempotency_keys(IdempotencyKeys::new()).build()?;
///
/// let mut this_one = http::Request::post("http://example.com/payments").body("{}")?;
/// this_one.extensions_mut().insert(IdempotencyKeys::new().bare());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IdempotencyKeys {
    style: Style,
    /// POST and PATCH if there are none.
    methods: Option<Vec<Method>>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Style {
    #[default]
    Quoted,
    Bare,
}

impl IdempotencyKeys {
    /// Keys in quotes, for POST and PATCH.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the keys without quotes.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.style = Style::Bare;
        self
    }

    /// Sets the methods whose requests get a key, in place of POST and PATCH.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = Some(methods.into_iter().collect());
        self
    }

    /// Whether requests of this method get a key.
    pub(crate) fn are_for(&self, method: &Method) -> bool {
        match &self.methods {
            Some(methods) => methods.contains(method),
            None => matches!(*method, Method::POST | Method::PATCH),
        }
    }

    /// Gives the request a key if its method is one that gets one. Returns whether it did.
    pub(crate) fn mark<B>(&self, request: &mut Request<B>) -> bool {
        if !self.are_for(request.method()) || request.headers().contains_key(IDEMPOTENCY_KEY) {
            return false;
        }
        let Some(uuid) = Uuid::random() else {
            // Not sent again without a key, which is safe; one that may be another's would not be.
            tracing::warn!("the system has no random numbers: a request goes without its key");
            return false;
        };
        let text = match self.style {
            Style::Quoted => format!("\"{uuid}\""),
            Style::Bare => uuid.to_string(),
        };
        let Ok(value) = HeaderValue::try_from(text) else {
            unreachable!("quotes, hexadecimal digits and hyphens are valid in a header")
        };
        request.headers_mut().insert(IDEMPOTENCY_KEY, value);
        true
    }
}

/// A random UUID (RFC 9562, section 5.4).
struct Uuid(u128);

impl Uuid {
    /// Draws from the operating system, every time: a generator of this process would repeat itself
    /// in a forked child, and in a virtual machine that is started twice from one snapshot.
    fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self::from_bits(u128::from_ne_bytes(bytes)))
    }

    /// With the bits of version 4 and of the variant set.
    fn from_bits(bits: u128) -> Self {
        const VERSION: u128 = 0xF << 76;
        const VARIANT: u128 = 0b11 << 62;
        Self((bits & !VERSION & !VARIANT) | (0x4 << 76) | (0b10 << 62))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            (bits >> 80) & 0xFFFF,
            (bits >> 64) & 0xFFFF,
            (bits >> 48) & 0xFFFF,
            bits & 0xFFFF_FFFF_FFFF,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn marked(keys: &IdempotencyKeys, method: Method) -> Option<String> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        let made = keys.mark(&mut request);
        let key = request.headers().get(IDEMPOTENCY_KEY)?;
        assert!(made);
        Some(key.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        assert_eq!(
            Uuid::from_bits(u128::MAX).to_string(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            Uuid::from_bits(0).to_string(),
            "00000000-0000-4000-8000-000000000000"
        );
    }

    #[test]
    fn no_key_is_drawn_twice() {
        let keys: HashSet<_> = (0..10_000).map(|_| Uuid::random().unwrap().0).collect();
        assert_eq!(keys.len(), 10_000);
    }

    #[test]
    fn every_bit_that_is_free_is_drawn() {
        let draws = || (0..1_000).map(|_| Uuid::random().unwrap().0);
        let fixed = draws().fold(u128::MAX, |all, bits| all & bits)
            | !draws().fold(0, |any, bits| any | bits);
        assert_eq!(
            fixed.count_ones(),
            6,
            "four of the version, two of the variant"
        );
    }

    #[test]
    fn posts_and_patches_get_a_quoted_key() {
        let keys = IdempotencyKeys::new();
        for method in [Method::POST, Method::PATCH] {
            let key = marked(&keys, method).unwrap();
            assert_eq!((key.len(), &key[..1], &key[37..]), (38, "\"", "\""));
        }
        assert_eq!(marked(&keys, Method::GET), None);
        assert_eq!(marked(&keys, Method::PUT), None);
    }

    #[test]
    fn bare_keys_have_no_quotes_and_methods_can_be_chosen() {
        let keys = IdempotencyKeys::new().bare().methods([Method::PUT]);
        assert_eq!(marked(&keys, Method::PUT).unwrap().len(), 36);
        assert_eq!(marked(&keys, Method::POST), None);
    }

    #[test]
    fn the_callers_key_is_left_alone() {
        let mut request = Request::post("/")
            .header("idempotency-key", "mine")
            .body(())
            .unwrap();
        assert!(!IdempotencyKeys::new().mark(&mut request));
        assert_eq!(request.headers()[IDEMPOTENCY_KEY], "mine");
    }
}
