/// The versions of HTTP that are offered over TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Versions {
    /// All versions that the session speaks.
    #[default]
    Any,
    Http1,
    Http2,
}

/// The protocols of a session by default, best first.
const ANY: &[&[u8]] = if cfg!(feature = "http2") {
    &[HTTP2, HTTP1]
} else {
    &[HTTP1]
};

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

impl Versions {
    /// The protocols that ALPN offers ([RFC 7301](https://www.rfc-editor.org/rfc/rfc7301)).
    pub(super) fn alpn(self) -> Vec<Vec<u8>> {
        let offered = match self {
            Self::Any => ANY,
            Self::Http1 => &[HTTP1],
            Self::Http2 => &[HTTP2],
        };
        offered.iter().map(|protocol| protocol.to_vec()).collect()
    }
}
