use std::borrow::Cow;

use crate::quoted::{is_token, parameter, split, unquoted};

/// One challenge of a `WWW-Authenticate` header
/// ([RFC 9110, section 11.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)).
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Challenge<'a> {
    pub(super) scheme: &'a [u8],
    parameters: Vec<(&'a [u8], Cow<'a, [u8]>)>,
}

/// A parameter occurs more than once, so the meant value is unknown.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Ambiguous;

impl Challenge<'_> {
    /// Returns the value of a parameter, if it is there.
    pub(super) fn parameter(&self, name: &str) -> Result<Option<&[u8]>, Ambiguous> {
        let parameters = self.parameters.iter();
        let mut found = parameters.filter(|(it, _)| it.eq_ignore_ascii_case(name.as_bytes()));
        let value = found.next().map(|(_, value)| &**value);
        match found.next() {
            None => Ok(value),
            Some(_) => Err(Ambiguous),
        }
    }
}

/// Splits a header value into its challenges.
///
/// A comma separates challenges, and also the parameters of one challenge. An item begins a new
/// challenge if its first word is not followed by `=`: a scheme alone (`NTLM`), with a token
/// (`Negotiate YII=`), or with parameters. An item that is neither a challenge nor a parameter is
/// skipped.
pub(super) fn challenges(value: &[u8]) -> Vec<Challenge<'_>> {
    let mut challenges: Vec<Challenge<'_>> = Vec::new();
    for element in split(value, b',').map(<[u8]>::trim_ascii) {
        if let Some((name, value)) = parameter(element) {
            // The parameter belongs to the challenge before it; one that comes first is dropped.
            if let Some(challenge) = challenges.last_mut() {
                challenge.parameters.push((name, unquoted(value)));
            }
            continue;
        }
        let end = element.iter().position(u8::is_ascii_whitespace);
        let (scheme, rest) = element.split_at(end.unwrap_or(element.len()));
        if !is_token(scheme) {
            continue;
        }
        let first = parameter(rest).filter(|(_, value)| !is_padding(value));
        challenges.push(Challenge {
            scheme,
            parameters: first
                .map(|(name, value)| (name, unquoted(value)))
                .into_iter()
                .collect(),
        });
    }
    challenges
}

/// Whether the text after the first `=` is the padding of a base64 token and not a value.
fn is_padding(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The challenges as text: `scheme name:value name:value`.
    fn read(value: &[u8]) -> Vec<String> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let challenges = challenges(value).into_iter();
        challenges
            .map(|challenge| {
                let parameters = challenge.parameters.iter();
                let parameters =
                    parameters.map(|(it, value)| format!(" {}:{}", text(it), text(value)));
                text(challenge.scheme) + &parameters.collect::<String>()
            })
            .collect()
    }

    #[test]
    fn challenges_of_all_schemes_stand_beside_each_other() {
        for (value, expected) in [
            (
                &b"Digest realm=\"r\", nonce=n"[..],
                &["Digest realm:r nonce:n"][..],
            ),
            (b"NTLM, Digest realm=\"r\"", &["NTLM", "Digest realm:r"]),
            (
                b"Negotiate, NTLM,Basic realm=\"a, b\" , Digest realm=r,nonce=n",
                &[
                    "Negotiate",
                    "NTLM",
                    "Basic realm:a, b",
                    "Digest realm:r nonce:n",
                ],
            ),
            (
                b"Negotiate YII=, NTLM TlRMTVNTUAAC==, Digest realm=r",
                &["Negotiate", "NTLM", "Digest realm:r"],
            ),
            (
                b"Negotiate a/b+c._~-, Digest realm=r",
                &["Negotiate", "Digest realm:r"],
            ),
            (b"Bearer, Digest realm=r", &["Bearer", "Digest realm:r"]),
            (
                b"Bearer realm=\"r\", error=\"e\", Digest realm=r",
                &["Bearer realm:r error:e", "Digest realm:r"],
            ),
            (b"Digest realm=r, NTLM", &["Digest realm:r", "NTLM"]),
            (
                b"Digest realm = \"r\" , nonce\t=n",
                &["Digest realm:r nonce:n"],
            ),
            (b"Digest  realm=r,, ,nonce=n,", &["Digest realm:r nonce:n"]),
            (b"Digest\trealm=r", &["Digest realm:r"]),
            (b"Digest, realm=r", &["Digest realm:r"]),
            (
                b"Digest nonce=abc==, realm=r",
                &["Digest nonce:abc== realm:r"],
            ),
            (b"Digest nonce=\"\", realm=r", &["Digest nonce: realm:r"]),
            (
                b"Digest realm=\"\xe9, \\\"x\\\"\"",
                &["Digest realm:\\xe9, \\\"x\\\""],
            ),
            (b"realm=r, Digest realm=r", &["Digest realm:r"]),
            (b"\"junk\", @, Digest realm=r, @=1", &["Digest realm:r"]),
            (
                b"Digest realm=\"open, nonce=n",
                &["Digest realm:open, nonce=n"],
            ),
            (b"", &[]),
            (b"=,;\"", &[]),
        ] {
            assert_eq!(read(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_parameter_is_found_in_any_case_and_only_if_it_is_there_once() {
        let challenges = challenges(b"Digest REALM=a, nonce=b, Nonce=c");
        let [digest] = &challenges[..] else {
            panic!("one challenge: {challenges:?}");
        };
        assert_eq!(digest.parameter("realm"), Ok(Some(&b"a"[..])));
        assert_eq!(digest.parameter("nonce"), Err(Ambiguous));
        assert_eq!(digest.parameter("qop"), Ok(None));
    }

    proptest! {
        #[test]
        fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            _ = challenges(&value);
        }

        #[test]
        fn digest_is_found_behind_any_other_schemes(
            others in proptest::collection::vec(
                "(NTLM|Negotiate|Bearer)( [A-Za-z0-9+/]{1,20}={0,2}| x=\"[a-z, =]{0,9}\")?",
                0..4,
            ),
        ) {
            let value = [others.join(", "), "Digest realm=r, nonce=n".into()].join(",");
            let challenges = challenges(value.as_bytes());
            prop_assert_eq!(challenges.len(), others.len() + 1);
            let last = challenges.last().map(|it| (it.scheme, it.parameters.len()));
            prop_assert_eq!(last, Some((&b"Digest"[..], 2)));
        }
    }
}
