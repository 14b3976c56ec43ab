//! The cookies of a jar, by domain. It has no lock and no clock.

use std::{cmp::Reverse, collections::HashMap};

use cookie_store::Cookie;
use time::OffsetDateTime;
use url::Url;

use super::{error::Reason, rules::is_secure};

/// The most cookies of one domain (RFC 6265, section 6.1, asks for at least 50).
const MAX_PER_DOMAIN: usize = 50;

/// The most cookies of all domains (at least 3000).
const MAX: usize = 3000;

#[derive(Default)]
pub(super) struct Store {
    /// By the cookie's domain, so that a request looks only at its own host and the domains above
    /// that.
    domains: HashMap<String, Vec<Entry>>,
    len: usize,
    /// Counts insertions and uses, to order both.
    ticks: u64,
}

pub(super) struct Entry {
    pub(super) cookie: Cookie<'static>,
    created: u64,
    used: u64,
}

impl Store {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a cookie that came from `url`, in place of the one that it replaces.
    ///
    /// A cookie that has expired only removes that one.
    pub(super) fn insert(
        &mut self,
        cookie: Cookie<'static>,
        url: &Url,
        now: OffsetDateTime,
    ) -> Result<(), Reason> {
        if !is_secure(url) && self.hides_secure(&cookie) {
            return Err(Reason::Insecure);
        }
        self.put(cookie, now)
    }

    /// Adds a cookie from any source.
    pub(super) fn put(
        &mut self,
        cookie: Cookie<'static>,
        now: OffsetDateTime,
    ) -> Result<(), Reason> {
        let domain = cookie.domain.as_cow().ok_or(Reason::Domain)?.into_owned();
        let replaced = self.take(&domain, |old| {
            old.name() == cookie.name() && old.domain == cookie.domain && *old.path == *cookie.path
        });
        if cookie.expires_by(&now) {
            // An expired cookie that has removed another has done its work: no error.
            return replaced.map(drop).ok_or(Reason::Expired);
        }
        let used = self.tick();
        let entry = Entry {
            cookie,
            // RFC 6265, section 5.3, step 11.3.
            created: replaced.map_or(used, |old| old.created),
            used,
        };
        self.make_room(&domain, now);
        self.domains.entry(domain).or_default().push(entry);
        self.len += 1;
        Ok(())
    }

