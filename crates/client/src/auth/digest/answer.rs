use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    super::challenge::Challenge,
    hash::{self, Algorithm},
};

/// A server's challenge, and how often it was answered.
///
/// Its text is kept as bytes, because a realm may be of any charset. It is hashed and sent back
/// unchanged.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Asked {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    algorithm: Option<Algorithm>,
    /// False for a server that knows only RFC 2069 and therefore asks for no `qop`.
    counts: bool,
    hides_user: bool,
    answers: u32,
}

/// The request that is authorized.
pub(super) struct Request<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) method: &'a str,
    /// Path and query, as they are sent.
    pub(super) target: &'a str,
}

impl Asked {
    /// Reads a challenge; `None` if it is of another scheme or cannot be answered.
    pub(super) fn read(challenge: &Challenge<'_>) -> Option<Self> {
        if !challenge.scheme.eq_ignore_ascii_case(b"Digest") {
            return None;
        }
        let parameter = |name| challenge.parameter(name).ok();
        let algorithm = match parameter("algorithm")? {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        let counts = match parameter("qop")? {
            // `auth-int` is skipped: it would need the body to be read twice.
            Some(offered) => offered
                .split(|byte| *byte == b',')
                .any(|qop| qop.trim_ascii().eq_ignore_ascii_case(b"auth"))
                .then_some(true)?,
            None => false,
        };
        let hides_user = parameter("userhash")?;
        Some(Self {
            realm: parameter("realm")??.to_vec(),
            nonce: parameter("nonce")??.to_vec(),
            opaque: parameter("opaque")?.map(<[u8]>::to_vec),
            algorithm,
            counts,
            hides_user: hides_user.is_some_and(|it| it.eq_ignore_ascii_case(b"true")),
            answers: 0,
        })
    }

    /// Makes the value of `Authorization`, with a client nonce of its own; `None` once all counts
    /// of the server's nonce are used up.
    pub(super) fn answer(&mut self, request: &Request<'_>, cnonce: &str) -> Option<Vec<u8>> {
        self.answers = self.answers.checked_add(1)?;
        let count = format!("{:08x}", self.answers);
        let algorithm = self.algorithm.unwrap_or(hash::MD5);
        let (user, cnonce) = (request.user.as_bytes(), cnonce.as_bytes());
        let mut secret = algorithm.hash(&[user, &self.realm, request.password.as_bytes()]);
        if algorithm.session {
            secret = algorithm.hash(&[secret.as_bytes(), &self.nonce, cnonce]);
        }
        let asked = algorithm.hash(&[request.method.as_bytes(), request.target.as_bytes()]);
        let (secret, asked) = (secret.as_bytes(), asked.as_bytes());
        let response = if self.counts {
            algorithm.hash(&[
                secret,
                &self.nonce,
                count.as_bytes(),
                cnonce,
                b"auth",
                asked,
            ])
        } else {
            algorithm.hash(&[secret, &self.nonce, asked])
        };

        let mut answer = Answer(b"Digest ".to_vec());
        if self.hides_user {
            let hashed = algorithm.hash(&[user, &self.realm]);
            answer.quoted("username", hashed.as_bytes());
            answer.plain("userhash", "true");
        } else {
            answer.user(request.user);
        }
        answer.quoted("realm", &self.realm);
        answer.quoted("uri", request.target.as_bytes());
        answer.quoted("nonce", &self.nonce);
        if let Some(algorithm) = self.algorithm.or(self.counts.then_some(hash::MD5)) {
            answer.plain("algorithm", algorithm.name);
        }
        if self.counts {
            answer.plain("nc", &count);
        }
        if self.counts || algorithm.session {
            answer.quoted("cnonce", cnonce);
        }
        if self.counts {
            answer.plain("qop", "auth");
        }
        answer.quoted("response", response.as_bytes());
        if let Some(opaque) = &self.opaque {
            answer.quoted("opaque", opaque);
        }
        Some(answer.0)
    }
}

/// The value of an `Authorization` header, to which parameters are added.
struct Answer(Vec<u8>);

impl Answer {
    fn name(&mut self, name: &str) {
        if self.0.last() != Some(&b' ') {
            self.0.extend_from_slice(b", ");
        }
        self.0.extend_from_slice(name.as_bytes());
    }

    fn plain(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push(b'=');
        self.0.extend_from_slice(value.as_bytes());
    }

    fn quoted(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.extend_from_slice(b"=\"");
        for byte in value {
            if matches!(byte, b'"' | b'\\') {
                self.0.push(b'\\');
            }
            self.0.push(*byte);
        }
        self.0.push(b'"');
    }

    /// A name that is not ASCII is sent in the form of
    /// [RFC 8187](https://www.rfc-editor.org/rfc/rfc8187), as RFC 7616, section 3.4, has it.
    fn user(&mut self, user: &str) {
        if user.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.quoted("username", user.as_bytes());
        } else {
            let encoded = utf8_percent_encode(user, NOT_IN_EXTENDED);
            let mut value = String::from("UTF-8''");
            // Writing to a string cannot fail.
            _ = write!(value, "{encoded}");
            self.plain("username*", &value);
        }
    }
}

