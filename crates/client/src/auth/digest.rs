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
/// never sent, and nothing is until a server has asked for it.
pub(crate) struct Digest {
    user: String,
    password: String,
    /// What each origin has asked for last.
    asked: Mutex<HashMap<String, Asked>>,
}

/// More origins than one are met only by clients without a base URL.
const MAX_ORIGINS: usize = 64;

impl Digest {
    pub(crate) fn new(user: String, password: String) -> Self {
        Self {
            user,
            password,
            asked: Mutex::default(),
        }
    }

    /// Answers what the origin has asked for last, if it has.
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

    /// Takes the first challenge of a response that can be answered, if there is one. A challenge for
    /// another scheme is none of them: a server that asks for Basic instead is not told the password.
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
