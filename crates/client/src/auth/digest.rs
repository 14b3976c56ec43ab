use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, HeaderValue, Method, Uri, header::WWW_AUTHENTICATE};
use http_auth::{ChallengeParser, ChallengeRef, DigestClient, ParamValue, PasswordParams};

use crate::origin;

/// Digest authentication ([RFC 7616](https://www.rfc-editor.org/rfc/rfc7616)): the password is
/// never sent, and nothing is until a server has asked for it.
pub(crate) struct Digest {
    user: String,
    password: String,
    /// What each origin has asked for last.
    challenges: Mutex<HashMap<String, DigestClient>>,
}

/// More origins than one are met only by clients without a base URL.
const MAX_ORIGINS: usize = 64;

impl Digest {
    pub(crate) fn new(user: String, password: String) -> Self {
        Self {
            user,
            password,
            challenges: Mutex::default(),
        }
    }

    /// Answers what the origin has asked for last, if it has.
    pub(crate) fn header(&self, method: &Method, uri: &Uri) -> Option<HeaderValue> {
        let origin = origin::display(uri)?;
        self.answer(self.lock().get_mut(&origin)?, method, uri)
    }

    fn answer(
        &self,
        challenge: &mut DigestClient,
        method: &Method,
        uri: &Uri,
    ) -> Option<HeaderValue> {
        let answer = challenge.respond(&PasswordParams {
            username: &self.user,
            password: &self.password,
            uri: uri.path_and_query().map_or("/", |it| it.as_str()),
            method: method.as_str(),
            // A body is not read twice for `qop=auth-int`.
            body: None,
        });
        let mut header = HeaderValue::try_from(answer.ok()?).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Takes the first challenge of a response that can be answered, if there is one.
    pub(crate) fn challenge(&self, uri: &Uri, answer: &HeaderMap) -> bool {
        // Tried on one of two, for each answer is counted.
        let is_answered = |mut tried| self.answer(&mut tried, &Method::GET, uri).is_some();
        let first = challenges(answer).position(is_answered);
        let challenge = first.and_then(|first| challenges(answer).nth(first));
        let (Some(challenge), Some(origin)) = (challenge, origin::display(uri)) else {
            return false;
        };
        let mut challenges = self.lock();
        if challenges.len() >= MAX_ORIGINS && !challenges.contains_key(&origin) {
            challenges.clear();
        }
        challenges.insert(origin, challenge);
        true
    }

    // A panic of the crate that works it out would leave the map whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, DigestClient>> {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The challenges for Digest. One for another scheme is none of them: a server that asks for Basic
/// instead is not told the password.
fn challenges(answer: &HeaderMap) -> impl Iterator<Item = DigestClient> {
    let values = answer.get_all(WWW_AUTHENTICATE).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| ChallengeParser::new(value).map_while(Result::ok))
        .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("Digest"))
        .filter_map(|mut challenge| {
            spell_algorithm(&mut challenge);
            DigestClient::try_from(&challenge).ok()
        })
}

/// The algorithms as they are registered.
const ALGORITHMS: [&str; 6] = [
    "MD5",
    "MD5-sess",
    "SHA-256",
    "SHA-256-sess",
    "SHA-512-256",
    "SHA-512-256-sess",
];

/// Writes the name of the algorithm as it is registered: many a device has `md5`.
fn spell_algorithm(challenge: &mut ChallengeRef<'_>) {
    for (name, value) in &mut challenge.params {
        if name.eq_ignore_ascii_case("algorithm") {
            let said = value.to_unescaped();
            let known = ALGORITHMS.iter().find(|it| it.eq_ignore_ascii_case(&said));
            if let Some(Ok(known)) = known.map(|it| ParamValue::try_from_escaped(it)) {
                *value = known;
            }
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest").finish_non_exhaustive()
    }
}