/// What is escaped in an extended value: all but its `attr-char`.
const NOT_IN_EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::{super::super::challenge::challenges, *};

    fn asked(challenge: &[u8]) -> Option<Asked> {
        challenges(challenge).iter().find_map(Asked::read)
    }

    fn answer(challenge: &[u8], request: &Request<'_>, cnonce: &str) -> String {
        let answer = asked(challenge).unwrap().answer(request, cnonce).unwrap();
        String::from_utf8(answer).unwrap()
    }

    const MUFASA: Request<'_> = Request {
        user: "Mufasa",
        password: "Circle of Life",
        method: "GET",
        target: "/dir/index.html",
    };

    #[test]
    fn the_examples_of_the_rfcs_are_answered_as_they_say() {
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        // RFC 7616, section 3.9.1.
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let challenge = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                 algorithm={algorithm}, nonce=\"{nonce}\", opaque=\"FQhe\""
            );
            let answer = answer(challenge.as_bytes(), &MUFASA, cnonce);
            let expected = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
                 uri=\"/dir/index.html\", nonce=\"{nonce}\", algorithm={algorithm}, nc=00000001, \
                 cnonce=\"{cnonce}\", qop=auth, response=\"{response}\", opaque=\"FQhe\""
            );
            assert_eq!(answer, expected);
        }
        // RFC 2617, section 3.5, and what RFC 2069 made of the same without `qop`.
        let request = Request {
            password: "Circle Of Life",
            ..MUFASA
        };
        let challenge = b"Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                          nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let newer = answer(challenge, &request, "0a4f113b");
        assert!(
            newer.contains("response=\"6629fae49393a05397450978507c4ef1\""),
            "{newer}"
        );
        let challenge = b"Digest realm=\"testrealm@host.com\", \
                          nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let older = answer(challenge, &request, "0a4f113b");
        assert!(
            older.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""),
            "{older}"
        );
        assert!(!older.contains("nc=") && !older.contains("qop="), "{older}");
    }

    #[test]
    fn a_realm_is_hashed_and_sent_back_as_it_came() {
        for realm in [&b"caf\xe9"[..], b"caf\xc3\xa9", b"\xff\\\"\\\\"] {
            let mut challenge = b"Digest nonce=n, qop=auth, realm=\"".to_vec();
            challenge.extend_from_slice(realm);
            challenge.push(b'"');
            let mut asked = asked(&challenge).unwrap();
            let answer = asked.answer(&MUFASA, "c").unwrap();
            let sent = [b"realm=\"", realm, b"\", "].concat();
            let is_there = answer.windows(sent.len()).any(|it| it == sent);
            assert!(is_there, "{}", answer.escape_ascii());

            let unquoted = crate::quoted::unquoted(&[b"\"", realm, b"\""].concat()).into_owned();
            let secret = hash::MD5.hash(&[b"Mufasa", &unquoted, b"Circle of Life"]);
            let asked = hash::MD5.hash(&[b"GET", b"/dir/index.html"]);
            let response = hash::MD5.hash(&[
                secret.as_bytes(),
                b"n",
                b"00000001",
                b"c",
                b"auth",
                asked.as_bytes(),
            ]);
            let answer = answer.escape_ascii().to_string();
            assert!(answer.contains(&response), "{answer}");
        }
    }

    #[test]
    fn a_user_is_sent_hashed_or_encoded_where_it_has_to_be() {
        let request = Request {
            user: "J\u{e4}s\u{f8}n Doe",
            ..MUFASA
        };
        let challenge = b"Digest realm=r, nonce=n, qop=auth, algorithm=SHA-512-256";
        let encoded = answer(challenge, &request, "c");
        assert!(
            encoded.contains("username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, "),
            "{encoded}"
        );
        // RFC 7616, section 3.9.2, whose digests erratum 4897 puts right.
        let challenge = b"Digest realm=\"api@example.org\", nonce=n, qop=auth, \
                          algorithm=SHA-512-256, userhash=true";
        let hashed = answer(challenge, &request, "c");
        let user = "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b";
        assert!(
            hashed.contains(&format!("username=\"{user}\", userhash=true")),
            "{hashed}"
        );
        let quoted = Request {
            user: "a\"b\\c",
            ..MUFASA
        };
        let quoted = asked(b"Digest realm=r, nonce=n")
            .unwrap()
            .answer(&quoted, "c");
        let quoted = String::from_utf8(quoted.unwrap()).unwrap();
        assert!(quoted.contains(r#"username="a\"b\\c", "#), "{quoted}");
    }

    #[test]
    fn a_session_makes_both_nonces_part_of_the_secret() {
        let challenge = b"Digest realm=r, nonce=n, qop=auth, algorithm=sha-256-SESS";
        let mut asked = asked(challenge).unwrap();
        let first = asked.answer(&MUFASA, "c").unwrap();
        let second = asked.answer(&MUFASA, "c").unwrap();
        let algorithm = Algorithm::named(b"SHA-256").unwrap();
        let secret = algorithm.hash(&[b"Mufasa", b"r", b"Circle of Life"]);
        let secret = algorithm.hash(&[secret.as_bytes(), b"n", b"c"]);
        let asked = algorithm.hash(&[b"GET", b"/dir/index.html"]);
        for (answer, count) in [(first, "00000001"), (second, "00000002")] {
            let parts = [&secret, "n", count, "c", "auth", &asked].map(str::as_bytes);
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.contains(&algorithm.hash(&parts)), "{answer}");
            assert!(answer.contains("algorithm=SHA-256-sess, "), "{answer}");
        }
    }

    #[test]
    fn what_cannot_be_answered_is_none() {
        for challenge in [
            &b"Basic realm=r"[..],
            b"Digest",
            b"Digest realm=r",
            b"Digest nonce=n",
            b"Digest realm=r, nonce=n, qop=auth-int",
            b"Digest realm=r, nonce=n, qop=\"\"",
            b"Digest realm=r, nonce=n, algorithm=ROT13",
            b"Digest realm=r, nonce=n, nonce=m",
        ] {
            assert_eq!(asked(challenge), None, "{}", challenge.escape_ascii());
        }
        let mut last = asked(b"Digest realm=r, nonce=n").unwrap();
        last.answers = u32::MAX;
        assert_eq!(last.answer(&MUFASA, "c"), None);
    }
}
