use std::{fmt::Write as _, future, mem, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time,
};

use crate::{
    Request,
    log::{InFlight, Open},
    parse::{self, Chunked, Framing},
    transport::Transport,
};

/// A peer that sends this much without ending its head is our own client gone wrong.
const MAX_HEAD: usize = 1 << 20;

/// One connection, as the peer holds it.
///
/// Dropping it closes the connection, without TLS goodbye. Over TCP the operating system then sends FIN, or RST if
/// bytes lie unread.
///
/// Everything that writes returns whether the bytes were taken: `false` means that the client has gone.
///
/// # Cancel safety
///
/// A handler that drops the future of a read or a write half-way has lost its place in the stream: all it can do then is to
/// end the connection.
#[derive(Debug)]
pub struct Connection {
    // Dropped in this order: whoever reads in the log that a connection is closed finds it closed.
    transport: Transport,
    in_flight: Option<InFlight>,
    open: Open,
    unread: BytesMut,
    method: Method,
    framing: Framing,
    /// Where the last request stands in the log.
    index: usize,
}

/// How a client ended its connection, and what it had still sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed {
    /// The way it ended.
    pub ending: Ending,
    /// The bytes that came before the end, and that nobody had read.
    pub discarded: usize,
}

/// The two ways in which a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// In order, by FIN.
    Finished,
    /// By RST, or over TLS without the goodbye.
    Broken,
}

impl Connection {
    pub(crate) fn new(transport: Transport, open: Open) -> Self {
        Self {
            transport,
            in_flight: None,
            open,
            unread: BytesMut::new(),
            method: Method::GET,
            framing: Framing::Empty,
            index: 0,
        }
    }

    /// Returns the number of this connection, counted from 0 in the order of acceptance.
    #[must_use]
    pub fn number(&self) -> usize {
        self.open.number()
    }

