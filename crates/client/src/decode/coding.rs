use http::{HeaderMap, header::CONTENT_ENCODING};

/// A content coding that this build decodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Coding {
    #[cfg(feature = "gzip")]
    Gzip,
    #[cfg(feature = "deflate")]
    Deflate,
    #[cfg(feature = "br")]
    Brotli,
    #[cfg(feature = "zstd")]
    Zstd,
}

/// In the order in which browsers name them.
pub(super) const ALL: &[Coding] = &[
    #[cfg(feature = "gzip")]
    Coding::Gzip,
    #[cfg(feature = "deflate")]
    Coding::Deflate,
    #[cfg(feature = "br")]
    Coding::Brotli,
    #[cfg(feature = "zstd")]
    Coding::Zstd,
];

impl Coding {
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => "gzip",
            #[cfg(feature = "deflate")]
            Self::Deflate => "deflate",
            #[cfg(feature = "br")]
            Self::Brotli => "br",
            #[cfg(feature = "zstd")]
            Self::Zstd => "zstd",
        }
    }

    /// Finds a coding by its name, without case. `x-gzip` is an old name of gzip ([RFC 9110,
    /// section 8.4.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1)).
    fn named(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        ALL.iter()
            .copied()
            .find(|coding| is(coding.name()) || (coding.name() == "gzip" && is("x-gzip")))
    }
}

/// The content codings of a response, from all its header lines.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Codings {
    /// In the order in which they were applied; empty if the only one is `identity`.
    Known(Vec<Coding>),
    /// At least one is not known here, so none is removed.
    Unknown,
}

impl Codings {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut codings = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let Ok(value) = value.to_str() else {
                return Self::Unknown;
            };
            let names = value.split(',').map(str::trim);
            for name in names.filter(|name| !name.is_empty()) {
                if name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                let Some(coding) = Coding::named(name) else {
                    return Self::Unknown;
                };
                codings.push(coding);
            }
        }
        Self::Known(codings)
    }
}

#[cfg(all(test, feature = "gzip", feature = "br"))]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn codings(lines: &[&'static [u8]]) -> Codings {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line).expect("the test's line is valid");
            headers.append(CONTENT_ENCODING, value);
        }
        Codings::of(&headers)
    }

    #[test]
    fn the_lines_are_one_list() {
        use Coding::{Brotli, Gzip};
        for (lines, expected) in [
            (&[&b"gzip"[..]][..], vec![Gzip]),
            (&[b"X-GZip"], vec![Gzip]),
            (
                &[b"br,gzip", b" identity ", b",,gzip"],
                vec![Brotli, Gzip, Gzip],
            ),
            (&[b""], vec![]),
            (&[b"identity"], vec![]),
        ] {
            assert_eq!(codings(lines), Codings::Known(expected), "{lines:?}");
        }
    }

    #[test]
    fn one_that_is_not_known_leaves_all_of_them() {
        for lines in [
            &[&b"compress"[..]][..],
            &[b"gzip", b"foo"],
            &[b"gzip;q=1"],
            &[b"gz\xff"],
        ] {
            assert_eq!(codings(lines), Codings::Unknown, "{lines:?}");
        }
    }
}
