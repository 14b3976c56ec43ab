//! HTTP/1.1 requests, read strictly: whatever a lenient peer could read in two ways is refused here.

use std::{fmt, str};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

/// The first part of a request, up to and including the empty line.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
}

/// How the end of a request body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    Empty,
    Length(usize),
    Chunked,
}

/// Why bytes are not a request.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Malformed(&'static str);

/// Returns the length of the head, once all of it is there.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    let start = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(start + 4)
}

/// Reads a whole head, which ends in an empty line.
pub(crate) fn head(bytes: &[u8]) -> Result<Head, Malformed> {
    let text = bytes
        .strip_suffix(b"\r\n\r\n")
        .ok_or(Malformed("no empty line"))?;
    let mut lines = split_lines(text);
    let (method, target, version) = request_line(lines.next().unwrap_or_default())?;
    let headers = fields(lines)?;
    if version == Version::HTTP_11 && headers.get_all(header::HOST).iter().count() != 1 {
        return Err(Malformed("not exactly one Host"));
    }
    let framing = framing(&headers)?;
    Ok(Head {
        method,
        target,
        version,
        headers,
        framing,
    })
}

fn request_line(line: &[u8]) -> Result<(Method, String, Version), Malformed> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed("the request line is not three words"));
    };
    let method = Method::from_bytes(method).map_err(|_| Malformed("bad method"))?;
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Malformed("bad target"));
    }
    let target = String::from_utf8(target.to_vec()).map_err(|_| Malformed("bad target"))?;
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(Malformed("bad version")),
    };
    Ok((method, target, version))
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<HeaderMap, Malformed> {
    let mut fields = HeaderMap::new();
    for line in lines {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .ok_or(Malformed("a field without a colon"))?;
        let (name, value) = line.split_at(colon);
        // A name with a space in it, as an obsolete line fold starts with one, is no token and fails here.
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed("bad field name"))?;
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
        let value = HeaderValue::from_bytes(value).map_err(|_| Malformed("bad field value"))?;
        fields.append(name, value);
    }
    Ok(fields)
}

fn framing(headers: &HeaderMap) -> Result<Framing, Malformed> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::Empty),
        (Some(_), Some(_)) => Err(Malformed("both Content-Length and Transfer-Encoding")),
        (None, Some(coding)) => {
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed("a transfer coding other than chunked"));
            }
            Ok(Framing::Chunked)
        }
        (Some(length), None) => {
            if lengths.next().is_some() {
                return Err(Malformed("more than one Content-Length"));
            }
            number(length.as_bytes(), 10)
                .map(Framing::Length)
                .ok_or(Malformed("bad Content-Length"))
        }
    }
}

/// Takes the chunked framing off a body, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    body: BytesMut,
    trailers: HeaderMap,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Size,
    Data(usize),
    DataEnd,
    Trailers,
    Ended,
}

impl Chunked {
    /// Takes what it can use from `input`, and returns whether the body has ended.
    pub(crate) fn push(&mut self, input: &mut BytesMut) -> Result<bool, Malformed> {
        loop {
            self.state = match self.state {
                State::Size => {
                    let Some(line) = take_line(input) else {
                        return Ok(false);
                    };
                    let mut parts = line.as_ref().split(|byte: &u8| *byte == b';');
                    let digits = parts.next().unwrap_or_default();
                    match number(digits, 16).ok_or(Malformed("bad chunk size"))? {
                        0 => State::Trailers,
                        size => State::Data(size),
                    }
                }
                State::Data(0) => State::DataEnd,
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(false);
                    }
                    let piece = input.split_to(left.min(input.len()));
                    self.body.extend_from_slice(&piece);
                    State::Data(left - piece.len())
                }
                State::DataEnd => match take_line(input) {
                    None if input.len() >= 2 => return Err(Malformed("a chunk too long")),
                    None => return Ok(false),
                    Some(line) if line.is_empty() => State::Size,
                    Some(_) => return Err(Malformed("a chunk too long")),
                },
                State::Trailers => {
                    let Some(line) = take_line(input) else {
                        return Ok(false);
                    };
                    if line.is_empty() {
                        State::Ended
                    } else {
                        self.trailers.extend(fields(std::iter::once(&*line))?);
                        State::Trailers
                    }
                }
                State::Ended => return Ok(true),
            };
        }
    }

    pub(crate) fn into_parts(self) -> (Bytes, HeaderMap) {
        (self.body.freeze(), self.trailers)
    }
}

fn take_line(input: &mut BytesMut) -> Option<BytesMut> {
    let end = input.windows(2).position(|two| two == b"\r\n")?;
    let mut line = input.split_to(end + 2);
    line.truncate(end);
    Some(line)
}

/// Splits at CRLF only: a lone CR or LF stays in its line, where no part of a head accepts it.
fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(end) = text.windows(2).position(|two| two == b"\r\n") else {
            return Some(text);
        };
        rest = text.get(end + 2..);
        text.get(..end)
    })
}

fn number(digits: &[u8], radix: u32) -> Option<usize> {
    // `from_str_radix` also takes a sign.
    if !digits.first()?.is_ascii_hexdigit() {
        return None;
    }
    usize::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_whole_head() {
        let bytes = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two:  2 \r\nContent-Length: 12\r\n\r\n";
        let head = head(bytes).expect("well formed");

        assert_eq!(head_length(bytes), Some(bytes.len()));
        assert_eq!(head.method, Method::POST);
        assert_eq!(head.target, "/a?b=c");
        assert_eq!(head.framing, Framing::Length(12));
        let two: Vec<_> = head.headers.get_all("x-two").iter().collect();
        assert_eq!(two, ["1", "2"]);
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        for bytes in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ] {
            assert!(head(bytes.as_bytes()).is_err(), "accepted {bytes:?}");
        }
    }

    #[test]
    fn reads_chunks_however_they_are_cut() {
        let bytes = b"3\r\nabc\r\n00A;x=y\r\n0123456789\r\n0\r\nx-sum: 7\r\n\r\nGET";
        for step in 1..bytes.len() {
            let mut chunked = Chunked::default();
            let mut input = BytesMut::new();
            let mut ended = false;
            for piece in bytes.chunks(step) {
                input.extend_from_slice(piece);
                ended = ended || chunked.push(&mut input).expect("well formed");
            }

            let (body, trailers) = chunked.into_parts();
            assert!(ended);
            assert_eq!(body, "abc0123456789");
            assert_eq!(trailers["x-sum"], "7");
            assert_eq!(input, "GET");
        }
    }

    #[test]
    fn refuses_broken_chunks() {
        for bytes in [
            "\r\n",
            "x\r\n",
            "+1\r\na\r\n",
            "-1\r\n",
            "1\r\nab\r\n",
            "1 \r\na\r\n",
        ] {
            let pushed = Chunked::default().push(&mut BytesMut::from(bytes));
            assert!(pushed.is_err(), "accepted {bytes:?}");
        }
    }
}
