use std::{
    fmt,
    hash::{BuildHasher, Hasher as _},
    sync::Arc,
};

use http::Uri;

/// What a [`Health`](super::Health) is about: an origin, or a partition of its requests by the name that
/// [`key_by`](super::LedgerBuilder::key_by) gives.
///
/// An origin is written as `scheme://host` or `scheme://host:port`: in lower case, without user name
/// and password, and without the scheme's own port. So `http://Peer:80/a` and `http://user@peer/b`
/// have the same one.
///
/// ```
/// use retry_layer::health::PartitionKey;
///
/// let key = PartitionKey::of(&http::Uri::from_static("https://user@Example.com:443/path"));
/// assert_eq!(key.as_str(), "https://example.com");
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PartitionKey(Kind);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Kind {
    Origin(Arc<str>),
    Name(Arc<str>),
}

impl PartitionKey {
    /// The origin of this URI. All URIs without a host have the same one, whose text is empty.
    #[must_use]
    pub fn of(uri: &Uri) -> Self {
        let origin = OriginRef::of(uri);
        let text = match (origin.scheme, origin.authority) {
            (_, "") => String::new(),
            ("", authority) => authority.to_ascii_lowercase(),
            (scheme, authority) => format!("{scheme}://{}", authority.to_ascii_lowercase()),
        };
        Self(Kind::Origin(text.into()))
    }

    /// A part of the requests of this partition, such as those of a tenant to an origin. It is written as
    /// `scheme://host name`. The name stands in errors and events, so it must not be a secret.
    ///
    /// ```
    /// use retry_layer::health::PartitionKey;
    ///
    /// let key = PartitionKey::of(&http::Uri::from_static("http://example.com/")).part("tenant");
    /// assert_eq!(key.as_str(), "http://example.com tenant");
    /// ```
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self::named(format!("{} {name}", self.as_str()))
    }

    /// A name, which is the same partition whatever the origin: for a quota that several origins have
    /// in common. What one of them does then holds for all; else take a [part](Self::part) of each. It
    /// differs from every origin. It stands in errors and events, so it must not be a secret.
    #[must_use]
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self(Kind::Name(name.into()))
    }

    /// The origin or the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Origin(text) | Kind::Name(text) => text,
        }
    }

    /// The same for an origin as [`OriginRef::hash`].
    pub(crate) fn hash(&self, seed: &impl BuildHasher) -> u64 {
        match &self.0 {
            Kind::Origin(text) => {
                let (scheme, authority) = text.split_once("://").unwrap_or(("", text));
                OriginRef { scheme, authority }.hash(seed)
            }
            Kind::Name(text) => seed.hash_one(text),
        }
    }
}

impl From<&Uri> for PartitionKey {
    fn from(uri: &Uri) -> Self {
        Self::of(uri)
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An origin as a URI has it: what a request is looked up by, without an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginRef<'a> {
    scheme: &'a str,
    authority: &'a str,
}

impl<'a> OriginRef<'a> {
    #[inline]
    pub(crate) fn of(uri: &'a Uri) -> Self {
        let Some(authority) = uri.authority() else {
            return Self {
                scheme: "",
                authority: "",
            };
        };
        let scheme = uri.scheme_str().unwrap_or_default();
        let mut authority = authority.as_str();
        if has_userinfo(authority.as_bytes()) {
            authority = authority.rsplit_once('@').map_or(authority, |it| it.1);
        }
        let port = match (scheme, authority.as_bytes()) {
            ("http", [.., b':', b'8', b'0']) => ":80",
            ("https", [.., b':', b'4', b'4', b'3']) => ":443",
            _ => "",
        };
        Self {
            scheme,
            authority: authority.strip_suffix(port).unwrap_or(authority),
        }
    }

