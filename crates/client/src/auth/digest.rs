use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, HeaderValue, Method, Uri, header::WWW_AUTHENTICATE};

use self::answer::{Asked, Request};
use super::challenge::challenges;
use crate::{id, origin};

mod answer;
mod hash;

/// Digest authentication ([RFC 7616](https://www.rfc-editor.org/rfc/rfc7616)): the password is
/// never sent, and no credentials are sent before a server has asked for them.
pub(crate) struct Digest {
    user: String,
    password: String,
    /// The last challenge of each origin.
    asked: Mutex<HashMap<String, Asked>>,
}

/// Only a client without a base URL meets more than one origin.
const MAX_ORIGINS: usize = 64;

impl Digest {
    pub(crate) fn new(user: String, password: String) -> Self {
        Self {
            user,
            password,
            asked: Mutex::default(),
        }
    }

    /// Answers the last challenge of the origin, if it has sent one.
    pub(crate) fn header(&self, method: &Method, uri: &Uri) -> Option<HeaderValue> {
        let origin = origin::display(uri)?;
        let request = Request {
            user: &self.user,
            password: &self.password,
            method: method.as_str(),
            target: uri.path_and_query().map_or("/", |it| it.as_str()),
        };
        let answer = self
            .lock()
            .get_mut(&origin)?
            .answer(&request, &id::random());
        let mut header = HeaderValue::try_from(answer?).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Takes the first challenge of a response that can be answered, if there is one. A challenge
    /// for another scheme is skipped: a server that asks for Basic instead does not get the
    /// password.
    pub(crate) fn challenge(&self, uri: &Uri, answer: &HeaderMap) -> bool {
        let mut values = answer.get_all(WWW_AUTHENTICATE).into_iter();
        let first = values.find_map(|value| {
            let challenges = challenges(value.as_bytes());
            challenges.iter().find_map(Asked::read)
        });
        let (Some(first), Some(origin)) = (first, origin::display(uri)) else {
            return false;
        };
        let mut asked = self.lock();
        if asked.len() >= MAX_ORIGINS && !asked.contains_key(&origin) {
            asked.clear();
        }
        asked.insert(origin, first);
        true
    }

    // No foreign code runs under the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest").finish_non_exhaustive()
    }
}