    /// Reads the next request with its body, or returns `None` if the client ended the connection before that was
    /// complete.
    ///
    /// Asks for the body with `100 Continue` where the client waits for that.
    ///
    /// # Panics
    ///
    /// Panics if the client sent something that is no request.
    pub async fn read_request(&mut self) -> Option<Request> {
        let mut request = self.read_head().await?;
        let waits = request
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
        if waits {
            self.write("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        (request.body, request.trailers) = self.body().await?;
        request.complete = true;
        Some(request)
    }

    /// Reads the next request up to its body, or returns `None` if the client ended the connection before.
    ///
    /// Reads what is left of the body of the request before, if anything is.
    ///
    /// # Panics
    ///
    /// Panics if the client sent something that is no request.
    pub async fn read_head(&mut self) -> Option<Request> {
        self.body().await?;
        self.in_flight = None;
        let length = loop {
            if let Some(length) = parse::head_length(&self.unread) {
                break length;
            }
            assert!(
                self.unread.len() < MAX_HEAD,
                "a request head without an end"
            );
            if !self.fill().await {
                return None;
            }
        };
        let raw_head = self.unread.split_to(length).freeze();
        let head = match parse::head(&raw_head) {
            Ok(head) => head,
            Err(error) => panic!("not a request: {error}: {raw_head:?}"),
        };
        self.method = head.method.clone();
        self.framing = head.framing;
        let request = Request {
            connection: self.number(),
            method: head.method,
            target: head.target,
            version: head.version,
            headers: head.headers,
            raw_head,
            body: Bytes::new(),
            trailers: HeaderMap::new(),
            complete: head.framing == Framing::Empty,
        };
        let in_flight = self.open.journal().request(request.clone());
        self.index = in_flight.index();
        self.in_flight = Some(in_flight);
        Some(request)
    }

    /// Reads the body that belongs to the last [`read_head`](Self::read_head), or returns `None` if the client ended
    /// the connection before the body.
    ///
    /// # Panics
    ///
    /// Panics if the client broke the chunked framing.
    pub async fn read_body(&mut self) -> Option<Bytes> {
        let (body, _trailers) = self.body().await?;
        Some(body)
    }

    /// Reads so many bytes of a body whose length was announced, or what is left of it if that is less;
    /// `None` if the client ended the connection before that, or announced no length.
    ///
    /// The log does not get them.
    pub async fn read_piece(&mut self, length: usize) -> Option<Bytes> {
        let Framing::Length(left) = self.framing else {
            return None;
        };
        let length = length.min(left);
        while self.unread.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        self.framing = Framing::Length(left - length);
        Some(self.unread.split_to(length).freeze())
    }

    /// Reads what is left of the current body, and completes the log. An empty body if nothing is.
    async fn body(&mut self) -> Option<(Bytes, HeaderMap)> {
        let (body, trailers, complete) = match mem::replace(&mut self.framing, Framing::Empty) {
            Framing::Empty => return Some((Bytes::new(), HeaderMap::new())),
            Framing::Length(length) => {
                let mut complete = true;
                while complete && self.unread.len() < length {
                    complete = self.fill().await;
                }
                let body = self.unread.split_to(length.min(self.unread.len()));
                (body.freeze(), HeaderMap::new(), complete)
            }
            Framing::Chunked => {
                let mut chunked = Chunked::default();
                let complete = loop {
                    match chunked.push(&mut self.unread) {
                        Ok(true) => break true,
                        Ok(false) if self.fill().await => {}
                        Ok(false) => break false,
                        Err(error) => panic!("not a chunked body: {error}: {:?}", self.unread),
                    }
                };
                let (body, trailers) = chunked.into_parts();
                (body, trailers, complete)
            }
        };
        self.open
            .journal()
            .body(self.index, body.clone(), trailers.clone(), complete);
        complete.then_some((body, trailers))
    }

    /// Reads whatever came, without looking at it, or returns `None` if the client ended the connection.
    ///
    /// For what is not HTTP: the inside of a tunnel, a SOCKS greeting.
    pub async fn read_bytes(&mut self) -> Option<Bytes> {
        if self.unread.is_empty() && !self.fill().await {
            return None;
        }
        Some(self.unread.split().freeze())
    }

    /// Reads more bytes, and returns whether any came.
    async fn fill(&mut self) -> bool {
        matches!(self.transport.read_buf(&mut self.unread).await, Ok(1..))
    }

    /// Writes a whole response. See [`respond_with`](Self::respond_with).
    pub async fn respond(&mut self, status: u16, body: impl AsRef<[u8]>) -> bool {
        self.respond_with(status, &[], body).await
    }

    /// Writes a whole response, after which the connection can carry the next request.
    ///
    /// The length is announced by Content-Length, unless `headers` frame the body themselves, truthfully or not. The
    /// body itself is left out where HTTP has none: after HEAD, and with 1xx, 204 and 304.
    ///
    /// # Panics
    ///
    /// Panics if `status` is not between 100 and 999.
    pub async fn respond_with(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> bool {
        let body = body.as_ref();
        let mut response = response_head(status, headers, body.len()).into_bytes();
        if self.method != Method::HEAD && has_body(status) {
            response.extend_from_slice(body);
        }
        let written = self.write(response).await;
        self.answered();
        written
    }

    /// Writes bytes as they are.
    ///
    /// The request stays in flight; [`answered`](Self::answered), reading the next one or closing the connection ends
    /// that.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let written = self.transport.write_all(bytes.as_ref()).await;
        // TLS keeps what it could not hand on.
        written.is_ok() && self.transport.flush().await.is_ok()
    }

    /// Writes bytes as they are, `chunk` of them at a time, with a pause before all but the first.
    ///
    /// # Panics
    ///
    /// Panics if `chunk` is zero.
    pub async fn drip(&mut self, bytes: impl AsRef<[u8]>, chunk: usize, pause: Duration) -> bool {
        for (index, piece) in bytes.as_ref().chunks(chunk).enumerate() {
            if index > 0 {
                time::sleep(pause).await;
            }
            if !self.write(piece).await {
                return false;
            }
        }
        true
    }

    /// Takes the request out of flight, after a response that was written by hand.
    pub fn answered(&mut self) {
        self.in_flight = None;
    }

    /// Ends the direction to the client: it reads the end of the stream, and can still write.
    ///
    /// Over TLS the goodbye goes first.
    pub async fn shutdown(&mut self) -> bool {
        self.transport.shutdown().await.is_ok()
    }

    /// Ends both directions, by [`shutdown`](Self::shutdown) and then dropping the connection.
    pub async fn close(mut self) {
        self.shutdown().await;
    }

    /// Ends the connection by RST. In memory, the client's next read fails with `ConnectionReset`.
    pub fn reset(self) {
        let Self {
            transport,
            in_flight: _in_flight,
            open: _open,
            ..
        } = self;
        transport.reset();
    }

    /// Holds the connection for ever, and neither reads nor writes.
    pub async fn stall(&mut self) -> ! {
        loop {
            future::pending::<()>().await;
        }
    }

    /// Holds the connection until the client ends it, reads and drops whatever comes, and writes nothing.
    pub async fn stall_until_closed(&mut self) -> Closed {
        let mut discarded = 0;
        loop {
            discarded += self.unread.len();
            self.unread.clear();
            let ending = match self.transport.read_buf(&mut self.unread).await {
                Ok(1..) => continue,
                Ok(0) => Ending::Finished,
                Err(_) => Ending::Broken,
            };
            return Closed { ending, discarded };
        }
    }
}

fn response_head(status: u16, headers: &[(&str, &str)], length: usize) -> String {
    let status = StatusCode::from_u16(status).expect("a status is between 100 and 999");
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a string takes everything");
    }
    let framed = headers.iter().any(|(name, _)| {
        name.eq_ignore_ascii_case("content-length")
            || name.eq_ignore_ascii_case("transfer-encoding")
    });
    if !framed && has_body(status.as_u16()) {
        write!(head, "Content-Length: {length}\r\n").expect("a string takes everything");
    }
    head.push_str("\r\n");
    head
}

fn has_body(status: u16) -> bool {
    !matches!(status, 100..200 | 204 | 304)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_the_length_once() {
        let own = response_head(200, &[], 5);
        let given = response_head(200, &[("content-length", "9")], 5);

        assert_eq!(own, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(given, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    }

    #[test]
    fn announces_nothing_where_http_has_no_body() {
        assert_eq!(
            response_head(204, &[], 5),
            "HTTP/1.1 204 No Content\r\n\r\n"
        );
    }
}