    #[inline]
    pub(crate) fn hash(self, seed: &impl BuildHasher) -> u64 {
        // With the bit set that tells the case of a letter. Of the characters that an authority may
        // have, only letters become the same by it.
        const LOWER_CASE: u64 = u64::from_ne_bytes([0x20; 8]);
        let mut hasher = seed.build_hasher();
        let scheme = match self.scheme.len() {
            4 if self.scheme == "http" => 1,
            5 if self.scheme == "https" => 2,
            _ => seed.hash_one(self.scheme),
        };
        let bytes = self.authority.as_bytes();
        // The length stands for where the last word begins, which may overlap the one before it.
        let length = u64::try_from(bytes.len()).unwrap_or_default();
        hasher.write_u64(scheme ^ length << 8);
        let Some((_, last)) = bytes.split_last_chunk::<8>() else {
            let word = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(byte | 0x20));
            hasher.write_u64(word);
            return hasher.finish();
        };
        for word in bytes.chunks_exact(8) {
            let word = word.try_into().unwrap_or_default();
            hasher.write_u64(u64::from_ne_bytes(word) | LOWER_CASE);
        }
        if bytes.len() % 8 != 0 {
            hasher.write_u64(u64::from_ne_bytes(*last) | LOWER_CASE);
        }
        hasher.finish()
    }
}

/// Whether there is an `@`, looked for in eight bytes at a time: few authorities are so long that the
/// library's search would be faster.
#[inline]
fn has_userinfo(authority: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut words = authority.chunks_exact(8);
    let mut found = 0;
    for word in &mut words {
        // A byte becomes zero if it is an `@`, and then its top bit is set.
        let zero = u64::from_ne_bytes(word.try_into().unwrap_or_default()) ^ (ONES * 0x40);
        found |= zero.wrapping_sub(ONES) & !zero & TOPS;
    }
    found != 0 || words.remainder().contains(&b'@')
}

#[cfg(test)]
mod tests {
    use hashbrown::DefaultHashBuilder;

    use super::*;

    fn key(text: &'static str) -> PartitionKey {
        PartitionKey::of(&Uri::from_static(text))
    }

    #[test]
    fn the_same_origin_is_written_in_one_way() {
        let seed = DefaultHashBuilder::default();
        for text in [
            "http://peer",
            "http://PEER/a?b",
            "http://peer:80/",
            "http://user:secret@Peer/",
        ] {
            let uri = Uri::from_static(text);
            assert_eq!(PartitionKey::of(&uri).as_str(), "http://peer");
            let hash = OriginRef::of(&uri).hash(&seed);
            assert_eq!(hash, key("http://peer/").hash(&seed), "{text}");
        }
    }

    #[test]
    fn another_scheme_host_or_port_is_another_origin() {
        let seed = DefaultHashBuilder::default();
        let texts = [
            "http://peer/",
            "https://peer/",
            "http://peer:443/",
            "https://peer:80/",
            "http://peer:8080/",
            "http://peer2/",
            "http://a-longer-host/",
            "http://a-longer-hosu/",
            "http://[::1]/",
            "http://[::1]:81/",
            "/path",
        ];
        for (index, text) in texts.iter().enumerate() {
            let uri = Uri::from_static(text);
            let hash = OriginRef::of(&uri).hash(&seed);
            assert_eq!(hash, PartitionKey::of(&uri).hash(&seed), "{text}");
            for other in texts.iter().skip(index + 1) {
                assert_ne!(key(text), key(other));
                assert_ne!(hash, key(other).hash(&seed), "{text} {other}");
            }
        }
    }

    #[test]
    fn a_user_name_is_found_wherever_it_ends() {
        for length in 0..20 {
            let text = format!("{}@peer", "u".repeat(length));
            assert!(has_userinfo(text.as_bytes()), "{text}");
            assert!(!has_userinfo(text.replace('@', "A").as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_part_of_one_origin_is_none_of_another() {
        let seed = DefaultHashBuilder::default();
        let parts = ["http://peer/", "https://peer/", "http://other/"].map(|it| key(it).part("a"));
        let [part, others @ ..] = &parts;
        for other in [&key("http://peer/"), &key("http://peer/").part("b")]
            .into_iter()
            .chain(others)
        {
            assert_ne!(part, other);
            assert_ne!(part.hash(&seed), other.hash(&seed));
        }
        assert_eq!(part, &key("http://peer/x").part("a"));
    }

    #[test]
    fn a_name_is_no_origin() {
        let seed = DefaultHashBuilder::default();
        let (name, origin) = (PartitionKey::named("http://peer"), key("http://peer/"));
        assert_ne!(name, origin);
        assert_ne!(name.hash(&seed), origin.hash(&seed));
        assert_eq!(name.to_string(), "http://peer");
    }
}
