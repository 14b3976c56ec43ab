use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Uri,
    header::{COOKIE, SET_COOKIE},
};
use time::OffsetDateTime;
use url::Url;

use super::{CookieError, StoredCookie, error::Reason, rules::Rules, store::Store};

/// The most bytes that a `Cookie` header is filled up to.
const MAX_HEADER: usize = 8 * 1024;

/// The cookies that some requests share. Clones are cheap, and are the same jar.
///
/// It stands for one user agent: give each identity that an app acts for a jar of its own. See the
/// [module docs](super) for what it keeps.
#[derive(Clone, Default)]
pub struct Jar {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    rules: Rules,
    store: Mutex<Store>,
    /// How many cookies are in the store, to be read without its lock.
    len: AtomicUsize,
}

impl Jar {
    /// Makes an empty jar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty jar that refuses cookies for these domains.
    #[cfg(feature = "public-suffix")]
    #[must_use]
    pub fn with_public_suffixes(suffixes: super::PublicSuffixes) -> Self {
        let shared = Shared {
            rules: Rules::with_public_suffixes(suffixes),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Keeps a cookie as if a response to a request for `uri` had brought it in a `Set-Cookie`
    /// header of this value.
    ///
    /// ```
    /// use session_layer::cookies::Jar;
    ///
    /// let jar = Jar::new();
    /// let uri = "https://example.com/".parse()?;
    /// jar.insert("session=31d4d96e; Secure; HttpOnly", &uri)?;
    /// assert_eq!(jar.get(&uri, "session").as_deref(), Some("31d4d96e"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it may not be kept, or if it has expired and removes no cookie.
    pub fn insert(&self, set_cookie: &str, uri: &Uri) -> Result<(), CookieError> {
        let url = absolute(uri).ok_or(Reason::Uri)?;
        Ok(self.insert_line(set_cookie.as_bytes(), &url)?)
    }

    /// Keeps the cookies of a response's headers. Those that may not be kept are left out, with a
    /// debug event.
    pub fn store(&self, headers: &HeaderMap, uri: &Uri) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        let Some(url) = absolute(uri) else {
            return;
        };
        for line in headers.get_all(SET_COOKIE) {
            if let Err(reason) = self.insert_line(line.as_bytes(), &url) {
                let host = url.host_str();
                tracing::debug!(host, reason = %CookieError::from(reason), "cookie refused");
            }
        }
    }

    /// Returns the `Cookie` header of a request for `uri`, if there is any cookie for it. It is
    /// sensitive.
    #[must_use]
    pub fn header(&self, uri: &Uri) -> Option<HeaderValue> {
        self.merged(&HeaderMap::new(), uri)
    }

    /// Returns the value of the first cookie of this name that a request for `uri` would carry.
    #[must_use]
    pub fn get(&self, uri: &Uri, name: &str) -> Option<String> {
        let url = absolute(uri)?;
        self.with(|store| {
            let cookies = store.matching(&url, OffsetDateTime::now_utc());
            let found = cookies.into_iter().find(|cookie| cookie.name() == name);
            found.map(|cookie| cookie.value().to_owned())
        })
    }

    /// Returns all cookies as they are now, in the order in which they came.
    #[must_use]
    pub fn cookies(&self) -> Vec<StoredCookie> {
        self.with(|store| {
            let cookies = store.all(OffsetDateTime::now_utc()).into_iter();
            cookies.cloned().map(StoredCookie::new).collect()
        })
    }

    /// Removes the cookie of this [domain](StoredCookie::domain), [path](StoredCookie::path) and
    /// [name](StoredCookie::name).
    pub fn remove(&self, domain: &str, path: &str, name: &str) {
        self.with(|store| store.remove(domain, path, name));
    }

    /// Removes all cookies.
    pub fn clear(&self) {
        self.with(Store::clear);
    }

    /// Returns how many cookies are kept. Expired ones count until they are noticed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len.load(Relaxed)
    }

    /// Whether no cookie is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the one `Cookie` header of a request that has `headers` already, if the jar adds
    /// anything to them.
    pub(super) fn merged(&self, headers: &HeaderMap, uri: &Uri) -> Option<HeaderValue> {
        if self.is_empty() {
            return None;
        }
        let url = absolute(uri)?;
        let own = own_cookies(headers);
        let mut header = own.clone();
        self.with(|store| {
            for cookie in store.matching(&url, OffsetDateTime::now_utc()) {
                let (name, value) = cookie.name_value();
                let fits = header.len() + name.len() + value.len() + "; =".len() <= MAX_HEADER;
                if !fits || names(&own).any(|own| own == name.as_bytes()) {
                    continue;
                }
                if !header.is_empty() {
                    header.extend_from_slice(b"; ");
                }
                header.extend_from_slice(name.as_bytes());
                header.push(b'=');
                header.extend_from_slice(value.as_bytes());
            }
        });
        if header.len() == own.len() {
            return None;
        }
        let mut header = HeaderValue::from_maybe_shared(Bytes::from(header)).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// Works on the store under its lock, without foreign code.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        // No foreign code runs under the lock, so no panic can have left the store half changed.
        let locked = self.shared.store.lock();
        let mut store = locked.unwrap_or_else(PoisonError::into_inner);
        let answer = work(&mut store);
        self.shared.len.store(store.len(), Relaxed);
        answer
    }

    fn insert_line(&self, line: &[u8], url: &Url) -> Result<(), Reason> {
        let cookie = self.shared.rules.read(line, url)?;
        self.with(|store| store.insert(cookie, url, OffsetDateTime::now_utc()))
    }
}

/// Shows only how many cookies there are.
impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The URL by which the rules decide; `None` if the URI is not absolute.
fn absolute(uri: &Uri) -> Option<Url> {
    let text = uri.to_string();
    let text = match uri.path() {
        // The asterisk of an `OPTIONS` request, which `Url` would take for part of the host.
        "*" => text.strip_suffix('*')?,
        _ => &text,
    };
    let url = Url::parse(text).ok()?;
    let is_http = matches!(url.scheme(), "http" | "https");
    (is_http && url.has_host()).then_some(url)
}

/// The cookies in all `Cookie` headers that the caller has set.
fn own_cookies(headers: &HeaderMap) -> Vec<u8> {
    let fields: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(|field| field.as_bytes().trim_ascii())
        .filter(|field| !field.is_empty())
        .collect();
    fields.join(&b"; "[..])
}

fn names(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header
        .split(|byte| *byte == b';')
        .filter_map(|pair| pair.split(|byte| *byte == b'=').next())
        .map(<[u8]>::trim_ascii)
}