    /// Returns the cookies of a request to `url`, in the order in which they are sent
    /// ([RFC 6265, section 5.4](https://www.rfc-editor.org/rfc/rfc6265#section-5.4)).
    pub(super) fn matching(&mut self, url: &Url, now: OffsetDateTime) -> Vec<&Cookie<'static>> {
        let Some(host) = url.host_str() else {
            return Vec::new();
        };
        let used = self.tick();
        for domain in domains_of(host) {
            self.retain(domain, |entry| !entry.cookie.expires_by(&now));
            for entry in self.domains.get_mut(domain).into_iter().flatten() {
                if entry.cookie.matches(url) {
                    entry.used = used;
                }
            }
        }
        let mut found: Vec<&Entry> = domains_of(host)
            .filter_map(|domain| self.domains.get(domain))
            .flatten()
            .filter(|entry| entry.cookie.matches(url))
            .collect();
        found.sort_by_key(|entry| (Reverse(entry.cookie.path.len()), entry.created));
        found.into_iter().map(|entry| &entry.cookie).collect()
    }

    /// Returns all cookies that have not expired, in the order in which they came.
    pub(super) fn all(&self, now: OffsetDateTime) -> Vec<&Cookie<'static>> {
        let mut all: Vec<&Entry> = self
            .domains
            .values()
            .flatten()
            .filter(|entry| !entry.cookie.expires_by(&now))
            .collect();
        all.sort_by_key(|entry| entry.created);
        all.into_iter().map(|entry| &entry.cookie).collect()
    }

    /// Removes the cookies of this identity, host-only or not.
    pub(super) fn remove(&mut self, domain: &str, path: &str, name: &str) {
        self.retain(domain, |entry| {
            entry.cookie.name() != name || *entry.cookie.path != *path
        });
    }

    pub(super) fn clear(&mut self) {
        *self = Self {
            ticks: self.ticks,
            ..Self::default()
        };
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    /// Whether a cookie from an insecure origin would overwrite a secure one, or be sent in its
    /// place (RFC 6265bis, section 5.7, step 16).
    fn hides_secure(&self, cookie: &Cookie<'_>) -> bool {
        let Some(domain) = cookie.domain.as_cow() else {
            return false;
        };
        self.domains
            .iter()
            .filter(|(other, _)| is_within(other, &domain) || is_within(&domain, other))
            .flat_map(|(_, entries)| entries)
            .any(|old| {
                old.cookie.secure().unwrap_or(false)
                    && old.cookie.name() == cookie.name()
                    && is_below(&cookie.path, &old.cookie.path)
            })
    }

    /// Makes room for one more cookie of a domain (RFC 6265bis, section 5.7, at its end).
    fn make_room(&mut self, domain: &str, now: OffsetDateTime) {
        self.retain(domain, |entry| !entry.cookie.expires_by(&now));
        while let Some(entries) = self.domains.get(domain) {
            if entries.len() < MAX_PER_DOMAIN {
                break;
            }
            // Cookies without `Secure` go first: an attacker on the network could have set them.
            let oldest = entries
                .iter()
                .min_by_key(|entry| (entry.cookie.secure(), entry.used))
                .map(|entry| entry.created);
            self.retain(domain, |entry| Some(entry.created) != oldest);
        }
        if self.len < MAX {
            return;
        }
        self.retain_all(|entry| !entry.cookie.expires_by(&now));
        if self.len >= MAX {
            let entries = self.domains.values().flatten();
            let oldest = entries
                .min_by_key(|entry| entry.used)
                .map(|entry| entry.created);
            self.retain_all(|entry| Some(entry.created) != oldest);
        }
    }

    fn take(&mut self, domain: &str, is_it: impl Fn(&Cookie<'_>) -> bool) -> Option<Entry> {
        let entries = self.domains.get_mut(domain)?;
        let index = entries.iter().position(|entry| is_it(&entry.cookie))?;
        let taken = entries.swap_remove(index);
        if entries.is_empty() {
            self.domains.remove(domain);
        }
        self.len -= 1;
        Some(taken)
    }

    fn retain(&mut self, domain: &str, keep: impl FnMut(&Entry) -> bool) {
        let Some(entries) = self.domains.get_mut(domain) else {
            return;
        };
        let before = entries.len();
        entries.retain(keep);
        self.len -= before - entries.len();
        if entries.is_empty() {
            self.domains.remove(domain);
        }
    }

    fn retain_all(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.domains.retain(|_, entries| {
            entries.retain(&keep);
            !entries.is_empty()
        });
        self.len = self.domains.values().map(Vec::len).sum();
    }
}

/// The host itself, and each domain above it.
fn domains_of(host: &str) -> impl Iterator<Item = &str> {
    let above = host
        .match_indices('.')
        .filter_map(|(dot, _)| host.get(dot + 1..));
    std::iter::once(host).chain(above)
}

/// Whether a domain equals another, or is a subdomain of it.
fn is_within(domain: &str, other: &str) -> bool {
    let rest = domain.strip_suffix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a path equals another, or is below it ([RFC 6265, section
/// 5.1.4](https://www.rfc-editor.org/rfc/rfc6265#section-5.1.4)).
fn is_below(path: &str, other: &str) -> bool {
    let rest = path.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || other.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn url(url: &str) -> Url {
        Url::parse(url).expect("the test's URL is valid")
    }

    /// Takes a cookie in that came at `now`, and says whether it was kept.
    fn insert_at(store: &mut Store, line: &str, from: &str, now: OffsetDateTime) -> bool {
        let from = url(from);
        let cookie = Cookie::parse(line.to_owned(), &from).expect("the test's cookie is valid");
        store.insert(cookie, &from, now).is_ok()
    }

    fn insert(store: &mut Store, line: &str, from: &str) -> bool {
        insert_at(store, line, from, OffsetDateTime::now_utc())
    }

    fn sent_at(store: &mut Store, to: &str, now: OffsetDateTime) -> Vec<String> {
        let cookies = store.matching(&url(to), now).into_iter();
        cookies
            .map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
            .collect()
    }

    fn sent(store: &mut Store, to: &str) -> Vec<String> {
        sent_at(store, to, OffsetDateTime::now_utc())
    }

    #[test]
    fn longer_paths_come_first_and_then_older_cookies() {
        let mut store = Store::default();
        for (line, from) in [
            ("a=1", "http://x.test/"),
            ("b=2; path=/one", "http://x.test/one/two"),
            ("c=3; domain=x.test", "http://x.test/"),
            ("d=4; path=/one/two", "http://x.test/"),
            ("b=5; path=/one", "http://x.test/"),
            ("e=6", "http://x.test/"),
        ] {
            assert!(insert(&mut store, line, from), "{line}");
        }
        let all = ["d=4", "b=5", "a=1", "c=3", "e=6"];
        assert_eq!(sent(&mut store, "http://x.test/one/two"), all);
        assert_eq!(sent(&mut store, "http://x.test/onetwo"), all[2..]);
        assert_eq!(sent(&mut store, "http://sub.x.test/"), ["c=3"]);
        assert_eq!(sent(&mut store, "http://test/"), [""; 0]);
    }

    #[test]
    fn a_cookie_expires_by_the_clock_and_makes_room() {
        let now = OffsetDateTime::now_utc();
        let mut store = Store::default();
        insert_at(&mut store, "short=1; max-age=60", "http://x.test/", now);
        insert_at(&mut store, "long=1; max-age=120", "http://x.test/", now);
        insert_at(&mut store, "session=1", "http://x.test/", now);
        let names = sent_at(&mut store, "http://x.test/", now + Duration::seconds(59));
        assert_eq!(names.len(), 3);
        let names = sent_at(&mut store, "http://x.test/", now + Duration::seconds(90));
        assert_eq!(names, ["long=1", "session=1"]);
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn an_expired_cookie_removes_the_one_before_and_nothing_else() {
        let mut store = Store::default();
        insert(&mut store, "a=1", "http://x.test/");
        insert(&mut store, "a=1; domain=x.test", "http://x.test/");
        assert!(insert(&mut store, "a=; max-age=0", "http://x.test/"));
        assert!(!insert(&mut store, "a=; max-age=0", "http://x.test/"));
        assert_eq!(sent(&mut store, "http://sub.x.test/"), ["a=1"]);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn a_domain_keeps_fifty_and_loses_what_was_not_used_for_longest() {
        let mut store = Store::default();
        insert(&mut store, "safe=1; secure", "https://x.test/");
        for number in 0..MAX_PER_DOMAIN - 1 {
            insert(
                &mut store,
                &format!("n{number}=1; path=/{number}"),
                "http://x.test/",
            );
        }
        sent(&mut store, "http://x.test/0");
        insert(&mut store, "new=1", "http://x.test/");
        assert_eq!(store.len(), MAX_PER_DOMAIN);
        assert_eq!(sent(&mut store, "http://x.test/1"), ["new=1"]);
        assert_eq!(sent(&mut store, "http://x.test/0").len(), 2);
        assert_eq!(sent(&mut store, "https://x.test/")[0], "safe=1");
        assert_eq!(sent(&mut store, "https://other.test/").len(), 0);
    }

    #[test]
    fn all_domains_keep_three_thousand_and_expired_ones_go_first() {
        let now = OffsetDateTime::now_utc();
        let mut store = Store::default();
        insert_at(&mut store, "a=1", "http://first.test/", now);
        for number in 1..MAX - 1 {
            insert_at(&mut store, "a=1", &format!("http://h{number}.test/"), now);
        }
        insert_at(&mut store, "a=1; max-age=60", "http://short.test/", now);
        assert_eq!(store.len(), MAX);
        // Its sixty seconds run from when it is read, which on a slow machine is later than `now`.
        let later = now + Duration::hours(1);
        insert_at(&mut store, "a=1", "http://one-more.test/", later);
        assert_eq!(store.len(), MAX);
        assert_eq!(sent_at(&mut store, "http://first.test/", later), ["a=1"]);

        insert_at(&mut store, "a=1", "http://another.test/", later);
        assert_eq!(store.len(), MAX);
        assert_eq!(sent_at(&mut store, "http://h1.test/", later), [""; 0]);
        assert_eq!(sent_at(&mut store, "http://first.test/", later), ["a=1"]);
    }

    #[test]
    fn plain_http_neither_overwrites_nor_hides_nor_expires_a_secure_cookie() {
        let mut store = Store::default();
        let line = "id=safe; secure; domain=x.test; path=/in";
        insert(&mut store, line, "https://www.x.test/");
        for (line, from, kept) in [
            ("id=1; path=/in", "http://x.test/", false),
            ("id=1; path=/in/deep", "http://x.test/", false),
            ("id=1; path=/in", "http://www.x.test/", false),
            ("id=1; path=/in", "http://a.b.x.test/", false),
            (
                "id=; max-age=0; domain=x.test; path=/in",
                "http://x.test/",
                false,
            ),
            // It is not sent where the secure one is, or comes after it.
            ("id=1; path=/", "http://x.test/", true),
            ("other=1; path=/in", "http://x.test/", true),
            ("id=1; path=/in", "http://notx.test/", true),
            ("id=2; path=/in/deep", "https://x.test/", true),
        ] {
            assert_eq!(insert(&mut store, line, from), kept, "{line} from {from}");
        }
        assert_eq!(sent(&mut store, "https://x.test/in")[0], "id=safe");
    }

    #[test]
    fn removing_leaves_no_empty_domain_behind() {
        let mut store = Store::default();
        insert(&mut store, "a=1", "http://x.test/");
        insert(&mut store, "a=1; domain=x.test", "http://x.test/");
        insert(&mut store, "b=1", "http://x.test/");
        store.remove("x.test", "/", "a");
        assert_eq!((store.len(), store.domains.len()), (1, 1));
        store.remove("x.test", "/", "b");
        assert_eq!((store.len(), store.domains.len()), (0, 0));
    }
}
