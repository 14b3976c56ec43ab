use http::{HeaderMap, StatusCode, header};

use crate::error::Kind;

/// Above this much of a request body, a connection is not used again after a final 4xx or 5xx: the
/// peer may have answered without reading, and what lies in kernel buffers cannot be told from
/// what was read. The next request would wait behind it.
const UNREAD_UPLOAD: u64 = 16 * 1024;

/// Whether the connection may serve another request once the response body has ended.
///
/// `in_time` says that the whole request had been taken before the response began.
pub(crate) fn is_clean(status: StatusCode, in_time: bool, request_body: u64) -> bool {
    let refused = status.is_client_error() || status.is_server_error();
    in_time && !(refused && request_body > UNREAD_UPLOAD)
}

/// Checks how the response is framed, beyond what hyper does; returns whether its connection may
/// be used again.
///
/// [RFC 9112, section 6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3): with both
/// `Transfer-Encoding` and `Content-Length` the former counts, the latter is removed, and the
/// connection must be closed. A coding other than `chunked` is not understood
/// ([section 6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1)); its bytes must not pass
/// for the content.
pub(crate) fn check_framing(headers: &mut HeaderMap) -> Result<bool, Kind> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(true);
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Kind::Protocol("an unknown transfer coding"));
    }
    Ok(headers.remove(header::CONTENT_LENGTH).is_none())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn content_length_beside_chunked_is_removed_and_ends_the_connection() {
        let mut both = headers(&[("transfer-encoding", "Chunked"), ("content-length", "3")]);
        assert_eq!(check_framing(&mut both), Ok(false));
        assert!(!both.contains_key(header::CONTENT_LENGTH));
        let mut chunked = headers(&[("transfer-encoding", "chunked")]);
        assert_eq!(check_framing(&mut chunked), Ok(true));
        let mut length = headers(&[("content-length", "3")]);
        assert_eq!(check_framing(&mut length), Ok(true));
        assert!(length.contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn any_coding_but_chunked_is_refused() {
        for lines in [
            &[("transfer-encoding", "gzip, chunked")][..],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "chunked, gzip")],
            &[
                ("transfer-encoding", "gzip"),
                ("transfer-encoding", "chunked"),
            ],
        ] {
            assert!(check_framing(&mut headers(lines)).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn a_refused_upload_is_trusted_only_while_it_is_small() {
        assert!(is_clean(StatusCode::PAYLOAD_TOO_LARGE, true, 16 * 1024));
        assert!(!is_clean(
            StatusCode::PAYLOAD_TOO_LARGE,
            true,
            16 * 1024 + 1
        ));
        assert!(is_clean(StatusCode::OK, true, u64::MAX));
        assert!(!is_clean(StatusCode::OK, false, 0));
    }
}
